"""Labels that are missing, or neither good nor bad; and columns of scores that are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run

from coig_p.store.store import Store

GOOD = {"prompt": "问", "completion": "好答", "label": True}
BAD = {"prompt": "问", "completion": "坏答", "label": False}
FLAT = {"prompt": "问", "model": "a", "response": "答", "good": "very good", "n": 8}


def tried(folder: Path, *rows: dict[str, Any], options: tuple[str, ...] = ()) -> tuple[int, str]:
    (folder / "in.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    out = ("--out", folder / "store", "--domain", "chat", "--overwrite")
    done = run("import", folder / "in.jsonl", *out, *options, code=None)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("label", [None, "", float("nan")])
def test_a_label_that_is_not_there_is_missing(label: Any, tmp_path: Path) -> None:
    code, said = tried(tmp_path, GOOD, BAD, GOOD | {"completion": "另答", "label": label})
    assert code == 0, said
    assert "read as kto rows" in said
    assert "missing scores: 1; their responses stay" in said
    store = Store.open(tmp_path / "store")
    assert (store.manifest.default_threshold, store.manifest.score_range) == (1, (0, 1))
    ((row,),) = (batch.to_pylist() for batch in store.batches())
    found = {one["text"]: [score["score"] for score in one["scores"]] for one in row["responses"]}
    assert found == {"好答": [1], "坏答": [0], "另答": []}


@pytest.mark.parametrize("label", ["tie", "neutral", 0.5, "0.5", 2, "N/A", "平局"])
def test_a_label_that_is_neither_is_refused(label: Any, tmp_path: Path) -> None:
    code, said = tried(tmp_path, GOOD, BAD | {"label": label})
    assert code == 1
    assert f"{label!r} says neither good (true, 1) nor bad (false, 0, -1)" in said


def test_an_empty_label_beside_a_place_for_scores_says_nothing(tmp_path: Path) -> None:
    rows = [{"prompt": "问", "response": text, "score": score, "label": None} for text, score in (("甲", 8), ("乙", 3))]
    code, said = tried(tmp_path, *rows)
    assert code == 0
    assert "missing" not in said


@pytest.mark.parametrize(
    ("row", "column", "code", "said"),
    [
        (FLAT, "nosuch", 2, "--score-column j=nosuch: no row has a field nosuch"),
        (FLAT, "good", 1, "--score-column j=good names a column that does not hold numbers: fields of numbers are n"),
        (FLAT | {"good": {"a": 1}}, "good", 1, "names a column that does not hold numbers"),
        (FLAT, "n", 0, "wrote"),
        (GOOD | {"n": 3}, "n", 2, "--score-column j=n: not read, since these are kto rows"),
        ({"prompt": "问", "chosen": "甲", "rejected": "乙", "n": 3}, "n", 2, "not read, since these are pairs rows"),
        ({"query": "问", "responses": [{"model": "a", "text": "甲"}], "n": 3}, "n", 2, "these are nested rows"),
    ],
)
def test_a_column_of_scores_that_is_none(
    row: dict[str, Any], column: str, code: int, said: str, tmp_path: Path
) -> None:
    found, words = tried(tmp_path, row, options=("--score-column", f"j={column}"))
    assert (found, said in words) == (code, True), words
