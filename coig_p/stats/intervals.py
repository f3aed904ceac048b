"""Shares and means with intervals for pairs that come in queries.

Pairs of one query share its responses, so they are not independent: n pairs tell less than n
draws. Everything here is a ratio of two sums over queries, sum(a) / sum(n), with `a` the pairs
of a query that have a property (or the sum of their values) and `n` its pairs. The variance is
the cluster-robust one of a ratio (Cochran, Sampling Techniques, chapter 6),

    G / (G - 1) * sum((a - r n)^2) / sum(n)^2      over G queries with n > 0,

which needs five running sums and no data kept, so that it streams. The sums are whole numbers, or
fractions where values are, so they are the same in whatever order queries come. It agrees with a
bootstrap over queries. A mean gets r +- t; a share gets Wilson's interval at the number of independent
draws that would have this variance, so it stays within 0 and 1 and is not a point where all
pairs agree. t is Student's with G - 1 degrees of freedom; all intervals hold 95%.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Moments = npt.NDArray[Any]
"""(6, ...): queries with n > 0, and the sums of n, a, n*n, a*n and a*a. int64, or Fractions. They add up exactly."""

LEVEL = 0.95
_NORMAL = 1.959963984540054  # its quantile on both sides of a normal distribution
_INT64 = 2**63


@dataclass(frozen=True)
class Share:
    """How many of n have a property.

    Attributes:
        share: None where n is 0.
        low, high: its 95% interval; None below two queries, which cannot say how much queries differ.
    """

    n: int
    share: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Mean:
    """The mean of n values, None where n is 0; low and high as in `Share`."""

    n: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None


def no_moments(*shape: int) -> Moments:
    """Moments of nothing."""
    return np.zeros((6, *shape), np.int64)


def moments(a: npt.NDArray[Any], n: npt.NDArray[Any]) -> Moments:
    """Moments of whole numbers `a` and `n` of shape (queries, ...), over the first axis. `a` is 0 where `n` is."""
    a, n = np.asarray(a, np.int64), np.asarray(n, np.int64)
    return np.stack([(n > 0).sum(0), n.sum(0), a.sum(0), (n * n).sum(0), (a * n).sum(0), (a * a).sum(0)])


def moments_by(key: npt.NDArray[np.int64], size: int, a: npt.NDArray[Any], n: npt.NDArray[Any]) -> Moments:
    """(6, size): the moments for each key; one element of `key`, `a` and `n` is one query under one key."""
    a, n = np.asarray(a, np.int64), np.asarray(n, np.int64)
    # Weights of bincount are floats, exact for counts of one batch: far below 2**53.
    return np.stack([np.bincount(key, part, size) for part in (n > 0, n, a, n * n, a * n, a * a)]).astype(np.int64)


def moments_of_values(a: npt.NDArray[Any], n: npt.NDArray[Any], scale: int) -> Moments:
    """(6): the moments of values `a` in units of 1/scale, whole numbers, of one query each."""
    sums = [exact_dot(n, n), exact_dot(a, n), exact_dot(a, a)]
    found = [int((n > 0).sum()), int(n.sum()), Fraction(exact_dot(a, np.ones_like(n)), scale)]
    found += [sums[0], Fraction(sums[1], scale), Fraction(sums[2], scale * scale)]
    return np.array(found, dtype=object)


def exact_dot(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> int:
    """The sum of products of whole numbers, in Python's where int64 could overflow."""
    if not len(one):
        return 0
    most = int(np.abs(one).max()) * int(np.abs(other).max()) * len(one)
    if one.dtype != object and other.dtype != object and most < _INT64:
        return int(np.dot(one, other))
    return sum(left * right for left, right in zip(one.tolist(), other.tolist(), strict=True))


def share(moment: Moments) -> Share:
    """The share of a yes-or-no property, of its moments (6)."""
    groups, n, a, squares = moment[:4].tolist()
    if not n:
        return Share(0)
    p = a / n
    if groups < 2:
        return Share(n, p)
    variance = _variance(moment)
    # Where no query differs from the mean nothing can be estimated: count each query once, as far as they are equal.
    # Never more draws than there are pairs: queries that differ less than chance would have it promise nothing.
    draws = min(n, p * (1 - p) / variance) if variance > 0 else n * n / squares
    z = _quantile(groups)
    middle, spread = p + z * z / (2 * draws), z * math.sqrt(p * (1 - p) / draws + z * z / (4 * draws * draws))
    # Within 0 and 1, and around p, also when a sum was rounded.
    low = min(p, max(0.0, (middle - spread) / (1 + z * z / draws)))
    return Share(n, p, low, max(p, min(1.0, (middle + spread) / (1 + z * z / draws))))


def wilson(share: float, draws: float) -> tuple[float, float]:
    """Wilson's interval of a share of so many independent draws, which need not be a whole number; above 0."""
    z = _NORMAL
    middle, spread = share + z * z / (2 * draws), z * math.sqrt(share * (1 - share) / draws + (z / (2 * draws)) ** 2)
    low, high = (middle - spread) / (1 + z * z / draws), (middle + spread) / (1 + z * z / draws)
    return min(share, max(0.0, low)), max(share, min(1.0, high))


def draws_needed(share: float, half: float = 0.05) -> int:
    """How many independent draws give an interval of +- `half` around a share: z^2 p (1 - p) / half^2, rounded up.

    Near 0 and 1, where this would promise too much, as many as Wilson's interval takes at 0 and 1 themselves: 35 for
    a half of .05.
    """
    return math.ceil(_NORMAL**2 * max(share * (1 - share) / half**2, (1 - 2 * half) / (2 * half)))


def mean(moment: Moments) -> Mean:
    """The mean of values, of their moments (6)."""
    groups, n, a = moment[:3].tolist()
    if not n:
        return Mean(0)
    middle = float(a / n)
    if groups < 2:
        return Mean(n, middle)
    half = _quantile(groups) * math.sqrt(_variance(moment))
    return Mean(n, middle, middle - half, middle + half)


def _variance(moment: Moments) -> float:
    groups, n, a, nn, an, aa = moment.tolist()  # Python's whole numbers, or Fractions
    residual = aa * n * n - 2 * a * n * an + a * a * nn  # n * n times the sum of (a - r n)^2
    return float(Fraction(groups, groups - 1) * residual / n**4)


def _quantile(groups: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(groups - 1, (1 + LEVEL) / 2))
