"""Shuffled streams of a store, what may be made of them, and what comes of its rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import load_dataset
from datasets.distributed import split_dataset_by_node

from coig_p.streams import VERSION

Row = dict[str, Any]
EPOCHS = (0, 1, 2, 7)


def load(store: Path, **options: Any) -> Any:
    keywords = {"shuffle_seed": 3, "shards": 4, **options}
    return load_dataset("coig-p", "math", data_dir=str(store), split="train", streaming=True, **keywords)


def at(epoch: int, stream: Any) -> Any:
    stream.set_epoch(epoch)
    return stream


def keeps(row: Row) -> bool:
    return row["margin"] != 3


def mapped(row: Row) -> Row:
    return {"length": len(row["chosen"])}


def batch_mapped(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {"length": [len(text) for text in rows["chosen"]]}


def with_length(rows: list[Row]) -> list[Row]:
    return [{**row, "length": len(row["chosen"])} for row in rows]


WAYS: dict[str, tuple[Callable[[Any], Any], Callable[[list[Row]], list[Row]]]] = {
    "plain": (lambda stream: stream, lambda rows: rows),
    "map": (lambda stream: stream.map(mapped), with_length),
    "map batched": (lambda stream: stream.map(batch_mapped, batched=True, batch_size=7), with_length),
    "filter": (lambda stream: stream.filter(keeps), lambda rows: list(filter(keeps, rows))),
    "map and filter": (
        lambda stream: stream.map(mapped).filter(keeps),
        lambda rows: with_length(list(filter(keeps, rows))),
    ),
    "select_columns": (
        lambda stream: stream.select_columns(["query_id", "margin"]),
        lambda rows: [{"query_id": row["query_id"], "margin": row["margin"]} for row in rows],
    ),
    "remove_columns": (
        lambda stream: stream.remove_columns(["prompt", "margin"]),
        lambda rows: [{name: value for name, value in row.items() if name not in ("prompt", "margin")} for row in rows],
    ),
    "rename_column": (
        lambda stream: stream.rename_column("prompt", "question"),
        lambda rows: [{name.replace("prompt", "question"): value for name, value in row.items()} for row in rows],
    ),
    "with_format": (lambda stream: stream.with_format("numpy"), lambda rows: rows),
    "rank 1 of 2": (lambda stream: split_dataset_by_node(stream, 1, 2), lambda rows: rows),
    "rank 1 of 3": (lambda stream: split_dataset_by_node(stream, 1, 3), lambda rows: rows[1::3]),
    "rank, map": (lambda stream: split_dataset_by_node(stream, 1, 3).map(mapped), lambda rows: with_length(rows[1::3])),
    "map, rank": (lambda stream: split_dataset_by_node(stream.map(mapped), 1, 3), lambda rows: with_length(rows[1::3])),
    "take": (lambda stream: stream.take(50), lambda rows: rows[:50]),
    "skip": (lambda stream: stream.skip(50), lambda rows: rows[50:]),
    "map and skip": (lambda stream: stream.map(mapped).skip(50), lambda rows: with_length(rows[50:])),
}  # fmt: skip


# What datasets does to any stream, rows of ours or not.
ENDS_BELOW_TAKE = (5, 0) <= VERSION < (5, 1)  # in epoch 1 and later, with an error


def takes(way: str) -> bool:
    return way.split()[-1] in ("take", "skip")


def text(rows: Any) -> list[str]:
    return [json.dumps(row, sort_keys=True, default=lambda value: value.tolist()) for row in rows]
