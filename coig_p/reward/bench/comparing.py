"""Two scorers on the same pairs: exact McNemar, a paired bootstrap over items, Holm over many, and power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from coig_p.core.arrays import Floats, Index
from coig_p.errors import UsageError
from coig_p.reward.bench.metrics import exact_ratio
from coig_p.reward.bench.outcomes import Outcomes

RESAMPLES = 10_000
ALPHA, POWER = 0.05, 0.8
_AT_ONCE = 1 << 22  # numbers


@dataclass(frozen=True)
class Comparison:
    """A scorer against another, on what both scored.

    Attributes:
        pairs, items: that both scored.
        share, share_against: accuracy of these pairs.
        difference: the first less the second, with its 95% interval by a paired bootstrap over items.
        p: of no difference, by the same bootstrap.
        both, only, only_against, neither: items that are wholly right for both, one, or neither scorer.
        mcnemar: p of the exact test that `only` and `only_against` are equally likely. None, and no power, where one
            was asked in two orders and the other was not: a guesser's whole item of one pair is right in 1/4 and in
            1/2 of all cases. None, too, where no item is wholly scored by both.
        p_holm, mcnemar_holm: the same, adjusted for all comparisons of a report.
        power: the chance to see a difference as large as this one, with as many items, at 5%.
        needed: items that would give a chance of 80%; None where both are right equally often.
    """

    name: str
    against: str
    pairs: int
    items: int
    share: float
    share_against: float
    difference: float
    low: float
    high: float
    p: float
    both: int
    only: int
    only_against: int
    neither: int
    mcnemar: float | None
    power: float | None
    needed: int | None
    p_holm: float = 1.0
    mcnemar_holm: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return dict(vars(self))


def compare(one: Outcomes, other: Outcomes, *, seed: int = 0, resamples: int = RESAMPLES) -> Comparison:
    """A scorer against another.

    Raises:
        UsageError: they are of two benchmarks, or scored no pair that the other did.
    """
    if one.results.bench.sha256 != other.results.bench.sha256:
        raise UsageError(
            f"{one.results.path} and {other.results.path} are results of two benchmarks, {one.results.bench.name!r} "
            f"and {other.results.bench.name!r}: compare scorers on one"
        )
    kept = common_pairs(one, other)
    if not len(kept):
        raise UsageError(f"{one.results.path} and {other.results.path}: no pair that both scored, nothing to compare")
    credit, against = one.credit[kept], other.credit[kept]
    low, high, p = paired_bootstrap(one.item[kept], credit - against, seed=seed, resamples=resamples)
    right, right_against = (_items(exact_ratio(outcomes)) for outcomes in (one, other))
    common = [at for at in right if at in right_against]
    table = [[0, 0], [0, 0]]
    for at in common:
        table[right[at]][right_against[at]] += 1
    only, only_against = table[1][0], table[0][1]
    alike = bool(common) and (one.orders is None) == (other.orders is None)
    power, needed = power_of(only, only_against, len(common)) if alike else (None, None)
    return Comparison(
        one.name,
        other.name,
        len(kept),
        len(np.unique(one.item[kept])),
        float(credit.mean()),
        float(against.mean()),
        float((credit - against).mean()),
        low,
        high,
        p,
        *(table[1][1], only, only_against, table[0][0]),
        exact_mcnemar(only, only_against) if alike else None,
        power,
        needed,
    )


def common_pairs(one: Outcomes, other: Outcomes) -> Index:
    """Places of the pairs that two scorers of one benchmark both scored."""
    return np.flatnonzero(one.scored & other.scored)


def couples(every: Sequence[Outcomes], against: Outcomes | None = None) -> list[tuple[Outcomes, Outcomes]]:
    """Every scorer with one, or every two of them, the one named first as the second."""
    if against is not None:
        return [(one, against) for one in every]
    return [(one, other) for at, other in enumerate(every) for one in every[at + 1 :]]


def compare_all(two: Sequence[tuple[Outcomes, Outcomes]], *, seed: int = 0) -> list[Comparison]:
    """Each two; p adjusted for all.

    Raises:
        UsageError: as `compare`.
    """
    found = [compare(one, other, seed=seed) for one, other in two]
    p = holm([one.p for one in found])
    tested = [at for at, one in enumerate(found) if one.mcnemar is not None]
    mcnemar = dict(zip(tested, holm([one.mcnemar for one in found if one.mcnemar is not None]), strict=True))
    return [replace(one, p_holm=p[at], mcnemar_holm=mcnemar.get(at)) for at, one in enumerate(found)]


def exact_mcnemar(only: int, only_against: int) -> float:
    """p, two-sided, of the exact test: of all items on which two differ, each is right in one half; 1 of no item."""
    from scipy.stats import binom

    n = only + only_against
    return min(1.0, 2 * float(binom.cdf(min(only, only_against), n, 0.5))) if n else 1.0


def paired_bootstrap(
    item: Index, difference: Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """The 95% interval of the mean difference over pairs, and p of none, two-sided; whole items are drawn.

    p counts resamples on the other side of 0, those at 0 half, and one more, so that it is never 0.
    """
    _, place = np.unique(item, return_inverse=True)
    total, size = np.bincount(place, difference), np.bincount(place)
    count, random = len(size), np.random.default_rng(seed)
    drawn: list[Floats] = []
    step = max(1, _AT_ONCE // count)
    for begin in range(0, resamples, step):
        at = random.integers(0, count, (min(step, resamples - begin), count))
        drawn.append(total[at].sum(1) / size[at].sum(1))
    means = np.concatenate(drawn)
    low, high = (float(one) for one in np.quantile(means, [ALPHA / 2, 1 - ALPHA / 2]))
    close = np.abs(means) < 1e-12  # sums in another order
    half = close.sum() / 2
    least = min((means[~close] < 0).sum() + half, (means[~close] > 0).sum() + half)
    return low, high, min(1.0, 2 * float(least + 1) / (resamples + 1))


def holm(p: Sequence[float]) -> list[float]:
    """p adjusted for as many tests, step down (Holm 1979): none below its share stands, and none below a smaller p."""
    adjusted = [1.0] * len(p)
    most = 0.0
    for nth, at in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
        most = max(most, min(1.0, (len(p) - nth) * p[at]))
        adjusted[at] = most
    return adjusted


def power_of(only: int, only_against: int, items: int) -> tuple[float | None, int | None]:
    """The chance that McNemar's test at 5% sees a difference such as this with as many items; items for 80%.

    Normal approximation (Connor 1987), with d the difference and s the share of items on which two differ:
    power = Phi((|d| sqrt(n) - z sqrt(s)) / sqrt(s - d^2)).
    """
    if not items or only == only_against:
        return None, None
    d, s = abs(only - only_against) / items, (only + only_against) / items
    normal = NormalDist()
    z, wanted = normal.inv_cdf(1 - ALPHA / 2), normal.inv_cdf(POWER)
    spread = math.sqrt(max(s - d * d, 0.0))
    reach = d * math.sqrt(items) - z * math.sqrt(s)
    power = normal.cdf(reach / spread) if spread else float(reach > 0)
    return power, math.ceil(((z * math.sqrt(s) + wanted * spread) / d) ** 2)


def _items(found: Any) -> dict[int, int]:
    return dict(zip(found.unit.tolist(), found.a.astype(int).tolist(), strict=True))
