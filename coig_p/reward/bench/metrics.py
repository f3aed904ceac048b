"""Ratios of sums over items, and what is made of them, with intervals that take an item's pairs as one draw.

Everything that a report shows is a weighted sum of ratios sum(a) / sum(n), of which each item gives a part: accuracy
of a domain is one, the mean of domains is several, so is what a benchmark's own code makes of its parts. The variance
is that of its linear part in the items (Woodruff; for one ratio, the one of `coig_p.stats.intervals`),

    sum over items u of (sum_i w_i sqrt(G_i / (G_i - 1)) (a_iu - r_i n_iu) / N_i)^2

for ratios r_i with weights w_i, N_i = sum n_iu, over G_i items. It holds where ratios share items, too. A share gets
Wilson's interval at the number of independent draws that would have this variance, which is Wilson's own where each
item is one draw of yes or no; other values get r +- t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.reward.bench.outcomes import RULES, Outcomes, by_rule, groups
from coig_p.stats.intervals import LEVEL, wilson

BINS = 10
_STEPS, _CLOSE, _SEPARATED = 50, 1e-10, 20.0


class Ratio(NamedTuple):
    """sum(a) / sum(n); K parts, each of an item."""

    unit: Index
    a: Floats
    n: Floats


Terms = Sequence[tuple[float, Ratio]]
"""Ratios with their weights."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval.

    Attributes:
        n: pairs, or items, behind it.
        value: None where there is none.
        low, high: None where fewer than two items are behind one of its parts.
    """

    n: float
    value: float | None = None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        n = int(self.n) if float(self.n).is_integer() else self.n
        return {"n": n, "value": self.value, "low": self.low, "high": self.high}


def ratio(unit: Index, a: Floats | Mask, n: Floats | None = None) -> Ratio:
    """Of values `a` that each count once, unless `n` says how much."""
    return Ratio(unit, np.asarray(a, float), np.ones(len(unit)) if n is None else np.asarray(n, float))


def mean_of(ratios: Sequence[Ratio]) -> list[tuple[float, Ratio]]:
    """Ratios with equal weights."""
    return [(1 / len(ratios), one) for one in ratios]


def estimate(terms: Terms, *, share: bool = True) -> Estimate:
    """The weighted sum of ratios.

    Args:
        share: it is one, between 0 and 1, and its interval stays there.
    """
    n = math.fsum(float(one.n.sum()) for _, one in terms)
    if not terms or any(not one.n.any() for _, one in terms):
        return Estimate(n)
    units = 1 + max(int(one.unit.max()) for _, one in terms)
    influence, seen = np.zeros(units), np.zeros(units, bool)
    value = most = correlated = 0.0
    enough = True
    for weight, one in terms:
        size = float(one.n.sum())
        own = np.bincount(one.unit, one.n, units)
        r = float(one.a.sum()) / size
        value += weight * r
        count = int((own > 0).sum())
        seen |= own > 0
        enough &= count > 1
        if count > 1:
            scaled = weight * math.sqrt(count / (count - 1)) / size
            influence += scaled * (np.bincount(one.unit, one.a, units) - r * own)
        most += weight**2 / size
        correlated += weight**2 * float((own**2).sum()) / size**2
    if not enough:
        return Estimate(n, value)
    variance = float((influence**2).sum())
    if share and len(terms) == 1 and _simple(terms[0][1]):
        return Estimate(n, value, *wilson(value, n))
    z = _quantile(int(seen.sum()))
    if not share:
        half = z * math.sqrt(variance)
        return Estimate(n, value, value - half, value + half)
    value = min(1.0, max(0.0, value))  # sums of floats
    # Where no item differs nothing can be estimated: each counts once. Never more draws than there are pairs.
    exact = variance <= 1e-18
    draws = 1 / correlated if exact else min(1 / most, value * (1 - value) / variance)
    middle, spread = value + z * z / (2 * draws), z * math.sqrt(value * (1 - value) / draws + (z / (2 * draws)) ** 2)
    low, high = ((middle + sign * spread) / (1 + z * z / draws) for sign in (-1, 1))
    return Estimate(n, value, min(value, max(0.0, low)), max(value, min(1.0, high)))


def _simple(one: Ratio) -> bool:
    """Whether each item is one draw of yes or no."""
    own = np.bincount(one.unit, one.n)
    return bool((own <= 1).all() and np.isin(one.n, (0, 1)).all() and np.isin(one.a, (0, 1)).all())


def _quantile(count: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, (1 + LEVEL) / 2))


# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accuracy:
    """How often the better response of a pair is preferred.

    Attributes:
        pairs: all; right + ties + wrong + invalid + missing.
        right: with full credit.
        ties: equal rewards; of verdicts those that are ties or not the same in both orders.
        invalid: a judge's answer says nothing in one order at least; part of the share, with what the other gives.
        missing: not scored, and no part of the share.
        share: credit over scored pairs.
        lowest: the same with missing pairs as wrong.
    """

    pairs: int
    right: int
    ties: int
    wrong: int
    invalid: int
    missing: int
    share: Estimate
    lowest: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**{name: getattr(self, name) for name in COUNTS}, "share": self.share.to_dict(), "lowest": self.lowest}


COUNTS = ("pairs", "right", "ties", "wrong", "invalid", "missing")


def pair_ratio(outcomes: Outcomes, at: Index | Mask | None = None) -> Ratio:
    """Accuracy of scored pairs, all or those at some places."""
    chosen = np.flatnonzero(outcomes.scored) if at is None else _places(at, len(outcomes.item))
    chosen = chosen[outcomes.scored[chosen]]
    return ratio(outcomes.item[chosen], outcomes.credit[chosen])


def accuracy(outcomes: Outcomes, at: Index | Mask | None = None) -> Accuracy:
    """Accuracy of all pairs, or of those at some places."""
    chosen = np.arange(len(outcomes.item)) if at is None else _places(at, len(outcomes.item))
    tie, invalid, missing = (part[chosen] for part in (outcomes.tie, outcomes.invalid, outcomes.missing))
    credit = outcomes.credit[chosen]
    plain = ~(tie | invalid | missing)
    right = int((plain & (credit == 1)).sum())
    return Accuracy(
        pairs=len(chosen),
        right=right,
        ties=int(tie.sum()),
        wrong=int(plain.sum()) - right,
        invalid=int(invalid.sum()),
        missing=int(missing.sum()),
        share=estimate([(1.0, pair_ratio(outcomes, chosen))]),
        lowest=float(credit.sum()) / len(chosen) if len(chosen) else None,
    )


def pairs_by_domain(outcomes: Outcomes) -> dict[str, Index]:
    """Places of pairs by domain, domains in the order in which the benchmark names them."""
    items = outcomes.results.bench.items
    order = dict.fromkeys(item.domain for item in items)
    found = groups([items[at].domain for at in outcomes.item])
    return {name: found[name] for name in order if name in found}


def macro(outcomes: Outcomes) -> Estimate:
    """The mean of the domains' accuracies."""
    return estimate(mean_of([pair_ratio(outcomes, at) for at in pairs_by_domain(outcomes).values()]))


def _places(at: Index | Mask, length: int) -> Index:
    return np.arange(length)[at]


# ------------------------------------------------------------------------------------------------


def exact_ratio(outcomes: Outcomes, items: Index | None = None) -> Ratio:
    """Items of which all pairs are right.

    Left out are those without a pair, with one that is missing, or with one that a judge saw in one order only.
    """
    right = np.ones(outcomes.items)
    np.minimum.at(right, outcomes.item, np.where(outcomes.tie, 0.0, outcomes.credit) >= 1)
    counted = np.bincount(outcomes.item, minlength=outcomes.items) > 0
    counted &= np.bincount(outcomes.item, outcomes.missing | outcomes.once, outcomes.items) == 0
    kept = np.flatnonzero(counted) if items is None else items[counted[items]]
    return ratio(kept, right[kept])


def best_of_n_ratio(outcomes: Outcomes) -> Ratio:
    """Whether the response with the highest reward is one of the best; 1/k for each of k responses that share it.

    The best lose no pair. Responses in no pair take no part; items without a pair, or with one that is missing,
    neither. An item with a judge's rating that is invalid counts 0.
    """
    losing: dict[int, set[int]] = {}
    playing: dict[int, set[int]] = {}
    for item, winner, loser in zip(outcomes.item, outcomes.winner, outcomes.loser, strict=True):
        playing.setdefault(int(item), set()).update((int(winner), int(loser)))
        losing.setdefault(int(item), set()).add(int(loser))
    units, credits = [], []
    absent = set(outcomes.item[outcomes.missing].tolist())
    for item, all_ in playing.items():
        if item in absent:
            continue
        rewards = outcomes.results.results[item].rewards
        if rewards is None or any(rewards[one] is None for one in all_):
            units.append(item)
            credits.append(0.0)
            continue
        most = max(rewards[one] or 0.0 for one in all_)
        top = [one for one in all_ if rewards[one] == most]
        units.append(item)
        credits.append(sum(one not in losing[item] for one in top) / len(top))
    return ratio(np.array(units, np.int64), np.array(credits))


# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """How far sigma(r_w - r_l) is the probability that the better response is preferred.

    Attributes:
        nll: mean of -log sigma(r_w - r_l).
        brier: mean of (1 - sigma(r_w - r_l))^2.
        ece: mean distance of confidence and accuracy over bins of equal width from .5 to 1, by their pairs. Equal
            rewards have confidence .5 and are right by one half, whatever a tie counts elsewhere.
    """

    nll: Estimate
    brier: Estimate
    ece: float


def calibration(outcomes: Outcomes) -> Calibration | None:
    """None where there are no rewards of a model: a judge, a baseline."""
    kept = np.flatnonzero(outcomes.scored & np.isfinite(outcomes.delta))
    if outcomes.kind not in ("model", "server") or outcomes.orders is not None or not len(kept):
        return None
    from scipy.special import expit

    unit, delta = outcomes.item[kept], outcomes.delta[kept]
    return Calibration(
        estimate([(1.0, ratio(unit, np.logaddexp(0, -delta)))], share=False),
        estimate([(1.0, ratio(unit, expit(-delta) ** 2))], share=False),
        expected_calibration_error(expit(np.abs(delta)), np.where(delta == 0, 0.5, delta > 0)),
    )


def expected_calibration_error(confidence: Floats, right: Floats, bins: int = BINS) -> float:
    """The mean of |accuracy - confidence| over bins from .5 to 1, weighted by their pairs; the last bin is closed."""
    place = np.minimum(((confidence - 0.5) * 2 * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, right - confidence, bins)
    return float(np.abs(gap).sum() / len(confidence))


# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Length:
    """Accuracy by which response is longer.

    Attributes:
        chosen_longer, chosen_shorter: of pairs in which the better response is.
        balanced: the mean of both.
        same: pairs of equal length.
        at_equal: accuracy at equal length: sigma(b0) of logit right = b0 + b1 log(length of better / of worse).
        slope: b1, for one standard deviation of the log.
        why: "separated" where length alone tells right from wrong, "constant" where all are right or all wrong,
            "alike" where lengths do not differ; then at_equal is none.
    """

    chosen_longer: Estimate
    chosen_shorter: Estimate
    balanced: Estimate
    same: int
    at_equal: Estimate
    slope: float | None
    why: str | None


def by_length(outcomes: Outcomes) -> Length:
    """Accuracy by which response is longer, and at equal length; a length of no character counts nowhere."""
    known = outcomes.scored & np.isfinite(outcomes.longer)
    longer, shorter = (pair_ratio(outcomes, known & side) for side in (outcomes.longer > 0, outcomes.longer < 0))
    fitted, slope, why = at_equal_length(outcomes.item[known], outcomes.longer[known], outcomes.credit[known])
    return Length(
        estimate([(1.0, longer)]),
        estimate([(1.0, shorter)]),
        estimate(mean_of([longer, shorter])),
        int((known & (outcomes.longer == 0)).sum()),
        fitted,
        slope,
        why,
    )


def at_equal_length(unit: Index, longer: Floats, right: Floats) -> tuple[Estimate, float | None, str | None]:
    """sigma(b0) of a logistic regression on the log of the lengths' ratio, which is not centred; b1; why there is none.

    The interval is sigma(b0 +- t se), with the sandwich variance over items.
    """
    from scipy.special import expit

    n = len(right)
    spread = float(np.sqrt(np.mean((longer - longer.mean()) ** 2))) if n else 0.0
    if not n or spread == 0 or len(np.unique(unit)) < 3:
        return Estimate(n), None, "alike"
    if right.min() == right.max():
        return Estimate(n), None, "constant"
    x = np.column_stack([np.ones(n), longer / spread])
    beta = np.zeros(2)
    for _ in range(_STEPS):
        p = expit(x @ beta)
        hessian = (x * (p * (1 - p))[:, None]).T @ x
        if np.abs(beta).max() > _SEPARATED or np.linalg.cond(hessian) > 1e12:
            return Estimate(n), None, "separated"
        step = np.linalg.solve(hessian, x.T @ (right - p))
        beta = beta + step
        if np.abs(step).max() < _CLOSE:
            break
    else:
        return Estimate(n), None, "separated"
    p = expit(x @ beta)
    inverse = np.linalg.inv((x * (p * (1 - p))[:, None]).T @ x)
    scores = np.stack([np.bincount(unit, part) for part in ((right - p) * x[:, 0], (right - p) * x[:, 1])], axis=1)
    count = len(np.unique(unit))
    variance = count / (count - 1) * (inverse @ (scores.T @ scores) @ inverse)[0, 0]
    half = _quantile(count) * math.sqrt(variance)
    value, low, high = (float(expit(beta[0] + shift)) for shift in (0.0, -half, half))
    return Estimate(n, value, low, high), float(beta[1]), None


# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Position:
    """What a judge makes of the order.

    Attributes:
        verdicts: how often it was asked.
        ties, invalid: of verdicts.
        first_shown: of verdicts that are no tie, those for the response shown first.
        both: pairs with a verdict in both orders.
        consistent: of these, those with the same verdict in both.
        once: pairs that were asked in one order only: no part of the rules net and both.
        rules: accuracy by each of four rules.
    """

    verdicts: int
    ties: int
    invalid: int
    first_shown: Estimate
    both: int
    consistent: Estimate
    once: int
    rules: dict[str, Estimate]


def position(outcomes: Outcomes) -> Position | None:
    """None where nobody was shown two responses at once."""
    if outcomes.orders is None:
        return None
    said = [(at, one.verdict) for at, result in enumerate(outcomes.results.results) for one in result.verdicts or ()]
    decided = [(at, verdict == "first") for at, verdict in said if verdict in ("first", "second")]
    both: list[tuple[int, bool]] = []
    for at, orders in zip(outcomes.item, outcomes.orders, strict=True):
        if len(orders) > 1 and None not in orders:
            both.append((int(at), len(set(orders)) == 1))
    once = outcomes.scored & outcomes.once
    rules: dict[str, Ratio] = {}
    for rule in RULES:
        kept = np.flatnonzero(outcomes.scored & ~once if rule in ("net", "both") else outcomes.scored)
        rules[rule] = ratio(outcomes.item[kept], np.array([by_rule(outcomes.orders[at], rule) for at in kept], float))
    return Position(
        len(said),
        sum(verdict == "tie" for _, verdict in said),
        sum(verdict is None for _, verdict in said),
        estimate([(1.0, _of(decided))]),
        len(both),
        estimate([(1.0, _of(both))]),
        int(once.sum()),
        {rule: estimate([(1.0, one)]) for rule, one in rules.items()},
    )


def _of(found: Sequence[tuple[int, bool]]) -> Ratio:
    return ratio(np.array([at for at, _ in found], np.int64), np.array([value for _, value in found], float))
