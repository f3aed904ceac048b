"""Responses of one text: each is paired and labelled for itself, and an export counts where rows agree or differ."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run
from make import make_rows, make_store

from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.splits import SplitConfig


def store(folder: Path, *, alike: bool) -> Path:
    rows = make_rows({"math": 60, "chat": 40}, seed=7)
    rng = random.Random(1)
    for row in rows:
        for at, answer in enumerate(row["responses"]):
            answer["text"] = f"回答{at}" if not alike else f"回{rng.randint(0, 3)}"  # of equal length either way
    make_store(folder, rows, rows_per_shard=30)
    return folder


def export(at: Path, out: Path, trainer: str, num_proc: int = 1) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    config = ExportConfig(trainer, pairs=PairConfig(threshold=1), splits=SplitConfig(test_size=0.2))
    told = export_store(at, out, config, num_proc=num_proc).to_dict()
    rows = {name: [row for path in sorted((out / name).iterdir()) for row in pq.read_table(path).to_pylist()]
            for name in told["splits"]}  # fmt: skip
    return told, rows


def repeated(rows: list[Any]) -> int:
    found = Counter((row["query_id"], row["chosen"], row["rejected"]) for row in rows)
    return sum(number - 1 for number in found.values())


def under_both(rows: list[Any]) -> int:
    found = defaultdict(set)
    for row in rows:
        found[row["query_id"], row["completion"]].add(row["label"])
    return sum(len(labels) == 2 for labels in found.values())


@pytest.mark.parametrize(
    ("trainer", "name", "count", "num_proc"),
    [("trl-dpo", "rows_repeated", repeated, 1), ("trl-kto", "both_labels", under_both, 2)],
)
def test_what_is_alike_is_counted_as_the_rows_have_it(
    trainer: str, name: str, count: Any, num_proc: int, tmp_path: Path
) -> None:
    at = store(tmp_path / "store", alike=True)
    told, rows = export(at, tmp_path / "out", trainer, num_proc)
    counts = {split: count(some) for split, some in rows.items()}
    assert min(counts.values()) > 0
    assert {split: one[name] for split, one in told["splits"].items()} == counts
    (note,) = (one for one in told["notes"] if "of a query are one text" in one or "responses are one text" in one)
    assert note.startswith(f"{sum(counts.values()):,} ")
    assert f"- {note}.\n" in (tmp_path / "out" / "README.md").read_text("utf-8")
    if num_proc == 1:
        done = run("export", at, "--for", trainer, "--threshold", 1, "--test-size", 0.2, "--out", tmp_path / "cli")
        assert f"note: {note}" in done.stdout
    told, rows = export(store(tmp_path / "other", alike=False), tmp_path / "others", trainer)
    assert [count(some) for some in rows.values()] == [0, 0]
    assert all(name not in one for one in told["splits"].values())
    assert "one text" not in str(told)
