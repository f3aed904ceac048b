"""Formats ranked: a row a query, its scored responses best first, the same however they are read."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from commands import run
from conversations import answer_of, as_json, conversation_rows, holds_more, prompt_of, turn
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from make import completed, make_store
from oracle import oracle_pairs, oracle_ranked
from strategies import examples, extreme_rows, many_dimension_rows, pair_options, raw_rows

from coig_p.errors import DataError, UsageError
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.pairs.config import PairConfig
from coig_p.pairs.rows import pair_tables
from coig_p.pairs.turns import Shape
from coig_p.pairs.weights import rows_shown
from coig_p.schema import PAIR_SCHEMAS, RAW_SCHEMA, row_schema
from coig_p.store.conversations import transcript
from coig_p.store.store import Store

Row = dict[str, Any]
OF_PAIRS = ("labels", "strategy")


def scoring(options: Row) -> Row:
    """The options that say which scores count and how far apart they must be."""
    return {name: value for name, value in options.items() if name not in OF_PAIRS}


def ranked(rows: list[Row], form: str = "ranked", **options: Any) -> list[Row]:
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
    found = []
    for table in pair_tables(batch, PairConfig(format=form, **options)):
        assert table.schema.equals(PAIR_SCHEMAS[form])
        assert table.num_rows > 0
        table.validate(full=True)
        found += table.to_pylist()
    return found


def response(model: str, *scores: float, **fields: Any) -> Row:
    entries = [{"judge": f"j{at}", "dimension": "overall", "score": float(score)} for at, score in enumerate(scores)]
    return {"model": model, "text": f"回答{model}", "scores": entries} | fields


def query(*responses: Row, **fields: Any) -> Row:
    own = {"query_id": "q", "domain": "math", "query": "问？", "responses": list(responses)} | fields
    (row,) = completed([own])
    return row


def load(store: Path, name: str = "all", **options: Any) -> Any:
    keywords = {"data_dir": str(store), "split": "train", "streaming": True, "format": "ranked", **options}
    return load_dataset("coig-p", name, **keywords)


# --- the oracle ---------------------------------------------------------------------------------


@examples(200)
@given(rows=raw_rows(), options=pair_options().map(scoring))
def test_lists_are_the_oracles(rows: list[Row], options: Row) -> None:
    assert ranked(rows, **options) == oracle_ranked(rows, **options)


@examples(60)
@given(rows=extreme_rows(), options=pair_options().map(scoring), threshold=st.sampled_from([0, 0.0001, 2, 1e6, 1e15]))
def test_lists_of_extreme_scores_are_the_oracles(rows: list[Row], options: Row, threshold: float) -> None:
    options["threshold"] = threshold
    assert ranked(rows, **options) == oracle_ranked(rows, **options)


@examples(40)
@given(rows=many_dimension_rows(), options=pair_options().map(scoring))
def test_lists_of_many_dimension_counts_are_the_oracles(rows: list[Row], options: Row) -> None:
    assert ranked(rows, **options) == oracle_ranked(rows, **options)


@examples(60)
@given(rows=raw_rows(), options=pair_options().map(scoring))
def test_messages_hold_the_same_lists(rows: list[Row], options: Row) -> None:
    wanted = [
        row
        | {"prompt": [{"role": "user", "content": row["prompt"]}]}
        | {"responses": [[{"role": "assistant", "content": text}] for text in row["responses"]]}
        for row in oracle_ranked(rows, **options)
    ]
    assert ranked(rows, "ranked_conversational", **options) == wanted


@examples(80)
@given(data=st.data(), rows=raw_rows(), options=pair_options().map(scoring))
def test_the_order_in_which_responses_are_stored_changes_nothing(
    data: st.DataObject, rows: list[Row], options: Row
) -> None:
    moved = [row | {"responses": data.draw(st.permutations(row["responses"]))} for row in rows]
    assert ranked(moved, **options) == ranked(rows, **options)


@examples(60)
@given(data=st.data(), rows=raw_rows(most_queries=4), options=pair_options().map(scoring))
def test_a_sliced_batch_gives_the_lists_of_its_rows(data: st.DataObject, rows: list[Row], options: Row) -> None:
    begin = data.draw(st.integers(0, len(rows)))
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA).slice(begin)
    tables = pair_tables(batch, PairConfig(format="ranked", **options))
    assert [row for table in tables for row in table.to_pylist()] == ranked(rows[begin:], **options)


# --- what a row holds ---------------------------------------------------------------------------


def test_equal_scores_share_a_rank_and_stand_by_model_and_sample() -> None:
    answers = [response("b", 5), response("c", 9), response("a", 5, sample=1), response("a", 5), response("d", 1)]
    (row,) = ranked([query(*answers)], threshold=2)
    assert row["models"] == ["c", "a", "a", "b", "d"]
    assert row["responses"] == ["回答c", "回答a", "回答a", "回答b", "回答d"]
    assert row["scores"] == [9, 5, 5, 5, 1]
    assert row["ranks"] == [1, 2, 2, 2, 5]


def test_the_threshold_chooses_queries_and_never_responses() -> None:
    close, far = query(response("a", 5), response("b", 6)), query(response("a", 5), response("b", 6), response("c", 8))
    assert [row["scores"] for row in ranked([close, far], threshold=2)] == [[8, 6, 5]]
    assert [row["scores"] for row in ranked([close, far], threshold=1)] == [[6, 5], [8, 6, 5]]
    assert ranked([close, far], threshold=3, strict=True) == []


def test_two_models_that_answered_the_same_both_stand_and_are_no_pair() -> None:
    same = [response("a", 9, text="同"), response("b", 1, text="同")]
    assert ranked([query(*same)], threshold=0) == []
    (row,) = ranked([query(*same, response("c", 5))], threshold=2)
    assert (row["models"], row["responses"]) == (["a", "c", "b"], ["同", "回答c", "同"])


def test_a_response_without_a_score_that_counts_takes_no_part() -> None:
    answers = [response("a", 9), response("b"), response("j1", 2, 8), response("c", 1)]
    (row,) = ranked([query(*answers)], threshold=2)
    assert dict(zip(row["models"], row["scores"], strict=True)) == {"a": 9, "j1": 2, "c": 1}
    (row,) = ranked([query(*answers)], threshold=2, include_self_judged=True)
    assert dict(zip(row["models"], row["scores"], strict=True)) == {"a": 9, "j1": 5, "c": 1}
    assert ranked([query(*answers)], threshold=2, judges=("j1",)) == []


def test_a_null_that_a_row_would_show_is_an_error_of_its_query() -> None:
    bad = query(response("a", 9), response("b", 5, text=None), response("c", 1), query_id="坏")
    with pytest.raises(DataError, match="query_id '坏': its response is null"):
        ranked([query(response("a", 9), response("b", 1)), bad], threshold=2)
    unseen = query(response("a", 9), response("b", text=None), response("c", 1))
    assert len(ranked([unseen], threshold=2)) == 1


# --- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["ranked", "ranked_conversational"])
def test_options_of_pairs_are_refused_together(form: str) -> None:
    with pytest.raises(
        UsageError, match=rf"strategy='adjacent', max_pairs_per_query=2: no effect, since format {form}"
    ):
        PairConfig(format=form, strategy="adjacent", max_pairs_per_query=2)
    with pytest.raises(UsageError, match="comparison says of two which is better"):
        PairConfig(format=form, labels="comparisons")
    assert PairConfig(format=form, labels="scores", seed=3).labels == "scores"


COMPARED = {"first": 0, "second": 1, "judge": "j", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}


def test_comparisons_are_not_left_out_without_a_word(tmp_path: Path) -> None:
    scored = query(response("a", 9), response("b", 1), query_id="scored")
    compared = query(response("a"), response("b"), query_id="compared", comparisons=[COMPARED])
    elsewhere = query(response("a", 9), response("b", 1), query_id="elsewhere", domain="chat")
    both = make_store(tmp_path / "both", [scored, compared, elsewhere])
    with pytest.raises(UsageError, match=r'beside them there are comparisons \(math 1\).*labels="scores".*"dpo"'):
        load(both)
    assert [row["query_id"] for row in load(both, labels="scores")] == ["scored", "elsewhere"]
    assert [row["query_id"] for row in load(both, "chat")] == ["elsewhere"]
    shown = run("pairs", both, "--format", "ranked", "--out", tmp_path / "x.jsonl", code=2).stderr
    assert "--labels scores" in shown
    alone = make_store(tmp_path / "alone", [compared])
    with pytest.raises(UsageError, match=r"instead there are comparisons \(math 1\)") as caught:
        load(alone)
    assert "labels=" not in str(caught.value)
    with pytest.raises(UsageError, match=r"this store has no scores, it has 1 comparison: use a format of pairs"):
        load(alone, labels="scores")
    assert len(list(load(alone, format="dpo", threshold=1))) == 1


# --- every way of reading -----------------------------------------------------------------------


def shown(rows: Any) -> Counter[str]:
    return Counter(map(as_json, rows))


def test_every_way_of_loading_gives_the_same_lists(store: Path, rows: list[Row], tmp_path: Path, cache: str) -> None:
    wanted = oracle_ranked(rows, threshold=2)
    assert {row["query_id"] for row in wanted} == {row["query_id"] for row in oracle_pairs(rows, threshold=2)}
    found = load(store, streaming=False, cache_dir=cache)
    assert found.features.arrow_schema.equals(PAIR_SCHEMAS["ranked"])
    assert found.to_list() == wanted
    assert list(load(store)) == wanted
    assert load(store, streaming=False, num_proc=2, cache_dir=f"{cache}-2").to_list() == wanted
    run("pairs", store, "--format", "ranked", "--out", tmp_path / "x.jsonl")
    run("pairs", store, "--format", "ranked", "--out", tmp_path / "x.parquet")
    assert [json.loads(line) for line in (tmp_path / "x.jsonl").read_text("utf-8").splitlines()] == wanted
    assert pa.parquet.read_table(tmp_path / "x.parquet").to_pylist() == wanted


def test_shuffles_weights_and_splits_show_whole_lists(store: Path, rows: list[Row], cache: str) -> None:
    wanted = oracle_ranked(rows, threshold=2)
    planned = [
        list(load(store, shuffle_seed=3, world_size=2, workers=2)),
        load(store, shuffle_seed=3, world_size=2, workers=2, streaming=False, cache_dir=cache).to_list(),
    ]
    assert planned[0] == planned[1] != wanted
    assert shown(planned[0]) == shown(wanted)
    weighted = shown(load(store, weights={"math": 2.5, "chat": 0.5}))
    of = {domain: shown(row for row in wanted if row["domain"] == domain) for domain in ("math", "chat")}
    assert all(weighted[text] in (2, 3) for text in of["math"])
    assert all(weighted[text] in (0, 1) for text in of["chat"])
    for domain, weight in (("math", 2.5), ("chat", 0.5)):
        assert sum(weighted[text] for text in of[domain]) == rows_shown(len(of[domain]), weight)
    sizes: Row = {"test_size": 0.2, "split": None}
    parts = load(store, **sizes)
    assert shown(row for name in ("train", "test") for row in parts[name]) == shown(wanted)


# --- conversations ------------------------------------------------------------------------------


def turned(rows: list[Row], with_tools: bool) -> list[Row]:
    """The rows of ranked_conversational of generated conversations, whose last response is the best."""
    found = []
    for row in rows:
        answers = row["responses"][::-1]
        found.append(
            {
                "prompt": prompt_of(row, with_tools),
                "responses": [answer_of(one, with_tools) for one in answers],
                "models": [one["model"] for one in answers],
                "scores": [one["scores"][0]["score"] for one in answers],
                "ranks": list(range(1, len(answers) + 1)),
                "query_id": row["query_id"],
                "domain": row["domain"],
            }
            | ({"tools": row["tools"]} if with_tools else {})
        )
    return found


@given(rows=conversation_rows())
@examples(15)
def test_conversations_and_tools_are_given_turn_by_turn(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", rows, rows_per_shard=2, rows_per_group=1)
        rows = [row for domain in Store.open(store).manifest.domains for row in rows if row["domain"] == domain]
        with_tools = any(map(holds_more, rows))
        options: Row = {"format": "ranked_conversational"}
        found = load(store, streaming=False, cache_dir=f"{folder}/cache", **options)
        schema = row_schema("ranked_conversational", as_messages=True, with_tools=with_tools)
        assert found.features.arrow_schema.equals(schema)
        assert found.to_list() == turned(rows, with_tools)
        assert list(load(store, **options)) == found.to_list()


TURNS = [turn("user", "一"), turn("assistant", "二"), turn("user", "三")]


def test_strings_of_conversations_are_refused_with_the_ways_out(tmp_path: Path) -> None:
    answers = [response("a", 9), response("b", 1)]
    one, many = query(*answers, query_id="one"), query(*answers, query_id="many", messages=TURNS)
    many["query"] = transcript(TURNS)
    store = make_store(tmp_path / "store", [one, many])
    with pytest.raises(UsageError) as caught:
        load(store)
    words = ("domain math holds 1 query", 'format="ranked_conversational"', '"text"', '"last"', '"skip"')
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "which gives pairs" not in str(caught.value)
    assert [row["prompt"] for row in load(store, multi_turn="text")] == ["问？", many["query"]]
    assert [row["prompt"] for row in load(store, multi_turn="last")] == ["问？", "三"]
    assert [row["query_id"] for row in load(store, multi_turn="skip")] == ["one"]
    with pytest.raises(UsageError, match="format ranked_conversational gives conversations turn by turn"):
        PairConfig(format="ranked_conversational", multi_turn="last")


# --- and back -----------------------------------------------------------------------------------


def as_read(row: Row) -> str:
    """A row as JSON text; an import says of a call without a type that it is one of a function."""
    for message in chain(row["prompt"], *row["responses"]):
        for call in message.get("tool_calls") or ():
            call["type"] = "function"
    return as_json(row)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@given(rows=conversation_rows())
@examples(10)
def test_lists_come_back_as_they_went(ending: str, rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", rows)
        out = Path(folder) / f"x.{ending}"
        run("pairs", store, "--format", "ranked_conversational", "--out", out)
        again, report = import_files([out], Path(folder) / "again", ImportConfig(default_threshold=2))
        assert not report.reasons
        assert not any(row["comparisons"] for batch in again.batches() for row in batch.to_pylist())
        options: Row = {"format": "ranked_conversational"}
        before, after = list(load(store, **options)), list(load(again.path, **options))
        assert sorted(map(as_read, after)) == sorted(map(as_read, before))


def test_means_come_back_on_the_nearest_step_of_the_grid(tmp_path: Path) -> None:
    rows = [query(response("a", 9, 9, 8), response("b", 5), response("c", 1, 1, 2), query_id="q1")]
    store = make_store(tmp_path / "store", rows)
    run("pairs", store, "--format", "ranked", "--out", tmp_path / "x.jsonl")
    done = run("import", tmp_path / "x.jsonl", "--out", tmp_path / "again")
    assert "read as rated rows" in done.stdout
    (row,) = load(tmp_path / "again")
    assert row["scores"] == [8.6667, 5, 1.3333]
    assert row | {"scores": None} == oracle_ranked(rows, threshold=2)[0] | {"scores": None}


@pytest.mark.parametrize(
    ("scores", "ranks", "words"),
    [
        ([3, 9, 5], [1, 2, 3], "say otherwise than the ratings 3 and 9"),
    ],
)
def test_ranks_that_say_more_than_the_scores_are_not_passed_over(
    scores: list[float], ranks: list[int], words: str, tmp_path: Path
) -> None:
    row = {"prompt": "问", "responses": ["甲", "乙", "丙"], "models": ["a", "b", "c"], "scores": scores, "ranks": ranks}
    (tmp_path / "x.jsonl").write_text(json.dumps(row | {"query_id": "q", "domain": "math"}), "utf-8")
    shown = run("import", tmp_path / "x.jsonl", "--out", tmp_path / "store", code=1)
    assert words in shown.stdout + shown.stderr
    assert not (tmp_path / "store").exists()


def test_means_nearer_than_the_grid_keep_their_ranks_and_are_counted(tmp_path: Path) -> None:
    row = {"prompt": "问", "responses": ["甲", "乙", "丙"], "scores": [8.66671, 8.66669, 5], "ranks": [1, 2, 3]}
    row |= {"models": ["a", "b", "c"], "query_id": "q", "domain": "math"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row), "utf-8")
    done = run("import", tmp_path / "x.jsonl", "--out", tmp_path / "store")
    assert "rounded to 4 decimals: 2" in done.stdout
    (back,) = load(tmp_path / "store", threshold=0)
    assert (back["scores"], back["ranks"]) == ([8.6667, 8.6666, 5], [1, 2, 3])


def test_a_batch_of_more_than_a_shape_can_show_is_an_error() -> None:
    row = query(response("a", 9), response("b", 1), messages=TURNS)
    batch = pa.RecordBatch.from_pylist([row], schema=RAW_SCHEMA)
    with pytest.raises(DataError, match="query_id 'q': it is a conversation"):
        list(pair_tables(batch, PairConfig(threshold=2, format="ranked"), shape=Shape()))
