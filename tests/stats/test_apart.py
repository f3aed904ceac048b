"""The pairs on which two judges disagree most, beside every pair of every query laid out."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import Rows, completed, make_rows, make_store
from oracle import comparison_values, response_values
from strategies import examples, raw_rows

from coig_p.errors import UnknownNameError
from coig_p.pairs.config import PairConfig
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.apart import MostApart, most_apart
from coig_p.store.store import Store


def oracle(rows: Rows, judges: set[str] | None = None) -> list[tuple[object, ...]]:
    """Every pair of responses with every two judges who judged both, the furthest apart first."""
    found = []
    for row_at, row in enumerate(rows):
        named = {score["judge"] for response in row["responses"] or [] for score in response["scores"] or []}
        named |= {comparison["judge"] for comparison in row["comparisons"] or []}
        names = sorted(name for name in named if name and (judges is None or name in judges))
        for judge, other in combinations(names, 2):
            scores = [response_values(row, "mean", (name,), False) for name in (judge, other)]
            both = sorted(scores[0].keys() & scores[1].keys())
            given: list[Any] = [
                (False, pair, *([value[pair[0]], value[pair[1]]] for value in scores)) for pair in combinations(both, 2)
            ]
            shown = [comparison_values(row, (name,), False) for name in (judge, other)]
            given += [(True, pair, *(list(one[pair]) for one in shown)) for pair in shown[0].keys() & shown[1].keys()]
            for compared, (low, high), mine, theirs in given:
                apart = (mine[0] - mine[1]) - (theirs[0] - theirs[1])
                first, second = (low, high) if apart >= 0 else (high, low)
                turn = 1 if apart >= 0 else -1
                sides = [tuple(map(float, side[::turn])) for side in (mine, theirs)]
                key = (-float(abs(apart)), 0, row_at, low, high, compared, judge, other)
                found.append((key, first, second, judge, other, *sides, compared, float(abs(apart))))
    return [(*one[1:], one[0][2]) for one in sorted(found, key=lambda one: one[0])]


def once_each(pairs: list[tuple[object, ...]], most: int) -> list[tuple[object, ...]]:
    """The same two responses of a query once, with what sets them furthest apart."""
    return [
        one
        for at, one in enumerate(pairs)
        if not any({*one[:2]} == {*before[:2]} and one[-1] == before[-1] for before in pairs[:at])
    ][:most]


def told(found: MostApart, judge: str | None = None, other: str | None = None) -> list[tuple[object, ...]]:
    return [
        (one.first, one.second, one.judge, one.other, one.gave, one.other_gave, one.compared, one.apart, one.row)
        for one in found.of(judge, other)
    ]


@examples(200)
@given(raw_rows(), st.sampled_from([1, 2, 5, 50]), st.integers(1, 3))
def test_equals_every_pair_laid_out(rows: Rows, most: int, size: int) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
    parts = []
    for begin in range(0, len(rows), size):
        part = MostApart(most)
        part.add(batch.slice(begin, size), 0, begin, PairConfig())
        parts.append(part)
    found = MostApart(most)
    for part in reversed(parts):
        found.merge(part)
    every = oracle(rows)
    assert told(found) == once_each(every, most)
    for judges in {(one[2], one[3]) for one in every}:
        own = [one for one in every if (one[2], one[3]) == judges]
        assert told(found, *map(str, judges)) == told(found, *map(str, reversed(judges))) == once_each(own, most)
    judge = next((str(one[2]) for one in every), "nobody")
    assert told(found, judge) == once_each([one for one in every if judge in one[2:4]], most)
    assert MostApart.from_dict(json.loads(json.dumps(found.to_dict()))) == MostApart(
        most, {judges: ones for judges, ones in found.by_judges.items() if ones}
    )


def test_responses_that_both_judges_scored_alike() -> None:
    """The least and the largest value are then of one response, and a query of one response has no pair."""
    scores = [{"judge": judge, "dimension": "overall", "score": 5.0, "rationale": None} for judge in ("a", "b")]
    rows = make_rows({"math": 3})
    for row, count in zip(rows, (1, 3, 2), strict=True):
        row["responses"] = [row["responses"][0] | {"model": f"m{at}", "scores": scores} for at in range(count)]
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
    for most in (1, 2, 3, 4, 9):
        found = MostApart(most)
        found.add(batch, 0, 0, PairConfig())
        assert told(found) == once_each(oracle(rows), most)


def test_of_a_store(tmp_path: Path) -> None:
    rows = make_rows({"math": 60, "chat": 21})
    store = Store.open(make_store(tmp_path / "store", rows))
    found = most_apart(store, 10)
    every = once_each(oracle(rows[:60]), 60_000) + once_each(oracle(rows[60:]), 60_000)
    assert [one.apart for one in found.of()] == sorted((float(str(one[7])) for one in every), reverse=True)[:10]
    for one in found.of():
        (row,) = [row for row in rows if row["query_id"] == one.query_id]
        assert [row["responses"][at]["model"] for at in (one.first, one.second)] == [one.first_model, one.second_model]
        assert row["domain"] == one.domain
    assert found.to_pandas()["apart"].tolist() == [one.apart for one in found.of()]
    html = found._repr_html_()
    assert html.count("<tr>") == 11
    assert f"<td>{found.of()[0].query_id}</td>" in html
    two = most_apart(store, 3, PairConfig(judges=("judge-a", "judge-b")), domains=["chat"])
    assert [one[:-1] for one in told(two)] == [
        one[:-1] for one in once_each(oracle(rows[60:], {"judge-a", "judge-b"}), 3)
    ]
    with pytest.raises(UnknownNameError, match="unknown judge"):
        most_apart(store, 3, PairConfig(judges=("nobody",)))


def test_of_a_query_with_many_responses() -> None:
    answers = [
        {
            "model": f"m{at}",
            "text": str(at),
            "scores": [
                {"judge": judge, "dimension": "overall", "score": at * factor % 10 + 1.0},
                {"judge": f"{judge}2", "dimension": "overall", "score": 5.0},
            ],
        }
        for at in range(40)
        for judge, factor in (("a", 7),)
    ]
    rows = completed(
        [{"query_id": "q", "domain": "math", "query": "问", "source": None, "comparisons": None, "responses": answers}]
    )
    found = MostApart(6)
    found.add(pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA), 0, 0, PairConfig())
    assert told(found) == once_each(oracle(rows), 6)


def test_two_responses_stand_once_however_many_judges_say_the_same() -> None:
    """One of twenty judges says the contrary: nineteen times the same, of each two responses."""
    answers = [
        {
            "model": f"m{at}",
            "text": str(at),
            "scores": [
                {"judge": f"j{judge:02}", "dimension": "overall", "score": float(9 - at if judge == 19 else at + 1)}
                for judge in range(20)
            ],
        }
        for at in range(6)
    ]
    rows = completed(
        [{"query_id": "q", "domain": "math", "query": "问", "source": None, "comparisons": None, "responses": answers}]
    )
    found = MostApart(10)
    found.add(pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA), 0, 0, PairConfig())
    assert len({one.responses for one in found.of()}) == 10
    assert told(found) == once_each(oracle(rows), 10)
    assert len({one.responses for one in found.of("j03")}) == 10
