"""A lazy dataset is what the copied one is, whatever is done to it; what cannot be a view is copied and says so."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from datasets import Dataset, concatenate_datasets, interleave_datasets, load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st

import coig_p
from coig_p.errors import CoigPError, UsageError
from coig_p.views.table import ViewTable

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of datasets' own calls of Arrow


def rows_of(found: Any) -> Any:
    """Whatever an operation gave, as plain values."""
    if isinstance(found, Dataset):
        return found.column_names, [dict(row) for row in found.with_format(None)]
    if isinstance(found, pa.Table):
        return found.schema.names, [str(one) for one in found.schema.types], found.to_pylist()
    if isinstance(found, dict):
        return {name: rows_of(one) for name, one in found.items()}
    if hasattr(found, "to_dict") and not isinstance(found, dict):
        return found.to_dict()
    return (
        [rows_of(one) if isinstance(one, (dict, pa.Table)) else one for one in found]
        if isinstance(found, (list, tuple))
        else found
    )


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


def by_number(ds: Dataset, **options: Any) -> Dataset:
    name = next((one for one in ("margin", "score", "label") if one in ds.column_names), "query_id")
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
    "sort by a number": lambda ds, _: ds.sort(ds.column_names[-3]),
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


@pytest.fixture(params=["dpo", "conversational", "reward", "kto", "sft"])
def both(load: Any, request: Any) -> tuple[Dataset, Dataset]:
    options = {"threshold": 1, "format": request.param}
    lazy = load(lazy=True, **options)
    assert isinstance(lazy.data, ViewTable)
    return lazy, load(**options)


def test_every_operation_gives_what_it_gives_on_copied_rows(both: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    lazy, copied = both
    assert len(copied) > 100
    for name, operation in OPERATIONS.items():
        assert rows_of(operation(lazy, tmp_path)) == rows_of(operation(copied, tmp_path)), name


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


@pytest.fixture(scope="module")
def pair(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    cache = str(tmp_path_factory.mktemp("cache"))
    lazy, copied = (
        coig_p.load_dataset("all", data_dir=str(store), split="train", cache_dir=cache, lazy=lazy)
        for lazy in (True, False)
    )
    return lazy, copied


@settings(max_examples=25)
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 40)), max_size=5))
def test_chains_of_operations(pair: tuple[Dataset, Dataset], steps: list[tuple[str, int]]) -> None:
    lazy, copied = pair
    for name, number in steps:
        lazy, copied = STEPS[name](lazy, number), STEPS[name](copied, number)
    assert rows_of(lazy) == rows_of(copied)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threshold": 0},
        {"threshold": 9},
        {"strategy": "best_worst", "aggregation": "median"},
        {"max_pairs_per_query": 1, "seed": 3},
        {"columns": ["margin", "chosen"]},
        {"num_proc": 2},
        {"split": "train[10:50]"},
        {"split": "train[:20%]+train[-7:]"},
        {"test_size": 0.3, "validation_size": 0.2, "split": "test"},
        {"test_size": 0.3, "validation_size": 0.2, "split": "all"},
        {"keep_in_memory": True},
        {"name": "all", "num_proc": 3},
        {"shuffle_seed": 1},
        {"name": "all", "shuffle_seed": 2, "shards": 6, "num_proc": 2, "format": "kto"},
        {"name": "all", "weights": {"math": 2.5, "chat": 0.4}},
        {"name": "all", "weights": {"math": 0.3}, "shuffle_seed": 3, "test_size": 0.3, "split": "all"},
        {"shards": 4, "test_size": 0.2, "split": "test", "shuffle_seed": 0},
    ],
)
def test_options_are_alike(load: Any, options: dict[str, Any]) -> None:
    lazy, copied = load(lazy=True, **options), load(**options)
    assert options.get("keep_in_memory") or not len(lazy) or isinstance(lazy.data, ViewTable)
    assert rows_of(lazy) == rows_of(copied)
    assert lazy.features == copied.features
    assert str(lazy.split) == str(copied.split)


@pytest.mark.parametrize(
    "options",
    [
        {"format": "ranked"},
        {"features": datasets.Features({"margin": datasets.Value("float32")}), "columns": ["margin"]},
    ],
)
def test_what_cannot_be_a_view_is_copied_and_says_so(load: Any, caplog: Any, options: dict[str, Any]) -> None:
    with caplog.at_level(logging.WARNING, logger="coig_p"):
        lazy = load(lazy=True, **options)
    assert len([one for one in caplog.records if one.message.startswith("lazy=True copies here: ")]) == 1
    assert not isinstance(lazy.data, ViewTable)
    assert rows_of(lazy) == rows_of(load(**options))


def test_contradictions_are_refused(load: Any) -> None:
    with pytest.raises(UsageError, match="lazy=True and streaming=True contradict"):
        load(lazy=True, streaming=True)
    with pytest.raises(UsageError, match="raw rows are copied once"):
        load("math-raw", lazy=True)
    with pytest.raises(UsageError, match="True or False"):
        load(lazy="yes")


def test_thresholds_share_their_texts(load: Any, cache: str) -> None:
    for threshold in (1, 2, 3):
        load(threshold=threshold, lazy=True)
    assert len(list(Path(cache, "coig-p").glob("texts-*/texts.arrow"))) == 1


def test_numbers_alone_are_never_spilled_and_texts_once(load: Any, caplog: Any) -> None:
    lazy = load(lazy=True)
    folder = Path(lazy.cache_files[0]["filename"]).parent
    with caplog.at_level(logging.WARNING, logger="coig_p"):
        assert lazy.unique("margin")
        lazy.sort("margin").filter(lambda one: one > 2, input_columns="margin")[:3]
        assert not list(folder.glob("cache-view-*"))
        assert not caplog.records
        assert lazy.data.table.num_rows == len(lazy) == copy.deepcopy(lazy).data.table.num_rows
        assert load(lazy=True).data.table.num_rows == len(lazy)
    assert len(caplog.records) == 1
    assert "MB are written to" in caplog.records[0].message
    assert len(list(folder.glob("cache-view-*.arrow"))) == 1
    assert lazy.cleanup_cache_files() >= 1
    assert not list(folder.glob("cache-view-*"))


def test_what_a_row_lacks_is_the_same_error(tmp_path: Path, rows: Any, cache: str) -> None:
    from make import make_store

    bad = copy.deepcopy([row for row in rows if row["domain"] == "math"])
    for row in bad[20:30]:
        row["query"] = None
    here = make_store(tmp_path / "bad", bad)
    said = []
    for lazy in (False, True):
        with pytest.raises(CoigPError) as raised:
            coig_p.load_dataset("math", data_dir=str(here), cache_dir=cache, lazy=lazy, threshold=0.5)
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert "its prompt is null" in said[0]
