"""Krippendorff's alpha of scores, from sums: 1 - observed / expected squared difference of two judges' scores.

`coig_p.stats.reliability` has the same number of a table of ratings. Here no table is laid out, since with squared
differences alpha is made of sums of scores and of their products, which add up over a store of any size:

    of a response with m judges   sum over i != k of (y_i - y_k)^2 / (m - 1) = 2 (m sum y^2 - (sum y)^2) / (m - 1)
    of all n scores together      sum over a != b of (y_a - y_b)^2 / (n - 1) = 2 (n sum y^2 - (sum y)^2) / (n - 1)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coig_p.core.arrays import Floats
from coig_p.stats.joint import Units
from coig_p.stats.reliability import Estimate

NO_TWO = "no response has two scores"
_DRAWS = 1_000


def interval_alpha(
    units: Units, judges: Sequence[str] | None = None, *, draws: int = _DRAWS, seed: int = 0
) -> Estimate:
    """Alpha of the scores of some judges, with a percentile interval over blocks of queries.

    Args:
        judges: two or more of those in `units`; default all.
    """
    at = [units.judges.index(one) for one in judges] if judges is not None else list(range(len(units.judges)))
    several = units.seen[:, at].sum(1)[units.unit]
    rows = np.flatnonzero(several >= 2)
    if not len(rows):
        return Estimate(why=NO_TWO)
    m = several[rows].astype(np.float64)
    blocks, block = np.unique(units.block[rows], return_inverse=True)
    products = units.products[rows][:, at][:, :, at]
    middle = units.total[rows][:, at].sum() / (units.count[rows] * m).sum()  # so that no digits are lost
    n = units.count[rows]
    total = units.total[rows][:, at]
    first = total.sum(1) - n * m * middle
    squares = np.einsum("nkk->n", products) - 2 * middle * total.sum(1) + n * m * middle**2
    # The sum over responses of (sum of y - middle)^2, judges that did not score left out.
    both = products.sum((1, 2)) - 2 * middle * (total.sum(1) * m) + n * m**2 * middle**2
    observed = (m * squares - both) / (m - 1)
    sums = np.stack([np.bincount(block, part, len(blocks)) for part in (n * m, first, squares, observed)])
    value = _alpha(sums.sum(1))
    if value is None:
        return Estimate(why="all scores are equal")
    if len(blocks) < 2:
        return Estimate(value)
    weights = np.random.default_rng(seed).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=draws)
    found = [one for one in map(_alpha, (weights @ sums.T)) if one is not None]
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _alpha(sums: Floats) -> float | None:
    n, first, squares, observed = sums.tolist()
    expected = (n * squares - first * first) / (n - 1) if n > 1 else 0.0
    return 1 - observed / expected if expected > 1e-12 * max(n, 1) else None
