"""Rows of every shape become the store's: the same responses, scores and comparisons."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from forming import FLAT, PAIRS, THREE, forms_of, imported, jsonl, said, user

from coig_p.errors import UnknownNameError
from coig_p.ingest.accounting import ImportFailed
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.forms import NO_FORM, detect, shape
from coig_p.ingest.recipes import RECIPES
from coig_p.ingest.values import Rejected
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.store import Store


def scores_of(response: dict[str, Any]) -> list[tuple[str, str, float]]:
    return [(score["judge"], score["dimension"], score["score"]) for score in response["scores"]]


BUNDLED = Path(__file__).parents[2] / "coig_p" / "bundled" / "store"


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
    "gpt-4-llm-zh": {"instruction": "问", "input": "", "output": ["好", "差"]},
    "gpt-4-llm": {
        "user_input": "问",
        "responses_and_scores": [
            {"response": "好", "source": "gpt4", "score": 9.0},
            {"response": "差", "source": "icm-1.3b", "score": "4"},
        ],
    },
    "gpt-4-llm-pairs": {"user_input": "问", "completion_a": "好", "completion_b": "差"},
}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_reads_rows_of_its_shape(name: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "x.jsonl", [RECIPE_ROWS[name]])
    run("import", path, "--out", tmp_path / "store", "--recipe", name)
    store = Store.open(tmp_path / "store")
    (row,) = [row for batch in store.batches() for row in batch.to_pylist()]
    assert (row["query"], [response["text"] for response in row["responses"]]) == ("问", ["好", "差"])
    judged = row["comparisons"] or row["responses"][0]["scores"]
    assert judged[0]["judge"] == name
    (pairing,) = store.batches(schema=PAIRING_SCHEMA)
    (chosen,) = find_pairs(pairing, PairConfig().with_defaults(store.manifest)).chosen.tolist()
    assert row["responses"][chosen]["text"] == "好"
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
