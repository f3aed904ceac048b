"""Rows that say one thing twice, in odd numbers or under odd names: read, or refused with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from coig_p.cli.importing import import_command
from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.store.store import Store

PAIR = {"prompt": "问", "chosen": "好答", "rejected": "坏答"}
SIDED = {"prompt": "问", "response_1": "好答", "response_2": "坏答"}
LABELLED = {"prompt": "问", "completion": "答", "label": True, "score": 3}


def run(folder: Path, *rows: Any, **form: Any) -> tuple[list[dict[str, Any]], ImportReport]:
    """What the store holds of some rows."""
    (folder / "in.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    config = ImportConfig(domain="chat", form=FormConfig(**form))
    store, report = import_files([folder / "in.jsonl"], folder / "store", config, overwrite=True)
    return [row for batch in store.batches() for row in batch.to_pylist()], report


def refused(folder: Path, *rows: Any, **form: Any) -> str:
    with pytest.raises(ImportFailed) as error:
        run(folder, *rows, **form)
    return "\n".join(map(str, error.value.report.problems))


def test_a_pair_of_equal_texts_is_one_comparison_that_is_merged(tmp_path: Path) -> None:
    (row,), report = run(tmp_path, PAIR | {"rejected": "好答"})
    assert len(row["responses"]) == 1
    assert report.accounting()["comparisons"] == {"read": 1, "stored": 0, "rejected": 0, "merged": 1}
    assert any("pairs of equal texts: 1" in line for line in report.advice())


def test_two_scores_of_one_text_contradict_each_other(tmp_path: Path) -> None:
    row = PAIR | {"rejected": "好答", "chosen_score": 9, "rejected_score": 2}
    assert "[contradiction]" in refused(tmp_path, row)
    assert run(tmp_path, row | {"rejected_score": 9})[1].counts["comparisons"]["merged"] == 1


@pytest.mark.parametrize("score", ["score", "rating"])
@pytest.mark.parametrize("label", [True, False, 1, 0, -1, "true"])
def test_a_label_beside_a_score_is_ambiguous(label: Any, score: str, tmp_path: Path) -> None:
    row = {"prompt": "问", "completion": "答", "label": label, score: 3}
    said = refused(tmp_path, row)
    assert f"--drop {score}" in said
    assert "--drop label" in said
    assert run(tmp_path, row, drop=[score])[1].score_range == (0, 1)
    assert run(tmp_path, row, drop=["label"])[0][0]["responses"][0]["scores"][0]["score"] == 3
    assert run(tmp_path, row, fields={"score": score})[0][0]["responses"][0]["scores"][0]["score"] == 3


def test_numbers_off_the_grid_are_rounded_where_that_is_asked_for(tmp_path: Path) -> None:
    scored = {"prompt": "问", "response": "答", "score": 7.123456}
    rows = [SIDED | {"preference": 1.0000012}, SIDED | {"prompt": "问二", "preference": 1.9998642803}]
    assert "--round" in refused(tmp_path, scored)
    assert "--round" in refused(tmp_path, *rows)
    (found,), report = run(tmp_path, scored, round_scores=True)
    assert (found["responses"][0]["scores"][0]["score"], report.rounded) == (7.1235, 1)
    all_of_them, report = run(tmp_path, *rows, round_scores=True)
    said = [(one["first_score"], one["second_score"]) for row in all_of_them for one in row["comparisons"]]
    assert (said, report.rounded) == ([(1, 0), (0.0001, 0.9999)], 2)
    assert any("rounded to 4 decimals: 2" in line for line in report.advice())
    assert Store.open(tmp_path / "store").manifest.options["round"] is True
    assert run(tmp_path, scored | {"score": 7.5}, round_scores=True)[1].rounded == 0


def test_round_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"prompt": "q", "response": "a", "score": 7.123456}), "utf-8")
    said = [str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "store"), "--domain", "chat"]
    assert CliRunner().invoke(import_command, said).exit_code == 1
    assert CliRunner().invoke(import_command, [*said, "--round"]).exit_code == 0


def test_an_answer_may_repeat_what_a_tool_said(tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = [{"role": "user", "content": "天气？"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    (row,), _ = run(tmp_path, PAIR | {"prompt": [*asked, {"role": "tool", "content": "晴"}], "chosen": "晴"})
    assert row["responses"][0]["text"] in ("晴", "坏答")
    assert "[ends-in-response]" in refused(tmp_path, PAIR | {"prompt": [*asked[:1] * 2], "chosen": "天气？"})


def test_a_judge_may_be_a_number(tmp_path: Path) -> None:
    (row,), _ = run(tmp_path, {"prompt": "问", "response": "答", "score": 3, "judge": 5})
    assert row["responses"][0]["scores"][0]["judge"] == "5"
    assert "not a string" in refused(tmp_path, {"prompt": "问", "response": "答", "score": 3, "judge": True})


def test_a_field_that_is_there_is_never_said_not_to_be(tmp_path: Path) -> None:
    rows = [PAIR | {"note": "x", "prompt": 1}, PAIR]
    for name in ("note", "chosen"):
        config = ImportConfig(domain="chat", on_error="skip", form=FormConfig(keep=[name]))
        (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        _, report = import_files([tmp_path / "in.jsonl"], tmp_path / "store", config, overwrite=True)
        assert not any("no row has" in line for line in report.advice())
    assert any("no row has a field nothing" in line for line in run(tmp_path, PAIR, keep=["nothing"])[1].advice())


@pytest.mark.parametrize("name", ["question_body", "user_prompt", "user_input", "user_query", "user"])
def test_less_usual_names_of_a_prompt(name: str, tmp_path: Path) -> None:
    row = {"response": "答", "score": 3}
    assert run(tmp_path, row | {name: "问"})[0][0]["query"] == "问"
    assert run(tmp_path, row | {name: "u7", "prompt": "问"})[0][0]["query"] == "问"


def test_both_scores_in_one_object(tmp_path: Path) -> None:
    row = {
        "question_body": "问",
        "answer1_body": "好",
        "answer2_body": "坏",
        "score": [{"logit": [9, 7], "source": "g"}],
    }
    (found,), report = run(tmp_path, row)
    assert [(one["first_score"], one["second_score"]) for one in found["comparisons"]] == [(9, 7)]
    assert "score.source" in report.ignored_fields


def test_completions_of_plain_text_beside_a_pair(tmp_path: Path) -> None:
    (row,), report = run(tmp_path, PAIR | {"completions": ["好答", "坏答"]})
    assert len(row["comparisons"]) == 1
    assert "completions" in report.ignored_fields


def test_what_is_there_but_empty_is_not_called_missing_alone(tmp_path: Path) -> None:
    assert "rejected (there, but empty)" in refused(tmp_path, PAIR | {"rejected": ""})
    assert "there, but" not in refused(tmp_path, {"prompt": "问", "chosen": "好答"})


def test_a_word_that_names_both_sides_says_so(tmp_path: Path) -> None:
    row = {"prompt": "问", "response_a": "好", "response_b": "坏", "model_a": "B", "model_b": "A", "winner": "A"}
    assert "is one side by its name" in refused(tmp_path, row)
    assert "model of both sides" in refused(tmp_path, row | {"model_a": "m", "model_b": "m", "winner": "m"})


def test_turns_of_helpsteer2(tmp_path: Path) -> None:
    prompt = "问\n\n<extra_id_1>Assistant\n答\n\n<extra_id_1>User\n再问"
    for row in (SIDED | {"winner": "response_1"}, {"response": "好", "score": 3}):
        (found,), _ = run(tmp_path, row | {"prompt": prompt})
        said = [(turn["role"], turn["content"]) for turn in found["messages"]]
        assert said == [("user", "问"), ("assistant", "答"), ("user", "再问")]
    (found,), _ = run(tmp_path, {"response": "好", "score": 3, "prompt": "<extra_id_1> 是什么？"})
    assert found["messages"] is None
