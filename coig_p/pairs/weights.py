"""How often an epoch shows each domain's rows: weights, as exact counts.

A weight of 2 shows every row twice, .5 half of them, 2.5 every row twice and half of them once
more. Of n rows a weight w gives w * n, rounded half up: a fraction is dealt to queries in the
store's order, so that after any number of rows the count is as near as it can be, and within a
query a hash of (seed, query_id, models) says which rows go. Streaming and shards change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from coig_p.core.arrays import Index, Mask, group_sizes, group_starts
from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.options import grid_number, text
from coig_p.pairs.rows import Rows
from coig_p.schema import SCORE_GRID, to_grid

UNWEIGHTED = ("validation", "test")
"""Splits to which no weight applies: a mixture is about what is trained on."""
MOST = 1_000
"""The largest weight: every showing is planned, and a larger one is a slip."""
_WHOLE = SCORE_GRID


class Pass(NamedTuple):
    """One showing of a domain's rows in an epoch.

    Attributes:
        copy: 0 for the first; tells the showings of a row apart.
        fraction: how many of 10,000 rows are shown.
    """

    copy: int
    fraction: int


ONCE = (Pass(0, _WHOLE),)


def check_weights(weights: Any, domains: Iterable[str]) -> dict[str, float]:
    """Return `weights` as floats by domain; raise UsageError unless each is known, 0 to 1,000."""
    if not isinstance(weights, Mapping):
        raise UsageError(f"weights={weights!r}: use a dict of domains, for instance {{'math': 2, 'chat': .5}}")
    domains = list(domains)
    found = {}
    for named, weight in weights.items():
        domain, number = text(named), grid_number(weight)
        if domain is None or domain not in domains:
            raise UnknownNameError("domain in weights", named, domains)
        if number is None:
            raise UsageError(f"weights: {domain}={weight!r}: use a number of 0 or more with at most 4 decimals")
        if number > MOST:
            raise UsageError(f"weights: {domain}={weight!r}: use {MOST:,} or less; an epoch shows its rows that often")
        found[domain] = number
    if domains and all(found.get(domain, 1.0) == 0 for domain in domains):
        raise UsageError("weights: all are 0, and nothing is left to train on")
    return found


def parse_weights(text: str) -> dict[str, float]:
    """math=2,chat=.5 as a dict."""
    found = {}
    for entry in text.split(","):
        domain, equals, weight = entry.partition("=")
        try:
            number = float(weight)
        except ValueError:
            equals = ""
        if not equals or not domain.strip():
            raise UsageError(f"weights: {entry!r} is not of the form math=2")
        if domain.strip() in found:
            raise UsageError(f"weights: {domain.strip()} is given twice")
        found[domain.strip()] = number
    return found


def passes(weight: float) -> tuple[Pass, ...]:
    """How a domain of this weight is shown in one epoch."""
    whole, fraction = divmod(to_grid(weight), _WHOLE)
    shown = [Pass(copy, _WHOLE) for copy in range(whole)]
    return tuple(shown + [Pass(whole, fraction)] * (fraction > 0))


def is_partial(one: Pass) -> bool:
    """Whether it shows some rows only."""
    return one.fraction < _WHOLE


def rows_shown(rows: int, weight: float) -> int:
    """How many rows an epoch shows of `rows` rows of one domain: weight * rows, rounded half up."""
    return sum(int(_after(np.array([rows]), one.fraction)[0]) for one in passes(weight))


def share_of(rows: Rows, before: int, fraction: int) -> Mask:
    """Which rows of a batch a partial pass shows.

    Args:
        before: rows of the same domain and split that come before the batch in the store's order.
    """
    query = rows.found.query
    starts = group_starts(query)
    sizes = group_sizes(starts, len(query))
    ends = before + np.cumsum(sizes)
    quota = _after(ends, fraction) - _after(ends - sizes, fraction)
    ranked = np.lexsort((rows.keys("mixture"), query))
    rank = np.empty(len(query), dtype=np.int64)
    rank[ranked] = np.arange(len(query)) - np.repeat(starts, sizes)
    return np.asarray(rank < np.repeat(quota, sizes))


def _after(rows: Index, fraction: int) -> Index:
    """How many of the first `rows` rows are shown."""
    return np.asarray((rows * fraction + _WHOLE // 2) // _WHOLE, dtype=np.int64)
