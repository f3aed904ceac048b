"""A stream of a small store, and what its rows are known by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import load_dataset

Row = dict[str, Any]
NAMES = ("query_id", "chosen_model", "rejected_model")

needs_shards = pytest.mark.skipif(
    not hasattr(datasets.IterableDataset, "shard"), reason="this datasets has no IterableDataset.shard"
)


def load(store: Path, name: str = "math", **options: Any) -> Any:
    keywords = {"data_dir": str(store), "split": "train", "streaming": True, **options}
    return load_dataset("coig-p", name, **keywords)


def key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in NAMES)


def math_of(pairs: list[Row]) -> list[Row]:
    return [pair for pair in pairs if pair["domain"] == "math"]
