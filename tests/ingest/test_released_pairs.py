"""Pairs as they are released, in every spelling, become comparisons; what cannot be kept is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from forming import HUMAN, PAIRS, THREE, forms_of, imported, jsonl, said, user

from coig_p.ingest.accounting import ImportFailed
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.forms import shape
from coig_p.ingest.values import Rejected


@pytest.mark.parametrize(("row", "turns"), PAIRS.values(), ids=PAIRS.keys())
def test_released_pairs_become_comparisons(row: dict[str, Any], turns: list[tuple[str, str]], tmp_path: Path) -> None:
    rows, report = imported(jsonl(tmp_path / "x.jsonl", [row]))
    assert forms_of(report) == {"pairs"}
    found = rows[0]["messages"] or [{"role": "user", "content": rows[0]["query"]}]
    assert [(turn["role"], turn["content"]) for turn in found] == turns
    assert (rows[0]["messages"] is None) == (len(turns) == 1)
    assert [response["text"] for response in rows[0]["responses"]] == ["好", "差"]
    assert {response["model"] for response in rows[0]["responses"]} == {"unknown-1", "unknown-2"}
    assert [{name: one[name] for name in ("first", "second", "judge")} for one in rows[0]["comparisons"]] == [
        {"first": 0, "second": 1, "judge": "unknown"}
    ]
    assert [(one["first_score"], one["second_score"]) for one in rows[0]["comparisons"]] == [(1, 0)]
    assert report.ignored_fields == {}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no prompt": ({"chosen": "好", "rejected": "差"}, "query", "missing"),
    "two prompts": (
        {"prompt": "问", "messages": [user("别的")], "chosen": "好", "rejected": "差"},
        "prompt",
        "ambiguous",
    ),
    "two names": (
        {"prompt": "问", "instruction": "别的", "chosen": "好", "rejected": "差"},
        "instruction",
        "ambiguous",
    ),
    "history and messages": (
        {"messages": [user("三")], "history": [["一", "二"]], "chosen": "好", "rejected": "差"},
        "history",
        "ambiguous",
    ),
    "history without an answer": (
        {"prompt": "三", "history": [["一", None]], "chosen": "好", "rejected": "差"},
        "history",
        "unanswered",
    ),
    "another question beside whole lists": (
        {"question": "别的", "chosen": [user("问"), said("好")], "rejected": [user("问"), said("差")]},
        "question",
        "ambiguous",
    ),
    "another system prompt": (
        {
            "system": "别的",
            "messages": [{"role": "system", "content": "诗人"}, user("问")],
            "chosen": "好",
            "rejected": "差",
        },
        "system",
        "ambiguous",
    ),
    "ends in a question": (
        {"chosen": [user("问"), said("好"), user("谢")], "rejected": [user("问"), said("差")]},
        "chosen",
        "ends-in-user",
    ),
    "answers of several turns": (
        {
            "chosen": [user("一"), said("二"), user("三"), said("好")],
            "rejected": [user("一"), said("错"), user("三"), said("好")],
        },
        "rejected[1]",
        "answers-of-several-turns",
    ),
    "a prompt that ends in another answer": (
        {"messages": [user("问"), said("别的")], "chosen": "好", "rejected": "差"},
        "messages",
        "ends-in-assistant",
    ),
    "an image": ({"prompt": "问", "chosen": "好", "rejected": "差", "images": ["a.jpg"]}, "images", "no-place"),
    "an image in a part": (
        {
            "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "问"}]}],
            "chosen": "好",
            "rejected": "差",
        },
        "prompt[0].content[0]",
        "no-place",
    ),
    "an unknown role": (
        {"prompt": [user("问"), {"role": "narrator", "content": "夜。"}], "chosen": "好", "rejected": "差"},
        "prompt[1].role",
        "no-place",
    ),
    "a passage": ({"context": "一段文字", "question": "问", "chosen": "好", "rejected": "差"}, "context", "no-place"),
    "scores that say the contrary": (
        {"prompt": "问", "chosen": "好", "rejected": "差", "score_chosen": 1, "score_rejected": 9},
        "score_chosen",
        "contradiction",
    ),
    "one transcript": (
        {"chosen": f"{HUMAN}\n\nAssistant: 好", "rejected": "差"},
        "rejected",
        "not-a-transcript",
    ),
    "tools in words": ({"prompt": "问", "chosen": "好", "rejected": "差", "tools": "calculator"}, "tools", "not-json"),
    "a blank turn": (
        {"prompt": [user("一"), said(" "), user("三")], "chosen": "好", "rejected": "差"},
        "prompt[1]",
        "blank",
    ),
    "only one side": ({"prompt": "问", "chosen": "好"}, "", "no-form"),
    "a name that is no text": (
        {"prompt": [{**user("一"), "name": 7}], "chosen": "好", "rejected": "差"},
        "prompt[0].extra.name",
        "not-a-string",
    ),
}


@pytest.mark.parametrize(("row", "field", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_kept_is_refused(row: dict[str, Any], field: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ImportFailed) as failed:
        imported(jsonl(tmp_path / "x.jsonl", [row]))
    (problem,) = failed.value.report.problems
    assert (problem.field, problem.reason) == (field, reason)


def test_reasoning_that_is_no_text_is_refused(tmp_path: Path) -> None:
    row = {"prompt": "问", "chosen": [{**said("好"), "reasoning_content": {"a": 1}}], "rejected": "差"}
    with pytest.raises(ImportFailed) as failed:
        imported(jsonl(tmp_path / "x.jsonl", [row]))
    first = failed.value.report.problems[0]
    assert (first.field, first.reason) == ("responses[0].extra.reasoning_content", "not-a-string")


def test_a_column_that_is_mapped_has_no_more_its_own_meaning() -> None:
    row = {"context": [user("一"), said("二")], "question": "三", "text": "别的", "answer": "好"}
    with pytest.raises(Rejected) as rejected:
        shape({**row, "text": None}, "flat", FormConfig())
    assert "--map history=context" in rejected.value.message
    shaped = shape(row, "flat", FormConfig(fields={"history": "context", "source": "text"}))
    assert [(turn["role"], turn["content"]) for turn in shaped.value["messages"]] == THREE
    assert (shaped.value["responses"][0]["text"], shaped.value["source"]) == ("好", "别的")
    with pytest.raises(Rejected) as rejected:
        shape({"prompt": "问", "chosen": "好"}, "pairs", FormConfig(fields={"rejected": "worse"}))
    assert (rejected.value.field, rejected.value.reason) == ("worse", "missing")


def test_fields_without_a_place_are_dropped_where_that_is_said(tmp_path: Path) -> None:
    row = {"prompt": "问", "chosen": "好", "rejected": "差", "images": ["a.jpg"]}
    for config in (FormConfig(drop=["images"]), FormConfig(keep=["images"]), FormConfig(keep=["all"])):
        assert shape(row, "pairs", config).value["query"] == "问"
