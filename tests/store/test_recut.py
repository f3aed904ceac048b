"""A store written anew by several processes: the same bytes as by one, however it was cut, and the same errors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import files
from make import make_rows, make_store
from rewarding import with_given
from strategies import examples

from coig_p.engine.local import Processes, held
from coig_p.errors import StoreError, WorkersLost
from coig_p.store import writing
from coig_p.store.changes import Change, Each, TakenIn
from coig_p.store.manifest import StoreFile
from coig_p.store.recut import Kept, plan_of
from coig_p.store.rewrite import rewrite_store
from coig_p.store.store import Store

ROWS = make_rows({"math": 60, "chat": 7})


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with held(Processes(2)) as workers:
        assert isinstance(workers, Executor)
        yield workers


def name_of(function: Any) -> str:
    """Of the work that is sent, also inside what a journal sends."""
    inner = function.args[0] if function.func.__name__ == "_work" else function
    return str(inner.func.__name__)


class Inline(Executor):
    """Works at once, after what `before` does with the name of the work."""

    window = 2

    def __init__(self, before: Callable[[str], object]) -> None:
        self.before = before

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.before(name_of(function))
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


class Dying(Executor):
    """A pool, one of whose processes ends where shards are to be written."""

    window = 2

    def __init__(self, pool: Executor) -> None:
        self.pool = pool

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if name_of(function) == "_write":
            self.pool.submit(os._exit, 9)
        return self.pool.submit(function, *args, **kwargs)


def becomes(domain: str, query_id: str) -> Change | None:
    """Rows that go, whole shards of them too, rows that are edited, and some taken in by others before and behind."""
    at = int(query_id.split("-")[1])
    if 20 <= at < 33 or (domain, at) == ("math", 59):
        return Change(row="bad")
    if domain == "math" and at in (4, 40):
        return Change(row="alike", moved=True)
    if domain == "math" and at in (5, 50):
        return Change(taken_in=[TakenIn("math-0040" if at == 5 else "math-0004", "alike")])
    return Change(responses={0: "late"}, scores={(1, 0): "odd"}) if at % 7 == 2 else None


def rewritten(store: Path, out: Path, **workers: Any) -> dict[str, bytes]:
    with mock.patch.object(writing, "ROWS_PER_SHARD", 8), mock.patch.object(writing, "ROWS_PER_GROUP", 3):
        made = rewrite_store(Store.open(store), out, becomes, step="step", record=lambda _: {}, **workers)
    assert made.store.verify() == []
    return files(out) | {"dropped": repr(made.dropped).encode()}


@pytest.mark.parametrize(("rows_per_shard", "rows_per_group"), [(3, 2), (10, 4), (100, 7)])
def test_processes_write_what_one_writes(
    rows_per_shard: int, rows_per_group: int, pool: Executor, tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", ROWS, rows_per_shard=rows_per_shard, rows_per_group=rows_per_group)
    with_given(store, "crm", lambda query, model, sample, text: len(text) / 4 if len(text) % 3 else None)
    one = rewritten(store, tmp_path / "one")
    assert rewritten(store, tmp_path / "two", engine=pool) == one
    # Nothing but what is remembered of the old shards depends on how they were cut.
    whole = make_store(tmp_path / "whole", ROWS, rows_per_shard=1000)
    with_given(whole, "crm", lambda query, model, sample, text: len(text) / 4 if len(text) % 3 else None)
    assert rewritten(whole, tmp_path / "other") == one


@examples(60)
@given(st.lists(st.lists(st.sampled_from(["stays", "edited", "goes"]), max_size=6), min_size=1, max_size=6))
def test_every_old_row_is_read_by_one_task(shards: list[list[str]]) -> None:
    kept = []
    for number, rows in enumerate(shards):
        file = StoreFile(f"data/math/{number}", "data", "", 0, domain="math", split="train", rows=len(rows))
        ids = pa.array([f"{number}-{at}" for at in range(len(rows))], pa.string())
        changes = {
            f"{number}-{at}": Change(row="bad" if kind == "goes" else None)
            for at, kind in enumerate(rows)
            if kind != "stays"
        }
        each = Each(lambda _, name, changes=changes: changes.get(name))  # type: ignore[misc]
        changing = each.among("math", ids)
        kept.append(Kept(file, len(rows), changing, ids.take(pa.array(changing.places)), each))
    with mock.patch.object(writing, "ROWS_PER_SHARD", 3):
        plans = list(plan_of(kept))
    read = [
        (source.file.path, at) for plan in plans for source in plan.sources for at in range(source.begin, source.end)
    ]
    assert read == [(f"data/math/{number}", at) for number, rows in enumerate(shards) for at in range(len(rows))]
    stay = sum(kind != "goes" for rows in shards for kind in rows)
    sizes = [plan.plan.rows for plan in plans if plan.plan is not None]
    assert sizes == (writing.even_sizes(stay, max(1, stay // 3)) if stay else [])
    for plan in plans:
        assert sum(source.left for source in plan.sources) == (plan.plan.rows if plan.plan else 0)
        for source in plan.sources:
            own = [shards[int(source.file.path[-1])][at] for at in range(source.begin, source.end)]
            assert source.left == sum(kind != "goes" for kind in own)
            assert len(source.changes) == sum(kind != "stays" for kind in own)


def test_a_shard_that_cannot_be_read_is_the_same_error_and_nothing_is_written(pool: Executor, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ROWS)
    shard = sorted(store.glob("data/math/*.parquet"))[3]
    data = bytearray(shard.read_bytes())
    column = pq.read_metadata(shard).row_group(1)
    texts = next(
        column.column(at)
        for at in range(column.num_columns)
        if column.column(at).path_in_schema.endswith("element.text")
    )
    data[texts.data_page_offset + texts.total_compressed_size // 2] ^= 0xFF
    shard.write_bytes(data)
    said = []
    for options in ({}, {"engine": pool}):
        with pytest.raises(StoreError, match=r"math/train-00003-of-00006\.parquet cannot be read") as raised:
            rewritten(store, tmp_path / "out", **options)
        said.append(str(raised.value))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    assert said[0] == said[1]


def test_a_worker_that_dies_leaves_no_store_and_the_next_run_is_whole(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ROWS)
    said = "a worker of the Dying that was given as engine ended before its work was done"
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool, pytest.raises(WorkersLost, match=said):
        rewritten(store, tmp_path / "out", engine=Dying(pool))
    assert not (tmp_path / "out").exists()
    assert rewritten(store, tmp_path / "out") == rewritten(store, tmp_path / "one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "out", "store"]


def test_what_a_dead_worker_was_writing_is_no_part_of_the_store(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ROWS)

    def die(work: str) -> None:
        for folder in tmp_path.glob(".out.*/data/math"):
            (folder / ".train-00000-of-00007.parquet.0123abcd").write_bytes(b"PAR1")

    assert rewritten(store, tmp_path / "out", engine=Inline(die)) == rewritten(store, tmp_path / "one")


def test_a_shard_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ROWS)
    other = make_store(tmp_path / "other", [row | {"query_id": row["query_id"] + "-other"} for row in ROWS])
    first = "data/math/train-00002-of-00006.parquet"

    def change(work: str) -> None:
        if work == "_write":
            (store / first).write_bytes((other / first).read_bytes())

    with pytest.raises(StoreError, match=r"train-00002-of-00006\.parquet changed while it was read"):
        rewritten(store, tmp_path / "out", engine=Inline(change))
    assert not (tmp_path / "out").exists()
