"""The pairing kernel against tests/oracle.py, and its draws, formats and options by their properties."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import exact, oracle_pairs
from strategies import examples, extreme_rows, many_dimension_rows, pair_options, raw_rows

from coig_p.core import arrays
from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.config import AGGREGATIONS, FORMATS, LABELS, STRATEGIES, PairConfig, check_judges, check_threshold
from coig_p.pairs.kernel import find_pairs
from coig_p.pairs.rows import pair_tables
from coig_p.schema import PAIR_SCHEMAS, RANKED_FORMATS, RAW_SCHEMA

Row = dict[str, Any]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
OPTIONS = pair_options()
OPTIONS_WITH_DRAWS = pair_options(strategies=STRATEGIES)
PAIR_ARRAYS = ("query", "chosen", "rejected", "chosen_score", "rejected_score", "margin")
OF_PAIRS = tuple(form for form in FORMATS if form not in RANKED_FORMATS)
NO_DRAW = tuple(strategy for strategy in STRATEGIES if strategy != "best_random")


def as_batch(rows: list[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)


def pairs_of_batch(batch: pa.RecordBatch, **options: Any) -> list[Row]:
    config = PairConfig(**options)
    found = []
    for table in pair_tables(batch, config):
        assert table.schema.equals(PAIR_SCHEMAS[config.format])
        assert table.num_rows > 0
        table.validate(full=True)
        found += table.to_pylist()
    return found


def kernel_pairs(rows: list[Row], **options: Any) -> list[Row]:
    return pairs_of_batch(as_batch(rows), **options)


def by_query(found: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        groups[row["query_id"]].append(row)
    return groups


def model_pairs(found: list[Row]) -> set[tuple[str, str, str]]:
    return {(row["query_id"], row["chosen_model"], row["rejected_model"]) for row in found}


def response(model: str, *scores: float, text: str | None = None) -> Row:
    """A response with one score of each of the judges j0, j1, j2 ..."""
    entries = [{"judge": f"j{n}", "dimension": "overall", "score": float(score)} for n, score in enumerate(scores)]
    return {"model": model, "text": f"answer of {model}" if text is None else text, "scores": entries}


def comparison(first: int, second: int, first_score: float, second_score: float, judge: str = "j") -> Row:
    return {
        "first": first,
        "second": second,
        "judge": judge,
        "dimension": "overall",
        "first_score": float(first_score),
        "second_score": float(second_score),
    }


def query(*responses: Row, query_id: str = "q", comparisons: list[Row] | None = None) -> Row:
    return {
        "query_id": query_id,
        "domain": "math",
        "query": "一加一？",
        "source": None,
        "responses": list(responses),
        "comparisons": comparisons,
    }


# --- the oracle ---------------------------------------------------------------------------------


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
        options = {"threshold": threshold, "aggregation": aggregation}
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
        options = {"threshold": steps / 10_000}
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


# --- batches ------------------------------------------------------------------------------------


@examples(100)
@given(rows=raw_rows(), options=OPTIONS_WITH_DRAWS, limit=st.none() | st.integers(1, 3))
def test_indices_point_at_the_pairs_of_the_tables(rows: list[Row], options: Row, limit: int | None) -> None:
    batch = as_batch(rows)
    config = PairConfig(**options, max_pairs_per_query=limit)
    found = find_pairs(batch, config)
    responses = [answer for row in rows for answer in row["responses"]]
    owner = [number for number, row in enumerate(rows) for _ in row["responses"]]
    expected = [row for table in pair_tables(batch, config) for row in table.to_pylist()]
    columns = [getattr(found, name) for name in PAIR_ARRAYS]
    assert [column.shape for column in columns] == [(len(expected),)] * len(columns)
    for column in (found.chosen_score, found.rejected_score, found.margin):
        assert column.dtype == np.float64
    for number, pair in enumerate(expected):
        chosen, rejected = responses[found.chosen[number]], responses[found.rejected[number]]
        assert owner[found.chosen[number]] == owner[found.rejected[number]] == found.query[number]
        assert rows[found.query[number]]["query_id"] == pair["query_id"]
        assert (chosen["model"], chosen["text"]) == (pair["chosen_model"], pair["chosen"])
        assert (rejected["model"], rejected["text"]) == (pair["rejected_model"], pair["rejected"])
        scores = (found.chosen_score[number], found.rejected_score[number], found.margin[number])
        assert scores == (pair["chosen_score"], pair["rejected_score"], pair["margin"])
    assert np.all(np.diff(found.query) >= 0)


@examples(60)
@given(rows=raw_rows(), options=OPTIONS)
def test_indices_need_neither_query_nor_source(rows: list[Row], options: Row) -> None:
    batch = as_batch(rows)
    config = PairConfig(**options)
    for other in (batch.drop_columns(["query", "source"]), batch.select(batch.schema.names[::-1])):
        one, two = find_pairs(batch, config), find_pairs(other, config)
        for name in PAIR_ARRAYS:
            assert np.array_equal(getattr(one, name), getattr(two, name))


@examples(120)
@given(
    data=st.data(),
    rows=raw_rows(most_queries=4),
    options=OPTIONS_WITH_DRAWS,
    limit=st.none() | st.integers(1, 3),
    form=st.sampled_from(OF_PAIRS),
)
def test_a_sliced_batch_gives_the_pairs_of_its_rows(
    data: st.DataObject, rows: list[Row], options: Row, limit: int | None, form: str
) -> None:
    start = data.draw(st.integers(0, len(rows)))
    length = data.draw(st.integers(0, len(rows) - start))
    options |= {"max_pairs_per_query": limit, "format": form}
    piece = as_batch(rows).slice(start, length)
    assert pairs_of_batch(piece, **options) == kernel_pairs(rows[start : start + length], **options)


@examples(100)
@given(
    data=st.data(),
    rows=raw_rows(most_queries=4),
    options=OPTIONS_WITH_DRAWS,
    limit=st.none() | st.integers(1, 3),
    form=st.sampled_from(OF_PAIRS),
)
def test_splits_and_row_order_change_no_query(
    data: st.DataObject, rows: list[Row], options: Row, limit: int | None, form: str
) -> None:
    options |= {"max_pairs_per_query": limit, "format": form}
    whole = kernel_pairs(rows, **options)
    assert [pair for row in rows for pair in kernel_pairs([row], **options)] == whole
    shuffled = data.draw(st.permutations(rows))
    groups = by_query(whole)
    assert kernel_pairs(shuffled, **options) == [pair for row in shuffled for pair in groups[row["query_id"]]]


def test_values_hidden_under_a_null_list_take_no_part() -> None:
    rows = [
        query(response("a", 9), response("b", 1), comparisons=[comparison(0, 1, 0, 1)], query_id=f"q{n}")
        for n in (0, 1)
    ]
    batch = as_batch(rows)
    hide_first = pa.array([True, False])
    for name in ("responses", "comparisons"):
        column = batch.column(name)
        hidden = pa.ListArray.from_arrays(column.offsets, column.values, type=column.type, mask=hide_first)
        half_hidden = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), hidden)
        found = pairs_of_batch(half_hidden, threshold=0, labels="scores" if name == "responses" else "comparisons")
        assert [pair["query_id"] for pair in found] == ["q1"]


@examples(80)
@given(
    rows=raw_rows(),
    options=OPTIONS_WITH_DRAWS,
    form=st.sampled_from(OF_PAIRS),
    most_bytes=st.sampled_from([1, 7, 20, 60]),
)
def test_text_is_cut_into_tables_of_few_bytes(rows: list[Row], options: Row, form: str, most_bytes: int) -> None:
    options["format"] = form
    whole = kernel_pairs(rows, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_TEXT_BYTES", most_bytes)
        tables = list(pair_tables(as_batch(rows), PairConfig(**options)))
    assert [row for table in tables for row in table.to_pylist()] == whole
    assert_few_bytes(tables, most_bytes)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("most_bytes", [1, 40, 41, 100, 1000])
def test_long_texts_are_cut_into_tables_of_few_bytes(form: str, most_bytes: int) -> None:
    rows = four_answers(30)
    for number, row in enumerate(rows):
        row["responses"][number % 4]["text"] = "长" * number
    whole = kernel_pairs(rows, threshold=1, format=form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_TEXT_BYTES", most_bytes)
        tables = list(pair_tables(as_batch(rows), PairConfig(threshold=1, format=form)))
    assert [row for table in tables for row in table.to_pylist()] == whole
    assert 1 < len(tables) <= len(whole)
    assert_few_bytes(tables, most_bytes)


def assert_few_bytes(tables: list[pa.Table], most_bytes: int) -> None:
    for table in tables:
        assert table.num_rows > 0
        for column in {"prompt", "chosen", "rejected", "completion", "responses"} & set(table.column_names):
            assert table.num_rows == 1 or sum(map(text_bytes, table.column(column).to_pylist())) <= most_bytes


def text_bytes(cell: str | Row | list[Any]) -> int:
    """Of a text, a message, or a list of either."""
    if isinstance(cell, list):
        return sum(map(text_bytes, cell))
    return len((cell if isinstance(cell, str) else cell["content"]).encode())


@pytest.mark.parametrize("form", OF_PAIRS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_rows_and_no_pairs_give_no_table(form: str, strategy: str) -> None:
    config = PairConfig(threshold=2, format=form, strategy=strategy, max_pairs_per_query=1)
    same = query(response("a", 9, text="same"), response("b", 1, text="same"), comparisons=[comparison(0, 1, 9, 1)])
    for rows in ([], [query()], [query(response("a", 1))], [query(response("a"), response("b"))], [same]):
        assert list(pair_tables(as_batch(rows), config)) == []


# --- formats ------------------------------------------------------------------------------------


@examples(80)
@given(rows=raw_rows(), options=OPTIONS)
def test_reward_has_the_same_pairs_in_its_columns(rows: list[Row], options: Row) -> None:
    columns = PAIR_SCHEMAS["reward"].names
    expected = [{name: pair[name] for name in columns} for pair in oracle_pairs(rows, **options)]
    assert kernel_pairs(rows, **options, format="reward") == expected


@examples(80)
@given(rows=raw_rows(), options=OPTIONS)
def test_conversational_has_the_same_pairs_as_messages(rows: list[Row], options: Row) -> None:
    expected = [
        pair
        | {"prompt": [{"role": "user", "content": pair["prompt"]}]}
        | {name: [{"role": "assistant", "content": pair[name]}] for name in ("chosen", "rejected")}
        for pair in oracle_pairs(rows, **options)
    ]
    assert kernel_pairs(rows, **options, format="conversational") == expected


@examples(150)
@given(rows=raw_rows(), options=OPTIONS)
def test_kto_labels_each_response_of_a_pair_once(rows: list[Row], options: Row) -> None:
    expected = oracle_pairs(rows, **options)
    found = kernel_pairs(rows, **options, format="kto")
    won = Counter((pair["query_id"], pair["chosen_model"]) for pair in expected)
    lost = Counter((pair["query_id"], pair["rejected_model"]) for pair in expected)
    scores: dict[tuple[str, str], set[float]] = defaultdict(set)
    facts: dict[tuple[str, str], tuple[str, str, str]] = {}
    for pair, side in product(expected, ("chosen", "rejected")):
        name = pair["query_id"], pair[f"{side}_model"]
        scores[name].add(pair[f"{side}_score"])
        facts[name] = pair["prompt"], pair[side], pair["domain"]

    names = [(row["query_id"], row["model"]) for row in found]
    assert len(set(names)) == len(names)
    assert set(names) == won.keys() | lost.keys()
    for name, row in zip(names, found, strict=True):
        assert row["label"] is (won[name] > lost[name])
        assert (row["prompt"], row["completion"], row["domain"]) == facts[name]
        # One value a response with labels from scores alone; comparisons may give one a pair.
        assert min(scores[name]) <= row["score"] <= max(scores[name])


@examples(100)
@given(rows=raw_rows(), options=OPTIONS)
def test_kto_labels_alternate_within_a_query_while_both_last(rows: list[Row], options: Row) -> None:
    found = kernel_pairs(rows, **options, format="kto")
    groups = by_query(found)
    in_order = [row["query_id"] for row in rows if row["query_id"] in groups]
    assert found == [row for name in in_order for row in groups[name]]
    for group in groups.values():
        labels = [row["label"] for row in group]
        both = min(labels.count(True), labels.count(False))
        assert labels[: 2 * both] == [True, False] * both
        assert len(set(labels[2 * both :])) <= 1


# --- draws --------------------------------------------------------------------------------------


def drawn_and_undrawn(rows: list[Row], options: Row, limit: int | None) -> tuple[list[Row], list[Row], int | None]:
    """What the kernel drew, what it drew from, and how many pairs a query it may draw."""
    drawn = kernel_pairs(rows, **options, max_pairs_per_query=limit)
    most = 1 if options.get("strategy") == "best_random" else limit
    return drawn, oracle_pairs(rows, **{name: value for name, value in options.items() if name != "seed"}), most


@examples(120)
@given(rows=raw_rows(), options=OPTIONS_WITH_DRAWS, limit=st.none() | st.integers(1, 16), seed=st.integers(-3, 2**70))
def test_a_draw_takes_as_many_pairs_as_it_may_and_keeps_their_order(
    rows: list[Row], options: Row, limit: int | None, seed: int
) -> None:
    drawn, undrawn, most = drawn_and_undrawn(rows, options | {"seed": seed}, limit)
    available = by_query(undrawn)
    remaining: Iterator[Row] = iter(undrawn)
    assert all(pair in remaining for pair in drawn)  # `in` uses the iterator up: a subset in the same order
    expected = {name: len(group) if most is None else min(most, len(group)) for name, group in available.items()}
    assert {name: len(group) for name, group in by_query(drawn).items()} == expected


@pytest.mark.parametrize("limit", range(1, 8))
def test_queries_with_more_and_with_fewer_pairs_than_the_limit(limit: int) -> None:
    rows = four_answers(20)
    for number in range(0, 20, 2):
        rows[number]["responses"] = rows[number]["responses"][: 1 + number % 3]
    drawn, undrawn, _ = drawn_and_undrawn(rows, {"threshold": 1}, limit)
    assert {len(group) for group in by_query(undrawn).values()} == {1, 3, 6}
    remaining = iter(undrawn)
    assert all(pair in remaining for pair in drawn)
    expected = {name: min(limit, len(group)) for name, group in by_query(undrawn).items()}
    assert {name: len(group) for name, group in by_query(drawn).items()} == expected


@examples(60)
@given(rows=raw_rows(), options=OPTIONS, limit=st.integers(1, 3), seed=st.integers(0, 9))
def test_best_random_takes_the_best_response_against_a_valid_one(
    rows: list[Row], options: Row, limit: int, seed: int
) -> None:
    options |= {"strategy": "best_random", "seed": seed}
    assert kernel_pairs(rows, **options) == kernel_pairs(rows, **options, max_pairs_per_query=limit)


@examples(150)
@given(data=st.data(), rows=raw_rows(), options=OPTIONS_WITH_DRAWS, limit=st.none() | st.integers(1, 3))
def test_the_order_of_responses_changes_no_pair(
    data: st.DataObject, rows: list[Row], options: Row, limit: int | None
) -> None:
    reordered = []
    for row in rows:
        order = data.draw(st.permutations(range(len(row["responses"]))))
        moved = {old: new for new, old in enumerate(order)}
        comparisons = row["comparisons"] and [
            entry | {"first": moved[entry["first"]], "second": moved[entry["second"]]} for entry in row["comparisons"]
        ]
        reordered.append(row | {"responses": [row["responses"][old] for old in order], "comparisons": comparisons})
    options["max_pairs_per_query"] = limit
    assert model_pairs(kernel_pairs(reordered, **options)) == model_pairs(kernel_pairs(rows, **options))


def four_answers(count: int, prefix: str = "q") -> list[Row]:
    """Queries with four responses, thus six pairs, the same models ranked in many ways."""
    answers = []
    for number in range(count):
        scores = np.random.default_rng(number).permutation(4)
        responses = [response(model, float(score)) for model, score in zip("abcd", scores, strict=True)]
        answers.append(query(*responses, query_id=f"{prefix}{number}"))
    return answers


DRAWS = [{"strategy": "best_random"}, {"max_pairs_per_query": 1}, {"max_pairs_per_query": 4}]


@pytest.mark.parametrize("options", DRAWS)
def test_another_seed_draws_other_pairs(options: Row) -> None:
    rows = four_answers(200)
    drawn = {seed: model_pairs(kernel_pairs(rows, threshold=1, seed=seed, **options)) for seed in (0, 1, 2, -1, 2**64)}
    for one, two in combinations(drawn, 2):
        assert len(drawn[one] - drawn[two]) > 20
    assert kernel_pairs(rows, threshold=1, seed=1, **options) == kernel_pairs(rows, threshold=1, seed=1, **options)


@pytest.mark.parametrize("options", DRAWS)
def test_a_draw_does_not_depend_on_other_queries(options: Row) -> None:
    rows = four_answers(100)
    others = [query(response("0", 3), response("aa", 1), response("zz", 9), query_id=f"other{n}") for n in range(30)]
    alone = kernel_pairs(rows, threshold=1, seed=3, **options)
    among = kernel_pairs(others[:10] + rows[:50] + others[10:] + rows[50:], threshold=1, seed=3, **options)
    assert [pair for pair in among if not pair["query_id"].startswith("other")] == alone


def assert_uniform(counts: Counter[Any], outcomes: int) -> None:
    """Each of `outcomes` within five standard deviations of its share; the input is fixed, so never by chance."""
    total = counts.total()
    share = 1 / outcomes
    spread = 5 * (total * share * (1 - share)) ** 0.5
    assert len(counts) == outcomes
    assert all(abs(count - total * share) < spread for count in counts.values()), counts


QUERIES = 3000


@pytest.mark.parametrize(("prefix", "seed"), [("q", 0), ("查询/", 1), ("q", 12345)])
def test_draws_are_uniform_over_queries(prefix: str, seed: int) -> None:
    rows = four_answers(QUERIES, prefix)
    one = kernel_pairs(rows, threshold=1, seed=seed, max_pairs_per_query=1)
    assert len(one) == QUERIES
    assert_uniform(Counter(frozenset((pair["chosen_model"], pair["rejected_model"])) for pair in one), 6)
    assert_uniform(Counter((pair["chosen_score"], pair["rejected_score"]) for pair in one), 6)
    two = by_query(kernel_pairs(rows, threshold=1, seed=seed, max_pairs_per_query=2))
    taken = [frozenset((pair["chosen_score"], pair["rejected_score"]) for pair in group) for group in two.values()]
    assert_uniform(Counter(taken), 15)
    best = kernel_pairs(rows, threshold=1, seed=seed, strategy="best_random")
    assert {pair["chosen_score"] for pair in best} == {3.0}
    assert_uniform(Counter(pair["rejected_score"] for pair in best), 3)


def test_draws_of_two_seeds_are_independent() -> None:
    rows = four_answers(QUERIES)
    drawn = [kernel_pairs(rows, threshold=1, seed=seed, max_pairs_per_query=1) for seed in (0, 1)]
    ranks = [[(pair["chosen_score"], pair["rejected_score"]) for pair in found] for found in drawn]
    assert_uniform(Counter(zip(*ranks, strict=True)), 36)


def test_draws_of_neighbouring_queries_are_independent() -> None:
    found = kernel_pairs(four_answers(QUERIES), threshold=1, max_pairs_per_query=1)
    ranks = [(pair["chosen_score"], pair["rejected_score"]) for pair in found]
    assert_uniform(Counter(zip(ranks[::2], ranks[1::2], strict=True)), 36)


# --- the config ---------------------------------------------------------------------------------

NOT_A_THRESHOLD = [
    float("nan"),
    float("inf"),
    float("-inf"),
    -1,
    -0.0001,
    0.00001,
    2.00005,
    1 / 3,
    True,
    False,
    "two",
    [2],
]


@pytest.mark.parametrize("threshold", NOT_A_THRESHOLD)
def test_a_bad_threshold_is_a_usage_error(threshold: Any) -> None:
    for check in (check_threshold, lambda value: PairConfig(threshold=value)):
        with pytest.raises(UsageError, match=r"(?s)threshold.*finite.*0 or more.*4 decimals"):
            check(threshold)


@pytest.mark.parametrize("threshold", [0, 0.0, 2, 2.0, 0.5, 0.0001, 0.3333, 6.1, 1e7, np.float64(0.1), np.int64(2)])
def test_a_good_threshold_becomes_a_float(threshold: Any) -> None:
    checked = check_threshold(threshold)
    assert type(checked) is float
    assert checked == threshold == PairConfig(threshold=threshold).threshold


@pytest.mark.parametrize(
    ("option", "valid"),
    [("aggregation", AGGREGATIONS), ("labels", LABELS), ("strategy", STRATEGIES), ("format", FORMATS)],
)
@pytest.mark.parametrize("name", ["", "nope", "ALL", None, 1, True, ["all"]])
def test_an_unknown_name_lists_the_valid_ones(option: str, valid: tuple[str, ...], name: Any) -> None:
    for known in valid:
        only: Row = {option: known}
        assert getattr(PairConfig(**only), option) == known
    with pytest.raises(UnknownNameError) as caught:
        PairConfig(**{option: name})
    assert set(caught.value.valid) == set(valid)
    assert option in str(caught.value)
    assert all(known in str(caught.value) for known in valid)


@pytest.mark.parametrize(
    ("option", "value", "advice"),
    [
        ("judges", (), "one or more names"),
        ("judges", [], "one or more names"),
        ("judges", (1,), "one or more names"),
        ("judges", ("gpt-4", None), "one or more names"),
        ("max_pairs_per_query", 0, "1 or more"),
        ("max_pairs_per_query", -1, "1 or more"),
        ("max_pairs_per_query", True, "1 or more"),
        ("max_pairs_per_query", 1.5, "1 or more"),
        ("max_pairs_per_query", "3", "1 or more"),
        ("seed", 0.5, "whole number"),
        ("seed", "a", "whole number"),
        ("seed", None, "whole number"),
        ("seed", True, "whole number"),
        ("strict", "no", "True or False"),
        ("strict", None, "True or False"),
        ("include_self_judged", "no", "True or False"),
        ("include_self_judged", None, "True or False"),
    ],
)
def test_a_bad_value_names_the_option_and_what_is_allowed(option: str, value: Any, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        PairConfig(**{option: value})
    assert option in str(caught.value)
    assert advice in str(caught.value)


def test_the_config_is_a_frozen_value() -> None:
    config = PairConfig(threshold=2, judges=("a", "b"))
    assert config == PairConfig(threshold=2.0, judges=("a", "b"))
    assert len({config, PairConfig(threshold=2.0, judges=("a", "b"))}) == 1
    assert pickle.loads(pickle.dumps(config)) == config
    assert config.judges == PairConfig(judges=["a", "b"]).judges  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.threshold = 3  # type: ignore[misc]


def test_the_stores_default_threshold_fills_only_a_missing_one() -> None:
    assert PairConfig().threshold is None
    assert PairConfig(strict=True).with_default_threshold(1) == PairConfig(threshold=1, strict=True)
    assert PairConfig(threshold=0).with_default_threshold(2).threshold == 0
    with pytest.raises(UsageError, match="threshold"):
        PairConfig().with_default_threshold(-1)


def test_a_config_without_a_threshold_finds_nothing_but_an_error() -> None:
    batch = as_batch([query(response("a", 1), response("b", 9))])
    with pytest.raises(UsageError, match="threshold"):
        find_pairs(batch, PairConfig())
    with pytest.raises(UsageError, match="threshold"):
        list(pair_tables(batch, PairConfig()))


def test_a_judge_that_the_store_does_not_have_is_an_unknown_name() -> None:
    config = PairConfig(judges=("gpt-4", "qwen"))
    check_judges(config, {"qwen", "gpt-4", "other"})
    check_judges(PairConfig(), {"other"})
    check_judges(config, ())  # the store's judges are not known
    with pytest.raises(UnknownNameError) as caught:
        check_judges(config, ["qwen", "gpt-4o"])
    assert all(name in str(caught.value) for name in ("judge", "'gpt-4'", "gpt-4o", "qwen"))


# --- real files ---------------------------------------------------------------------------------

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
