"""How far raters agree, beyond what chance would have them agree: the numbers alone.

Ratings are an array of shape (units, raters), NaN where a rater did not rate a unit. A unit counts once for every
time it was drawn (`weights`), which is how the intervals are made. With c the counts of each category in a unit and m
their sum:

    percent    equal ratings / units that both rated, for two raters; of several the mean of these cells (TaP, table 2)
    alpha      1 - Do / De, of the coincidences sum over units of (c c^T - diag c) / (m - 1), units of m >= 2 alone
               (Krippendorff, Content Analysis, chapter 12)
    Cohen      (p - e) / (1 - e), with e from each rater's own shares
    Fleiss     the same for several raters, e from all ratings; only where every unit has as many of them
    AC1        the same with e = sum of q (1 - q) / (categories - 1), q a category's mean share of a unit (Gwet 2008)

Alpha and both kappas say how well units can be told apart: where nearly all units are alike they are low though raters
hardly ever differ, and percent and AC1 are high. None of them is shown without the others.
A number that is not defined, as alpha of one category, is None and never 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from coig_p.core.arrays import Floats, Index

Level = Literal["nominal", "ordinal", "interval"]
Number = Callable[[Index], float | None]
"""A number of a table, given how often each unit counts."""
DRAWS = 1_000
_DEFINED = 0.9  # of the draws of a bootstrap in which a number must exist, for an interval to be told of it


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval.

    Attributes:
        value: None where it is not defined.
        low, high: None where no interval can be told: below two groups, or not defined in a tenth of the draws.
        why: why there is no value: "no overlap" (no unit has two ratings), "one category" (all ratings are alike), or
            "uneven" (of Fleiss' kappa: units have different numbers of ratings).
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    why: str | None = None


@dataclass(frozen=True)
class Between:
    """Two raters: units that both rated, equal ratings among them, and Cohen's kappa."""

    one: str
    two: str
    units: int
    same: int
    kappa: float | None

    @property
    def percent(self) -> float | None:
        """The share of equal ratings, from 0 to 1; None where no unit was rated by both."""
        return self.same / self.units if self.units else None


@dataclass(frozen=True)
class Reliability:
    """What is to be told of a table of ratings.

    Attributes:
        units: that two raters or more rated.
        ratings: of those units.
        pairs: every two raters that share a unit.
    """

    units: int
    ratings: int
    percent: Estimate
    alpha: Estimate
    ac1: Estimate
    fleiss: Estimate
    pairs: tuple[Between, ...]


def reliability(
    ratings: npt.ArrayLike,
    raters: Sequence[str],
    groups: npt.ArrayLike | None = None,
    *,
    level: Level = "nominal",
    categories: int | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Reliability:
    """All numbers of a table, with intervals by bootstrap over its groups.

    Args:
        raters: their names, one a column.
        groups: which units belong together, as those of one query; default: each stands alone.
        categories: how many there could be, for AC1; default: as many as there are.
    """
    table = _table(ratings)
    pairs = []
    for one, two in combinations(range(table.shape[1]), 2):
        both = ~np.isnan(table[:, [one, two]]).any(1)
        if both.any():
            left, right = table[both, one], table[both, two]
            same = int((left == right).sum())
            pairs.append(Between(raters[one], raters[two], int(both.sum()), same, cohen_kappa(left, right)))
    counts = _counts(table).sum(1)
    several = counts >= 2
    numbers = {"percent": _percent(table), "alpha": _alpha(table, level), "ac1": _ac1(table, categories)}
    why = uneven(table)
    if why is None:
        numbers["fleiss"] = _fleiss(table)
    found = estimates(numbers, len(table), groups, seed=seed, draws=draws)
    none = "one category" if several.any() else "no overlap"
    told = {name: Estimate(why=none) if one.value is None else one for name, one in found.items()}
    return Reliability(
        units=int(several.sum()),
        ratings=int(counts[several].sum()),
        percent=told["percent"],
        alpha=told["alpha"],
        ac1=told["ac1"],
        fleiss=told.get("fleiss", Estimate(why=why)),
        pairs=tuple(pairs),
    )


def percent(ratings: npt.ArrayLike) -> float | None:
    """The mean over every two raters of the share of units, of those both rated, that they rated alike."""
    return _of_all(_percent, ratings)


def krippendorff_alpha(ratings: npt.ArrayLike, level: Level = "nominal") -> float | None:
    """Krippendorff's alpha; None where no unit has two ratings, or all ratings are of one category."""
    return _of_all(_alpha, ratings, level)


def cohen_kappa(one: npt.ArrayLike, two: npt.ArrayLike) -> float | None:
    """Cohen's kappa over units that both rated; None without any, and where both give one category alone."""
    table = _table(np.column_stack([one, two]))
    table = table[~np.isnan(table).any(1)]
    values = np.unique(table)
    if not len(table):
        return None
    shares = [(table[:, side, None] == values).mean(0) for side in (0, 1)]
    return _beyond(float((table[:, 0] == table[:, 1]).mean()), float(shares[0] @ shares[1]))


def fleiss_kappa(ratings: npt.ArrayLike) -> float | None:
    """Fleiss' kappa; None where `uneven` says why not, and where all ratings are of one category."""
    return None if uneven(ratings) else _of_all(_fleiss, ratings)


def uneven(ratings: npt.ArrayLike) -> str | None:
    """Why Fleiss' kappa has no meaning here, as `Estimate.why` has it; None where it has.

    It needs as many ratings of each unit. Units without any are left out.
    """
    sizes = np.unique(_counts(_table(ratings)).sum(1))
    sizes = sizes[sizes > 0]
    return "no overlap" if not (sizes > 1).any() else "uneven" if len(sizes) > 1 else None


def gwet_ac1(ratings: npt.ArrayLike, categories: int | None = None) -> float | None:
    """Gwet's AC1; None where no unit has two ratings, or there is one category alone.

    Args:
        categories: how many there could be, where some do not occur; default: as many as there are.
    """
    return _of_all(_ac1, ratings, categories)


def row_means(cells: npt.ArrayLike) -> Floats:
    """The last column of TaP's table 2: of a square of shares the mean of each row without the diagonal, and NaN."""
    table = np.array(cells, np.float64)
    np.fill_diagonal(table, np.nan)
    known = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, table, 0).sum(1) / known.sum(1))


def estimates(
    numbers: Mapping[str, Number], units: int, groups: npt.ArrayLike | None = None, *, seed: int = 0, draws: int = DRAWS
) -> dict[str, Estimate]:
    """Numbers of one table with percentile intervals, of the same draws of its groups with replacement.

    Args:
        groups: (units), which belong together; default: each stands alone.
    """
    _, of = np.unique(np.arange(units) if groups is None else np.asarray(groups), return_inverse=True)
    size = int(of.max(initial=-1)) + 1
    once = np.ones(units, np.int64)
    values = {name: number(once) for name, number in numbers.items()}
    found: dict[str, list[float]] = {name: [] for name, value in values.items() if value is not None}
    rng = np.random.default_rng(seed)
    for _ in range(draws if size > 1 and found else 0):
        weights = rng.multinomial(size, np.full(size, 1 / size))[of]
        for name, drawn in found.items():
            if (value := numbers[name](weights)) is not None:
                drawn.append(value)
    return {name: _estimate(value, found.get(name, []), draws) for name, value in values.items()}


def _estimate(value: float | None, found: Sequence[float], draws: int) -> Estimate:
    if value is None or len(found) < max(2, _DEFINED * draws):
        return Estimate(value)
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


# ------------------------------------------------------------------------------------------------


def _table(ratings: npt.ArrayLike) -> Floats:
    table = np.asarray(ratings, np.float64)
    return table[:, None] if table.ndim == 1 else table


def _counts(table: Floats) -> Index:
    """(units, k): how often each category that occurs is in each unit; categories ascend."""
    known = ~np.isnan(table)
    values, code = np.unique(table[known], return_inverse=True)
    cells = np.nonzero(known)[0] * len(values) + code
    return np.bincount(cells, minlength=len(table) * len(values)).reshape(len(table), len(values)).astype(np.int64)


def _of_all(number: Callable[..., Number], ratings: npt.ArrayLike, *args: Any) -> float | None:
    table = _table(ratings)
    return number(table, *args)(np.ones(len(table), np.int64))


def _percent(table: Floats) -> Number:
    pairs = list(combinations(range(table.shape[1]), 2))
    one, two = (table[:, [pair[side] for pair in pairs]] for side in (0, 1))
    both, same = ~(np.isnan(one) | np.isnan(two)), one == two

    def number(weights: Index) -> float | None:
        units = weights @ both
        shared = units > 0
        return float(np.mean((weights @ same)[shared] / units[shared])) if shared.any() else None

    return number


def _alpha(table: Floats, level: Level = "nominal") -> Number:
    values, counts = np.unique(table[~np.isnan(table)]), _counts(table)
    counts = counts[(several := counts.sum(1) >= 2)]
    share = counts / (counts.sum(1, keepdims=True) - 1)

    def number(weights: Index) -> float | None:
        weighted = share * weights[several, None]
        coincidences = weighted.T @ counts - np.diag(weighted.sum(0))
        totals = coincidences.sum(0)
        n, apart = totals.sum(), _distance(values, totals, level)
        expected = float(totals @ apart @ totals)
        return 1 - float((coincidences * apart).sum()) * float(n - 1) / expected if expected > 0 and n > 1 else None

    return number


def _distance(values: Floats, totals: Floats, level: Level) -> Floats:
    """(k, k): the squared difference of every two categories."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    # Of ordinal ones the ratings that lie between, and half of those at both ends.
    scale = values if level == "interval" else np.cumsum(totals) - totals / 2
    return np.asarray(np.subtract.outer(scale, scale) ** 2)


def _fleiss(table: Floats) -> Number:
    counts = _counts(table)
    rated = counts.sum(1) > 0
    size = int(counts.sum(1).max(initial=2))
    same = (counts * (counts - 1)).sum(1) / (size * (size - 1))

    def number(weights: Index) -> float | None:
        units = int(weights[rated].sum())
        if not units:
            return None
        shares = weights @ counts / (units * size)
        return _beyond(float(weights @ same) / units, float(shares @ shares))

    return number


def _ac1(table: Floats, categories: int | None = None) -> Number:
    counts = _counts(table)
    kinds = max(categories or 0, counts.shape[1])
    size = counts.sum(1)
    rated, several = size > 0, size >= 2
    shares = counts / np.maximum(size, 1)[:, None]
    same = (counts * (counts - 1)).sum(1) / np.maximum(size * (size - 1), 1)

    def number(weights: Index) -> float | None:
        units = int(weights[several].sum())
        if not units or kinds < 2:
            return None
        mean = weights @ shares / weights[rated].sum()
        return _beyond(float(weights @ same) / units, float(mean @ (1 - mean)) / (kinds - 1))

    return number


def _beyond(seen: float, chance: float) -> float | None:
    """What is seen beyond chance, of what could be."""
    return (seen - chance) / (1 - chance) if chance < 1 else None
