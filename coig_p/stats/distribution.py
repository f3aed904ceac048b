"""How values are spread: mean, quantiles and bins of counts by value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from coig_p.stats.results import Bins, Distribution

QUANTILES = {"min": 0.0, "p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99, "max": 1.0}


def distribution(
    counts: Mapping[Any, int], binned_as: Mapping[Any, int] | None = None, cut: float = 1.0
) -> Distribution:
    """n, mean, quantiles and bins of values given with how often each occurs.

    A quantile q is the smallest value that at least a share q of all reaches, so it is one of the
    values. Bins are of one round width from 0 up; `edges` are their lower ends. The last bin is
    open: it also holds what lies above the quantile `cut`.

    Args:
        binned_as: take the edges from these values; default: from `counts` itself.
    """
    n = sum(counts.values())
    binned_as = counts if binned_as is None else binned_as
    if not n or not binned_as:
        return Distribution(0)
    found = quantiles(counts, list(QUANTILES.values()))
    (top,) = quantiles(binned_as, [cut])
    width = nice_step(max(top, 1e-4))
    edges = [round(width * at, 4) for at in range(max(1, math.floor(top / width + 1e-9)) + 1)]
    bins = [0] * len(edges)
    for value, number in counts.items():
        bins[int(np.searchsorted(edges, value, side="right")) - 1] += number
    return Distribution(
        n=n,
        mean=math.fsum(value * counts[value] for value in sorted(counts)) / n,
        **dict(zip(QUANTILES, found, strict=True)),
        bins=Bins(tuple(int(edge) if edge == int(edge) else edge for edge in edges), tuple(bins)),
    )


def quantiles(counts: Mapping[Any, int], shares: Sequence[float]) -> list[Any]:
    """For each share, the smallest value that at least so many reach; counts are not empty."""
    values = sorted(counts)
    reached = list(accumulate(counts[value] for value in values))
    # 0.1 of 10 values is the first, though 0.1 * 10 may not be 1.
    return [values[int(np.searchsorted(reached, max(1, math.ceil(q * reached[-1] - 1e-9))))] for q in shares]


def nice_step(span: float, most: int = 20) -> float:
    """The smallest of 1, 2 or 5 times a power of ten, at least .0001, that cuts `span` into at most `most` steps."""
    exponent = math.floor(math.log10(max(span / most, 1e-4)))
    for power in range(exponent, exponent + 2):
        for digit in (1, 2, 5):
            step = float(f"{digit}e{power}")
            if step >= 1e-4 and span / step <= most * (1 + 1e-12):
                return step
    return float(f"1e{exponent + 2}")
