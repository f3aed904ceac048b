"""The pairing kernel against tests/oracle.py, on rows of every kind and on real files."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import exact, oracle_pairs
from pairing import (
    NO_DRAW,
    OPTIONS,
    comparison,
    kernel_pairs,
    model_pairs,
    query,
    response,
)
from strategies import examples, extreme_rows, many_dimension_rows, raw_rows

from coig_p.pairs.config import AGGREGATIONS
from coig_p.schema import RAW_SCHEMA

Row = dict[str, Any]
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@examples(250)
@given(rows=raw_rows(), options=OPTIONS)
def test_pairs_are_the_oracles(rows: list[Row], options: Row) -> None:
    assert kernel_pairs(rows, **options) == oracle_pairs(rows, **options)


@pytest.mark.parametrize("labels", ["auto", "comparisons"])
@pytest.mark.parametrize("strategy", NO_DRAW)
@examples(50)
@given(data=st.data(), rows=raw_rows(most_queries=2))
def test_pairs_of_every_label_and_strategy_are_the_oracles(
    labels: str, strategy: str, data: st.DataObject, rows: list[Row]
) -> None:
    options = data.draw(OPTIONS) | {"threshold": data.draw(st.sampled_from([0, 0.5])), "judges": None}
    options |= {"labels": labels, "strategy": strategy}
    assert kernel_pairs(rows, **options) == oracle_pairs(rows, **options)


@examples(120)
@given(rows=extreme_rows(), options=OPTIONS, threshold=st.sampled_from([0, 0.0001, 2, 1e6, 1e7, 2e7, 1e15, 1e300]))
def test_pairs_of_extreme_scores_are_the_oracles(rows: list[Row], options: Row, threshold: float) -> None:
    options["threshold"] = threshold
    assert kernel_pairs(rows, **options) == oracle_pairs(rows, **options)


@examples(100)
@given(rows=many_dimension_rows(), options=OPTIONS)
def test_pairs_of_many_dimension_counts_are_the_oracles(rows: list[Row], options: Row) -> None:
    assert kernel_pairs(rows, **options) == oracle_pairs(rows, **options)


@examples(150)
@given(data=st.data(), rows=st.one_of(raw_rows(), extreme_rows()), options=OPTIONS)
def test_a_margin_at_the_threshold_is_kept_unless_strict(data: st.DataObject, rows: list[Row], options: Row) -> None:
    everything = oracle_pairs(rows, **options | {"threshold": 0, "strict": False})
    margins = sorted({row["margin"] for row in everything if float(exact(row["margin"])) == row["margin"]})
    options["threshold"] = data.draw(st.sampled_from(margins or [2]))
    assert kernel_pairs(rows, **options) == oracle_pairs(rows, **options)


@pytest.mark.parametrize(
    ("better", "worse", "threshold"),
    [
        ([6.1], [4.1], 2),
        ([6.1, 6.1, 6.1], [4.1, 4.1, 4.1], 2),
        ([0.3], [0.1], 0.2),
        ([7.1, 8.2, 9.3], [5.1, 6.2, 7.3], 2),
        ([8, 8, 9], [6, 6, 7], 2),
        ([8, 8, 8, 9, 9, 9.1], [6, 6, 6, 7, 7, 7.1], 2),
        ([0.1] * 10, [0.0] * 10, 0.1),
        ([10_000_000.0], [9_999_999.9999], 0.0001),
    ],
)
def test_decimal_scores_exactly_at_the_threshold(better: list[float], worse: list[float], threshold: float) -> None:
    rows = [query(response("a", *worse), response("b", *better))]
    for aggregation in AGGREGATIONS:
        options: dict[str, Any] = {"threshold": threshold, "aggregation": aggregation}
        (pair,) = kernel_pairs(rows, **options)
        assert (pair["chosen_model"], pair["rejected_model"], pair["margin"]) == ("b", "a", threshold)
        assert kernel_pairs(rows, **options, strict=True) == []
        assert kernel_pairs(rows, **options | {"threshold": round(threshold + 0.0001, 4)}) == []


def test_tiny_means_over_many_dimension_counts_are_exact() -> None:
    # The counts' common multiple times 10000 leaves the whole numbers that a float can hold; the scores do not.
    rows = []
    for count in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41):
        several = response("b")
        several["scores"] = [{"judge": "j", "dimension": f"d{n}", "score": 0.0001 * (n == 0)} for n in range(count)]
        rows.append(query(response("a", 0), several, query_id=f"q{count}"))
    assert kernel_pairs(rows, threshold=0) == oracle_pairs(rows, threshold=0)
    assert kernel_pairs(rows, threshold=0.0001) == []


# As floats, n / 10000 times 10000 is not n for some of these: 3, 6, 12, 24, 29 ...
@pytest.mark.parametrize("judges", [1, 3, 7])
def test_no_multiple_of_the_grid_is_rounded(judges: int) -> None:
    for steps in range(1, 180):
        margins = [steps - 1, steps, steps + 1]
        rows = [
            # The first judge alone tells the two apart, so that their means differ by steps of the grid.
            query(response("a", *[0] * judges), response("b", judges * step / 10_000, *[0] * (judges - 1)))
            | {"query_id": f"q{step}"}
            for step in margins
        ]
        options: dict[str, Any] = {"threshold": steps / 10_000}
        assert [pair["query_id"] for pair in kernel_pairs(rows, **options)] == [f"q{steps}", f"q{steps + 1}"]
        assert [pair["query_id"] for pair in kernel_pairs(rows, **options, strict=True)] == [f"q{steps + 1}"]


@pytest.mark.parametrize(("threshold", "count"), [(0.3333, 1), (0.3334, 0)])
def test_a_mean_of_thirds_lies_between_two_thresholds(threshold: float, count: int) -> None:
    rows = [query(response("a", 5, 5, 5), response("b", 5, 5, 6))]
    for strict in (False, True):
        assert len(kernel_pairs(rows, threshold=threshold, strict=strict)) == count


def test_means_that_only_differ_as_floats_are_no_pair() -> None:
    rows = [query(response("a", 0.1, 0.2, 0.3), response("b", 0.3, 0.2, 0.1), response("c", 0.2))]
    assert kernel_pairs(rows, threshold=0) == []


@pytest.mark.parametrize(("aggregation", "value"), [("mean", 4.5), ("median", 3.5), ("min", 1.0), ("max", 10.0)])
def test_aggregation_over_an_even_number_of_judges(aggregation: str, value: float) -> None:
    rows = [query(response("a", 10, 3, 4, 1), response("b", 0))]
    (pair,) = kernel_pairs(rows, threshold=0, aggregation=aggregation)
    assert pair["chosen_score"] == value


def test_a_judges_dimensions_count_as_one_judge() -> None:
    several = response("a", 2)
    several["scores"] += [{"judge": "j9", "dimension": f"d{n}", "score": float(n)} for n in (10, 8, 9)]
    rows = [query(several, response("b", 0))]
    assert kernel_pairs(rows, threshold=0)[0]["chosen_score"] == 5.5
    assert kernel_pairs(rows, threshold=0, aggregation="max")[0]["chosen_score"] == 9


@pytest.mark.parametrize("judge", ["gpt-4", "GPT-4", " Gpt-4\t", "\u3000gpt-4\xa0"])
def test_self_judged_scores_count_only_when_asked_for(judge: str) -> None:
    own = response("gpt-4", 4)
    own["scores"].append({"judge": judge, "dimension": "overall", "score": 10.0})
    rows = [query(own, response("qwen", 1))]
    assert kernel_pairs(rows, threshold=0)[0]["chosen_score"] == 4
    assert kernel_pairs(rows, threshold=0, include_self_judged=True)[0]["chosen_score"] == 7


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_comparisons_by_either_model_count_only_when_asked_for(order: tuple[int, int]) -> None:
    first, second = order
    rows = [query(response("GPT-4"), response("qwen"), comparisons=[comparison(first, second, 1, 0, judge="gpt-4 ")])]
    assert kernel_pairs(rows, threshold=1) == []
    (pair,) = kernel_pairs(rows, threshold=1, include_self_judged=True)
    assert pair["chosen_model"] == rows[0]["responses"][first]["model"]


def test_comparisons_average_both_orders_within_a_judge_and_then_the_judges() -> None:
    shown = [
        comparison(0, 1, 1, 0, judge="x"),
        comparison(1, 0, 1, 0, judge="x"),
        comparison(0, 1, 1, 0, judge="x"),
        comparison(1, 0, 0, 1, judge="y"),
    ]
    (pair,) = kernel_pairs([query(response("a"), response("b"), comparisons=shown)], threshold=0)
    assert (pair["chosen_model"], pair["chosen_score"], pair["rejected_score"]) == ("a", 5 / 6, 1 / 6)
    assert pair["margin"] == 2 / 3


def test_auto_uses_comparisons_only_where_a_response_of_the_pair_has_no_score() -> None:
    shown = [comparison(0, 1, 0, 1), comparison(2, 3, 1, 0), comparison(1, 2, 0, 1)]
    responses = [response("a", 5), response("b", 5), response("c", 9), response("d")]
    rows = [query(*responses, comparisons=shown)]
    assert model_pairs(kernel_pairs(rows, threshold=0)) == {("q", "c", "a"), ("q", "c", "b"), ("q", "c", "d")}
    assert model_pairs(kernel_pairs(rows, threshold=0, labels="scores")) == {("q", "c", "a"), ("q", "c", "b")}
    expected = {("q", "b", "a"), ("q", "c", "b"), ("q", "c", "d")}
    assert model_pairs(kernel_pairs(rows, threshold=0, labels="comparisons")) == expected


@pytest.mark.parametrize("strategy", ["adjacent", "best_worst"])
def test_auto_ranks_a_query_by_comparisons_only_without_two_scored_responses(strategy: str) -> None:
    shown = [comparison(2, 0, 1, 0), comparison(1, 2, 0, 1)]
    scored = [response("a", 9), response("b", 1), response("c")]
    found = kernel_pairs([query(*scored, comparisons=shown)], threshold=0, strategy=strategy)
    assert model_pairs(found) == {("q", "a", "b")}
    assert found[0]["margin"] == 8

    one_scored = [response("a", 9), response("b"), response("c")]
    found = kernel_pairs([query(*one_scored, comparisons=shown)], threshold=0, strategy=strategy)
    # Both lost to c and a comes before b by name; a and b were never compared.
    expected = {"adjacent": {("q", "c", "a")}, "best_worst": {("q", "c", "b")}}
    assert model_pairs(found) == expected[strategy]


def test_comparisons_rank_by_the_mean_margin_over_the_responses_met() -> None:
    shown = [comparison(0, 1, 9, 4), comparison(0, 2, 1, 0), comparison(3, 1, 8, 4), comparison(1, 2, 2, 1)]
    rows = [query(*map(response, "abcd"), comparisons=shown)]
    # Means: d +4, a +3, c -1, b -8/3; by sums a would lead with +6. d and a never met.
    assert model_pairs(kernel_pairs(rows, threshold=0, strategy="best_worst")) == {("q", "d", "b")}
    assert model_pairs(kernel_pairs(rows, threshold=0, strategy="adjacent")) == {("q", "a", "c"), ("q", "b", "c")}


def test_a_strategys_pair_that_fails_the_rules_has_no_replacement() -> None:
    same = [response("a", 9, text="same"), response("b", 5), response("c", 1, text="same")]
    assert kernel_pairs([query(*same)], threshold=1, strategy="best_worst") == []
    near = [response("a", 9), response("b", 8), response("c", 5)]
    assert model_pairs(kernel_pairs([query(*near)], threshold=2, strategy="adjacent")) == {("q", "b", "c")}


def test_ties_are_ranked_by_model_name() -> None:
    rows = [query(response("z", 9), response("模", 1), response("a", 9), response("b", 1))]
    assert model_pairs(kernel_pairs(rows, threshold=1, strategy="best_worst")) == {("q", "a", "模")}
    assert model_pairs(kernel_pairs(rows, threshold=1, strategy="adjacent")) == {("q", "z", "b")}


# Real files

REAL_FILES = ("halluqa.jsonl", "alpaca_examples.jsonl")
REAL_OPTIONS: list[Row] = [
    dict(zip(("threshold", "strict", "aggregation", "strategy"), values, strict=True))
    for values in product((0, 0.5, 1, 2, 3), (False, True), AGGREGATIONS, NO_DRAW)
]


def real_rows(file_name: str) -> list[Row]:
    path = DATA / file_name
    if not path.is_file():
        pytest.skip(f"{path} is missing: the shared data folder is not part of the repository")
    rows = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            responses = [
                answer | {"scores": [{"dimension": "overall"} | entry for entry in answer["scores"]]}
                for answer in row["responses"]
                if answer["text"].strip()
            ]
            rows.append({name: row.get(name) for name in RAW_SCHEMA.names} | {"responses": responses})
    return rows


def with_more_judges(rows: list[Row]) -> list[Row]:
    """Two more judges, made from the texts: the files have one, for which all aggregations agree."""
    return [
        row
        | {
            "responses": [
                answer
                | {
                    "scores": answer["scores"]
                    + [{"judge": "length", "dimension": "overall", "score": len(answer["text"]) % 10 / 2}]
                    + [
                        {"judge": "letters", "dimension": name, "score": float(answer["text"].count(name) % 11)}
                        for name in "的。是"[: 1 + len(answer["text"]) % 3]
                    ]
                }
                for answer in row["responses"]
            ]
        }
        for row in rows
    ]


def assert_the_oracles_for_every_option(rows: list[Row], parts: int) -> None:
    """Each of the 120 configs on one in `parts` of the queries; together they see them all, in many ways."""
    for number, options in enumerate(REAL_OPTIONS):
        some = rows[number % parts :: parts]
        assert kernel_pairs(some, **options) == oracle_pairs(some, **options), options


# The parts have no factor in common with 120, so none meets the same aggregation or strategy each time.
@pytest.mark.parametrize(("file_name", "parts"), [("halluqa.jsonl", 61), ("alpaca_examples.jsonl", 11)])
def test_every_option_on_a_real_file_with_more_judges_gives_the_oracles_pairs(file_name: str, parts: int) -> None:
    assert_the_oracles_for_every_option(with_more_judges(real_rows(file_name)), parts)


@pytest.mark.parametrize("file_name", REAL_FILES)
@pytest.mark.parametrize("strategy", NO_DRAW)
def test_a_whole_real_file_gives_the_oracles_pairs(file_name: str, strategy: str) -> None:
    rows = real_rows(file_name)
    found = kernel_pairs(rows, threshold=1, strategy=strategy)
    assert found == oracle_pairs(rows, threshold=1, strategy=strategy)
    assert len(found) > 100
