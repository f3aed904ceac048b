"""Agreement, tau-b, position, alpha and margins: each beside a slow way to compute it."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from planted import Judges, judged_of, rows_of, scores_of
from scipy.optimize import minimize_scalar
from scipy.stats import kendalltau

from coig_p.stats.by_margin import by_margin
from coig_p.stats.design import units_of
from coig_p.stats.interval_alpha import interval_alpha
from coig_p.stats.intervals import mean, share
from coig_p.stats.reliability import krippendorff_alpha


def random_rows(seed: int, queries: int = 30) -> list[dict[str, Any]]:
    """Scores in halves with gaps, and comparisons in one order, in both, or repeated."""
    rng = random.Random(seed)
    rows = []
    for q in range(queries):
        responses = []
        for m in range(4):
            given = [{"judge": name, "score": rng.randint(2, 12) / 2} for name in ("a", "b", "c") if rng.random() < 0.7]
            responses.append({"model": f"m{m}", "sample": 0, "text": f"{q} {m}", "scores": given})
        shown = []
        for first, second in [(i, j) for i in range(4) for j in range(4) if i != j]:
            for judge in ("human:x", "p"):
                for _ in range(rng.choice([0, 0, 1, 1, 2])):
                    one, two = (rng.randint(0, 4) / 2 for _ in range(2))
                    shown.append(
                        {"first": first, "second": second, "judge": judge, "first_score": one, "second_score": two}
                    )
        rows.append({"query_id": f"q{q}", "domain": "chat", "query": "", "responses": responses, "comparisons": shown})
    return rows


def opinion(row: dict[str, Any], judge: str, i: int, j: int) -> float | None:
    """What a judge gives response i more than j: by scores, else the mean over comparisons."""
    scores = [[s["score"] for s in row["responses"][at]["scores"] if s["judge"] == judge] for at in (i, j)]
    if all(scores):
        return float(scores[0][0] - scores[1][0])
    told = [
        (one["first_score"] - one["second_score"]) * (1 if one["first"] == i else -1)
        for one in row["comparisons"]
        if one["judge"] == judge and {one["first"], one["second"]} == {i, j}
    ]
    return sum(told) / len(told) if told else None


@pytest.mark.parametrize("seed", range(3))
def test_agreement_and_tau(seed: int) -> None:
    rows = random_rows(seed)
    found = judged_of(rows).opinions
    for one, two in combinations(["a", "b", "c", "human:x", "p"], 2):
        verdicts: Counter[int] = Counter()
        taus = []
        for row in rows:
            for i, j in combinations(range(4), 2):
                x, y = opinion(row, one, i, j), opinion(row, two, i, j)
                if x is not None and y is not None:
                    verdicts[int(np.sign(x) * np.sign(y))] += 1
            if one in "abc" and two in "abc":
                both = [
                    [{s["judge"]: s["score"] for s in r["scores"]}[name] for name in (one, two)]
                    for r in row["responses"]
                    if {one, two} <= {s["judge"] for s in r["scores"]}
                ]
                if len(both) > 1:
                    tau = kendalltau(*zip(*both, strict=True)).statistic
                    if not math.isnan(tau):
                        taus.append(tau)
        told = [share(found.verdicts[one, two][:, at]) for at in range(3)]
        total = sum(verdicts.values())
        assert [one.share for one in told] == [verdicts[at] / total for at in (1, 0, -1)]
        assert share(found.same[one, two]).share == verdicts[1] / (verdicts[1] + verdicts[-1])
        if taus:
            assert mean(found.tau[one, two]).mean == pytest.approx(np.mean(taus), abs=1e-8)
            assert mean(found.tau[one, two]).n == len(taus)
        else:
            assert (one, two) not in found.tau


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("judge", ["p", "human:x"])
def test_position(seed: int, judge: str) -> None:
    rows = random_rows(seed)
    told = judged_of(rows).opinions.position[judge].result()
    first = decided = same = twice = again = pairs = 0
    deltas = []
    for row in rows:
        for i, j in combinations(range(4), 2):
            gaps = [
                [
                    one["first_score"] - one["second_score"]
                    for one in row["comparisons"]
                    if one["judge"] == judge and (one["first"], one["second"]) == order
                ]
                for order in ((i, j), (j, i))
            ]
            if not all(gaps):
                continue
            pairs += 1
            d = [float(np.mean(gap)) for gap in gaps]
            first += sum(one > 0 for one in d)
            decided += sum(one != 0 for one in d)
            same += np.sign(d[0]) == -np.sign(d[1])
            twice += d[0] > 0 and d[1] > 0
            again += d[0] < 0 and d[1] < 0
            deltas.append(sum(d) / 2)
    assert told.pairs == pairs
    assert told.comparisons == sum(one["judge"] == judge for row in rows for one in row["comparisons"])
    assert told.first_shown.share == first / decided
    assert told.first_shown.n == decided
    assert told.consistent.share == same / pairs
    assert (told.first_twice.share, told.second_twice.share) == (twice / pairs, again / pairs)
    assert told.delta.mean == pytest.approx(np.mean(deltas), abs=1e-12)


def test_a_judge_that_sees_only_the_place() -> None:
    shown = [{"first": i, "second": 1 - i, "judge": "p", "first_score": 7.0, "second_score": 5.0} for i in range(2)]
    responses = [{"model": f"m{m}", "sample": 0, "text": str(m), "scores": []} for m in range(2)]
    row = {"domain": "chat", "query": "", "responses": responses, "comparisons": shown}
    told = judged_of([row | {"query_id": str(q)} for q in range(5)]).opinions.position["p"].result()
    assert (told.first_shown.share, told.delta.mean, told.consistent.share) == (1, 2, 0)
    assert told.delta.low == told.delta.high == 2


def test_comparisons_in_one_order_do_not_tell_of_position() -> None:
    shown = [{"first": 0, "second": 1, "judge": "p", "first_score": 7.0, "second_score": 5.0}]
    responses = [{"model": f"m{m}", "sample": 0, "text": str(m), "scores": []} for m in range(2)]
    row = {"query_id": "q", "domain": "chat", "query": "", "responses": responses, "comparisons": shown}
    told = judged_of([row]).opinions.position["p"].result()
    assert (told.comparisons, told.pairs, told.first_shown.share, told.delta.mean) == (1, 0, None, None)


@pytest.mark.parametrize("seed", range(4))
def test_alpha_is_that_of_the_table_of_ratings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    judges = Judges()
    scores = np.round(scores_of(judges, 40, 4, seed) * 2) / 2
    seen = rng.random(scores.shape) < 0.6
    table = np.where(seen, scores, np.nan).reshape(-1, 3)
    units = units_of(judged_of(rows_of(scores, seen, judges.names)))
    found = interval_alpha(units)
    assert found.value == pytest.approx(krippendorff_alpha(table, "interval"), abs=1e-9)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    for one, two in combinations(range(3), 2):
        told = interval_alpha(units, [judges.names[one], judges.names[two]]).value
        assert told == pytest.approx(krippendorff_alpha(table[:, [one, two]], "interval"), abs=1e-9)


def test_alpha_of_one_value_is_not_defined() -> None:
    units = units_of(judged_of(rows_of(np.full((5, 3, 2), 7.0), True, ["a", "b"])))
    assert interval_alpha(units).value is None
    assert interval_alpha(units).why == "all scores are equal"


@pytest.mark.parametrize("seed", range(3))
def test_margins_against_people_and_others(seed: int) -> None:
    rows = random_rows(seed)
    margins = judged_of(rows).opinions.margins
    for judge in ("a", "p"):
        people: Counter[tuple[float, int]] = Counter()
        for row in rows:
            for i, j in combinations(range(4), 2):
                own, theirs = opinion(row, judge, i, j), opinion(row, "human:x", i, j)
                if own and theirs is not None:
                    people[abs(own), int(np.sign(own) * np.sign(theirs))] += 1
        told: Counter[tuple[float, int]] = Counter()
        for (name, kind, _block, margin, verdict), number in margins.items():
            if (name, kind) == (judge, "people"):
                told[margin, verdict] += number
        assert told == people
    assert not any(name == "human:x" for name, *_ in margins)


def together(row: dict[str, Any], judges: list[str], i: int, j: int) -> float | None:
    """What judges give response i more than j: the mean over those that scored both, else over their comparisons."""
    given = [{s["judge"]: s["score"] for s in row["responses"][at]["scores"]} for at in (i, j)]
    both = [given[0][name] - given[1][name] for name in judges if name in given[0] and name in given[1]]
    if not both:
        told = [
            [one["first_score"] - one["second_score"] if one["first"] == i else one["second_score"] - one["first_score"]
             for one in row["comparisons"] if one["judge"] == name and {one["first"], one["second"]} == {i, j}]
            for name in judges
        ]  # fmt: skip
        both = [sum(one) / len(one) for one in told if one]
    return sum(both) / len(both) if both else None


@pytest.mark.parametrize("seed", range(3))
def test_others_together_are_compared_by_those_that_scored_both(seed: int) -> None:
    rows = random_rows(seed)
    machines = ["a", "b", "c", "p"]
    margins = judged_of(rows).opinions.margins
    for judge in machines:
        expected: Counter[tuple[float, int]] = Counter()
        for row in rows:
            for i, j in combinations(range(4), 2):
                own = opinion(row, judge, i, j)
                theirs = together(row, [name for name in machines if name != judge], i, j)
                if own and theirs is not None:
                    expected[abs(own), int(np.sign(own) * np.sign(theirs))] += 1
        told: Counter[tuple[float, int]] = Counter()
        for (name, kind, _block, margin, verdict), number in margins.items():
            if (name, kind) == (judge, "others"):
                told[margin, verdict] += number
        assert told == expected


def test_a_judge_is_not_blamed_for_the_leniency_of_the_others() -> None:
    """One judge scores all; of two others one at random scores each response too, and may be 3 points sterner."""
    found = []
    for sterner in (0.0, 3.0):
        judges = Judges((6.0, 6.0, 6.0 - sterner), (1.0,) * 3, (0.0,) * 3, (0.3,) * 3, (-1, -1, -1))
        scores = scores_of(judges, 150, 6, 0)
        who = np.random.default_rng(1).integers(1, 3, (150, 6))
        seen = (who[..., None] == np.arange(3)) | (np.arange(3) == 0)
        told: Counter[int] = Counter()
        for (name, kind, _, _, verdict), n in judged_of(rows_of(scores, seen, judges.names)).opinions.margins.items():
            if (name, kind) == ("judge-0", "others"):
                told[verdict] += n
        found.append(told)
    assert found[0] == found[1]
    assert found[0][1] / (found[0][1] + found[0][-1]) > 0.8


def test_the_slope_is_that_of_a_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    counted: Counter[tuple[int, float, int]] = Counter()
    for block in range(300):
        for margin in rng.integers(1, 9, 5) / 2:
            agrees = rng.random() < 1 / (1 + math.exp(-0.8 * margin))
            counted[block, float(margin), 1 if agrees else -1] += 1
        counted[block, 1.0, 0] += 1
    found = by_margin(counted, "j", "people", (1, 10))

    def loss(b: float) -> float:
        return sum(n * math.log1p(math.exp(-b * m * v)) for (_, m, v), n in counted.items() if v)

    best = minimize_scalar(loss, bounds=(0, 5), method="bounded", options={"xatol": 1e-9}).x
    assert found.slope.value == pytest.approx(best, abs=1e-5)
    assert found.slope.low is not None
    assert found.slope.high is not None
    assert found.slope.low < 0.8 < found.slope.high
    assert [(one.low, one.high) for one in found.bins] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    for one in found.bins:
        own = {key: n for key, n in counted.items() if one.low <= key[1] < (one.high or 99)}
        assert one.pairs == sum(n for (_, _, v), n in own.items() if v)
        assert one.ties == sum(n for (_, _, v), n in own.items() if not v)
        assert one.agrees.share == sum(n for (_, _, v), n in own.items() if v > 0) / one.pairs


@pytest.mark.parametrize(("verdict", "why"), [(1, "they never differ"), (-1, "they never agree")])
def test_no_slope_where_all_are_alike(verdict: int, why: str) -> None:
    found = by_margin({(0, 1.0, verdict): 3, (1, 2.0, verdict): 3}, "j", "others", (1, 10))
    assert found.slope.value is None
    assert found.slope.why == why
