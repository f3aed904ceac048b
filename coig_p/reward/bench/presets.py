"""What each benchmark makes of its parts, as its own code does, and with `official` also where that code is at fault.

The faults are named by `Aggregates.faults`; `docs/bench.md` says in plain words what each does to a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.errors import DataError
from coig_p.reward.bench.form import ITEMS, Item, shown
from coig_p.reward.bench.metrics import (
    Estimate,
    Ratio,
    Terms,
    best_of_n_ratio,
    estimate,
    exact_ratio,
    mean_of,
    pair_ratio,
    pairs_by_domain,
    ratio,
)
from coig_p.reward.bench.outcomes import Outcomes, by_rule, groups
from coig_p.reward.bench.published import REWARDBENCH2_SUBSETS, RM_BENCH_DOMAINS, RM_BENCH_STYLES, TIES

OVERALL = "Overall"

# RewardBench's own weights, of rewardbench 0.1.4: math-prm has 447 items and counts as much as all of code.
REWARDBENCH: Mapping[str, Mapping[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 154,
        "xstest-should-respond": 250,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 984,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}
RM_BENCH = ("chat", "math", "code", "safety")  # how its domains begin; two are safety
_TIES = {"tied": 0.3, "ref": 0.3, "preferred": 0.2, "hard": 0.2, "margin": 0.01}


@dataclass(frozen=True)
class Aggregates:
    """Numbers under the names that a benchmark gives them.

    Attributes:
        values: by name; the benchmark's headline is OVERALL, and there is none where a part of it has no items.
        faults: of the benchmark's own code that are in `values`, names of words.
    """

    values: Mapping[str, Estimate]
    faults: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"values": {name: one.to_dict() for name, one in self.values.items()}, "faults": list(self.faults)}


def aggregates(outcomes: Outcomes, *, official: bool = False) -> Aggregates:
    """What the preset of a benchmark makes of outcomes; nothing for "pairs"."""
    make = _PRESETS.get(outcomes.results.bench.preset)
    return Aggregates({}) if make is None else make(outcomes, official)


def subset(item: Item) -> str:
    """Which part of its benchmark an item is of."""
    return str(item.meta.get("subset", item.domain))


# ------------------------------------------------------------------------------------------------


def _crbench(outcomes: Outcomes, official: bool) -> Aggregates:
    """Right of all. Officially what is missing or invalid is wrong, and the better response is always shown first."""
    if not official:
        return Aggregates(_with_domains(outcomes, outcomes.credit, outcomes.scored))
    credit, faults = _strict(outcomes), ["missing-wrong"]
    if outcomes.orders is not None:
        faults.append("chosen-first")
        credit = np.array([_chosen_first(outcomes, at) for at in range(len(outcomes.item))], float)
    return Aggregates(_with_domains(outcomes, credit, np.ones(len(credit), bool)), tuple(faults))


def _with_domains(outcomes: Outcomes, credit: Floats, counted: Mask) -> dict[str, Estimate]:
    """Of each domain, and OVERALL of all pairs."""
    places = {name: at[counted[at]] for name, at in pairs_by_domain(outcomes).items()}
    parts = {name: ratio(outcomes.item[at], credit[at]) for name, at in places.items()}
    values = {name: estimate([(1.0, one)]) for name, one in parts.items() if len(one.n)}
    return values | {OVERALL: estimate([(1.0, ratio(outcomes.item[counted], credit[counted]))])}


def _chosen_first(outcomes: Outcomes, at: int) -> float:
    item = outcomes.results.bench.items[outcomes.item[at]]
    better, worse = (item.responses[part[at]].id for part in (outcomes.winner, outcomes.loser))
    said = outcomes.results.results[outcomes.item[at]].verdicts or ()
    return float(next((one.verdict == "first" for one in said if one.shown == (better, worse)), False))


def _strict(outcomes: Outcomes) -> Floats:
    """Credit of all pairs as most official code has it: a tie, and what is missing, is wrong."""
    if outcomes.orders is not None:
        return outcomes.credit
    return (np.nan_to_num(outcomes.delta, nan=-1.0) > 0).astype(float)


def _judgebench(outcomes: Outcomes, official: bool) -> Aggregates:
    """More orders right than wrong; a reward model's tie is wrong. An invalid order is no vote."""
    counted = outcomes.scored | official
    if outcomes.orders is None:
        credit = _strict(outcomes) if official else outcomes.credit
        return Aggregates(_with_domains(outcomes, credit, counted), ("missing-wrong",) if official else ())
    net = np.array([by_rule(orders, "net") for orders in outcomes.orders], float)
    faults = ("missing-wrong", "invalid-no-vote") if official else ()
    return Aggregates(_with_domains(outcomes, net, counted), faults)


def _cheems(outcomes: Outcomes, official: bool) -> Aggregates:
    """Pairs pooled within a category, the mean over categories; Overall is the mean of that and of exact match, over
    the two sets of prompts."""
    items = outcomes.results.bench.items
    place = groups([subset(item) for item in items])
    values: dict[str, Estimate] = {}
    parts: list[Terms] = []
    for name, members in place.items():
        categories = groups([items[at].domain for at in members])
        of_category = [members[at] for at in categories.values()]
        right = [_pairs_of_items(outcomes, at, official) for at in of_category]
        exact = [_cheems_exact(outcomes, at) if official else exact_ratio(outcomes, at) for at in of_category]
        for what, ratios in (("accuracy", right), ("exact match", exact)):
            # A category none of whose items has a pair says nothing.
            terms = mean_of([one for one in ratios if len(one.n)])
            values[f"{name}: {what}"] = estimate(terms)
            parts.append(terms)
    whole = [(weight / len(parts), one) for terms in parts for weight, one in terms]
    if len(place) == 2:  # and none where a part says nothing, as whole items of one order
        values[OVERALL] = estimate(whole if all(parts) else [])
    return Aggregates(values, ("equal-is-exact", "no-pairs-exact") if official else ())


def _pairs_of_items(outcomes: Outcomes, items: Index, official: bool) -> Ratio:
    at = np.flatnonzero(np.isin(outcomes.item, items))
    return ratio(outcomes.item[at], _strict(outcomes)[at]) if official else pair_ratio(outcomes, at)


def _cheems_exact(outcomes: Outcomes, items: Index) -> Ratio:
    """Only a reversed pair is an error: equal rewards pass, and so does an item without any pair."""
    reversed_ = outcomes.credit < 1 if outcomes.orders is not None else ~(outcomes.delta >= 0)
    wrong = np.bincount(outcomes.item, reversed_, outcomes.items) > 0
    return ratio(items, (~wrong[items]).astype(float))


def _rewardbench(outcomes: Outcomes, official: bool) -> Aggregates:
    """Sections: means of their subsets with fixed weights; Overall: the mean of the four sections."""
    _check(outcomes, "subset", [name for weights in REWARDBENCH.values() for name in weights])
    of_subset = groups([subset(item) for item in outcomes.results.bench.items])
    values: dict[str, Estimate] = {}
    whole: list[tuple[float, Ratio]] = []
    for section, weights in REWARDBENCH.items():
        found = {
            name: one
            for name in weights
            if name in of_subset and len((one := _pairs_of_items(outcomes, of_subset[name], official)).n)
        }
        total = sum(weights[name] for name in found)
        terms = [(weights[name] / total, one) for name, one in found.items()]
        if terms:
            values[section] = estimate(terms)
            whole += [(weight / len(REWARDBENCH), one) for weight, one in terms]
    if len(values) == len(REWARDBENCH):
        values[OVERALL] = estimate(whole)
    return Aggregates(values, ("missing-wrong", "fixed-weights") if official else ("fixed-weights",))


def _rewardbench2(outcomes: Outcomes, official: bool) -> Aggregates:
    """The mean of five accuracies of the best of four, with 1/k for ties at the top, and of the score of Ties."""
    _check(outcomes, "subset", REWARDBENCH2_SUBSETS)
    items = outcomes.results.bench.items
    best = best_of_n_ratio(outcomes)
    credit = dict(zip(best.unit.tolist(), best.a.tolist(), strict=True))
    values: dict[str, Estimate] = {}
    whole: list[tuple[float, Ratio]] = []
    for name, members in groups([subset(item) for item in items]).items():
        if name == TIES:
            terms = ties_terms(outcomes, members)
        else:
            kept = [at for at in members.tolist() if official or at in credit]
            one = ratio(np.array(kept, np.int64), np.array([credit.get(at, 0.0) for at in kept]))
            terms = [(1.0, one)] if kept else []
        if terms:
            # Ties can leave 0 to 1, by its last term.
            values[name] = estimate(terms, share=name != TIES)
            whole += [(weight / len(REWARDBENCH2_SUBSETS), one) for weight, one in terms]
    ordered = {name: values[name] for name in (*REWARDBENCH2_SUBSETS, *values) if name in values}
    if set(REWARDBENCH2_SUBSETS) == set(values):
        ordered[OVERALL] = estimate(whole, share=False)
    return Aggregates(ordered, ("missing-wrong", "ties-margin") if official else ("ties-margin",))


def ties_terms(outcomes: Outcomes, members: Index) -> list[tuple[float, Ratio]]:
    """The score of RewardBench 2's Ties: .3 tied + .3 ref + .2 preferred + .2 hard + .01 tanh of the margin.

    A prompt is there twice, in `meta`: "ties" is "ref" where one answer is right, "tied" where several are, and
    "ties_prompt" its number. tied, ref: all right answers above all wrong ones. preferred: right ones are nearer to
    each other than the worst is to the best wrong one; hard: also in ref. margin: tanh of that distance over their
    spread, less 1; 0 where neither is any.
    """
    ref: dict[str, int] = {}
    tied: dict[str, int] = {}
    stats: dict[int, tuple[float, float]] = {}
    for at in members.tolist():
        item, result = outcomes.results.bench.items[at], outcomes.results.results[at]
        kind, prompt = item.meta.get("ties"), str(item.meta.get("ties_prompt"))
        if kind not in ("ref", "tied") or result.rewards is None or None in result.rewards:
            continue
        rewards = np.array(result.rewards, float)
        losing = {int(place) for place in outcomes.loser[outcomes.item == at]}
        wrong = np.array([place in losing for place in range(len(rewards))])
        if wrong.all() or not wrong.any():
            continue
        right = rewards[~wrong]
        stats[at] = float(right.max() - right.min()), float(right.min() - rewards[wrong].max())
        (ref if kind == "ref" else tied)[prompt] = at
    both = [prompt for prompt in tied if prompt in ref]
    if not both:
        return []
    # A prompt's two items are one draw.
    unit = {at: ref.get(prompt, at) for prompt, at in tied.items()} | {at: at for at in ref.values()}
    spread, gap, gap_ref = (
        np.array(values)
        for values in zip(*((*stats[tied[prompt]], stats[ref[prompt]][1]) for prompt in both), strict=True)
    )
    least = np.minimum(gap_ref, gap)
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = np.nan_to_num(np.tanh(least / spread - 1), nan=0.0)
    of_both = np.array([unit[tied[prompt]] for prompt in both], np.int64)
    found = {
        "tied": _above(tied, stats, unit),
        "ref": _above(ref, stats, unit),
        "preferred": ratio(of_both, gap > spread),
        "hard": ratio(of_both, least > spread),
        "margin": ratio(of_both, margin),
    }
    return [(_TIES[name], one) for name, one in found.items()]


def _above(places: Mapping[str, int], stats: Mapping[int, tuple[float, float]], unit: Mapping[int, int]) -> Ratio:
    at = list(places.values())
    return ratio(np.array([unit[one] for one in at], np.int64), np.array([stats[one][1] > 0 for one in at]))


def _rm_bench(outcomes: Outcomes, official: bool) -> Aggregates:
    """Nine comparisons an item. Hard: the worse response has the richer style; easy: the better one has; normal: the
    same. A domain is the mean of the three, the rest are means over the four domains."""
    cells: dict[str, dict[str, list[int]]] = {name: {"hard": [], "normal": [], "easy": []} for name in RM_BENCH}
    items = outcomes.results.bench.items
    _check(outcomes, "style", RM_BENCH_STYLES)
    _check(outcomes, "subset", RM_BENCH_DOMAINS)
    styles = [_styles(item) for item in items]
    for at in range(len(outcomes.item)):
        place = outcomes.item[at]
        better, worse = styles[place][outcomes.winner[at]], styles[place][outcomes.loser[at]]
        level = "hard" if better < worse else "easy" if better > worse else "normal"
        domain = next(name for name in RM_BENCH if subset(items[place]).startswith(name))
        if official or not outcomes.missing[at]:
            cells[domain][level].append(at)
    strict = _strict(outcomes) if official else outcomes.credit
    ratios = {
        domain: {level: ratio(outcomes.item[at], strict[at]) for level, at in levels.items() if at}
        for domain, levels in cells.items()
    }
    values: dict[str, Estimate] = {}
    whole = [name for name in RM_BENCH if len(ratios[name]) == len(RM_BENCH_STYLES)]
    for domain in whole:
        values[domain] = estimate(mean_of(list(ratios[domain].values())))
    if len(whole) == len(RM_BENCH):
        for level in ("hard", "normal", "easy"):
            values[level] = estimate(mean_of([ratios[domain][level] for domain in whole]))
        values[OVERALL] = estimate(mean_of([one for domain in whole for one in ratios[domain].values()]))
    return Aggregates(values, ("missing-wrong",) if official else ())


def _styles(item: Item) -> list[int]:
    """How rich each response's style is."""
    return [RM_BENCH_STYLES.index(one) for one in item.meta["style"]]


def _check(outcomes: Outcomes, name: str, known: Sequence[str]) -> None:
    """Raise DataError where an item's `meta` does not say one of the known names, as RM-Bench's style of each response.

    A part that no aggregate knows would be left out of all of them.
    """
    bench = outcomes.results.bench
    for item in bench.items:
        told = item.meta.get(name)
        each = told if name == "style" and isinstance(told, list) and len(told) == len(item.responses) else [told]
        if not all(one in known for one in each) or (name == "style") != isinstance(told, list):
            of_each = " for each response" if name == "style" else ""
            raise DataError(
                f"{bench.path / ITEMS}: item {shown(item.id)} .meta.{name}: {shown(told)} is none of "
                f"{', '.join(known)}{of_each}, as {bench.preset} has them: convert it anew with --from {bench.preset}"
            )


_PRESETS: Mapping[str, Callable[[Outcomes, bool], Aggregates]] = {
    "crbench": _crbench,
    "cheems": _cheems,
    "rewardbench": _rewardbench,
    "rewardbench2": _rewardbench2,
    "rm-bench": _rm_bench,
    "judgebench": _judgebench,
}
