"""Conversations in pairs: turn for turn what is stored, however they are read, and never bent into a string."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from commands import run
from conversations import (
    answer_of,
    as_json,
    conversation_rows,
    conversational_pairs,
    holds_more,
    is_conversation,
    prompt_of,
    turn,
)
from datasets import load_dataset
from hypothesis import given
from make import make_rows, make_store
from strategies import examples

from coig_p.errors import DataError, UsageError
from coig_p.export.one_file import write_pairs
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import count_combinations, find_pairs
from coig_p.pairs.labels import Responses
from coig_p.pairs.rows import pair_tables
from coig_p.pairs.selection import select
from coig_p.pairs.turns import Shape
from coig_p.schema import MESSAGES_TYPE, PAIR_SCHEMAS, RAW_SCHEMA, TOOL_MESSAGES_TYPE, row_schema
from coig_p.store.conversations import is_more_than_text, transcript
from coig_p.store.store import Store

Row = dict[str, Any]
SHOWN = ("prompt", "chosen", "rejected", "query_id", "domain", "tools")
CALL = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]


def shown(rows: Sequence[Row]) -> list[Row]:
    return [{name: row[name] for name in SHOWN if name in row} for row in rows]


def load(store: Path, name: str = "all", **options: Any) -> Any:
    return load_dataset("coig-p", name, data_dir=str(store), split="train", **options)


def batch_of(*rows: Row) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=RAW_SCHEMA)


def scored(text: str, score: float, model: str, **extra: Any) -> Row:
    scores = [{"judge": "j", "dimension": "overall", "score": score}]
    kept = as_json(extra) if extra else None
    return {"model": model, "sample": 0, "text": text, "extra": kept, "scores": scores}


def raw(query_id: str = "q", *responses: Row, messages: list[Row] | None = None, **fields: Any) -> Row:
    answers = responses or (scored("好", 9, "a"), scored("坏", 1, "b"))
    query = transcript(messages) if messages else "问"
    return {
        "query_id": query_id,
        "domain": "math",
        "query": query,
        "messages": messages,
        "tools": None,
        "responses": list(answers),
        **fields,
    }


TURNS = [turn("system", "你是助手"), turn("user", "一"), turn("assistant", "二"), turn("user", "三")]


@given(rows=conversation_rows())
@examples(100)
def test_tables_show_every_turn(rows: list[Row]) -> None:
    config = PairConfig(threshold=2, format="conversational")
    shape = Shape(as_messages=True, with_tools=True)
    found = [row for table in pair_tables(batch_of(*rows), config, shape=shape) for row in table.to_pylist()]
    assert shown(found) == conversational_pairs(rows, with_tools=True)


@given(rows=conversation_rows(tools=False))
@examples(60)
def test_without_tools_messages_are_role_and_content(rows: list[Row]) -> None:
    tables = list(pair_tables(batch_of(*rows), PairConfig(threshold=2, format="conversational")))
    assert all(table.schema.equals(PAIR_SCHEMAS["conversational"]) for table in tables)
    assert shown([row for table in tables for row in table.to_pylist()]) == conversational_pairs(rows, False)


@given(rows=conversation_rows(tools=False))
@examples(60)
def test_strings_give_what_was_asked_for(rows: list[Row]) -> None:
    def prompts(multi_turn: str) -> list[str]:
        config = PairConfig(threshold=2, multi_turn=multi_turn)
        return [text for table in pair_tables(batch_of(*rows), config) for text in table["prompt"].to_pylist()]

    def wanted(show: Any, keep: Any = lambda row: True) -> list[str]:
        each = [(row, len(row["responses"])) for row in rows if keep(row)]
        return [show(row) for row, answers in each for _ in range(answers * (answers - 1) // 2)]

    assert prompts("text") == wanted(lambda row: row["query"])
    assert prompts("last") == wanted(lambda row: prompt_of(row, False)[-1]["content"])
    assert prompts("skip") == wanted(lambda row: row["query"], lambda row: not is_conversation(row))


@given(rows=conversation_rows())
@examples(15)
def test_every_way_of_loading_gives_the_same_turns(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", rows, rows_per_shard=2, rows_per_group=1)
        domains = list(dict.fromkeys(row["domain"] for row in rows))
        rows = [row for domain in Store.open(store).manifest.domains for row in rows if row["domain"] == domain]
        assert sorted(domains) == sorted(Store.open(store).manifest.domains)
        with_tools = any(map(holds_more, rows))
        wanted = conversational_pairs(rows, with_tools)
        options: dict[str, Any] = {"format": "conversational", "threshold": 2}
        found = load(store, cache_dir=f"{folder}/cache", **options)
        assert found.features.arrow_schema.equals(row_schema("conversational", as_messages=True, with_tools=with_tools))
        assert shown(found.to_list()) == wanted
        streamed = load(store, streaming=True, **options)
        assert streamed.features == found.features
        assert shown(list(streamed)) == wanted
        planned = load(store, streaming=True, shuffle_seed=1, world_size=1, **options)
        assert sorted(map(as_json, planned)) == sorted(map(as_json, found))
        write_pairs(store, Path(folder) / "a.jsonl", PairConfig(**options), file_type="jsonl")
        lines = (Path(folder) / "a.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line) for line in lines] == found.to_list()
        write_pairs(store, Path(folder) / "a.parquet", PairConfig(**options))
        assert pa.parquet.read_table(Path(folder) / "a.parquet").to_pylist() == found.to_list()


def test_processes_and_shards_change_nothing(tmp_path: Path, cache: str) -> None:
    rows = [raw(f"q{at:02d}", messages=TURNS if at % 3 else None) for at in range(20)]
    rows[7] |= {"tools": as_json([{"type": "function"}])}
    wanted = conversational_pairs(rows, True)
    for row in wanted:  # the better response of these comes first
        row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    for size in (3, 20):
        store = make_store(tmp_path / f"store-{size}", rows, rows_per_shard=size)
        options: dict[str, Any] = {"format": "conversational", "cache_dir": f"{cache}-{size}"}
        assert shown(load(store, num_proc=2, **options).to_list()) == wanted
        weighted = load(store, streaming=True, format="conversational", weights={"math": 2}, shards=2)
        assert sorted(map(as_json, shown(list(weighted)))) == sorted(map(as_json, wanted * 2))


# What a string cannot show is said before any work.


def test_strings_of_conversations_are_refused_with_the_ways_out(tmp_path: Path) -> None:
    rows = [raw("q0", messages=TURNS), raw("q1"), raw("q2") | {"domain": "chat"}]
    store = make_store(tmp_path / "store", rows)
    for form in ("dpo", "reward", "kto", "sft"):
        with pytest.raises(UsageError) as caught:
            load(store, "math", format=form, streaming=True)
        words = ("domain math holds 1 query", f"format {form}", 'format="conversational"', '"last"', '"skip"')
        assert all(word in str(caught.value) for word in words), str(caught.value)
        assert "chat" not in str(caught.value)
        assert len(list(load(store, "chat", format=form, streaming=True))) > 0
    with pytest.raises(UsageError, match="domain math holds 1 query that is a conversation, which"):
        load(store, "all", streaming=True)
    shown_error = run("pairs", store, "--out", tmp_path / "pairs.parquet", code=2).stderr
    assert "--multi-turn" in shown_error
    assert not (tmp_path / "pairs.parquet").exists()
    run("pairs", store, "--out", tmp_path / "pairs.parquet", "--multi-turn", "last")
    prompts = pa.parquet.read_table(tmp_path / "pairs.parquet")["prompt"].to_pylist()
    assert prompts == ["三", "问", "问"]
    skipped = ["pairs", store, "--out", tmp_path / "pairs.parquet", "--multi-turn", "skip", "--overwrite"]
    assert "left out by --multi-turn skip, since the rows cannot show them: 1 query" in run(*skipped).stdout
    assert json.loads(run(*skipped, "--json").stdout)["queries_left_out"] == 1


def test_tools_in_strings_are_refused_whatever_they_give_of_turns(tmp_path: Path) -> None:
    rows = [raw("q0", scored("", 9, "a", tool_calls=CALL), scored("坏", 1, "b")), raw("q1")]
    store = make_store(tmp_path / "store", rows)
    for multi_turn in ("text", "last"):
        with pytest.raises(UsageError, match=r"1 query with tools.*strings, cannot show.*multi_turn=\"skip\""):
            load(store, "math", multi_turn=multi_turn, streaming=True)
    found = list(load(store, "math", multi_turn="skip", streaming=True))
    assert [row["query_id"] for row in found] == ["q1"]
    (first, _) = load(store, "math", format="conversational", streaming=True)
    assert first["chosen"] == answer_of(rows[0]["responses"][0], True)


def test_an_option_without_effect_is_refused_or_left_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no effect"):
        PairConfig(format="conversational", multi_turn="text")
    with pytest.raises(UsageError, match="multi_turn"):
        PairConfig(multi_turn="first")
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 3})))
    plain = select(store.manifest, PairConfig())
    assert select(store.manifest, PairConfig(multi_turn="last")) == plain
    assert plain.schema.equals(PAIR_SCHEMAS["dpo"])


def test_counting_is_never_refused(tmp_path: Path) -> None:
    rows = [raw("q0", messages=TURNS), raw("q1"), raw("q2", tools="[]")]
    store = make_store(tmp_path / "store", rows)
    for command in ("info", "stats", "sweep"):
        run(command, store)
    shown = json.loads(run("stats", store, "--json").stdout)
    skipped = json.loads(run("stats", store, "--json", "--multi-turn", "skip").stdout)
    assert (shown["total"]["pairs"], skipped["total"]["pairs"]) == (3, 1)
    for options in ([], ["--strategy", "best_random"]):
        swept = json.loads(run("sweep", store, "--json", "--multi-turn", "skip", *options).stdout)
        assert {row["pairs"] for row in swept["thresholds"] if row["threshold"] <= 2} == {1}
    plain = make_store(tmp_path / "plain", [raw("q1")])
    for command in ("stats", "sweep"):
        for multi_turn in ("text", "last"):
            assert "has no effect" in run(command, store, "--multi-turn", multi_turn, code=2).stderr
            run(command, plain, "--multi-turn", multi_turn)
        run(command, plain, "--multi-turn", "skip")


def test_queries_with_tools_alone_are_said_without_turns(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", [raw("q1"), raw("q2", tools="[]")])
    assert "1 query is more than one user's text; 1 of them hold tools" in run("stats", store).stdout


def test_what_the_manifest_does_not_count_is_found_in_the_rows() -> None:
    config = PairConfig(threshold=2)
    with pytest.raises(DataError, match=r"query_id 'q': it is a conversation.*coigp verify"):
        list(pair_tables(batch_of(raw(messages=TURNS)), config))
    with pytest.raises(DataError, match="conversation, or has tools"):
        list(pair_tables(batch_of(raw(tools="[]")), PairConfig(threshold=2, format="conversational")))
    # Where no pair shows it, nobody asks.
    assert not list(pair_tables(batch_of(raw("q", scored("好", 9, "a"), messages=TURNS)), config))


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([{"role": "user", "content": None, "extra": None}], "its turns' content is null"),
        ([{"role": None, "content": "x", "extra": None}], "its turns' role is null"),
        ([], "its list of turns is empty"),
    ],
)
def test_every_turn_is_looked_at(messages: list[Row], words: str) -> None:
    row = raw() | {"messages": messages, "query": "user: x"}
    with pytest.raises(DataError, match=f"'q': {words}"):
        list(pair_tables(batch_of(row), PairConfig(threshold=2, format="conversational")))


def test_a_conversation_without_a_user_turn_has_no_last_one(tmp_path: Path, cache: str) -> None:
    """However it is read, the query is named, with ways out that work."""
    row = raw(messages=[turn("system", "你是助手"), turn("tool", "3")])
    words = r"query_id 'q': there is no user's turn.*multi_turn=\"text\".*\"skip\""
    with pytest.raises(DataError, match=words):
        list(pair_tables(batch_of(row), PairConfig(threshold=2, multi_turn="last")))
    store = make_store(tmp_path / "store", [row, raw("q1")], rows_per_shard=1)
    for options in ({"streaming": True}, {"cache_dir": cache}, {"cache_dir": cache, "num_proc": 2}):
        with pytest.raises(DataError, match=words):
            list(load(store, "math", multi_turn="last", **options))
    assert [one["prompt"] for one in load(store, "math", multi_turn="text", cache_dir=cache)] == [row["query"], "问"]
    assert [one["prompt"] for one in load(store, "math", multi_turn="skip", cache_dir=cache)] == ["问"]


ONE, TEXT, MORE = raw("one"), raw("text", messages=TURNS), raw("more", tools="[]")
TOLD = {"dpo": "", "reward": "--for trl-reward --conversational", "kto": "--for trl-kto --conversational", "sft": ""}


@pytest.mark.parametrize("rows", [[TEXT], [ONE, TEXT], [MORE], [ONE, MORE], [ONE, TEXT, MORE]])
@pytest.mark.parametrize("form", TOLD)
def test_every_way_out_that_an_error_names_is_one(tmp_path: Path, rows: list[Row], form: str) -> None:
    store = make_store(tmp_path / "store", rows)
    with pytest.raises(UsageError) as caught:
        load(store, "math", format=form, streaming=True)
    told = str(caught.value)
    assert TOLD[form] in told
    assert ("which gives pairs" in told) == (form != "dpo")
    assert 'format="conversational"' in told
    assert len(list(load(store, "math", format="conversational", streaming=True))) == len(rows)
    named = {name: f'"{name}"' in told for name in ("text", "last", "skip")}
    for name, is_named in named.items():
        try:
            found = len(list(load(store, "math", format=form, multi_turn=name, streaming=True)))
        except UsageError:
            found = 0
        assert is_named == (found > 0), told
    if form in ("reward", "kto"):
        run("export", store, "--for", f"trl-{form}", "--conversational", "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[]", "is no JSON object"),
        ("{", "query_id 'q'"),
        ('{"tool_calls":[{"function":{}}]}', "without a function's name"),
        ('{"tool_calls":{}}', "no list"),
        ('{"name":3}', "has a name that is no text"),
    ],
)
def test_an_extra_that_no_store_has_is_an_error_of_its_query(extra: str, words: str) -> None:
    row = raw(messages=[turn("user", "x") | {"extra": extra}])
    with pytest.raises(DataError) as caught:
        list(
            pair_tables(
                batch_of(row),
                PairConfig(threshold=2, format="conversational"),
                shape=Shape(as_messages=True, with_tools=True),
            )
        )
    assert words in str(caught.value)
    assert "'q'" in str(caught.value)


def test_arguments_are_text_also_where_a_store_has_an_object() -> None:
    calls = [{"function": {"name": "f", "arguments": {"城": 1}}}]
    row = raw("q", scored("", 9, "a", tool_calls=calls), scored("坏", 1, "b"))
    shape = Shape(as_messages=True, with_tools=True)
    (table,) = pair_tables(batch_of(row), PairConfig(threshold=2, format="conversational"), shape=shape)
    assert table["chosen"].to_pylist()[0][0]["tool_calls"][0]["function"]["arguments"] == '{"城": 1}'
    assert table.schema.field("chosen").type == TOOL_MESSAGES_TYPE != MESSAGES_TYPE


def test_two_answers_without_text_differ_by_what_they_call() -> None:
    """The id of a call, which each answer has of its own, makes no difference, nor how its JSON is spelled; its
    arguments do.
    """
    other = [{**CALL[0], "id": "d"}]

    def asks(arguments: Any) -> list[Row]:
        return [{"function": {"name": "f", "arguments": arguments}}]

    same = [asks('{ "a" : 1 }'), asks({"a": 1})]
    more = [asks('{"a":2}'), asks('{"a":"1"}'), asks('{"a":1'), asks("{}"), CALL + CALL]
    for second, pairs in ((other, 0), *((one, 0) for one in same), *((one, 1) for one in more)):
        row = raw("q", scored("", 9, "a", tool_calls=CALL), scored("", 1, "b", tool_calls=second))
        batch, config = batch_of(row), PairConfig(threshold=2)
        assert len(find_pairs(batch, config).query) == pairs
        assert count_combinations(Responses.of(batch), batch, config).same_text == 1 - pairs


def test_pieces_are_bounded_by_turns_too() -> None:
    """A query's definitions and calls count to the bytes of a table, not only its text."""
    long = as_json([{"type": "function", "text": "x" * 3_000_000}])
    rows = [raw(f"q{at}", tools=long) for at in range(3)]
    shape = Shape(as_messages=True, with_tools=True)
    config = PairConfig(threshold=2, format="conversational")
    tables = list(pair_tables(batch_of(*rows), config, shape=shape))
    assert [table.num_rows for table in tables] == [1, 1, 1]
    assert np.sum([table.num_rows for table in tables]) == 3


KEPT = {"name": "小明", "tool_call_id": "c", "kept": {"tool_calls": [1], "reasoning_content": "想"}}
# What an answer's extra holds, and whether it is more than text: fields of the answer that say something.
EXTRAS: list[tuple[Row, bool]] = [
    ({"reasoning_content": "想"}, True),
    ({"a": 1, "reasoning_content": "想"}, True),
    ({"tool_calls": CALL}, True),
    ({"tool_calls": CALL, "reasoning_content": "想"}, True),
    ({"reasoning_content": "", "tool_calls": []}, False),
    ({"a": '"reasoning_content":"想"'}, False),
    (KEPT, False),
    ({**KEPT, "reasoning_content": "想"}, True),
]


@pytest.mark.parametrize(("extra", "more"), EXTRAS)
def test_an_answer_with_reasoning_is_more_than_text(tmp_path: Path, extra: Row, more: bool) -> None:
    row = raw("q0", scored("好", 9, "a", **extra), scored("坏", 1, "b"))
    store = make_store(tmp_path / "store", [row, raw("q1"), raw("q2", domain="chat", tools="[]")])
    manifest = Store.open(store).manifest
    assert (manifest.conversations("math"), manifest.with_tools("math")) == (more, more)
    total = json.loads(run("stats", store, "--json", "--domain", "math").stdout)["total"]
    assert (total["conversations"], total["with_tools"]) == (more, more)
    # One domain alone and beside another with tools: the same turns.
    wanted = answer_of(row["responses"][0], True)
    alone = next(iter(load(store, "math", format="conversational", streaming=True)))["chosen"]
    assert alone == (wanted if more else answer_of(row["responses"][0], False))
    rows = {one["query_id"]: one for one in load(store, "all", format="conversational", streaming=True)}
    assert rows["q0"]["chosen"] == wanted
    if not more:
        assert len(list(load(store, "math", streaming=True))) == 2
        return
    for multi_turn in (None, "text", "last"):
        with pytest.raises(UsageError, match="domain math holds 1 query"):
            load(store, "math", multi_turn=multi_turn, streaming=True)
    assert [one["query_id"] for one in load(store, "math", multi_turn="skip", streaming=True)] == ["q1"]


@pytest.mark.parametrize("text", ["{", '{"reasoning_content":', '["reasoning_content":'])
def test_an_extra_that_cannot_be_read_is_not_taken_for_text(text: str) -> None:
    more = is_more_than_text(pa.array([text + '"tool_calls":', None, "{}"]))
    assert more.tolist() == [True, False, False]
