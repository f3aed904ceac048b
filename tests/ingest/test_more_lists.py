"""Lists of answers as some sets have them: annotations beside the answers, and one object of lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coig_p.ingest.accounting import ImportFailed
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig

ANSWERS = [{"model": "m", "response": "好答"}, {"model": "n", "response": "坏答"}]
SAID = [{"model": "n", "rating": "2", "rationale": "差"}, {"model": "m", "rating": "5", "rationale": "好"}]


def import_row(folder: Path, row: dict[str, Any], **form: Any) -> dict[str, Any]:
    """What the store holds of one row."""
    (folder / "in.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
    config = ImportConfig(domain="chat", form=FormConfig(**form))
    (found,) = import_files([folder / "in.jsonl"], folder / "store", config)[0].batches()
    (whole,) = found.to_pylist()
    return dict(whole)


def scores(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (one["model"], one["text"], said["dimension"], said["score"], said["rationale"])
        for one in row["responses"]
        for said in one["scores"]
    ]


def test_annotations_beside_the_answers_are_found_by_model(tmp_path: Path) -> None:
    """A `preference` that is an aspect's name is no verdict, where the answers are rated."""
    row = {"instruction": "问", "preference": "readability", "responses": ANSWERS, "annotations": SAID}
    wanted = [("m", "好答", "overall", 5, "好"), ("n", "坏答", "overall", 2, "差")]
    assert scores(import_row(tmp_path, row)) == wanted


def test_the_aspect_may_be_named(tmp_path: Path) -> None:
    row = {"instruction": "问", "preference": "readability", "responses": ANSWERS, "annotations": SAID}
    found = import_row(tmp_path, row, fields={"dimension": "preference"})
    assert {dimension for _, _, dimension, _, _ in scores(found)} == {"readability"}


@pytest.mark.parametrize("said", [SAID[:1], [SAID[0], SAID[0]], [SAID[0], SAID[1] | {"model": "other"}]])
def test_annotations_of_other_models_are_refused(said: list[Any], tmp_path: Path) -> None:
    with pytest.raises(ImportFailed) as error:
        import_row(tmp_path, {"instruction": "问", "responses": ANSWERS, "annotations": said})
    assert list(error.value.report.reasons) == ["unequal-lists"]


@pytest.mark.parametrize("name", ["answers", "responses", "completions"])
def test_one_object_of_lists_is_a_list_of_objects(name: str, tmp_path: Path) -> None:
    row = {"prompt": "问", name: {"model": ["m", "n"], "text": ["好答", "坏答"], "score": [5, 2]}}
    assert scores(import_row(tmp_path, row)) == [("m", "好答", "overall", 5, None), ("n", "坏答", "overall", 2, None)]


def test_annotations_in_an_object_of_lists(tmp_path: Path) -> None:
    inside = [{"help": {"Rating": "5", "Rationale": "r"}}, {"help": {"Rating": "2", "Rationale": "s"}}]
    completions = {"annotations": inside, "model": ["m", "n"], "response": ["好答", "坏答"]}
    found = import_row(tmp_path, {"prompt": "问", "completions": completions})
    assert scores(found) == [("m", "好答", "help", 5, "r"), ("n", "坏答", "help", 2, "s")]


def test_lists_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFailed):
        import_row(tmp_path, {"prompt": "问", "answers": {"text": ["好答", "坏答"], "score": [5]}})


@pytest.mark.parametrize("name", ["generation_models", "generation_model", "generators"])
def test_models_beside_the_answers(name: str, tmp_path: Path) -> None:
    row = {"prompt": "问", "generations": ["好答", "坏答"], "ratings": [5, 2], name: ["m", "n"]}
    assert [model for model, *_ in scores(import_row(tmp_path, row))] == ["m", "n"]


def texts_of(row: dict[str, Any]) -> tuple[str, list[str]]:
    """What is asked, and the answers, the better first."""
    (one,) = row["comparisons"]
    places = [one["first"], one["second"]]
    if one["first_score"] < one["second_score"]:
        places.reverse()
    return row["query"], [row["responses"][at]["text"] for at in places]


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        (
            {
                "info": {"post": "问", "id": 1},
                "summaries": [{"text": "坏"}, {"text": "好"}],
                "choice": 1,
                "worker": "w",
            },
            {"query": "info.post"},
        ),
        (
            {"a": {"b": {"c": "问"}}, "x": {"good": "好", "bad": "坏"}},
            {"query": "a.b.c", "chosen": "x.good", "rejected": "x.bad"},
        ),
        (
            {
                "input": {"messages": [{"role": "user", "content": "问"}], "tools": [], "parallel_tool_calls": True},
                "preferred_output": [{"role": "assistant", "content": "好"}],
                "non_preferred_output": [{"role": "assistant", "content": "坏"}],
            },
            {},
        ),
        ({"prompt": "问", "response_chosen": "好", "response_rejected": "坏"}, {}),
        ({"prompt": "问", "answer_chosen": "好", "answer_rejected": "坏"}, {}),
    ],
)
def test_fields_inside_objects_and_other_names(row: dict[str, Any], fields: dict[str, str], tmp_path: Path) -> None:
    other = {"info": {"post": "问二"}, "summaries": [{"text": "好"}, {"text": "坏"}], "choice": 0}
    rows = [row, other] if "choice" in row else [row]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    config = ImportConfig(domain="chat", form=FormConfig(fields=fields))
    store, report = import_files([tmp_path / "in.jsonl"], tmp_path / "store", config)
    first = next(iter(store.batches())).to_pylist()[0]
    assert texts_of(first) == ("问", ["好", "坏"])
    assert "input.parallel_tool_calls" in report.ignored_fields or "input" not in row


def test_scores_of_several_judges_in_one_object(tmp_path: Path) -> None:
    row = {"prompt": "问", "response": "好", "model": "m", "scores": {"gpt4": 8, "claude": 7}}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    _, report = import_files([tmp_path / "in.jsonl"], tmp_path / "store", ImportConfig(domain="chat"))
    assert any("--score-column gpt4=scores.gpt4 " in line for line in report.advice())
    config = ImportConfig(
        domain="chat", form=FormConfig(score_columns={"gpt4": "scores.gpt4", "claude": "scores.claude"})
    )
    store, report = import_files([tmp_path / "in.jsonl"], tmp_path / "store", config, overwrite=True)
    (found,) = next(iter(store.batches())).to_pylist()
    assert [(one["judge"], one["score"]) for one in found["responses"][0]["scores"]] == [("gpt4", 8), ("claude", 7)]


def test_models_of_both_sides_by_source_and_policy(tmp_path: Path) -> None:
    for name in ("source", "policy"):
        row = {"prompt": "问", "chosen": "好", "rejected": "坏", f"chosen_{name}": "m", f"rejected_{name}": "n"}
        folder = tmp_path / name
        folder.mkdir()
        assert [one["model"] for one in import_row(folder, row)["responses"]] == ["m", "n"]
        row = {"prompt": "问", "response_a": "好", "response_b": "坏", "winner": "a"}
        row |= {f"response_a_{name}": "m", f"response_b_{name}": "n"}
        (folder / "sides").mkdir()
        assert [one["model"] for one in import_row(folder / "sides", row)["responses"]] == ["m", "n"]
