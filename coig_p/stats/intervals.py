"""Shares and means with intervals for pairs that come in queries.

Pairs of one query share its responses, so they are not independent: n pairs tell less than n
draws. Everything here is a ratio of two sums over queries, sum(a) / sum(n), with `a` the pairs
of a query that have a property (or the sum of their values) and `n` its pairs. The variance is
the cluster-robust one of a ratio (Cochran, Sampling Techniques, chapter 6),

    G / (G - 1) * sum((a - r n)^2) / sum(n)^2      over G queries with n > 0,

which needs five running sums and no data kept, so that it streams. It agrees with a bootstrap
over queries. A mean gets r +- t; a share gets Wilson's interval at the number of independent
draws that would have this variance, so it stays within 0 and 1 and is not a point where all
pairs agree. t is Student's with G - 1 degrees of freedom; all intervals hold 95%.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Moments = npt.NDArray[np.float64]
"""(6, ...): queries with n > 0, and the sums of n, a, n*n, a*n and a*a. They add up; whole numbers stay exact."""

LEVEL = 0.95


def no_moments(*shape: int) -> Moments:
    """Moments of nothing."""
    return np.zeros((6, *shape))


def moments(a: npt.NDArray[Any], n: npt.NDArray[Any]) -> Moments:
    """Moments of `a` and `n` of shape (queries, ...), summed over the first axis. `a` is 0 where `n` is."""
    a, n = np.asarray(a, np.float64), np.asarray(n, np.float64)
    return np.stack([(n > 0).sum(0), n.sum(0), a.sum(0), (n * n).sum(0), (a * n).sum(0), (a * a).sum(0)])


def moments_by(key: npt.NDArray[np.int64], size: int, a: npt.NDArray[Any], n: npt.NDArray[Any]) -> Moments:
    """(6, size): the moments for each key; one element of `key`, `a` and `n` is one query under one key."""
    a, n = np.asarray(a, np.float64), np.asarray(n, np.float64)
    return np.stack([np.bincount(key, part, size) for part in ((n > 0) * 1.0, n, a, n * n, a * n, a * a)])


def share(moment: Moments) -> dict[str, Any]:
    """Moments (6) of a yes-or-no property: {"n", "share", "low", "high"}.

    `share` is None where n is 0; `low` and `high` are None below two queries, which cannot say how much queries
    differ.
    """
    groups, n, a, squares = (float(part) for part in moment[:4])
    found: dict[str, Any] = {"n": int(n), "share": None, "low": None, "high": None}
    if not n:
        return found
    p = found["share"] = a / n
    if groups < 2:
        return found
    variance = _variance(moment)
    # Where no query differs from the mean nothing can be estimated: count each query once, as far as they are equal.
    draws = min(n, p * (1 - p) / variance) if variance > 0 else n * n / squares
    z = _quantile(groups)
    middle, spread = p + z * z / (2 * draws), z * math.sqrt(p * (1 - p) / draws + z * z / (4 * draws * draws))
    # Within 0 and 1, and around p, also when a sum was rounded.
    found["low"] = min(p, max(0.0, (middle - spread) / (1 + z * z / draws)))
    found["high"] = max(p, min(1.0, (middle + spread) / (1 + z * z / draws)))
    return found


def mean(moment: Moments) -> dict[str, Any]:
    """Moments (6) of values: {"n", "mean", "low", "high"}; None where `share` has None."""
    groups, n, a = (float(part) for part in moment[:3])
    found: dict[str, Any] = {"n": int(n), "mean": a / n if n else None, "low": None, "high": None}
    if groups >= 2:
        half = _quantile(groups) * math.sqrt(_variance(moment))
        found |= {"low": found["mean"] - half, "high": found["mean"] + half}
    return found


def _variance(moment: Moments) -> float:
    groups, n, a, nn, an, aa = (float(part) for part in moment)
    r = a / n
    # Rounding may leave a sum of squares a little below 0.
    residual = max(0.0, aa - 2 * r * an + r * r * nn)
    if residual <= 1e-12 * max(aa, r * r * nn):
        return 0.0
    return groups / (groups - 1) * residual / (n * n)


def _quantile(groups: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(groups - 1, (1 + LEVEL) / 2))
