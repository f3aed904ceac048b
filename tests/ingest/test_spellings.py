"""The same row spelled in another way is the same row, and what no spelling makes clear is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coig_p.ingest.accounting import ImportFailed, ImportReport, Problem
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.ingest.turns import from_text, from_transcript

Row = dict[str, Any]
CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def says(role: str, text: str, **more: Any) -> Row:
    return {"role": role, "content": text, **more}


U, A, S = says("user", "甲"), says("assistant", "乙"), says("system", "系")
PAIR = {"chosen": "好", "rejected": "坏"}


def write(path: Path, rows: list[Row]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def run(folder: Path, *rows: Row, suffix: str = "jsonl", **form: Any) -> tuple[list[Row], ImportReport]:
    path = write(folder / f"in.{suffix}", list(rows))
    config = ImportConfig(domain="chat", form=FormConfig(**form))
    store, report = import_files([path], folder / "store", config, overwrite=True)
    return [row for batch in store.batches() for row in batch.to_pylist()], report


def problem(folder: Path, *rows: Row, suffix: str = "jsonl", **form: Any) -> Problem:
    with pytest.raises(ImportFailed) as failed:
        run(folder, *rows, suffix=suffix, **form)
    return failed.value.report.problems[0]


def said(row: Row) -> Any:
    """What a stored row asks, and its answers."""
    turns = row["messages"] and [(turn["role"], turn["content"]) for turn in row["messages"]]
    return turns or row["query"], [one["text"] for one in row["responses"]]


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


# ---------------------------------------------------------------------------------------------
# Messages that stand as text


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("spelled", [as_json, json.dumps, repr])
def test_messages_written_as_text_are_turns(spelled: Any, suffix: str, tmp_path: Path) -> None:
    good, bad = says("assistant", "好"), says("assistant", "坏")
    asked = [U, A, says("user", "丙")]
    turns = [(turn["role"], turn["content"]) for turn in asked]
    for row, wanted in (
        ({"prompt": spelled(asked), "chosen": spelled([good]), "rejected": spelled([bad])}, turns),
        ({"prompt": "甲", "chosen": spelled(good), "rejected": spelled(bad)}, "甲"),
        ({"chosen": spelled([*asked, good]), "rejected": spelled([*asked, bad])}, turns),
    ):
        (stored,), _ = run(tmp_path, row, suffix=suffix)
        assert said(stored) == (wanted, ["好", "坏"])
    (stored,), _ = run(tmp_path, {"prompt": spelled(U), "response": spelled([good]), "score": 3}, suffix=suffix)
    assert said(stored) == ("甲", ["好"])
    verdict = {"prompt": "甲", "response_a": spelled([U, good]), "response_b": spelled([U, bad]), "winner": "a"}
    (stored,), _ = run(tmp_path, verdict, suffix=suffix)
    assert said(stored) == ("甲", ["好", "坏"])
    with_calls = says("assistant", "", tool_calls=[CALL])
    (stored,), _ = run(tmp_path, {"prompt": "甲", "chosen": spelled(with_calls), "rejected": "坏"}, suffix=suffix)
    assert said(stored) == ("甲", ["", "坏"])


@pytest.mark.parametrize(
    "text",
    [
        '[{"role": "narrator", "content": "甲"}]',
        '[{"role": "user", "content": "甲"}, {"name": "x"}]',
        '{"role": "user"}',
        '{"role": "user", "content": "甲"} 请翻译',
        '[{"from": "en", "to": "zh", "text": "hi"}]',
        "[{'role': 'user', 'content': __import__('os')}]",
        "[{'role': " + "[" * 5000,
        "[{'role': " + "-" * 50_000 + "1}]",
        "[{'role': 1" + "+1" * 50_000 + "}]",
        "[{'role': 'user', 'content': '\\d'}]",
        "[{'role': 'user', 'content': 'a\x00'}]",
        '{"a": 1}',
        "[1, 2]",
        "[]",
        "[甲]你好",
    ],
)
def test_other_text_stays_text(text: str, tmp_path: Path) -> None:
    assert from_text(text) is None
    (stored,), _ = run(tmp_path, {"prompt": text, "chosen": text + "。", "rejected": "坏"})
    assert said(stored) == (text, [text + "。", "坏"])


def test_what_python_printed_is_read_up_to_a_length() -> None:
    odd = [says("user", "a\\d\n\t'\"\x00\x9f\u200b\U000e0001\\n")]
    assert from_text(repr(odd)) == odd
    assert from_text(repr([says("user", "甲" * 1000)])) is not None
    assert from_text(repr([says("user", "甲" * 2_000_000)])) is None


# ---------------------------------------------------------------------------------------------
# Who speaks


def test_somebody_must_ask(tmp_path: Path) -> None:
    for row in ({"prompt": [S], **PAIR}, {"prompt": [S, S], **PAIR}, {"messages": [S], "response": "好", "score": 3}):
        found = problem(tmp_path, row)
        assert (found.reason, found.field) == ("no-user-turn", next(iter(row)))
    rows, _ = run(tmp_path, {"prompt": [S, A, says("tool", "丙")], **PAIR})
    assert said(rows[0])[0] == [("system", "系"), ("assistant", "乙"), ("tool", "丙")]


def test_a_conversation_may_begin_with_the_assistant_in_every_spelling(tmp_path: Path) -> None:
    good, bad = says("assistant", "好"), says("assistant", "坏")
    wanted = [("assistant", "乙"), ("user", "甲")]
    for row in (
        {"prompt": [A, U], **PAIR},
        {"chosen": [A, U, good], "rejected": [A, U, bad]},
        {"messages": [A, U, good], "rejected_response": "坏"},
        {"conversation_a": [A, U, good], "conversation_b": [A, U, bad], "winner": "a"},
        {"messages": [A, U], "responses": [{"model": "m", "text": "好"}, {"model": "n", "text": "坏"}]},
    ):
        (stored,), _ = run(tmp_path, row)
        assert said(stored) == (wanted, ["好", "坏"])
    assert problem(tmp_path, {"chosen": [A, good], "rejected": [A, bad]}).reason == "ends-in-assistant"


@pytest.mark.parametrize("blank", ["", " ", None])
def test_a_blank_system_prompt_is_none(blank: Any, tmp_path: Path) -> None:
    empty = {"role": "system", "content": blank or ""}
    rows, report = run(tmp_path, {"prompt": [empty, U], **PAIR}, {"prompt": "丁", "system": blank, **PAIR})
    assert [said(row)[0] for row in rows] == ["甲", "丁"]
    assert report.unread == {}
    rows, _ = run(tmp_path, {"messages": [says("system", " "), U, A, U, says("assistant", "好")], "score": 2})
    assert said(rows[0]) == ([("user", "甲"), ("assistant", "乙"), ("user", "甲")], ["好"])


# ---------------------------------------------------------------------------------------------
# Transcripts


def test_an_answer_that_is_begun_is_refused_as_in_messages(tmp_path: Path) -> None:
    for prompt in ("\n\nHuman: 甲\n\nAssistant: 好的，", "人类：甲\n\n助手：好的，", [U, says("assistant", "好的，")]):
        found = problem(tmp_path, {"prompt": prompt, **PAIR})
        assert (found.reason, found.field) == ("ends-in-assistant", "prompt")
        assert "好的，" in found.message


@pytest.mark.parametrize(
    "text",
    [
        "Human: hi\nAssistant: hello\nHuman: bye\n\n请总结以上对话",
        "Human: hi\nAssistant: hello",
        "Human: hi\nAssistant: hello\n\n请翻译",
        "Human: hi\nHuman: there\nAssistant:",
        "Human: hi\nAssistant:\nAssistant:",
    ],
)
def test_marks_with_one_line_break_may_be_the_users_own(text: str, tmp_path: Path) -> None:
    assert from_transcript(text) is None
    (stored,), _ = run(tmp_path, {"prompt": text, **PAIR})
    assert said(stored)[0] == text


def test_marks_with_one_line_break_that_wait_for_the_answer_or_hold_it(tmp_path: Path) -> None:
    start = "Human: 甲\nAssistant: 乙\nHuman: 丙\nAssistant:"
    turns = [("user", "甲"), ("assistant", "乙"), ("user", "丙")]
    for row in (
        {"prompt": start, **PAIR},
        {"chosen": f"{start} 好", "rejected": f"{start} 坏"},
        {"prompt": start, "chosen": f"{start} 好", "rejected": f"{start} 坏"},
    ):
        (stored,), _ = run(tmp_path, row)
        assert said(stored) == (turns, ["好", "坏"])


def test_a_blank_answer_behind_its_mark_is_blank(tmp_path: Path) -> None:
    start = "\n\nHuman: 甲\n\nAssistant:"
    found = problem(tmp_path, {"chosen": f"{start} 好", "rejected": start})
    assert (found.field, found.reason) == ("rejected", "blank")


# ---------------------------------------------------------------------------------------------
# Contradictions, tools, numbers


def test_a_margin_must_not_say_otherwise(tmp_path: Path) -> None:
    found = problem(tmp_path, {"prompt": "甲", **PAIR, "margin": -1.5})
    assert (found.field, found.reason) == ("margin", "contradiction")
    assert "--drop margin" in found.message
    run(tmp_path, {"prompt": "甲", **PAIR, "margin": -1.5}, drop=("margin",))
    run(tmp_path, {"prompt": "甲", **PAIR, "margin": 1.5})
    assert problem(tmp_path, {"prompt": "甲", **PAIR, "margin": "-1"}, suffix="csv").reason == "contradiction"


@pytest.mark.parametrize("nothing", ["null", "[]", "{}", " ", [], {}, None])
def test_tools_that_are_none(nothing: Any, tmp_path: Path) -> None:
    rows, _ = run(tmp_path, {"prompt": "甲", "tools": nothing, **PAIR}, {"prompt": "丁", "tools": [TOOL], **PAIR})
    assert [row["tools"] is None for row in rows] == [True, False]


def not_finite(number: float) -> list[tuple[Row, str]]:
    called = {"name": "f", "arguments": {"x": [number]}}
    as_text = {"name": "f", "arguments": json.dumps({"x": number})}
    answers = [{"model": "m", "text": "好"}]
    place = "chosen.tool_calls[0].arguments"
    return [
        ({"prompt": "甲", "chosen": says("assistant", "", tool_calls=[called]), "rejected": "坏"}, place),
        ({"prompt": "甲", "chosen": says("assistant", "", tool_calls=[as_text]), "rejected": "坏"}, place),
        ({"prompt": "甲", "tools": [TOOL | {"x": number}], **PAIR}, "tools"),
        ({"prompt": "甲", "note": {"x": [number]}, **PAIR}, "note"),
        ({"query": "甲", "responses": [answers[0] | {"note": {"x": number}}]}, "responses[0].note"),
    ]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_has_not_are_never_stored(number: float, tmp_path: Path) -> None:
    for row, place in not_finite(number):
        found = problem(tmp_path, row, keep=("note",))
        assert (found.reason, found.field) == ("not-json", place)
    asked = says("assistant", "", tool_calls=[{"name": "f", "arguments": "NaN 不是 JSON"}])
    run(tmp_path, {"prompt": "甲", "chosen": asked, "rejected": "坏"})


# ---------------------------------------------------------------------------------------------
# Parquet: every row has the keys of all


def schema(name: str, key: str) -> Row:
    properties = {key: {"type": "string", "enum": ["x", None]}}
    return {"type": "function", "function": {"name": name, "parameters": {"properties": properties}}}


@pytest.mark.parametrize("name", ["tools", "functions", "defined"])
def test_keys_of_other_rows_are_no_part_of_tools_and_calls(name: str, tmp_path: Path) -> None:
    def row(query: str, called: str, key: str) -> Row:
        call = {"type": "function", "function": {"name": called, "arguments": {key: "1"}}}
        turns = [says("user", query), says("assistant", "", tool_calls=[call]), says("tool", "晴")]
        answer = [says("assistant", "", tool_calls=[call])]
        return {"prompt": turns, name: [schema(called, key)], "chosen": answer, "rejected": "坏", "note": {key: 1}}

    rows = [row("甲", "f", "x"), row("乙", "g", "y")]
    options: Any = {"keep": ("note",), "fields": {"tools": name}}
    columnar, _ = run(tmp_path, *rows, suffix="parquet", **options)
    lines, _ = run(tmp_path, *rows, **options)
    for one, other in zip(columnar, lines, strict=True):
        assert {**one, "meta": None} == {**other, "meta": None}
    # What is kept is kept as the column has it.
    assert [json.loads(one["meta"]) for one in columnar] == [
        {"note": {"x": 1, "y": None}},
        {"note": {"x": None, "y": 1}},
    ]


def test_a_null_in_the_tools_of_json_lines_stays(tmp_path: Path) -> None:
    (stored,), _ = run(tmp_path, {"prompt": "甲", "tools": [TOOL | {"strict": None}], **PAIR})
    assert json.loads(stored["tools"]) == [TOOL | {"strict": None}]


# ---------------------------------------------------------------------------------------------
# Fields inside messages, and system prompts of answers


def test_a_system_prompts_tools_are_the_rows(tmp_path: Path) -> None:
    system = S | {"tools": [TOOL]}
    for row in (
        {"messages": [system, U], **PAIR},
        {"messages": [system, U], "tools": [TOOL], **PAIR},
        {"messages": [system, U], "tools": [], **PAIR},
        {"chosen": [system, U, says("assistant", "好")], "rejected": [system, U, says("assistant", "坏")]},
        {"prompt": [S | {"tools": as_json([TOOL])}, U], **PAIR},
        {"messages": [system, U, says("assistant", "好")], "score": 2},
    ):
        (stored,), report = run(tmp_path, row)
        assert json.loads(stored["tools"]) == [TOOL]
        assert report.unread == {}
    other = {"messages": [system, U], "tools": [TOOL | {"x": 1}], **PAIR}
    found = problem(tmp_path, other)
    assert (found.reason, found.field) == ("ambiguous", "messages[0].tools")
    assert "--drop tools or --drop messages.tools" in found.message
    (stored,), report = run(tmp_path, other, drop=("messages.tools",))
    assert json.loads(stored["tools"]) == [TOOL | {"x": 1}]
    assert report.dropped == {"messages.tools": 1}


@pytest.mark.parametrize("name", ["tools", "images"])
def test_what_has_no_place_in_a_message_is_refused_until_it_is_dropped(name: str, tmp_path: Path) -> None:
    row = {"messages": [S, U | {name: [TOOL]}], **PAIR}
    found = problem(tmp_path, row)
    assert (found.reason, found.field) == ("no-place", f"messages[1].{name}")
    assert f"--drop messages.{name}" in found.message
    (stored,), report = run(tmp_path, row, drop=(f"messages.{name}",))
    assert (stored["tools"], report.dropped, report.unread) == (None, {f"messages.{name}": 1}, {})
    assert not any("no row has" in line for line in report.advice())
    for keep in (f"messages.{name}", "all"):
        (stored,), _ = run(tmp_path, row, keep=(keep,))
        assert json.loads(stored["meta"]) == {f"messages.{name}": [TOOL]}


def test_fields_inside_messages_and_answers_are_kept_under_their_path(tmp_path: Path) -> None:
    rows: list[tuple[Row, str, Any]] = [
        ({"messages": [S, U | {"weight": 0}], **PAIR}, "messages.weight", 0),
        ({"messages": [U | {"weight": 1}, A | {"weight": 2}, U], **PAIR}, "messages.weight", [1, 2]),
        ({"prompt": "甲", "chosen": says("assistant", "好", thinking="想"), "rejected": "坏"}, "chosen.thinking", "想"),
        ({"prompt": "甲", "chosen": {"text": "好", "thinking": "想"}, "rejected": "坏"}, "chosen.thinking", "想"),
        (
            {"prompt": "甲", "chosen": [[says("assistant", "好", t=1)]], "rejected": "坏"},
            "chosen.t",
            1,
        ),
    ]
    for row, name, value in rows:
        _, report = run(tmp_path, row)
        assert report.ignored_fields == {name: 1}
        assert any(f"--keep {name} keeps one in meta" in line for line in report.advice())
        for keep in (name, "all"):
            (stored,), report = run(tmp_path, row, keep=(keep,))
            assert json.loads(stored["meta"]) == {name: value}
            assert report.advice() == [f"fields kept: {name} (1)"]
        (stored,), report = run(tmp_path, row, drop=(name,))
        assert (stored["meta"], report.advice()) == (None, [f"fields dropped: {name} (1)"])


def test_advice_names_nothing_that_cannot_be_kept(tmp_path: Path) -> None:
    score = {"judge": "j", "score": 3, "note": "n"}
    _, report = run(tmp_path, {"query": "甲", "responses": [{"model": "m", "text": "好", "scores": [score]}]})
    assert report.advice() == ["fields that were not read: scores.note (1), and have no place"]


@pytest.mark.parametrize("name", ["system", "system_prompt"])
def test_an_answer_with_a_system_prompt_of_its_own(name: str, tmp_path: Path) -> None:
    def row(*systems: Any) -> Row:
        answers = [{"model": str(at), "text": f"好{at}", name: text} for at, text in enumerate(systems)]
        return {"query": "甲", "responses": answers}

    found = problem(tmp_path, row("医生", "医生"))
    assert (found.unit, found.reason, found.field) == ("row", "no-place", f"responses[0].{name}")
    assert f"--drop responses.{name}" in found.message
    found = problem(tmp_path, row(None, "医生", "医生", "律师"))
    assert found.field == f"responses[1].{name}"
    assert f"'医生', and responses[3].{name} is '律师'" in found.message
    for drop in (name, f"responses.{name}"):
        _, report = run(tmp_path, row("医生", "律师"), drop=(drop,))
        assert report.dropped == {drop: 2}
        assert not any("no row has" in line for line in report.advice())
    for keep in (name, f"responses.{name}", "all"):
        (stored,), report = run(tmp_path, row("医生", "律师"), keep=(keep,))
        assert [json.loads(one["extra"]) for one in stored["responses"]] == [{name: "医生"}, {name: "律师"}]
        assert not any("no row has" in line for line in report.advice())
    run(tmp_path, row(None, ""))
    annotated = {"annotations": {"helpfulness": {"Rating": "5"}}, "custom_system_prompt": "有礼貌"}
    completions = [annotated | {"model": "m", "response": "好"}]
    _, report = run(tmp_path, {"instruction": "甲", "completions": completions})
    assert report.ignored_fields == {"responses.custom_system_prompt": 1}
    completions[0] |= {"system_prompt": "有礼貌"}
    found = problem(tmp_path, {"instruction": "甲", "completions": completions})
    assert found.field == "completions[0].system_prompt"


# ---------------------------------------------------------------------------------------------
# What is told


def test_one_id_for_prompts_that_differ_in_their_tools(tmp_path: Path) -> None:
    bare: dict[str, Any] = {"query_id": "q", "prompt": "甲", **PAIR}
    given = bare | {"tools": [TOOL]}
    for rows in ([given, bare], [bare, given], [given, bare | {"tools": [TOOL | {"x": 1}]}]):
        found = problem(tmp_path, *rows)
        assert (found.reason, found.field) == ("two-texts", "tools")
        assert "the same prompt with other tools, or none" in found.message
    assert "another text" in problem(tmp_path, given, bare | {"prompt": "乙"}).message


@pytest.mark.parametrize("blank", ["", None, "missing"])
def test_one_answer_a_row_may_be_a_call_or_have_reasoning_beside_it(blank: Any, tmp_path: Path) -> None:
    row = {"query": "甲", "text": blank, "tool_calls": [CALL], "model": "m", "score": 9, "reasoning_content": "想"}
    if blank == "missing":
        del row["text"]
    rows, report = run(
        tmp_path, row, {"query": "甲", "text": "坏", "model": "n", "score": 1, "reasoning_content": "错"}
    )
    (stored,) = rows
    assert said(stored) == ("甲", ["", "坏"])
    called, other = (json.loads(one["extra"]) for one in stored["responses"])
    assert called == {"reasoning_content": "想", "tool_calls": [CALL]}
    assert other == {"reasoning_content": "错"}
    assert [score["score"] for one in stored["responses"] for score in one["scores"]] == [9, 1]
    assert report.unread == {}
    row = {"prompt": "甲", "completion": blank or "", "label": True, "tool_calls": [CALL]}
    if blank == "missing":
        del row["completion"]
    (stored,), _ = run(tmp_path, row)
    assert json.loads(stored["responses"][0]["extra"]) == {"tool_calls": [CALL]}


def test_ranks_and_rewards_must_agree(tmp_path: Path) -> None:
    def row(*rewards: Any, name: str = "reward") -> Row:
        answers = [
            {"rank": rank, "completion": [says("assistant", text)], name: reward}
            for rank, text, reward in zip((1, 0), ("坏", "好"), rewards, strict=True)
        ]
        return {"context": [U], "completions": answers}

    for name in ("reward", "score"):
        found = problem(tmp_path, row(5, 1, name=name))
        assert (found.reason, found.field) == ("contradiction", "completions[1].rank")
        assert f"--drop rank or --drop {name}" in found.message
        (stored,), _ = run(tmp_path, row(5, 1, name=name), drop=(name,))
        assert [(one["first_score"], one["second_score"]) for one in stored["comparisons"]] == [(0, 1)]
        run(tmp_path, row(1, 5, name=name))
    (stored,), _ = run(tmp_path, row(5, 1, name="score"), drop=("rank",))
    assert [one["scores"][0]["score"] for one in stored["responses"]] == [5, 1]
    _, report = run(tmp_path, row(-2.5, None))
    assert report.ignored_fields == {"responses.reward": 1}
