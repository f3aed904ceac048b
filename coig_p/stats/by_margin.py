"""How far a judge's margins can be trusted: how often people, or the other judges, prefer what it prefers.

By bins of the margin, and as one number: the slope b of

    P(the others prefer the same response) = 1 / (1 + exp(-b * margin))

on the judge's scale, without a constant, since at a margin of 0 there is nothing to agree with. A larger b says that a
point of margin is worth more. Pairs on which the others are undecided are counted apart, and say nothing of b.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from coig_p.core.arrays import Floats
from coig_p.stats.intervals import LEVEL, Share, moments, share

BINS = 6
_STEPS = 100


@dataclass(frozen=True)
class MarginBin:
    """Pairs with a margin from `low` up to `high`, which is None in the last bin.

    Attributes:
        pairs: on which the others prefer one.
        agrees: of these, the same.
        ties: pairs on which they prefer none.
    """

    low: float
    high: float | None
    pairs: int
    agrees: Share
    ties: int


@dataclass(frozen=True)
class Slope:
    """b with its 95% interval over queries; all None where it is not defined, and `why`."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    why: str | None = None


@dataclass(frozen=True)
class ByMargin:
    """One judge against people, or against the other judges."""

    judge: str
    against: str
    bins: tuple[MarginBin, ...]
    slope: Slope


def by_margin(
    counted: Mapping[tuple[int, float, int], int], judge: str, against: str, score_range: tuple[float, float]
) -> ByMargin:
    """What counts by (block of queries, margin, verdict) say; a verdict is 1, 0 or -1: agrees, ties, opposes."""
    keys = np.array(sorted(counted), np.float64).reshape(-1, 3)
    number = np.array([counted[block, margin, verdict] for block, margin, verdict in sorted(counted)], np.float64)
    block, margin, verdict = keys.T
    width = (score_range[1] - score_range[0]) / 9
    # A margin on an edge belongs to the bin above it, also where a ninth of the range is no exact float.
    of = np.minimum(np.floor(margin / width + 1e-9).astype(np.int64), BINS - 1)
    bins = []
    for at in range(BINS):
        own = of == at
        if not own.any():
            continue
        decided = own & (verdict != 0)
        blocks, place = np.unique(block[decided], return_inverse=True)
        n = np.bincount(place, number[decided], len(blocks))
        a = np.bincount(place, number[decided] * (verdict[decided] > 0), len(blocks))
        bins.append(
            MarginBin(
                low=at * width,
                high=None if at == BINS - 1 else (at + 1) * width,
                pairs=int(n.sum()),
                agrees=share(moments(a, n)),
                ties=int(number[own & (verdict == 0)].sum()),
            )
        )
    decided = verdict != 0
    slope = _slope(block[decided], margin[decided], verdict[decided], number[decided])
    return ByMargin(judge, against, tuple(bins), slope)


def _slope(block: Floats, margin: Floats, verdict: Floats, number: Floats) -> Slope:
    if not len(margin):
        return Slope(why="no pair on which both prefer one")
    if not ((verdict > 0).any() and (verdict < 0).any()):
        return Slope(why="they never differ" if (verdict > 0).any() else "they never agree")
    signed, b = margin * verdict, 0.0
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(np.clip(b * signed, -500, 500)))  # of what was not seen
        step = float((number * signed * p).sum() / (number * margin**2 * p * (1 - p)).sum())
        # The likelihood is concave: a step that is too long is one that overshoots.
        b += math.copysign(min(abs(step), 1 + abs(b)), step)
        if abs(step) < 1e-10 * (1 + abs(b)):
            break
    p = 1 / (1 + np.exp(np.clip(b * signed, -500, 500)))
    bends = float((number * margin**2 * p * (1 - p)).sum())
    _, place = np.unique(block, return_inverse=True)
    pulls = np.bincount(place, number * signed * p)
    groups = len(pulls)
    if groups < 2:
        return Slope(b)
    from scipy.special import stdtrit

    error = math.sqrt(groups / (groups - 1) * float((pulls**2).sum())) / bends
    half = float(stdtrit(groups - 1, (1 + LEVEL) / 2)) * error
    return Slope(b, b - half, b + half)
