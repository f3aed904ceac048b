"""Rows of every shape become the store's: the same responses, scores and comparisons."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.fields import MAPPABLE, FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.forms import FORMS, NO_FORM, detect, shape
from coig_p.ingest.intake import ImportConfig
from coig_p.ingest.readers import read_rows
from coig_p.ingest.recipes import RECIPES
from coig_p.ingest.values import Rejected
from coig_p.store.store import Store


def imported(path: Path, **options: Any) -> tuple[list[dict[str, Any]], ImportReport]:
    config = ImportConfig(**{"domain": "chat", **options})
    store, report = import_files([path], path.parent / "store", config, overwrite=True)
    for counts in report.accounting().values():
        assert counts["read"] == counts["stored"] + counts["rejected"] + counts["merged"]
    stored = {unit: counts["stored"] for unit, counts in report.accounting().items()}
    files = store.data_files()
    assert stored["responses"] == sum(file.responses or 0 for file in files)
    assert stored["scores"] == sum(file.scores or 0 for file in files)
    assert stored["comparisons"] == sum(file.comparisons or 0 for file in files)
    return [row for batch in Store.open(path.parent / "store").batches() for row in batch.to_pylist()], report


def forms_of(report: ImportReport) -> set[str]:
    return {form for counts in report.forms.values() for form in counts}


def scores_of(response: dict[str, Any]) -> list[tuple[str, str, float]]:
    return [(score["judge"], score["dimension"], score["score"]) for score in response["scores"]]


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


BUNDLED = Path(__file__).parents[2] / "coig_p" / "bundled" / "store"

FLAT: list[dict[str, Any]] = [
    {"prompt": "问一", "output": "答甲", "model": "a", "judge": "j", "score": 8.5},
    {"prompt": "问一", "output": "答甲", "model": "a", "judge": "k", "score": 7},
    {"prompt": "问一", "output": "答乙", "model": "b", "judge": "j", "score": 2},
    {"prompt": "问二", "output": "答丙", "model": "a", "judge": None, "score": None},
]


def write_flat(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        jsonl(path, rows)
    else:
        with path.open("w", encoding="utf-8-sig", newline="") as stream:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_one_row_per_score_becomes_one_row_per_query(suffix: str, tmp_path: Path) -> None:
    rows, report = imported(write_flat(tmp_path / f"x{suffix}", FLAT))
    assert forms_of(report) == {"flat"}
    assert [row["query"] for row in rows] == ["问一", "问二"]
    first, second = rows[0]["responses"]
    assert (first["model"], first["text"]) == ("a", "答甲")
    assert [(score["judge"], score["score"]) for score in first["scores"]] == [("j", 8.5), ("k", 7)]
    assert [score["score"] for score in second["scores"]] == [2]
    assert rows[1]["responses"][0]["scores"] == []
    assert report.accounting()["rows"] == {"read": 4, "stored": 2, "rejected": 0, "merged": 2}
    assert report.accounting()["responses"] == {"read": 4, "stored": 3, "rejected": 0, "merged": 1}
    assert report.accounting()["scores"] == {"read": 3, "stored": 3, "rejected": 0, "merged": 0}


def test_fields_are_mapped_and_problems_bear_the_upstream_names(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('题目,回复,分数\n问一,"两行\n回答",8\n问一,,9\n问一,好,很好\n', encoding="utf-8")
    fields = {"query": "题目", "text": "回复", "score": "分数"}
    with pytest.raises(ImportFailed) as failed:
        imported(path, form=FormConfig(form="flat", fields=fields, judge="me"))
    found = [(p.line, p.field, p.reason) for p in failed.value.report.problems]
    assert found == [(4, "回复", "blank"), (5, "分数", "not-a-number")]
    rows, _ = imported(path, form=FormConfig(fields=fields, judge="me"), on_error="skip")
    assert [response["text"] for response in rows[0]["responses"]] == ["两行\n回答", "好"]
    assert scores_of(rows[0]["responses"][0]) == [("me", "overall", 8)]


def test_fields_within_nested_rows_are_mapped_too(tmp_path: Path) -> None:
    row = {
        "题目": "问一",
        "responses": [
            {"llm": "a", "内容": "答甲", "scores": [{"by": "j", "points": 8}]},
            {"llm": "b", "内容": "答乙", "scores": [{"by": "j", "points": 99}]},
        ],
    }
    fields = {"query": "题目", "model": "llm", "text": "内容", "judge": "by", "score": "points"}
    rows, report = imported(jsonl(tmp_path / "x.jsonl", [row]), form=FormConfig(fields=fields), on_error="skip")
    assert [(one["model"], one["text"]) for one in rows[0]["responses"]] == [("a", "答甲"), ("b", "答乙")]
    assert scores_of(rows[0]["responses"][0]) == [("j", "overall", 8)]
    assert [problem.field for problem in report.problems] == ["responses[1].scores[0].points"]
    assert not report.ignored_fields


def test_a_second_text_of_a_model_is_a_second_sample(tmp_path: Path) -> None:
    rows, _ = imported(jsonl(tmp_path / "x.jsonl", [*FLAT[:1], FLAT[0] | {"output": "另一个答案", "judge": "k"}]))
    assert [(one["model"], one["sample"], one["text"]) for one in rows[0]["responses"]] == [
        ("a", 0, "答甲"),
        ("a", 1, "另一个答案"),
    ]


def test_responses_without_a_model_are_told_apart_by_their_text(tmp_path: Path) -> None:
    bare = [{"query": "问", "text": text, "score": 5} for text in ("甲", "乙", "甲")]
    rows, report = imported(jsonl(tmp_path / "x.jsonl", bare))
    assert sorted(response["model"] for response in rows[0]["responses"]) == ["unknown-1", "unknown-2"]
    assert report.counts["responses"]["merged"] == 1


def test_ultrafeedback(tmp_path: Path) -> None:
    row = {
        "source": "evol",
        "instruction": "问",
        "models": ["m1", "m2"],
        "completions": [
            {
                "model": "m1",
                "response": "答甲",
                "annotations": {"helpfulness": {"Rating": "4", "Rationale": "…"}, "honesty": {"Rating": "3"}},
                "overall_score": 7,
            },
            {"model": "m2", "response": "答乙", "annotations": {"helpfulness": {"Rating": "N/A"}}},
        ],
    }
    config = {"score_range": (1, 5), "form": FormConfig(judge="gpt-4")}
    with pytest.raises(ImportFailed) as failed:
        imported(jsonl(tmp_path / "x.jsonl", [row]), **config)
    (problem,) = failed.value.report.problems
    assert problem.field == "completions[1].annotations.helpfulness.Rating"
    rows, report = imported(jsonl(tmp_path / "x.jsonl", [row]), on_error="skip", **config)
    assert forms_of(report) == {"ultrafeedback"}
    assert rows[0]["source"] == "evol"
    assert scores_of(rows[0]["responses"][0]) == [("gpt-4", "helpfulness", 4), ("gpt-4", "honesty", 3)]
    assert [score["rationale"] for score in rows[0]["responses"][0]["scores"]] == ["…", None]
    assert rows[0]["responses"][1]["scores"] == []


def test_pairwise_scores_in_both_orders(tmp_path: Path) -> None:
    first = {"relevance": 8, "correctness": 6}
    second = {"relevance": 5, "correctness": 5}
    base = {"instruction": "问", "response_1": "甲", "model_1": "a", "response_2": "乙", "model_2": "b", "judge": "j"}
    swapped = {
        "instruction": "问",
        "response_1": "乙",
        "model_1": "b",
        "response_2": "甲",
        "model_2": "a",
        "judge": "j",
    }
    rows, report = imported(
        jsonl(
            tmp_path / "x.jsonl",
            [base | {"scores_1": first, "scores_2": second}, swapped | {"scores_1": second, "scores_2": first}],
        )
    )
    assert forms_of(report) == {"pairwise"}
    assert [response["model"] for response in rows[0]["responses"]] == ["a", "b"]
    assert [
        (c["first"], c["second"], c["dimension"], c["first_score"], c["second_score"]) for c in rows[0]["comparisons"]
    ] == [
        (0, 1, "relevance", 8, 5),
        (0, 1, "correctness", 6, 5),
        (1, 0, "relevance", 5, 8),
        (1, 0, "correctness", 5, 6),
    ]
    assert report.accounting()["responses"] == {"read": 4, "stored": 2, "rejected": 0, "merged": 2}


@pytest.mark.parametrize(("winner", "scores"), [("a", (1, 0)), ("response_b", (0, 1)), ("Tie", (0.5, 0.5))])
def test_pairwise_winners(winner: str, scores: tuple[float, float], tmp_path: Path) -> None:
    row = {"prompt": "问", "response_a": "甲", "response_b": "乙", "winner": winner}
    rows, _ = imported(jsonl(tmp_path / "x.jsonl", [row]))
    (comparison,) = rows[0]["comparisons"]
    assert (comparison["first_score"], comparison["second_score"]) == scores


def test_a_winner_that_is_nobody_is_refused(tmp_path: Path) -> None:
    row = {"prompt": "问", "response_a": "甲", "response_b": "乙", "winner": "nobody else"}
    with pytest.raises(ImportFailed) as failed:
        imported(jsonl(tmp_path / "x.jsonl", [row]))
    assert [p.field for p in failed.value.report.problems] == ["winner"]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


Q = [("user", "问")]
THREE = [("user", "一"), ("assistant", "二"), ("user", "三")]
HUMAN = "\n\nHuman: 一\n\nAssistant: 二\n\nHuman: 三"
CHINESE = "人类：一\n\n助手：二\n\n人类：三"

PAIRS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "text": ({"prompt": "问", "chosen": "好", "rejected": "差"}, Q),
    "alpaca": ({"instruction": "译", "input": "hello", "chosen": "好", "rejected": "差"}, [("user", "译\nhello")]),
    "input alone": ({"instruction": "", "input": "问", "chosen": "好", "rejected": "差"}, Q),
    "system": ({"system": "你是诗人", "prompt": "问", "chosen": "好", "rejected": "差"}, [("system", "你是诗人"), *Q]),
    "orca": ({"system": "", "question": "问", "chosen": "好", "rejected": "差"}, Q),
    "system in the turns too": (
        {
            "system_prompt": "诗人",
            "messages": [{"role": "system", "content": "诗人"}, user("问")],
            "chosen": "好",
            "rejected": "差",
        },
        [("system", "诗人"), *Q],
    ),
    "history": (
        {"instruction": "三", "history": [["一", "二"]], "chosen": "好", "rejected": "差"},
        THREE,
    ),
    "sharegpt": (
        {
            "conversations": [{"from": "human", "value": "问"}],
            "chosen": {"from": "gpt", "value": "好"},
            "rejected": {"from": "gpt", "value": "差"},
        },
        Q,
    ),
    "sharegpt of three turns": (
        {
            "conversations": [
                {"from": "human", "value": "一"},
                {"from": "gpt", "value": "二"},
                {"from": "human", "value": "三"},
            ],
            "chosen": "好",
            "rejected": "差",
        },
        THREE,
    ),
    "a trajectory": (
        {"trajectory": [{"from": "user", "value": "问"}], "chosen": "好", "rejected": "差"},
        Q,
    ),
    "oasst": (
        {
            "prompt": [{"role": "prompter", "content": "问"}],
            "chosen": [{"role": "assistant", "content": "好"}],
            "rejected": "差",
        },
        Q,
    ),
    "whole lists": ({"chosen": [user("问"), said("好")], "rejected": [user("问"), said("差")]}, Q),
    "answers as lists": ({"prompt": [user("问")], "chosen": [said("好")], "rejected": [said("差")]}, Q),
    "axolotl": ({"messages": [user("问")], "chosen": said("好"), "rejected": said("差")}, Q),
    "whole lists of three turns": (
        {
            "chosen": [user("一"), said("二"), user("三"), said("好")],
            "rejected": [user("一"), said("二"), user("三"), said("差")],
        },
        THREE,
    ),
    "binarized, the prompt three times": (
        {
            "prompt": "一",
            "messages": [user("一"), said("二"), user("三"), said("好")],
            "chosen": [user("一"), said("二"), user("三"), said("好")],
            "rejected": [user("一"), said("二"), user("三"), said("差")],
        },
        THREE,
    ),
    "binarized, answers as text": (
        {"prompt": "问", "messages": [user("问"), said("好")], "chosen": "好", "rejected": "差"},
        Q,
    ),
    "the beginning apart": (
        {"prompt": [user("一"), said("二")], "chosen": [user("三"), said("好")], "rejected": [user("三"), said("差")]},
        THREE,
    ),
    "the conversation and its first answer": (
        {
            "conversation": [{"input": "一", "output": "二"}, {"input": "三", "output": "差"}],
            "chosen": [user("一"), said("二"), user("三"), said("好")],
            "rejected": [user("一"), said("二"), user("三"), said("差")],
        },
        THREE,
    ),
    "ms-swift": ({"messages": [user("问"), said("好")], "rejected_response": "差"}, Q),
    "ms-swift, newer": ({"messages": [user("问"), said("好")], "rejected_messages": [user("问"), said("差")]}, Q),
    "ms-swift, older": ({"query": "三", "history": [["一", "二"]], "response": "好", "rejected_response": "差"}, THREE),
    "hh": ({"chosen": f"{HUMAN}\n\nAssistant: 好", "rejected": f"{HUMAN}\n\nAssistant: 差"}, THREE),
    "hh in Chinese": ({"chosen": f"{CHINESE}\n\n助手：好", "rejected": f"{CHINESE}\n\n助手：差"}, THREE),
    "hh, the prompt apart": ({"prompt": f"{HUMAN}\n\nAssistant:", "chosen": "好", "rejected": "差"}, THREE),
    "hh, the prompt too": (
        {"prompt": HUMAN, "chosen": f"{HUMAN}\n\nAssistant: 好", "rejected": f"{HUMAN}\n\nAssistant: 差"},
        THREE,
    ),
    "exchanges": (
        {
            "conversation": [{"human": "一", "assistant": "二"}, {"human": "三", "assistant": None}],
            "chosen": "好",
            "rejected": "差",
        },
        THREE,
    ),
    "text that looks like turns": (
        {"prompt": "user: 一\n\nassistant: 二", "chosen": "好", "rejected": "差"},
        [("user", "user: 一\n\nassistant: 二")],
    ),
    "a dialogue to go on with": (
        {"prompt": "Human: 是什么意思？", "chosen": "好", "rejected": "差"},
        [("user", "Human: 是什么意思？")],
    ),
    "argilla": ({"instruction": "问", "chosen_response": "好", "rejected_response": "差"}, Q),
    "parts": (
        {
            "prompt": [{"role": "user", "content": [{"type": "text", "text": "问"}]}],
            "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "好"}]}],
            "rejected": [{"role": "assistant", "content": ["差"]}],
        },
        Q,
    ),
    "answers as objects": ({"prompt": "问", "chosen": {"response": "好"}, "rejected": {"text": "差"}}, Q),
    "null and empty fields": (
        {"conversations": None, "messages": [], "history": [], "prompt": "问", "chosen": "好", "rejected": "差"},
        Q,
    ),
}


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


def test_pairs_of_one_prompt_share_their_responses(tmp_path: Path) -> None:
    rows = [
        {"prompt": "问", "chosen": "甲", "rejected": "乙"},
        {"prompt": "问", "chosen": "甲", "rejected": "丙"},
        {"prompt": "问", "chosen": "乙", "rejected": "丙"},
        {"prompt": "问", "chosen": "丁", "rejected": "丁"},
    ]
    found, report = imported(jsonl(tmp_path / "x.jsonl", rows), on_error="skip")
    assert [response["text"] for response in found[0]["responses"]] == ["甲", "乙", "丙", "丁"]
    assert [(c["first"], c["second"]) for c in found[0]["comparisons"]] == [(0, 1), (0, 2), (1, 2)]
    assert not report.reasons  # a pair of one text is one response, and no comparison
    assert report.accounting()["responses"] == {"read": 8, "stored": 4, "rejected": 0, "merged": 4}
    assert Store.open(tmp_path / "store").manifest.default_threshold == 1


@pytest.mark.parametrize("form", ["dpo", "conversational", "kto"])
def test_what_we_export_comes_back_to_the_same_pairs(form: str, tmp_path: Path) -> None:
    """Means of three judges lie off the grid; they come back on the nearest step of it."""
    own = ("--domain", "math", "--format", form)
    run("pairs", BUNDLED, "--out", tmp_path / "x.jsonl", *own)
    run("import", tmp_path / "x.jsonl", "--out", tmp_path / "store")
    run("pairs", tmp_path / "store", "--out", tmp_path / "y.jsonl", *own)
    first, second = (
        sorted((json.loads(line) for line in (tmp_path / name).read_text().splitlines()), key=repr)
        for name in ("x.jsonl", "y.jsonl")
    )
    assert any(number != round(number, 4) for row in first for number in row.values() if isinstance(number, float))
    for before, after in zip(first, second, strict=True):
        for name, value in before.items():
            assert after[name] == (pytest.approx(value, abs=2e-4) if isinstance(value, float) else value)


RECIPE_ROWS: dict[str, Any] = {
    "coig-p": PAIRS["sharegpt"][0],
    "coig-p-crm": PAIRS["whole lists"][0],
    "crbench": PAIRS["text"][0] | {"domain": "逻辑推理"},
    "zhihu-rlhf-3k": PAIRS["text"][0] | {"question_id": 1, "upvotes_chosen": 9, "upvotes_rejected": 1},
    "cvalues": {"prompt": "问", "pos_resp": "好", "neg_resp": "差", "pos_type": "安全", "neg_type": "风险"},
    "huozi": PAIRS["text"][0],
    "zake": PAIRS["text"][0],
    "rlhf-cn": {
        "context": [{"role": "human", "text": "问"}],
        "chosen": {"role": "assistant", "text": "好"},
        "rejected": {"role": "assistant", "text": "差"},
    },
    "chinese-dpo-pairs": PAIRS["text"][0],
}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_reads_rows_of_its_shape(name: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", [RECIPE_ROWS[name]])
    run("import", path, "--out", tmp_path / "store", "--recipe", name)
    store = Store.open(tmp_path / "store")
    (row,) = [row for batch in store.batches() for row in batch.to_pylist()]
    assert (row["query"], [response["text"] for response in row["responses"]]) == ("问", ["好", "差"])
    assert row["comparisons"][0]["judge"] == name
    assert row["domain"] == {"coig-p": "mixed", "coig-p-crm": "mixed", "crbench": "logic"}.get(name, "chat")
    assert store.manifest.splits() == [RECIPES[name].split]


def test_the_command_maps_fields_and_says_what_it_took_rows_for(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", [{"q": "问", "a": "答", "points": 5}])
    options = ["--domain", "chat", "--map", "query=q", "--map", "text=a", "--map", "score=points", "--judge", "me"]
    done = run("import", path, "--out", tmp_path / "store", *options)
    assert "read as flat rows" in done.stdout
    assert json.loads(run("info", tmp_path / "store", "--json").stdout)["judges"] == {"me": 1}
    assert "Valid: " in run("import", path, "--out", tmp_path / "t", "--map", "quest=q", code=2).stderr
    assert "cvalues" in run("import", path, "--out", tmp_path / "t", "--recipe", "cvalue", code=2).stderr


DETECTED: list[tuple[dict[str, Any], str]] = [
    ({"responses": [{"text": "甲"}], "query": "问"}, "nested"),
    ({"completions": [{"response": "甲"}], "instruction": "问"}, "ultrafeedback"),
    ({"chosen": "甲", "rejected": "乙"}, "pairs"),
    ({"Prompt": "问", "Chosen": "甲", "Rejected": "乙"}, "pairs"),
    ({"prompt": "问", "response_a": "甲", "response_b": "乙"}, "pairwise"),
    ({"prompt": "问", "output": "甲"}, "flat"),
    ({"messages": [{"role": "user", "content": "问"}], "score": 9}, "flat"),
    ({"问题": "问", "回答": "甲", "分数": "9"}, "flat"),
    ({"prompt": "问", "completion": "甲", "label": True}, "kto"),
    ({"prompt": "问", "completion": "甲", "label": False}, "kto"),
    ({"instruction": "问", "output": "甲", "kto_tag": 0}, "kto"),
    ({"prompt": "问", "completion": "甲", "label": None}, "kto"),
    ({"prompt": "问", "completion": "甲", "label": True, "score": 9}, "flat"),
    ({"id": 1, "model": "m", "score": 9}, "flat"),
    ({"text": "甲", "judge": "j", "score": 9}, "flat"),
    ({"题目": "问", "回答": "甲", "分数": "9"}, NO_FORM),
    ({"prompt": "问", "chosen": "甲"}, NO_FORM),
    ({"prompt": "问", "answer": "甲", "rejected": "乙"}, NO_FORM),
    ({"nothing": 1}, NO_FORM),
    ({}, NO_FORM),
]


@pytest.mark.parametrize(("row", "form"), DETECTED)
def test_detection(row: dict[str, Any], form: str) -> None:
    assert detect(row, FormConfig()) == form
    assert detect({"null": None, **row, "empty": ""}, FormConfig()) == form


def test_a_form_that_is_named_is_taken() -> None:
    assert detect({"responses": []}, FormConfig(form="flat")) == "flat"
    with pytest.raises(UnknownNameError, match="ultrafeedback"):
        detect({}, FormConfig(form="alpaca"))
    with pytest.raises(UnknownNameError, match="rationale"):
        FormConfig(fields={"rational": "why"})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "问", "chosen": "甲", "worse": "乙"}, "Nearest: pairs, but rejected is missing"),
        ({"prompt": "问", "label": True}, "Nearest: kto, but text is missing"),
        ({"题目": "问", "回答": "甲"}, "Nearest: flat, but a prompt is missing"),
        ({"甲": 1, "乙": 2}, "the row has 甲, 乙"),
        ({}, "no filled field"),
    ],
)
def test_where_no_form_fits_the_nearest_is_named(row: dict[str, Any], said: str) -> None:
    with pytest.raises(Rejected) as rejected:
        shape(row, detect(row, FormConfig()), FormConfig())
    assert said in rejected.value.message
    assert all(name in rejected.value.message for name in row)


@pytest.mark.parametrize(
    ("label", "score"), [(True, 1), (False, 0), (1, 1), (0, 0), (-1, 0), ("true", 1), ("False", 0), ("1.0", 1)]
)
def test_labels_of_kto(label: Any, score: float) -> None:
    row = {"prompt": "问", "completion": "甲", "label": label}
    (response,) = shape(row, "kto", FormConfig(judge="me")).value["responses"]
    assert response["scores"] == [{"judge": "me", "dimension": "overall", "score": score}]


@pytest.mark.parametrize("label", [2, 0.5, "safe", "", [True], {"a": 1}])
def test_labels_that_are_none(label: Any) -> None:
    row = {"prompt": "问", "completion": "甲", "label": label}
    if label == "":
        assert shape(row, "kto", FormConfig()).value["responses"][0]["scores"][0]["score"] is None
        return
    with pytest.raises(Rejected) as rejected:
        shape(row, "kto", FormConfig())
    assert (rejected.value.field, rejected.value.reason) == ("label", "not-a-label")


def test_kto_of_whole_conversations(tmp_path: Path) -> None:
    rows = [{"messages": [user("一"), said("二"), user("三"), said(text)], "label": text == "好"} for text in "好差"]
    (row,), report = imported(jsonl(tmp_path / "x.jsonl", rows))
    assert forms_of(report) == {"kto"}
    assert [(turn["role"], turn["content"]) for turn in row["messages"]] == THREE
    assert [(one["text"], scores_of(one)[0][2]) for one in row["responses"]] == [("好", 1), ("差", 0)]
    manifest = Store.open(tmp_path / "store").manifest
    assert (tuple(manifest.score_range), manifest.default_threshold) == ((0, 1), 1)


def test_several_answers_of_a_side(tmp_path: Path) -> None:
    row = {"prompt": "问", "chosen": ["甲", "乙"], "rejected": ["丙", "丁"], "chosen_model": ["a", "b"], "margin": 2}
    (found,), report = imported(jsonl(tmp_path / "x.jsonl", [row]))
    texts = [one["text"] for one in found["responses"]]
    assert [(one["model"], one["text"]) for one in found["responses"]][:2] == [("a", "甲"), ("b", "乙")]
    assert {(texts[one["first"]], texts[one["second"]]) for one in found["comparisons"]} == {
        ("甲", "丙"), ("甲", "丁"), ("乙", "丙"), ("乙", "丁"),
    }  # fmt: skip
    assert report.ignored_fields == {"margin": 1}


def test_scores_and_models_of_both_answers_are_kept() -> None:
    row = {
        **{"prompt": "问", "chosen": "好", "rejected": "差", "chosen-rating": "9", "rejected-rating": 2},
        **{"chosen-model": "a", "rejected-model": "b", "judge": "j", "rationale": "更好"},
    }
    shaped = shape(row, "pairs", FormConfig())
    assert [(one["model"], scores_of(one)) for one in shaped.value["responses"]] == [
        ("a", [("j", "overall", "9")]),
        ("b", [("j", "overall", 2)]),
    ]
    assert shaped.value["comparisons"][0]["rationale"] == "更好"
    assert (shaped.upstream("responses[1].scores[0].score"), shaped.ignored) == ("rejected-rating", [])


def test_flat_rows_that_are_keyed_carry_no_text() -> None:
    def keyed(row: dict[str, Any]) -> Any:
        value = shape(row, detect(row, FormConfig()), FormConfig()).value
        return value.get("keyed"), value["responses"][0].keys() >= {"text"}, "query" in value

    assert keyed({"id": 1, "model": "m", "score": 9}) == (True, False, False)
    assert keyed({"query": "问", "model": "m", "score": 9}) == (True, False, True)
    assert keyed({"id": 1, "text": "甲", "score": 9}) == (True, True, False)
    assert keyed({"id": 1, "query": "问", "text": "甲", "score": 9}) == (None, True, True)
    assert keyed({"id": 1, "query": "问", "text": "甲"}) == (None, True, True)


def test_a_column_for_each_judge() -> None:
    row = {"prompt": "问", "output": "甲", "model": "m", "score_a": "9", "score_b": "", "score": 7}
    config = FormConfig(score_columns={"a": "score_a", "b": "score_b"}, judge="me")
    shaped = shape(row, "flat", config, textual=True)
    assert scores_of(shaped.value["responses"][0]) == [
        ("a", "overall", "9"),
        ("b", "overall", None),
        ("me", "overall", 7),
    ]
    assert (shaped.upstream("responses[0].scores[1].score"), shaped.ignored) == ("score_b", [])


# ---------------------------------------------------------------------------------------------
# Files around the rows


def test_compressed_files_and_patterns(tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "a.jsonl", FLAT).read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "c.jsonl.zst").write_bytes(pa.compress(plain, "zstd", asbytes=True))
    wanted = [row.value for row in read_rows(tmp_path / "a.jsonl")]
    for name in ("b.jsonl.gz", "c.jsonl.zst"):
        seen: list[int] = []
        assert [row.value for row in read_rows(tmp_path / name, advance=seen.append)] == wanted
        assert sum(seen) == (tmp_path / name).stat().st_size
    store, report = import_files(
        [str(tmp_path / "[bc].jsonl*")], tmp_path / "store", ImportConfig(domain="chat", on_error="skip")
    )
    assert report.counts["rows"]["read"] == 8
    assert len(store.manifest.sources) == 2
    with pytest.raises(UsageError, match="no file fits"):
        import_files([str(tmp_path / "*.csv")], tmp_path / "t", ImportConfig())


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_encodings(encoding: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    text = {
        ".jsonl": '{"query": "问𠀀", "text": "答"}\n',
        ".json": '[{"query": "问𠀀", "text": "答"}]',
        ".csv": "query,text\n问𠀀,答\n",
    }[suffix]
    path.write_bytes(text.encode(encoding))
    assert [row.value for row in read_rows(path, encoding)] == [{"query": "问𠀀", "text": "答"}]
    if encoding == "gb18030":
        with pytest.raises(DataError, match="--encoding gb18030"):
            imported(path)
        rows, _ = imported(path, encoding="gb18030")
        assert rows[0]["query"] == "问𠀀"


@pytest.mark.parametrize("name", ["no-such", "base64"])
def test_encodings_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="gb18030"):
        ImportConfig(encoding=name)


@pytest.mark.parametrize("cut", [1, 12, -1, -9])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_archive_is_one_clear_error(cut: int, suffix: str, tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "a.jsonl", FLAT * 50).read_bytes()
    packed = gzip.compress(plain) if suffix == ".gz" else pa.compress(plain, "zstd", asbytes=True)
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(packed[:cut])
    with pytest.raises(DataError, match=r"damaged or cut short"):
        imported(path, on_error="skip")
    path.write_bytes(b"not an archive at all" * 9)
    with pytest.raises(DataError, match=r"damaged or cut short"):
        imported(path, on_error="skip")
    assert not (tmp_path / "store").exists()


def test_a_line_without_end_is_refused_in_constant_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coig_p.ingest.readers._LONGEST_LINE", 1000)
    monkeypatch.setattr("coig_p.ingest.readers._BLOCK", 1000)
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"query": "' + b"x" * 5000 + b'"}\n' + json.dumps(FLAT[0]).encode() + b"\n")
    long, good = read_rows(path)
    assert (long.line, long.problem and long.problem[0]) == (1, "too-long")
    assert (good.line, good.value) == (2, FLAT[0])


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"query": "a", "query": "b"}\n')
    (tmp_path / "x.json").write_text('[{"r": [{"k": 1, "k": 2}]}]')
    for name in ("x.jsonl", "x.json"):
        (row,) = read_rows(tmp_path / name)
        assert row.problem is not None
        assert "stands twice" in row.problem[1]


def test_broken_csv_is_named_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('query,text\n问,答,多\n问\n\n问,答\n"问,答\n', encoding="utf-8")
    found = [(row.line, row.problem and row.problem[0]) for row in read_rows(path)]
    assert found == [(2, "broken-csv"), (3, "broken-csv"), (5, None), (6, "broken-csv")]
    path.write_text("a,a\n1,2\n")
    with pytest.raises(DataError, match="two columns have the name"):
        list(read_rows(path))


# ---------------------------------------------------------------------------------------------
# Whatever a file says, an import ends in a store or in an error that we wrote, and adds up

LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["问", "答", "a", 5, 1])
)
KEY = st.sampled_from(
    [*MAPPABLE, "prompt", "instruction", "annotations", "Rating", "role", "content", "from", "value", "tool_calls"]
)
VALUE = st.recursive(
    LEAF, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEY, inner, max_size=5)), max_leaves=12
)
FUZZED_ROW = st.one_of(VALUE, st.dictionaries(KEY, VALUE, min_size=2, max_size=8))


@examples(500)  # 10,000 in the thorough profile
@given(
    rows=st.lists(FUZZED_ROW, max_size=4),
    damage=st.one_of(st.none(), st.tuples(st.integers(0, 500), st.binary(max_size=3))),
    form=st.sampled_from(["auto", *FORMS]),
    suffix=st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz", ".parquet"]),
    on_error=st.sampled_from(["fail", "skip"]),
)
def test_no_input_breaks_the_import(
    rows: list[Any], damage: Any, form: str, suffix: str, on_error: str, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / f"x{suffix}"
    content = json.dumps(rows).encode() if suffix == ".json" else b"\n".join(json.dumps(row).encode() for row in rows)
    if damage is not None:
        at = min(damage[0], len(content))
        content = content[:at] + damage[1] + content[at + len(damage[1]) :]
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    config = ImportConfig(domain="chat", on_error=on_error, form=FormConfig(form=form))
    try:
        store, report = import_files([path], folder / "store", config)
    except ImportFailed as failed:
        report = failed.report
        store = None
    except DataError:
        assert list(folder.iterdir()) == [path]
        return
    for unit, counts in report.accounting().items():
        assert counts["read"] == counts["stored"] + counts["rejected"] + counts["merged"], unit
    if store is None:
        assert list(folder.iterdir()) == [path]
    else:
        assert store.verify() == []
