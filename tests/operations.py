"""Whatever is done to a dataset, by name, and what it gave as plain values: of lazy rows and of copied ones alike."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from datasets import Dataset, concatenate_datasets, interleave_datasets, load_from_disk

import coig_p


def rows_of(found: Any) -> Any:
    """Whatever an operation gave, as plain values."""
    if isinstance(found, Dataset):
        return found.column_names, found.with_format(None)[:]
    if isinstance(found, pa.Table):
        return found.schema.names, [str(one) for one in found.schema.types], found.to_pylist()
    if isinstance(found, dict):
        return {name: rows_of(one) for name, one in found.items()}
    if hasattr(found, "to_dict"):
        return rows_of(found.to_dict())
    if isinstance(found, np.ndarray):
        found = list(found)
    return [rows_of(one) for one in found] if isinstance(found, (list, tuple)) else found


def plain_rows(ds: Dataset) -> Dataset:
    return Dataset.from_list(list(ds.select(range(3))), features=ds.features)


def through_disk(ds: Dataset, tmp: Path) -> Any:
    where = tmp / f"saved-{id(ds)}"
    ds.save_to_disk(str(where))
    return load_from_disk(str(where))


def written(ds: Dataset, kind: str, tmp: Path) -> bytes | Any:
    where = tmp / f"{kind}-{id(ds)}"
    getattr(ds, f"to_{kind}")(str(where))
    if kind == "parquet":
        import pyarrow.parquet as pq

        return pq.read_table(where)
    return where.read_bytes()


def a_number(ds: Dataset) -> str:
    return next((one for one in ("margin", "score", "label") if one in ds.column_names), "query_id")


def by_number(ds: Dataset, **options: Any) -> Dataset:
    name = a_number(ds)
    middle = sorted(ds.with_format(None)[name])[len(ds) // 2]
    return ds.filter(lambda one: one >= middle, input_columns=name, **options)


Operation = Callable[[Dataset, Path], Any]
OPERATIONS: dict[str, Operation] = {
    "a row": lambda ds, _: ds[5],
    "the last row": lambda ds, _: ds[-1],
    "a slice": lambda ds, _: ds[10:40],
    "a slice with steps": lambda ds, _: ds[3:60:7],
    "a slice backwards": lambda ds, _: ds[40:10:-3],
    "an empty slice": lambda ds, _: ds[4:4],
    "a list": lambda ds, _: ds[[7, 0, 7, 99, -2]],
    "no list": lambda ds, _: ds[[]],
    "a range": lambda ds, _: ds[range(5, 50, 5)],
    "all": lambda ds, _: ds[:],
    "a column": lambda ds, _: list(ds["prompt"]),
    "a column of numbers": lambda ds, _: list(ds[ds.column_names[-1]]),
    "rows one by one": lambda ds, _: list(ds),
    "batches": lambda ds, _: list(ds.iter(17)),
    "whole batches": lambda ds, _: list(ds.iter(17, drop_last_batch=True)),
    "map": lambda ds, _: ds.map(lambda row: {"n": len(str(row["prompt"]))}),
    "map over": lambda ds, _: ds.map(lambda row: {"query_id": row["query_id"] + "x"}),
    "map of batches": lambda ds, _: ds.map(lambda some: {"m": [str(one) for one in some["query_id"]]}, batched=True),
    "map with indices": lambda ds, _: ds.map(lambda row, at: {"at": at}, with_indices=True),
    "map to fewer": lambda ds, _: ds.map(lambda some: {"n": [1]}, batched=True, remove_columns=ds.column_names),
    "map in processes": lambda ds, _: ds.map(lambda row: {"n": len(row["query_id"])}, num_proc=2),
    "map of tables": lambda ds, _: ds.with_format("arrow").map(lambda some: some.slice(0, 3), batched=True),
    "map in memory": lambda ds, _: ds.map(lambda row: {"n": 1}, keep_in_memory=True),
    "filter": lambda ds, _: ds.filter(lambda row: row["query_id"].endswith("3")),
    "filter by a column": lambda ds, _: ds.filter(lambda one: one > "math-004", input_columns="query_id"),
    "filter of batches": lambda ds, _: ds.filter(
        lambda some: [one[-1] == "1" for one in some["query_id"]], batched=True
    ),
    "filter by two columns": lambda ds, _: ds.filter(
        lambda one, other: str(one) > other, input_columns=[ds.column_names[0], "query_id"]
    ),
    "filter by numbers": lambda ds, _: by_number(ds),
    "filter by numbers of some": lambda ds, _: by_number(ds.shuffle(seed=1).select(range(60)).skip(3)),
    "filter by numbers in processes": lambda ds, _: by_number(ds, num_proc=2),
    "filter by numbers of a format": lambda ds, _: by_number(ds.with_format("numpy", columns=["query_id"])),
    "map a column to fewer": lambda ds, _: ds.map(
        lambda one: {"query_id": one + "x"}, input_columns="query_id", remove_columns=ds.column_names
    ),
    "map to nothing": lambda ds, _: ds.map(
        lambda one: None, input_columns="query_id", remove_columns=ds.column_names
    ),
    "map to what was there": lambda ds, _: ds.map(
        lambda one: {"query_id": one, "prompt": "?"}, input_columns="query_id", remove_columns=ds.column_names
    ).column_names,
    "map a column": lambda ds, _: ds.map(lambda one: {"n": one}, input_columns=["query_id"]),
    "sort": lambda ds, _: ds.sort("query_id", reverse=True),
    "sort by a number": lambda ds, _: ds.sort(a_number(ds)),
    "sort some": lambda ds, _: ds.shuffle(seed=1).select(range(50)).sort("query_id", reverse=True).select([3, 1]),
    "sort with a format": lambda ds, _: ds.with_format("numpy", columns=["prompt"]).sort("query_id").format,
    "sort by two": lambda ds, _: ds.sort(["domain", "query_id"]),
    "select": lambda ds, _: ds.select([9, 3, 3, 50]),
    "select in order": lambda ds, _: ds.select(range(20, 90)),
    "select nothing": lambda ds, _: ds.select([]),
    "skip and take": lambda ds, _: ds.skip(10).take(20),
    "shuffle": lambda ds, _: ds.shuffle(seed=3),
    "shuffle and flatten": lambda ds, _: ds.shuffle(seed=3).flatten_indices(),
    "shard": lambda ds, _: ds.shard(4, 1),
    "shard with gaps": lambda ds, _: ds.shard(4, 1, contiguous=False),
    "train_test_split": lambda ds, _: dict(ds.train_test_split(0.2, seed=1)),
    "concatenate": lambda ds, _: concatenate_datasets([ds, plain_rows(ds)]),
    "concatenate itself": lambda ds, _: concatenate_datasets([ds, ds.shuffle(seed=1)]),
    "concatenate columns": lambda ds, _: concatenate_datasets(
        [ds, Dataset.from_dict({"n": list(range(len(ds)))})], axis=1
    ),
    "interleave": lambda ds, _: interleave_datasets([ds, plain_rows(ds)]),
    "rename": lambda ds, _: ds.rename_column("prompt", "question"),
    "rename several": lambda ds, _: ds.rename_columns({"prompt": "a", "query_id": "b"}),
    "remove": lambda ds, _: ds.remove_columns(["query_id"]),
    "select_columns": lambda ds, _: ds.select_columns(["query_id", "prompt"]),
    "add_column": lambda ds, _: ds.add_column("n", list(range(len(ds)))),
    "add_item": lambda ds, _: ds.add_item(ds[0]),
    "cast a column": lambda ds, _: ds.cast_column("query_id", datasets.Value("large_string")),
    "cast": lambda ds, _: ds.cast(ds.features),
    "class_encode": lambda ds, _: ds.class_encode_column("domain"),
    "unique": lambda ds, _: ds.unique("query_id"),
    "unique of some": lambda ds, _: ds.select([1, 2, 3]).unique("query_id"),
    "flatten": lambda ds, _: ds.flatten(),
    "numpy": lambda ds, _: [str(one) for one in ds.with_format("numpy")[:5]["query_id"]],
    "pandas": lambda ds, _: ds.with_format("pandas")[:7],
    "arrow": lambda ds, _: ds.with_format("arrow")[2:9],
    "arrow batches": lambda ds, _: list(ds.with_format("arrow").iter(11)),
    "some columns": lambda ds, _: ds.with_format(columns=["query_id"])[:4],
    "a transform": lambda ds, _: ds.with_transform(lambda some: {"up": [one.upper() for one in some["query_id"]]})[:4],
    "to_pandas": lambda ds, _: ds.to_pandas(),
    "to_pandas shuffled": lambda ds, _: ds.shuffle(seed=4).to_pandas(),
    "to_dict": lambda ds, _: ds.to_dict(),
    "to_list": lambda ds, _: ds.to_list(),
    "to_json": lambda ds, tmp: written(ds, "json", tmp),
    "to_csv": lambda ds, tmp: written(ds, "csv", tmp),
    "to_parquet": lambda ds, tmp: written(ds, "parquet", tmp),
    "save_to_disk": through_disk,
    "save_to_disk shuffled": lambda ds, tmp: through_disk(ds.shuffle(seed=2), tmp),
    "pickle": lambda ds, _: pickle.loads(pickle.dumps(ds)),
    "pickle shuffled": lambda ds, _: pickle.loads(pickle.dumps(ds.shuffle(seed=2).select(range(30)))),
    "deepcopy": lambda ds, _: copy.deepcopy(ds),
    "iterable": lambda ds, _: list(ds.to_iterable_dataset(num_shards=3)),
    "iterable arrow": lambda ds, _: list(ds.to_iterable_dataset().with_format("arrow").iter(9)),
    "iterable mapped": lambda ds, _: list(ds.to_iterable_dataset().map(lambda row: {"n": 1}).take(5)),
    "features": lambda ds, _: str(ds.features),
    "shape": lambda ds, _: (ds.shape, ds.num_rows, ds.num_columns, len(ds)),
    "table": lambda ds, _: ds.data.table,
    "materialize": lambda ds, _: coig_p.materialize(ds),
    "materialize shuffled": lambda ds, _: coig_p.materialize(ds.shuffle(seed=1).rename_column("prompt", "p")),
}  # fmt: skip
if hasattr(Dataset, "repeat"):  # not in datasets 3.0
    OPERATIONS["repeat"] = lambda ds, _: ds.select(range(9)).repeat(2)


STEPS: dict[str, Callable[[Dataset, int], Dataset]] = {
    "select": lambda ds, n: ds.select([(n * 7 + at * 3) % len(ds) for at in range(1 + n % 9)]),
    "range": lambda ds, n: ds.select(range(min(n, len(ds) - 1), len(ds))),
    "shuffle": lambda ds, n: ds.shuffle(seed=n),
    "shard": lambda ds, n: ds.shard(2, n % 2) if len(ds) > 1 else ds,
    "sort": lambda ds, n: ds.sort("query_id", reverse=n % 2 == 1),
    "by a column": lambda ds, n: kept if len(kept := by_number(ds)) else ds,
    "filter": lambda ds, n: kept if len(kept := ds.filter(lambda row: hash_of(row) % 3 != n % 3)) else ds,
    "rename": lambda ds, n: renamed(ds, f"c{n}"),
    "remove": lambda ds, n: ds.remove_columns(ds.column_names[-1]) if ds.column_names[-1] != "query_id" else ds,
    "twice": lambda ds, n: concatenate_datasets([ds, ds]),
    "pickle": lambda ds, n: pickle.loads(pickle.dumps(ds)),
    "flatten": lambda ds, n: ds.flatten_indices(),
    "materialize": lambda ds, n: coig_p.materialize(ds),
}  # fmt: skip


def renamed(ds: Dataset, name: str) -> Dataset:
    last = ds.column_names[-1]
    return ds if last == "query_id" or name in ds.column_names else ds.rename_column(last, name)


def hash_of(row: Any) -> int:
    return sum(map(ord, row["query_id"]))
