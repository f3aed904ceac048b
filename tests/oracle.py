"""The pairs of raw rows, the slow and obvious way: DESIGN.md's section "Pairs" in plain Python.

Nothing here is shared with ``coig_p.pairs.kernel``. Every number is a Fraction until it is written into
a row, so that the expected chosen_score, rejected_score and margin are the floats nearest to the
exact values.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import combinations, pairwise
from typing import Any

Row = dict[str, Any]
Sides = dict[tuple[int, int], tuple[Fraction, Fraction]]
"""For a pair of response indices (low, high): the value of the low one and of the high one."""
Rewards = dict[tuple[str, int], float | None]
"""By query_id and the response's place in it."""


def oracle_pairs(
    rows: list[Row],
    *,
    threshold: float,
    strict: bool = False,
    aggregation: str = "mean",
    judges: tuple[str, ...] | None = None,
    include_self_judged: bool = False,
    labels: str = "auto",
    strategy: str = "all",
    comparison_threshold: float | None = None,
    calibrate: dict[str, Any] | None = None,
    min_judges: int = 1,
    same_judges: bool = False,
    both_orders: bool | None = None,
    rewards: Rewards | None = None,
    min_reward_margin: float = 0,
) -> list[Row]:
    """The dpo rows of `rows`, in order. For "best_random": every pair that the draw may take.

    Args:
        calibrate: what a calibration file holds.
        rewards: those that pairs must agree with.
    """
    found = []
    for row in rows:
        values = response_values(row, aggregation, judges, include_self_judged, calibrate, min_judges)
        groups = judge_groups(row, values, judges, include_self_judged) if same_judges else [list(values)]
        compared = comparison_values(row, judges, include_self_judged, min_judges, both_orders)
        by_scores = {pair for group in groups for pair in combinations(sorted(group), 2)}
        sides_of = query_pairs(row, values, compared, labels, strategy, groups)
        for (low, high), (low_value, high_value) in sides_of.items():
            margin = abs(low_value - high_value)
            decides = labels == "comparisons" or (low, high) not in by_scores
            least = threshold if comparison_threshold is None or not decides else comparison_threshold
            if is_valid(row, low, high, margin, least, strict):
                better = low_value > high_value
                chosen, rejected = (low, high) if better else (high, low)
                if rewards is not None and not is_confirmed(row, chosen, rejected, rewards, min_reward_margin):
                    continue
                found.append(
                    {
                        "prompt": row["query"],
                        "chosen": row["responses"][chosen]["text"],
                        "rejected": row["responses"][rejected]["text"],
                        "query_id": row["query_id"],
                        "domain": row["domain"],
                        "chosen_model": row["responses"][chosen]["model"],
                        "rejected_model": row["responses"][rejected]["model"],
                        "chosen_score": float(max(low_value, high_value)),
                        "rejected_score": float(min(low_value, high_value)),
                        "margin": float(margin),
                    }
                )
    return found


def oracle_ranked(rows: list[Row], *, threshold: float, strict: bool = False, **scoring: Any) -> list[Row]:
    """The rows of format "ranked", in order: of every query with a pair all responses that have a score, best first.

    Args:
        scoring: aggregation, judges, include_self_judged, calibrate, min_judges, as `oracle_pairs` takes them.
    """
    usual = {"aggregation": "mean", "judges": None, "include_self_judged": False}
    found = []
    for row in rows:
        if not oracle_pairs([row], threshold=threshold, strict=strict, labels="scores", **scoring):
            continue
        values = response_values(row, **(usual | scoring))
        answers = row["responses"]
        order = sorted(values, key=lambda at: (-values[at], answers[at]["model"], answers[at]["sample"]))
        found.append(
            {
                "prompt": row["query"],
                "responses": [answers[at]["text"] for at in order],
                "models": [answers[at]["model"] for at in order],
                "scores": [float(values[at]) for at in order],
                "ranks": [1 + sum(other > values[at] for other in values.values()) for at in order],
                "query_id": row["query_id"],
                "domain": row["domain"],
            }
        )
    return found


@cache
def exact(score: float) -> Fraction:
    """What a score or threshold on the grid of 1/10000 stands for."""
    return Fraction(round(score * 10_000), 10_000)


def mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def median(values: list[Fraction]) -> Fraction:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


AGGREGATE: dict[str, Callable[[list[Fraction]], Fraction]] = {"mean": mean, "median": median, "min": min, "max": max}


def same_name(judge: str, model: str) -> bool:
    return judge.strip().lower() == model.strip().lower()


def calibrated(score: float, judge: str, file: dict[str, Any]) -> Fraction:
    """A score on the scale that a calibration file brings judges to, on the grid."""
    own, reference = file["judges"][judge], file["reference"]
    value = reference["offset"] + reference["scale"] * (score - own["offset"]) / own["scale"]
    return Fraction(round(value * 10_000), 10_000)


def usable_scores(
    response: Row, judges: tuple[str, ...] | None, include_self_judged: bool, calibrate: dict[str, Any] | None = None
) -> dict[str, list[Fraction]]:
    """The scores of a response that count, by judge."""
    by_judge = defaultdict(list)
    for entry in response["scores"] or []:
        if judges is not None and entry["judge"] not in judges:
            continue
        if not include_self_judged and same_name(entry["judge"], response["model"]):
            continue
        score = entry["score"]
        by_judge[entry["judge"]].append(calibrated(score, entry["judge"], calibrate) if calibrate else exact(score))
    return by_judge


def response_values(
    row: Row,
    aggregation: str,
    judges: tuple[str, ...] | None,
    include_self_judged: bool,
    calibrate: dict[str, Any] | None = None,
    min_judges: int = 1,
) -> dict[int, Fraction]:
    """The value of each response that has usable scores of enough judges."""
    values = {}
    for index, response in enumerate(row["responses"] or []):
        by_judge = usable_scores(response, judges, include_self_judged, calibrate)
        if len(by_judge) >= min_judges:
            values[index] = AGGREGATE[aggregation]([mean(scores) for scores in by_judge.values()])
    return values


def judge_groups(
    row: Row, values: dict[int, Fraction], judges: tuple[str, ...] | None, include_self_judged: bool
) -> list[list[int]]:
    """The responses with a value, those of equal judges together."""
    groups: dict[frozenset[str], list[int]] = defaultdict(list)
    for index in values:
        of = frozenset(usable_scores(row["responses"][index], judges, include_self_judged))
        groups[of].append(index)
    return list(groups.values())


def comparison_values(
    row: Row,
    judges: tuple[str, ...] | None,
    include_self_judged: bool,
    min_judges: int = 1,
    both_orders: bool | None = None,
) -> Sides:
    """Each pair of responses in a usable comparison, with the mean score of either side."""
    by_pair: dict[tuple[int, int], dict[str, list[tuple[Fraction, Fraction]]]] = defaultdict(lambda: defaultdict(list))
    for entry in row["comparisons"] or []:
        first, second, judge = entry["first"], entry["second"], entry["judge"]
        if judges is not None and judge not in judges:
            continue
        shown = [row["responses"][index]["model"] for index in (first, second)]
        if not include_self_judged and any(same_name(judge, model) for model in shown):
            continue
        sides = exact(entry["first_score"]), exact(entry["second_score"])
        if first < second:
            by_pair[first, second][judge].append(sides)
        else:
            by_pair[second, first][judge].append((sides[1], sides[0]))
    result = {}
    for pair, by_judge in by_pair.items():
        if both_orders:
            by_judge = in_both_orders(row, pair, by_judge)
        if not by_judge or len(by_judge) < min_judges:
            continue
        low_side = mean([mean([low for low, _ in entries]) for entries in by_judge.values()])
        high_side = mean([mean([high for _, high in entries]) for entries in by_judge.values()])
        result[pair] = low_side, high_side
    return result


def in_both_orders(
    row: Row, pair: tuple[int, int], by_judge: dict[str, list[tuple[Fraction, Fraction]]]
) -> dict[str, list[tuple[Fraction, Fraction]]]:
    """Of each judge that saw a pair in both orders two entries: what it said in either, on average."""
    found = {}
    for judge in by_judge:
        orders = []
        for first, second in (pair, pair[::-1]):
            said = [
                (exact(entry["first_score"]), exact(entry["second_score"]))
                for entry in row["comparisons"]
                if (entry["first"], entry["second"], entry["judge"]) == (first, second, judge)
            ]
            if said:
                sides = mean([one for one, _ in said]), mean([other for _, other in said])
                orders.append(sides if first < second else sides[::-1])
        if len(orders) == 2:
            found[judge] = orders
    return found


def query_pairs(
    row: Row,
    values: dict[int, Fraction],
    compared: Sides,
    labels: str,
    strategy: str,
    groups: list[list[int]] | None = None,
) -> Sides:
    """The pairs that labels and strategy leave, before threshold and texts, in order of (low, high).

    Args:
        groups: of the responses with a value, which can be compared by it; default all.
    """
    groups = [list(values)] if groups is None else groups
    scored: Sides = {
        (low, high): (values[low], values[high]) for group in groups for low, high in combinations(sorted(group), 2)
    }
    if strategy == "all":
        chosen = {"scores": scored, "comparisons": compared, "auto": compared | scored}[labels]
        return dict(sorted(chosen.items()))
    by_scores = labels == "scores" or (labels == "auto" and bool(scored))
    sides, value_of = (scored, values) if by_scores else (compared, net_margins(compared))
    kept: set[tuple[int, int]] = set()
    for group in groups if by_scores else [list(value_of)]:
        ranking = sorted(group, key=lambda index: (-value_of[index], row["responses"][index]["model"]))
        kept |= strategy_pairs(ranking, strategy)
    return {pair: sides[pair] for pair in sorted(kept) if pair in sides}


def net_margins(compared: Sides) -> dict[int, Fraction]:
    """The mean signed margin of each compared response over those it was compared with."""
    signed = defaultdict(list)
    for (low, high), (low_value, high_value) in compared.items():
        signed[low].append(low_value - high_value)
        signed[high].append(high_value - low_value)
    return {index: mean(margins) for index, margins in signed.items()}


def strategy_pairs(ranking: list[int], strategy: str) -> set[tuple[int, int]]:
    """Pairs (low, high) that a strategy takes from the responses in `ranking`, best first."""
    taken: list[tuple[int, int]] = []
    if len(ranking) >= 2:
        taken = {
            "adjacent": list(pairwise(ranking)),
            "best_worst": [(ranking[0], ranking[-1])],
            "best_random": [(ranking[0], other) for other in ranking[1:]],
        }[strategy]
    return {(min(pair), max(pair)) for pair in taken}


def is_valid(row: Row, low: int, high: int, margin: Fraction, threshold: float, strict: bool) -> bool:
    if row["responses"][low]["text"] == row["responses"][high]["text"] or margin == 0:
        return False
    return margin > exact(threshold) if strict else margin >= exact(threshold)


def is_confirmed(row: Row, chosen: int, rejected: int, rewards: Rewards, least: float) -> bool:
    one, other = rewards.get((row["query_id"], chosen)), rewards.get((row["query_id"], rejected))
    return one is not None and other is not None and one >= other and one - other >= least


def judges_of(rows: list[dict[str, Any]]) -> set[str]:
    judges = {score["judge"] for row in rows for r in row["responses"] or [] for score in r["scores"] or []}
    return judges | {entry["judge"] for row in rows for entry in row["comparisons"] or []}


def verdicts_of(rows: list[dict[str, Any]], threshold: float, options: dict[str, Any]) -> Counter[str]:
    """What each judge says of the pairs that the others label, query by query, in plain Python."""
    said: Counter[str] = Counter()
    given_by = judges_of(rows)
    admitted = given_by if options["judges"] is None else given_by & set(options["judges"])
    for judge in admitted:
        others = tuple(admitted - {judge})
        if not others:
            continue
        for row in rows:
            own_values = response_values(row, options["aggregation"], (judge,), options["include_self_judged"])
            own_compared = comparison_values(row, (judge,), options["include_self_judged"])
            own = query_pairs(row, own_values, own_compared, options["labels"], "all")
            values = response_values(row, options["aggregation"], others, options["include_self_judged"])
            compared = comparison_values(row, others, options["include_self_judged"])
            for pair, (low, high) in query_pairs(row, values, compared, options["labels"], options["strategy"]).items():
                if pair in own and is_valid(row, *pair, abs(low - high), threshold, options["strict"]):
                    difference = (own[pair][0] - own[pair][1]) * (1 if low > high else -1)
                    said["agrees" if difference > 0 else "ties" if difference == 0 else "opposes"] += 1
    return said


def judge_margins(row: Row, judge: str, kind: str) -> dict[tuple[int, int], Fraction]:
    """A judge's margin for every pair of a row that it judged."""
    if kind == "comparisons":
        return {pair: low - high for pair, (low, high) in comparison_values(row, (judge,), False).items()}
    values = response_values(row, "mean", (judge,), False)
    return {(low, high): values[low] - values[high] for low, high in combinations(sorted(values), 2)}


def oracle_disagreement(row: Row) -> Fraction | None:
    """How far apart the margins of any two judges are for any pair of a row."""
    named = {score["judge"] for response in row["responses"] or [] for score in response["scores"] or []}
    named |= {comparison["judge"] for comparison in row["comparisons"] or []}
    apart = [
        abs(mine[pair] - theirs[pair])
        for kind in ("scores", "comparisons")
        for judge, other in combinations(sorted(name for name in named if name is not None), 2)
        for mine, theirs in [(judge_margins(row, judge, kind), judge_margins(row, other, kind))]
        for pair in mine.keys() & theirs.keys()
    ]
    return max(apart, default=None)
