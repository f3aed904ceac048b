"""Comparisons that contradict each other: said, since together they give no pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run


def rows_of(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def test_answers_preferred_both_ways_are_said(tmp_path: Path) -> None:
    one = {"prompt": "问", "chosen": "三", "rejected": "零"}
    other = {"prompt": "问", "chosen": "零", "rejected": "三"}
    third = {"prompt": "又问", "chosen": "是", "rejected": "否"}
    rows = rows_of(tmp_path / "x.jsonl", one, other, third)
    said = run("import", rows, "--domain", "math", "--out", tmp_path / "store").stdout
    assert "2 comparisons of two answers that the same judge also compared the other way round" in said
    assert run("pairs", tmp_path / "store", "--out", "-").stdout.count("\n") == 1


@pytest.mark.parametrize("second", [{"chosen": "三", "rejected": "零"}, {"chosen": "三", "rejected": "一"}])
def test_nothing_is_said_where_all_agree(tmp_path: Path, second: dict[str, Any]) -> None:
    rows = rows_of(tmp_path / "x.jsonl", {"prompt": "问", "chosen": "三", "rejected": "零"}, {"prompt": "问", **second})
    said = run("import", rows, "--domain", "math", "--out", tmp_path / "store").stdout
    assert "the other way round" not in said
