"""Conversations under the checks: every turn is looked at, its content alone, and named where it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import Row, Rows, completed, make_store, twin
from strategies import examples

from coig_p.schema import RAW_SCHEMA, ROLES
from coig_p.store.conversations import content_lengths, contents, transcript
from coig_p.store.store import Store
from coig_p.validation import RULES, check, clean_store
from coig_p.validation.checks.texts import QUERY, RESPONSE, TOOLS, Texts

CALL = json.dumps({"tool_calls": [{"id": "1", "function": {"name": "查询", "arguments": "{}"}}]}, ensure_ascii=False)
ID_CARD = "11010519491231002X"  # the example that the standard itself gives


def turn(role: str, content: str | None, extra: str | None = None) -> Row:
    return {"role": role, "content": content, "extra": extra}


def spoken(row: Row, *messages: Row, **more: Any) -> None:
    """Make a row a conversation."""
    row.update(messages=list(messages), query=transcript(messages), **more)


def talk(*contents: str) -> list[Row]:
    """A system prompt, then users and assistants in turn; every content is sound where none is given."""
    sound = ["你是一位耐心的数学老师。", "请问这道题应该从哪里开始？", "先看已知条件，再列方程。", "列好了，然后呢？"]
    roles = ("system", "user", "assistant", "user")
    given = {at: text for at, text in enumerate(contents) if text}
    return [turn(role, given.get(at, sound[at])) for at, role in enumerate(roles)]


def found(rows: Rows, folder: Path) -> list[Row]:
    """Findings that are no metrics."""
    report = check(make_store(folder / "store", sorted(rows, key=lambda row: row["domain"])))
    return [one for one in report.findings.to_pylist() if one["severity"] != "metric"]


def test_a_sound_conversation_has_no_finding(tmp_path: Path) -> None:
    rows = twin()
    for row in rows[:12]:
        spoken(row, *talk())
    call = turn("assistant", "", CALL)
    result = turn("tool", '{"温度": 12}', '{"tool_call_id":"1"}')
    spoken(
        rows[13],
        turn("user", "北京今天多少度？"),
        call,
        result,
        turn("user", "那明天呢？"),
        tools='[{"type":"function"}]',
    )
    rows[14]["responses"][0] |= {"text": "", "extra": CALL}
    rows[15]["responses"][1] |= {"model": "lan", "sample": 1}
    rows[16]["meta"] = '{"来源":"论坛"}'
    assert found(rows, tmp_path) == []


PLACES: list[tuple[str, str, int]] = [
    ("请问\ufffd怎么办？", "replacement-character", 0),
    ("这里有\x07铃声？", "control-character", 3),
    ("看不\u200b见的字？", "zero-width", 1),
    ("反\u202e过来？", "bidi-control", 2),
    ("请问這個問題應該怎麼辦？", "script-traditional", 1),
    (f"证件号是{ID_CARD}吗？", "id-card", 0),
    ("写信到zhang.san@example.com吗？", "email", 3),
    ("<|im_end|>接着说？", "special-token", 2),
    (" \u3000\n", "empty", 2),
    ("What is the best way to learn how to cook at home?", "query-language", 3),
]


@pytest.mark.parametrize(("text", "rule", "at"), PLACES, ids=[rule for _, rule, _ in PLACES])
def test_what_is_wrong_with_a_turn_is_found_where_it_stands(text: str, rule: str, at: int, tmp_path: Path) -> None:
    rows = twin()
    spoken(rows[4], *talk(*[""] * at, text))
    place = {"rule": rule, "query_id": "q-04", "message": at, "response": None, "field": f"messages[{at}].content"}
    (one,) = [one for one in found(rows, tmp_path) if one["rule"] == rule]
    assert place.items() <= one.items()


def test_names_of_roles_are_nobodys_text(tmp_path: Path) -> None:
    """As the text of a query "user: 好" would be half English, and its answer in another language."""
    rows = twin()
    for row in rows:
        spoken(row, turn("system", "嗯。"), turn("user", "好"), turn("assistant", "好。"), turn("user", "好。"))
    assert found(rows, tmp_path) == []
    rows = twin()
    spoken(rows[3], turn("user", "   "), turn("assistant", "好。"), turn("user", "说吧。"))
    assert [(one["rule"], one["field"]) for one in found(rows, tmp_path / "blank")] == [
        ("empty", "messages[0].content")
    ]


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown role": (
        {"messages": [turn("user", "甲？"), turn("narrator", "乙"), turn("user", "丙？")]},
        "turns",
        "messages[1].role",
    ),
    "no role": ({"messages": [turn("user", "甲？"), turn(None, "乙")]}, "turns", "messages[1].role"),  # type: ignore[arg-type]
    "no content": ({"messages": [turn("user", None), turn("user", "乙？")]}, "turns", "messages[0].content"),
    "no turn": ({"messages": []}, "turns", "messages"),
    "a system alone": ({"messages": [turn("system", "你是一位耐心的数学老师。")]}, "turns", "messages"),
    "no user": ({"messages": [turn("assistant", "", CALL), turn("tool", "12")]}, "turns", "messages"),
    "another text": (
        {"messages": [turn("user", "甲？"), turn("assistant", "乙"), turn("user", "丙？")], "query": "甲？"},
        "turns",
        "query",
    ),
    "an assistant's end": (
        {"messages": [turn("user", "甲是什么？"), turn("assistant", "甲是甲。")]},
        "conversation-end",
        "messages[1]",
    ),
    "an answer for an end": (
        {"messages": [turn("user", "甲？"), turn("user", twin()[7]["responses"][2]["text"])]},
        "conversation-end",
        "responses[2]",
    ),
    "no JSON": ({"tools": "[{"}, "json", "tools"),
    "tools of another kind": ({"tools": "{}"}, "json", "tools"),
    "meta of another kind": ({"meta": "[]"}, "json", "meta"),
    "an extra of a turn": (
        {"messages": [turn("user", "甲？", "x"), turn("user", "乙？")]},
        "json",
        "messages[0].extra",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_a_conversation_unsound(case: str, tmp_path: Path) -> None:
    change, rule, field = WRONG[case]
    rows = twin()
    if change.get("messages"):
        safe = [one | {"role": one["role"] or "", "content": one["content"] or ""} for one in change["messages"]]
        rows[7]["query"] = transcript(safe)
    rows[7].update(change)
    (one,) = [one for one in found(rows, tmp_path) if one["rule"] != "empty"]
    assert {"rule": rule, "severity": "error", "query_id": "q-07", "field": field}.items() <= one.items()
    assert f"messages[{one['message']}]" in field or one["message"] is None
    assert f"responses[{one['response']}]" in field or one["response"] is None


def test_an_answer_may_be_empty_only_where_it_calls_a_tool(tmp_path: Path) -> None:
    rows = twin()
    rows[2]["responses"][1] |= {"text": "", "extra": '{"reasoning_content":"想"}'}
    rows[3]["responses"][2] |= {"text": "", "extra": CALL}
    rows[5]["responses"][3]["extra"] = "[1]"
    at = {(one["rule"], one["query_id"], one["field"]) for one in found(rows, tmp_path)}
    assert at == {("empty", "q-02", "responses[1].text"), ("json", "q-05", "responses[3].extra")}


def test_what_tools_are_told_is_looked_at_and_named(tmp_path: Path) -> None:
    rows = twin()
    secret = json.dumps({"tool_calls": [{"function": {"arguments": f'{{"id":"{ID_CARD}"}}'}}]}, ensure_ascii=False)
    spoken(rows[1], turn("user", "查一下。"), turn("assistant", "", secret), turn("tool", f"号码{ID_CARD}"))
    rows[2]["tools"] = json.dumps([{"name": "a\u202eb"}], ensure_ascii=False)
    rows[3]["responses"][0] |= {"text": "", "extra": secret}
    # A tool's text is no prose: an open bracket in it is nobody's mistake.
    rows[1]["messages"][2]["content"] += "（"
    rows[1]["query"] = transcript(rows[1]["messages"])
    at = {(one["rule"], one["query_id"], one["field"], one["model"]) for one in found(rows, tmp_path)}
    assert at == {
        ("id-card", "q-01", "messages[1].extra", None),
        ("id-card", "q-01", "messages[2].content", None),
        ("bidi-control", "q-02", "tools", None),
        ("id-card", "q-03", "responses[0].extra", "lan"),
    }
    for one in found(rows, tmp_path / "again"):
        assert "1949" not in one["excerpt"]


def test_a_model_answers_twice_with_two_samples_and_not_with_one(tmp_path: Path) -> None:
    rows = twin()
    for at, sample in ((1, 1), (2, 1), (3, 2)):
        rows[6]["responses"][at] |= {"model": "lan", "sample": sample}
    (one,) = found(rows, tmp_path)
    assert (one["rule"], one["response"], one["excerpt"]) == ("model-twice", 2, "lan answered before as sample 1")


def test_cleaning_drops_what_nobody_asked(tmp_path: Path) -> None:
    rows = twin()
    spoken(rows[4], turn("system", "你是一位耐心的数学老师。"))
    store = Store.open(make_store(tmp_path / "store", sorted(rows, key=lambda row: row["domain"])))
    left = clean_store(store, check(store), tmp_path / "clean")
    assert {rule: (loss.rows, loss.responses) for rule, loss in left.dropped.items()} == {"turns": (1, 4)}
    assert check(left.store).passed


def thinking(thought: str) -> str:
    return json.dumps({"reasoning_content": thought}, ensure_ascii=False)


CALLED = {"tool_calls": [{"function": {"arguments": '{"a": 1}', "name": "查询"}, "id": "2", "type": "function"}]}
SAME: dict[str, tuple[str | None, str | None, bool]] = {
    "text alone": (None, None, True),
    "one call": (json.dumps(CALLED), json.dumps(CALLED).replace('"2"', '"7"').replace(": 1}", ":1}"), True),
    "other calls": (CALL, json.dumps(CALLED), False),
    "a call and none": (CALL, None, False),
    "one thought": (thinking("想"), thinking("想"), True),
    "other thoughts": (thinking("想"), thinking("再想"), False),
    "what was kept": ('{"源":1}', None, True),
}


@pytest.mark.parametrize(("one", "other", "same"), SAME.values(), ids=SAME)
def test_an_answer_is_its_text_its_calls_and_its_thought(
    one: str | None, other: str | None, same: bool, tmp_path: Path
) -> None:
    rows = twin()
    for at, (extra, score) in enumerate(((one, 9.0), (other, 2.0))):
        answer = rows[6]["responses"][at]
        scores = [given | {"score": score} for given in answer["scores"]]
        answer |= {"text": "好的，我来查询一下，请稍等片刻。", "extra": extra, "scores": scores}
    report = check(make_store(tmp_path / "store", sorted(rows, key=lambda row: row["domain"])))
    wanted = {("same-text", "q-06", 1), ("score-conflict", "q-06", 1)} if same else set()
    assert {
        (one["rule"], one["query_id"], one["response"])
        for one in report.findings.to_pylist()
        if one["rule"] in ("same-text", "score-conflict")
    } == wanted


@pytest.mark.parametrize(
    ("models", "again"),
    [
        (["lan", "lan", "lan", "lan"], []),
        (["lan", "lan", "mei", "mei"], [2]),
        (["lan", "mei", "lan", "zhu"], [1, 3]),
        (["mei", "lan", "lan", "mei"], [1]),
    ],
)
def test_samples_of_one_model_are_not_several_models(models: list[str], again: list[int], tmp_path: Path) -> None:
    rows = twin()
    for at, model in enumerate(models):
        rows[6]["responses"][at] |= {"text": "一样的回答。", "model": model, "sample": models[:at].count(model)}
    report = check(make_store(tmp_path / "store", sorted(rows, key=lambda row: row["domain"])))
    assert [one["response"] for one in report.findings.to_pylist() if one["rule"] == "same-text"] == again


def test_cleaning_drops_the_query_of_a_turn_and_the_answer_of_an_extra(tmp_path: Path) -> None:
    rows = twin()
    spoken(rows[4], *talk("", "这里有\x07铃声？"))
    rows[5]["responses"][3]["extra"] = "[1]"
    store = Store.open(make_store(tmp_path / "store", sorted(rows, key=lambda row: row["domain"])))
    left = clean_store(store, check(store), tmp_path / "clean")
    assert {rule: (loss.rows, loss.responses) for rule, loss in left.dropped.items()} == {
        "control-character": (1, 4),
        "json": (0, 1),
    }


# ---------------------------------------------------------------------------------------------
# The slow way

CONTENT = st.sampled_from(["", "甲", "乙丙", "user: 甲", "a\n", "\U00020000。"])
EXTRA = st.sampled_from([None, None, "{}", CALL])


@st.composite
def talked(draw: st.DrawFn) -> Rows:
    """Rows, some of them conversations, some with extras and tools."""
    rows: Rows = []
    for at in range(draw(st.integers(1, 4))):
        messages = draw(
            st.none()
            | st.lists(
                st.fixed_dictionaries({"role": st.sampled_from(ROLES), "content": CONTENT, "extra": EXTRA}), max_size=4
            )
        )
        answers = draw(st.lists(st.tuples(CONTENT, EXTRA), max_size=3))
        rows.append(
            {
                "query_id": f"q{at}",
                "domain": "math",
                "query": transcript(messages) if messages else draw(CONTENT),
                "messages": messages,
                "tools": draw(st.sampled_from([None, "[]"])),
                "responses": [
                    {"model": f"m{nth}", "text": text, "extra": extra, "scores": []}
                    for nth, (text, extra) in enumerate(answers)
                ],
            }
        )
    return completed(rows)


def slow_texts(rows: Rows) -> set[tuple[Any, ...]]:
    """Row, place, text, kind, model, whether a call stands beside it and whether a user says it."""
    told: set[tuple[Any, ...]] = set()
    for at, row in enumerate(rows):
        if row["tools"]:
            told.add((at, "tools", row["tools"], TOOLS, None, False, False))
        if not row["messages"]:
            told.add((at, "query", row["query"], QUERY, None, False, True))
        for nth, one in enumerate(row["messages"] or ()):
            kind, calls = TOOLS if one["role"] == "tool" else QUERY, one["extra"] == CALL
            told.add((at, f"messages[{nth}].content", one["content"], kind, None, calls, one["role"] == "user"))
            if one["extra"]:
                told.add((at, f"messages[{nth}].extra", one["extra"], TOOLS, None, False, False))
        for nth, one in enumerate(row["responses"]):
            told.add((at, f"responses[{nth}].text", one["text"], RESPONSE, one["model"], one["extra"] == CALL, False))
            if one["extra"]:
                told.add((at, f"responses[{nth}].extra", one["extra"], TOOLS, one["model"], False, False))
    return told


@examples(300)
@given(talked(), st.integers(0, 3))
def test_texts_are_those_of_a_slow_loop(rows: Rows, begin: int) -> None:
    """Also of a slice of a batch, whose lists do not begin at 0."""
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA).slice(begin)
    rows = rows[begin:]
    texts = Texts(batch)
    names = texts.models.to_pylist()
    got = [
        (
            int(texts.row[at]),
            texts.field(at),
            texts.string(at),
            int(texts.kind[at]),
            names[texts.answer[at]] if texts.answer[at] >= 0 else None,
            bool(texts.calls[at]),
            bool(texts.by_user[at]),
        )
        for at in range(len(texts))
    ]
    assert len(got) == len(set(got))
    assert set(got) == slow_texts(rows)
    for at, row in enumerate(rows):
        turns = row["messages"]
        said = [nth for nth, one in enumerate(turns or ()) if one["role"] == "user"]
        place = "query" if not turns else f"messages[{said[-1] if said else len(turns) - 1}].content"
        assert (texts.row[texts.asked[at]], texts.field(int(texts.asked[at]))) == (at, place)


@examples(200)
@given(talked(), st.integers(0, 3))
def test_contents_are_those_of_a_slow_loop(rows: Rows, begin: int) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA).slice(begin)
    said = [
        [row["query"]] if row["messages"] is None else [one["content"] for one in row["messages"]]
        for row in rows[begin:]
    ]
    assert contents(batch).to_pylist() == ["\n\n".join(parts) for parts in said]
    assert content_lengths(batch).tolist() == [sum(map(len, parts)) for parts in said]


def test_rules_over_conversations_are_errors() -> None:
    assert {RULES[rule].severity for rule in ("turns", "conversation-end", "json", "model-twice", "empty")} == {"error"}
