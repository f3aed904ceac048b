"""Batches of any cut, tables of few bytes, and formats: the same pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import oracle_pairs
from pairing import (
    OF_PAIRS,
    OPTIONS,
    OPTIONS_WITH_DRAWS,
    as_batch,
    by_query,
    comparison,
    four_answers,
    kernel_pairs,
    pairs_of_batch,
    query,
    response,
)
from strategies import examples, raw_rows

from coig_p.core import arrays
from coig_p.pairs.config import FORMATS, STRATEGIES, PairConfig
from coig_p.pairs.kernel import find_pairs
from coig_p.pairs.rows import find_rows, pair_tables
from coig_p.schema import PAIR_SCHEMAS

Row = dict[str, Any]
PAIR_ARRAYS = ("query", "chosen", "rejected", "chosen_score", "rejected_score", "margin")


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
    assert list(find_rows(as_batch(rows), PairConfig(threshold=1, format=form)).tables(most_bytes)) == tables


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


# Formats


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
