"""One file under two names is read once; a copy of it is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from coig_p.errors import UsageError
from coig_p.ingest.accounting import ImportReport
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig

ROWS = [
    {"prompt": "问", "response_a": "甲", "response_b": "乙", "winner": "A", "judge": "p1"},
    {"prompt": "问", "response_a": "甲", "response_b": "乙", "winner": "B", "judge": "p2"},
]
ONCE = {"read": 2, "stored": 2, "rejected": 0, "merged": 0}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), "utf-8")
    return tmp_path / "a.jsonl"


def taken(*paths: str | Path, judges: dict[str, str] | None = None) -> ImportReport:
    out = Path(paths[0]).parent / "store"
    store, report = import_files(paths, out, ImportConfig(domain="chat", judges=judges or {}), overwrite=True)
    assert len(store.manifest.sources) == len(set(report.forms))
    return report


@pytest.mark.parametrize("how", ["path", "spelling", "symlink", "hard link", "pattern", "folder"])
def test_one_file_under_two_names_is_read_once(how: str, file: Path) -> None:
    other: str | Path = file
    if how == "spelling":
        (file.parent / "sub").mkdir()
        other = file.parent / "sub" / ".." / "a.jsonl"
    elif how == "symlink":
        other = file.parent / "b.jsonl"
        other.symlink_to(file)
    elif how == "hard link":
        other = file.parent / "b.jsonl"
        os.link(file, other)
    elif how == "pattern":
        other = f"{file.parent}/*.jsonl"
    elif how == "folder":
        (file.parent / "again").symlink_to(file.parent, target_is_directory=True)
        other = file.parent / "again" / "a.jsonl"
    report = taken(file, other)
    assert report.accounting()["comparisons"] == ONCE
    assert report.counts["rows"]["read"] == 2
    assert sum("again: it was read once" in line for line in report.advice()) == 1


def test_two_judges_of_one_file_are_refused(file: Path) -> None:
    (file.parent / "b.jsonl").symlink_to(file)
    with pytest.raises(UsageError, match=r"b\.jsonl is the file .*a\.jsonl again: --judge"):
        taken(file, file.parent / "b.jsonl", judges={"a.jsonl": "x", "b.jsonl": "y"})


def test_a_copy_is_told(file: Path) -> None:
    (file.parent / "b.jsonl").write_bytes(file.read_bytes())
    report = taken(file, file.parent / "b.jsonl")
    assert report.counts["rows"] == {"read": 4, "stored": 1, "merged": 3}
    assert any("b.jsonl has the same content as" in line for line in report.advice())
    (file.parent / "b.jsonl").write_bytes(file.read_bytes() + b"\n")
    assert not any("same content" in line for line in taken(file, file.parent / "b.jsonl").advice())
