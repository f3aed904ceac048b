"""Rankings equal to slow ones, and what a budget finds equal to counting it pair by pair."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from make import Rows, make_rows, make_store
from oracle import is_valid, judge_margins, query_pairs, response_values
from reviewed import slow_key

from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.review.drawing import DrawConfig, draw
from coig_p.review.ranking import ELSEWHERE, WAYS, findings_of, ranking, yields
from coig_p.store.store import Store

Row = dict[str, Any]
SEED = 4


def make_doubtful(queries: int = 60) -> Rows:
    """Three judges who differ now and then, one of whom cannot tell answers apart."""
    rows = make_rows({"math": queries, "chat": queries // 2}, seed=11)
    for at, row in enumerate(rows):
        for nth, response in enumerate(row["responses"]):
            base = 3.0 + nth
            wobble = (at * 7 + nth * 3) % 5 - 2
            response["scores"] = [
                {"judge": "judge-a", "dimension": "overall", "score": base + wobble, "rationale": None},
                {"judge": "judge-b", "dimension": "overall", "score": base, "rationale": None},
                {"judge": "judge-c", "dimension": "overall", "score": 5.0 + (at + nth) % 2 * 0.5, "rationale": None},
            ]
    return rows


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Rows]:
    rows = make_doubtful()
    return Store.open(make_store(tmp_path_factory.mktemp("doubtful") / "store", rows, rows_per_shard=17)), rows


class Pair:
    """A pair of a row, as a slow count sees it."""

    def __init__(self, row: Row, low: int, high: int, sides: tuple[Fraction, Fraction]) -> None:
        self.row, self.margin = row, abs(sides[0] - sides[1])
        self.sign = 1 if sides[0] > sides[1] else -1
        self.place = low, high
        chosen, rejected = (low, high) if self.sign > 0 else (high, low)
        self.chosen, self.rejected = row["responses"][chosen], row["responses"][rejected]
        self.key = slow_key(SEED, row["query_id"], self.chosen["model"], self.rejected["model"])

    def verdict(self, judge: str) -> int | None:
        """1 where a judge prefers the chosen response, -1 where the other one, 0 for a tie, None for no view."""
        margin = judge_margins(self.row, judge, "scores").get(self.place)
        return None if margin is None else (margin > 0) - (margin < 0) if self.sign > 0 else (margin < 0) - (margin > 0)


def slow_pairs(rows: Rows, judges: tuple[str, ...] | None = None, threshold: float = 0.5) -> list[Pair]:
    found = []
    for row in rows:
        values = response_values(row, "mean", judges, False)
        for (low, high), sides in query_pairs(row, values, {}, "scores", "all").items():
            if is_valid(row, low, high, abs(sides[0] - sides[1]), threshold, False):
                found.append(Pair(row, low, high, sides))
    return found


JUDGES = ("judge-a", "judge-b", "judge-c")


def slow_rank(by: str, pair: Pair, judges: tuple[str, ...] = JUDGES) -> tuple[float, ...]:
    if by == "margin":
        return float(pair.margin), pair.key
    if by == "length":
        longer = math.log((len(pair.chosen["text"]) + 1) / (len(pair.rejected["text"]) + 1))
        return round(-longer, 12), float(pair.margin), pair.key
    said = [pair.verdict(judge) for judge in judges]
    known = [one for one in said if one is not None]
    return round(-sum((1 - one) / 2 for one in known) / max(len(known), 1), 12), float(pair.margin), pair.key


def first_of_each_query(pairs: list[Pair], by: str, judges: tuple[str, ...] = JUDGES) -> list[Pair]:
    found: dict[str, Pair] = {}
    for pair in sorted(pairs, key=lambda one: slow_rank(by, one, judges)):
        found.setdefault(pair.row["query_id"], pair)
    return list(found.values())


@pytest.mark.parametrize("by", ["margin", "disagreement", "length"])
@pytest.mark.parametrize("budget", [1, 20, 1000])
def test_a_ranking_is_a_slow_one(doubtful: tuple[Store, Rows], by: str, budget: int) -> None:
    store, rows = doubtful
    pairs = PairConfig(threshold=0.5)
    found = draw(store, DrawConfig(budget=budget, seed=SEED), pairs, order=ranking(by, pairs)).drawn
    expected = first_of_each_query(slow_pairs(rows), by)[:budget]
    assert {(one.query_id, one.responses[0][0], one.responses[1][0]) for one in found} == {
        (one.row["query_id"], one.chosen["model"], one.rejected["model"]) for one in expected
    }


@pytest.mark.parametrize("by", ["margin", "disagreement", "length"])
def test_what_a_budget_finds_is_counted_pair_by_pair(doubtful: tuple[Store, Rows], by: str) -> None:
    store, rows = doubtful
    config = PairConfig(threshold=0.5, seed=SEED)
    total = len(slow_pairs(rows))
    found, why_not = yields(store, by, config, 30)
    assert why_not == ""
    assert [one.judge for one in found] == list(JUDGES)
    for one in found:
        others = tuple(name for name in JUDGES if name != one.judge)
        known = [pair for pair in slow_pairs(rows, others) if pair.verdict(one.judge) is not None]
        opposed = [pair for pair in known if pair.verdict(one.judge) == -1]
        looked = first_of_each_query(known, by, others)[: -(-len(known) * 30 // total)]
        hits = [pair for pair in looked if pair.verdict(one.judge) == -1]
        assert (one.pairs, one.budget) == (len(known), len(looked))
        assert one.opposed.share == len(opposed) / len(known)
        assert one.in_budget.share == len(hits) / len(looked)
        assert one.found.share == (len(hits) / len(opposed) if opposed else None)
        assert one.found.n == len(opposed)


def test_a_budget_by_domain_is_counted_by_domain(doubtful: tuple[Store, Rows]) -> None:
    store, rows = doubtful
    (one, *_), _ = yields(store, "margin", PairConfig(threshold=0.5, seed=SEED), {"math": 6, "chat": 2})
    others = ("judge-b", "judge-c")
    looked = 0
    for domain, budget in {"math": 6, "chat": 2}.items():
        own = [row for row in rows if row["domain"] == domain]
        looked += -(-len(slow_pairs(own, others)) * budget // len(slow_pairs(own)))
    assert one.budget == looked


def test_people_are_the_measure_where_the_store_has_their_verdicts(tmp_path: Path) -> None:
    rows = make_doubtful(20)
    for row in rows:
        row["comparisons"] = [
            {"first": 0, "second": 1, "judge": "human:a", "dimension": "overall", "first_score": 1.0,
             "second_score": 0.0, "rationale": None}
        ]  # fmt: skip
    store = Store.open(make_store(tmp_path / "store", rows))
    found, why_not = yields(store, "disagreement", PairConfig(threshold=0.5), 5)
    assert ([one.judge for one in found], why_not) == (["human:a"], "")
    expected = [pair for pair in slow_pairs(rows, JUDGES) if pair.place == (0, 1)]
    assert found[0].pairs == len(expected)
    opposed = [pair for pair in expected if pair.sign < 0]
    assert found[0].opposed.share == len(opposed) / len(expected)


@pytest.mark.parametrize(("judges", "by"), [(1, "margin"), (2, "disagreement")])
def test_a_store_that_cannot_say_it_says_so(judges: int, by: str, tmp_path: Path) -> None:
    rows = make_doubtful(10)
    for row in rows:
        for response in row["responses"]:
            response["scores"] = response["scores"][:judges]
    store = Store.open(make_store(tmp_path / "store", rows))
    found, why_not = yields(store, by, PairConfig(threshold=0.5), 5)
    assert found == []
    assert "what share of the wrong pairs the drawn ones hold cannot be told from this store: that takes" in why_not


def test_a_rule_names_the_chosen_response(tmp_path: Path) -> None:
    """What one finds in a chosen response and not in the rejected one comes first."""
    rows = make_doubtful(12)
    some = [row for row in rows if slow_pairs([row])][:4]
    for row in some:
        slow_pairs([row])[0].chosen["text"] += " 请联系 someone@example.org"
    store = Store.open(make_store(tmp_path / "store", rows))
    findings = findings_of(store, ["email"])
    assert set(findings) == {row["query_id"] for row in some}
    assert all(sum(counts.values()) == 1 for counts in findings.values())
    pairs = PairConfig(threshold=0.5)
    found = draw(store, DrawConfig(budget=4), pairs, order=ranking("rule", pairs, findings)).drawn
    assert {one.query_id for one in found} == {row["query_id"] for row in some}
    for one in found:
        (row,) = (row for row in rows if row["query_id"] == one.query_id)
        (text,) = (response["text"] for response in row["responses"] if response["model"] == one.responses[0][0])
        assert "someone" in text
    with pytest.raises(UnknownNameError, match="unknown rule 'emial'"):
        findings_of(store, ["emial"])
    with pytest.raises(UsageError, match="finds nothing in any response"):
        findings_of(store, ["id-card"])


def test_every_way_says_what_is_known_elsewhere() -> None:
    assert set(ELSEWHERE) == set(WAYS)
    for number in ("23%", "7.9%", "15.9%", "11.4%", "5.3%"):
        assert number in ELSEWHERE["margin"]
    assert pytest.approx(0.15, abs=0.005) == 0.05 * 23 / 7.9, "of the errors, in 5% of the pairs"
    with pytest.raises(UnknownNameError, match="way to rank pairs"):
        ranking("chance", PairConfig())
