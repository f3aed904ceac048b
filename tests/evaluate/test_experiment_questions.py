"""Which questions a benchmark's file tells, and what of an export a training's key holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coig_p.evaluate.experiment.content import hash_of_export, list_folder
from coig_p.evaluate.experiment.questions import ids_of


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('{"id": "a"}\n\n{"id": "b"}\n', {"a", "b"}),
        ('\ufeff{"id": "a"}\r\n{"id": "b"}', {"a", "b"}),
        ('{"question_id": 7, "x": 1}\n{"question_id": "8"}\n', {"7", "8"}),
        ('{"id": 1, "question_id": "a"}\n{"id": 2}\n', {"1", "2"}),
        ('{"id": 1, "question_id": "a"}\n{"question_id": "b"}\n', {"a", "b"}),
        ('{"id": "a"}\n{"name": "b"}\n', None),
        ('{"id": true}\n', None),
        ('{"id": "a"}\n{"id": \n', None),
        ('["a"]\n', None),
        ("", None),
        ("[" * 99_999, None),
    ],
)
def test_the_ids_of_a_benchmark(text: str, ids: set[str] | None, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(text, "utf-8")
    assert ids_of(path) == ids


def test_a_folder_or_what_is_no_text_tells_no_ids(tmp_path: Path) -> None:
    assert ids_of(tmp_path) is None
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert ids_of(tmp_path / "bytes") is None


def test_rows_and_configs_of_an_export_count_and_what_is_said_of_them_does_not(tmp_path: Path) -> None:
    def told(**changed: object) -> str:
        files = {"train/0.jsonl": "1", "README.md": "at 1", "train/README.md": "2", "config.yaml": "a: 1"}
        shards = {"tool": "x 1", "threshold": 1.0, "shuffle_seed": 0, "splits": {"train": {"rows": 1}}}
        shards |= {name: value for name, value in changed.items() if name in shards}
        files |= {name: str(value) for name, value in changed.items() if name in files}
        for name, text in {**files, "shards.json": json.dumps(shards)}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
        return hash_of_export(tmp_path, list_folder(tmp_path))

    first = told()
    assert told(**{"README.md": "at 3"}, threshold=3.0, tool="x 2") == first
    for name in ("train/0.jsonl", "train/README.md", "config.yaml", "shuffle_seed", "splits"):
        assert told(**{name: 5}) != first, name
