"""Conversations are compared by what is said in them, never by the names of who says it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import completed, make_store, twin
from strategies import examples

from coig_p.core.normalize import comparison_form
from coig_p.dedup.benchmarks import ContaminationConfig, read_benchmarks
from coig_p.dedup.contamination import find_contamination
from coig_p.dedup.queries import DedupConfig, dedup_store, find_duplicates, read_queries
from coig_p.dedup.responses import ResponseConfig, dedup_responses, find_similar_responses
from coig_p.dedup.semantic import SemanticConfig, find_semantic_duplicates
from coig_p.dedup.shingles import jaccard
from coig_p.errors import UsageError
from coig_p.store.conversations import transcript
from coig_p.store.store import Store
from coig_p.validation import check

Row = dict[str, Any]


def asked(query_id: str, *said: str, **more: Any) -> Row:
    """A conversation of these contents, a system prompt first; or, of one, a query."""
    roles = ["system", *(("user", "assistant") * len(said))]
    messages = [{"role": role, "content": text, "extra": None} for role, text in zip(roles, said, strict=False)]
    row = twin()[0] | {"query_id": query_id, "query": said[0], "domain": "chat"}
    return row | ({"messages": messages, "query": transcript(messages)} if len(said) > 1 else {}) | more


def stored(folder: Path, *rows: Row) -> Store:
    return Store.open(make_store(folder, completed(list(rows))))


def test_the_form_is_that_of_the_contents(tmp_path: Path) -> None:
    store = stored(tmp_path / "store", asked("a", "你是老师。", "一加一？", "二。", "为什么？"), asked("b", "一加一？"))
    assert read_queries(store).forms == ["你是老师一加一二为什么", "一加一"]


def test_names_of_roles_make_nothing_alike_and_nothing_different(tmp_path: Path) -> None:
    """Short contents under the same roles share most of their text as it is read, and none of what is said."""
    store = stored(
        tmp_path / "store",
        asked("a", "甲", "乙", "丙", "丁"),
        asked("b", "子", "丑", "寅", "卯"),
        asked("c", "你是一位老师。", "请问一加一等于几？"),
        asked("d", "你是一位老师。请问一加一等于几？"),
    )
    found = find_duplicates(read_queries(store), DedupConfig(threshold=0.7))
    assert [(row["query_id"], row["survivor"]) for row in found.to_pylist()] == [("c", "c"), ("d", "c")]


def dump(value: Any, **more: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **more)


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def calling(city: str, id: str = "1", **more: Any) -> str:
    """The `extra` of a turn or an answer that asks for a city's weather."""
    call = {"id": id, "type": "function", "function": {"name": "天气", "arguments": dump({"城市": city}, **more)}}
    return dump({"tool_calls": [call]})


def weather(query_id: str, city: str = "北京", result: str = "12", **more: Any) -> Row:
    """A conversation with a call, of contents that are alike whatever is called for."""
    messages: list[Row] = [
        {"role": "user", "content": "请查一下那里的天气，再告诉我明天出门穿什么衣服合适。", "extra": None},
        {"role": "assistant", "content": "", "extra": more.pop("extra", None) or calling(city, query_id)},
        {"role": "tool", "content": dump({"温度": result}), "extra": dump({"tool_call_id": query_id})},
    ]
    return asked(query_id, "甲") | {"messages": messages, "query": transcript(messages)} | more


ALONE = "请你说明一下光合作用的主要过程以及它对地球生态的意义是什么"
APART: dict[str, tuple[Row, Row, bool]] = {
    "tools and none": (asked("a", ALONE), asked("b", ALONE, tools=dump([tool("f")])), False),
    "other tools": (asked("a", ALONE, tools=dump([tool("f")])), asked("b", ALONE, tools=dump([tool("g")])), False),
    "tools in another order and spelling": (
        asked("a", ALONE, tools=dump([tool("f"), tool("g")])),
        asked("b", f"{ALONE}！", tools=dump([tool("g"), tool("f")], indent=1, sort_keys=True)),
        True,
    ),
    "no tools in a list": (asked("a", ALONE), asked("b", ALONE, tools="[]"), True),
    "another call": (weather("a"), weather("b", "上海"), False),
    "another result": (weather("a"), weather("b", result="30"), False),
    "ids and spaces": (weather("a"), weather("b", extra=calling("北京", "2", indent=2)), True),
    "another thought": (weather("a"), weather("b", extra=dump({"reasoning_content": "想"})), False),
}


@pytest.mark.parametrize(("one", "other", "alike"), APART.values(), ids=APART)
@pytest.mark.parametrize("merge", [False, True])
def test_tools_calls_and_results_are_compared_too(
    one: Row, other: Row, alike: bool, merge: bool, tmp_path: Path
) -> None:
    store = stored(tmp_path / "store", one, other)
    queries = read_queries(store)
    assert jaccard([*queries.forms], np.array([[0, 1]]), 3)[0] >= 0.7
    config = DedupConfig(merge=merge)
    found = find_duplicates(queries, config)
    assert found.column("query_id").to_pylist() == (["a", "b"] if alike else [])
    by_meaning = find_semantic_duplicates(queries, SemanticConfig(merge=merge), lambda texts: [[1, 1]] * len(texts))
    assert sorted(by_meaning.column("query_id").to_pylist()) == (["a", "b"] if alike else [])
    left = dedup_store(store, tmp_path / "left", config, found).store
    assert sum(batch.num_rows for batch in left.batches()) == (1 if alike else 2)


def test_other_speakers_are_alike_but_take_in_nothing(tmp_path: Path) -> None:
    """An answer to a question under a system prompt is none to the two as one text."""
    split, whole = asked("c", "你是一位老师。", "请问一加一等于几？"), asked("d", "你是一位老师。请问一加一等于几？")
    for at, row in enumerate((split, whole)):
        row["responses"] = [one | {"model": f"{one['model']}-{at}"} for one in row["responses"]]
    store = stored(tmp_path / "store", split, whole)
    plain, merging = DedupConfig(), DedupConfig(merge=True)
    found = find_duplicates(read_queries(store), plain)
    assert found.num_rows == 2
    assert find_duplicates(read_queries(store), merging).num_rows == 0
    with pytest.raises(UsageError, match="c cannot take in the responses of d, which has other tools or speakers"):
        dedup_store(store, tmp_path / "left", merging, found)


CONTENTS = st.sampled_from(["甲乙丙", "甲乙丙！", "子丑寅"])
EXTRAS = st.sampled_from([None, calling("北京"), calling("北京", "2", indent=1), calling("上海")])
TURNS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["system", "user", "assistant"]), CONTENTS, EXTRAS),
        st.tuples(st.just("tool"), st.sampled_from(['{"a": 1}', '{"a":1}', "[0]"]), st.none()),
    ),
    min_size=1,
    max_size=3,
)
DEFINED = st.sampled_from([None, "[]", dump([tool("f")]), dump([tool("f")], indent=1), dump([tool("g")])])


@examples(30)
@given(st.lists(st.tuples(TURNS, DEFINED), min_size=2, max_size=8), st.booleans())
def test_clusters_are_those_of_comparing_each_with_each(given_rows: list[tuple[Any, Any]], merge: bool) -> None:
    rows = []
    for at, (turns, tools) in enumerate(given_rows):
        messages = [{"role": role, "content": content, "extra": extra} for role, content, extra in turns]
        rows.append(asked(f"q-{at}", "甲") | {"messages": messages, "query": transcript(messages), "tools": tools})

    def key(row: Row) -> Any:
        beside = []
        for turn in row["messages"]:
            if turn["role"] == "tool":
                beside.append(json.loads(turn["content"]))
            elif turn["extra"]:
                (call,) = json.loads(turn["extra"])["tool_calls"]
                beside.append(json.loads(call["function"]["arguments"]))
        roles = [turn["role"] for turn in row["messages"]]
        said = comparison_form("".join(turn["content"] for turn in row["messages"]))
        grams = {said[at : at + 3] for at in range(len(said) - 2)} or {said}  # all that threshold 1 goes by
        return grams, json.loads(row["tools"] or "[]"), beside, roles if merge and roles != ["user"] else None

    keys = {row["query_id"]: key(row) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        found = find_duplicates(read_queries(stored(Path(folder) / "store", *rows)), DedupConfig(1, merge=merge))
    clusters: dict[int, set[str]] = {}
    for row in found.to_pylist():
        clusters.setdefault(row["cluster"], set()).add(row["query_id"])
    wanted = [{other for other in keys if keys[other] == keys[one]} for one in sorted(keys)]
    wanted = [some for at, some in enumerate(wanted) if len(some) > 1 and some not in wanted[:at]]
    assert sorted(map(sorted, clusters.values())) == sorted(map(sorted, wanted))


ANSWERS: dict[str, tuple[str | None, str | None, bool]] = {
    "one call": (calling("北京"), calling("北京", "2", indent=1), True),
    "other calls": (calling("北京"), calling("上海"), False),
    "a call and none": (calling("北京"), None, False),
    "other thoughts": (dump({"reasoning_content": "先想"}), dump({"reasoning_content": "再想"}), False),
    "the same thought": (dump({"reasoning_content": "先想"}), dump({"reasoning_content": "先想", "kept": 1}), True),
    "what was kept alone": (dump({"kept": 1}), None, True),
}


@pytest.mark.parametrize(("one", "other", "alike"), ANSWERS.values(), ids=ANSWERS)
def test_answers_that_call_or_reason_otherwise_are_not_alike(
    one: str | None, other: str | None, alike: bool, tmp_path: Path
) -> None:
    row = asked("a", ALONE)
    text = "好的，我来帮您查询一下这个城市今天的天气情况，请您稍等片刻。"
    for at, extra in enumerate((one, other)):
        row["responses"][at] |= {"text": text, "extra": extra}
    call = calling("北京")
    row["responses"][2] |= {"text": "", "extra": call}
    row["responses"][3] |= {"text": "", "extra": call}  # a call alone has no text to compare
    store = stored(tmp_path / "store", row)
    found = find_similar_responses(store, ResponseConfig())
    assert sorted(found.column("response").to_pylist()) == ([0, 1] if alike else [])
    left = dedup_responses(store, tmp_path / "left", ResponseConfig(), found)
    assert left.lost.responses == int(alike)


def test_a_call_alone_is_no_benchmarks_answer(tmp_path: Path) -> None:
    row = asked("a", ALONE)
    row["responses"][0] |= {"text": "", "extra": calling("北京")}
    store = stored(tmp_path / "store", row)
    same = stored(tmp_path / "same", asked("x", "别的问题") | {"responses": row["responses"][:1]})
    config = ContaminationConfig()
    assert find_contamination(store, read_benchmarks([same.path], config), config).num_rows == 0


def test_merging_keeps_what_a_model_answered_by_sample(tmp_path: Path) -> None:
    store = stored(tmp_path / "store", asked("a", "一加一等于几？"), asked("b", "一加一等于几"))
    rows = [row for batch in store.batches() for row in batch.to_pylist()]
    rows[1]["responses"][1] |= {"model": rows[0]["responses"][0]["model"], "sample": 1}
    store = stored(tmp_path / "sampled", *rows)
    config = DedupConfig(merge=True)
    left = dedup_store(store, tmp_path / "left", config, find_duplicates(read_queries(store), config))
    (row,) = [row for batch in left.store.batches() for row in batch.to_pylist()]
    assert row["responses"] == [*rows[0]["responses"], rows[1]["responses"][1]]
    assert left.lost.responses == 3
    assert not check(left.store).by_rule()["model-twice"]


def test_a_benchmark_is_found_in_any_turn_and_by_its_own_turns(tmp_path: Path) -> None:
    question = "请解释为什么天空在白天是蓝色的而在傍晚是红色的？"
    store = stored(
        tmp_path / "store", asked("a", "你是老师。", "你好。", "你好！", f"{question}谢谢。"), asked("b", "你好。")
    )
    config = ContaminationConfig()
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": question}), encoding="utf-8")
    (one,) = find_contamination(store, read_benchmarks([tmp_path / "bench.jsonl"], config), config).to_pylist()
    assert (one["query_id"], one["field"], one["response"]) == ("a", "query", None)
    # A store as the benchmark: its conversations are contents as well.
    same = stored(tmp_path / "same", asked("x", "你是老师。", "你好。", "你好！", f"{question}谢谢。", responses=[]))
    found = find_contamination(store, read_benchmarks([same.path], config), config).to_pylist()
    assert {(one["query_id"], one["excerpt"][:4]) for one in found} == {("a", "100%")}


@pytest.mark.parametrize(
    ("one", "other", "traditional"),
    [
        ("葛\U000e0100城在哪里？", "葛城在哪里？", None),
        ("她看著我笑著說了什麼話？", "她看着我笑着说了什么话？", "a"),
        ("\uf9e1是姓吗？", "李是姓吗？", None),
    ],
)
def test_one_text_in_two_spellings(one: str, other: str, traditional: str | None, tmp_path: Path) -> None:
    store = stored(tmp_path / "store", asked("a", one), asked("b", other))
    found = find_duplicates(read_queries(store), DedupConfig(threshold=1))
    assert [(row["query_id"], row["similarity"]) for row in found.to_pylist()] == [("a", 1.0), ("b", 1.0)]
    findings = check(store).findings.to_pylist()
    named = {row["query_id"] for row in findings if row["rule"] in ("script-traditional", "script-some-traditional")}
    assert named == ({traditional} if traditional else set())
    assert comparison_form(one) == comparison_form(other)
