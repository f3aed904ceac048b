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
        "[" * 5000 + "{'role'",
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
