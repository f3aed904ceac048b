"""A store that is exported, and its rows as the files have them, read without our code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from oracle import oracle_pairs

from coig_p.export.write import ExportConfig, export_store

Row = dict[str, Any]


def export(store: Path, out: Path, trainer: str = "trl-dpo", **options: Any) -> dict[str, Any]:
    written = export_store(store, out, ExportConfig(trainer, **options))
    assert json.loads((out / "shards.json").read_text("utf-8")) == written.to_dict()
    return written.to_dict()


def rows_of(out: Path, split: str = "train") -> list[Row]:
    """The rows of an export in the order of its shards, read without our code."""
    found = []
    for path in sorted((out / split).iterdir()):
        if path.suffix == ".jsonl":
            found += [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        else:
            found += pq.read_table(path).to_pylist()
    return found


_PAIRS: dict[int, list[Row]] = {}


def pairs_of(rows: list[Row]) -> list[Row]:
    """The oracle's pairs at threshold 2, computed once for each list of rows."""
    if id(rows) not in _PAIRS:
        _PAIRS[id(rows)] = oracle_pairs(rows, threshold=2)
    return _PAIRS[id(rows)]
