"""Shards of pairs that are planned and written apart are those of one process that writes row after row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store, twin

from coig_p.engine.journal import Journal
from coig_p.engine.local import Processes, Threads
from coig_p.errors import StoreError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.rows import pair_tables
from coig_p.pairs.turns import Shape
from coig_p.publish import pairing
from coig_p.publish.one_pass import StoreObserved, observe_store
from coig_p.publish.pairing import PairShard, plan_pairs, write_pairs
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import open_shard, read_rows
from coig_p.store.store import Store
from coig_p.store.writing import even_sizes
from coig_p.validation import load_rules

Steps = list[tuple[int, int]]


def planned(files: Mapping[str, Steps]) -> list[PairShard]:
    """The plan for a store of one domain and split, given what the queries of each file make."""
    total = sum(pairs for steps in files.values() for _, pairs in steps)
    listed = [StoreFile(path, "data", "", 0, domain="math", split="train") for path in files]
    store = SimpleNamespace(data_files=lambda domain, split: listed)
    split = SimpleNamespace(splits={"train": SimpleNamespace(pairs=total)})
    return list(plan_pairs(cast(Any, store), cast(Any, SimpleNamespace(domains={"math": split})), files))


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=5), max_size=6),
    st.integers(1, 30),
    st.integers(1, 12),
)
def test_every_pair_is_in_one_shard_and_little_else_is_read(files: list[Steps], per_shard: int, per_group: int) -> None:
    named = {f"data/{at}": steps for at, steps in enumerate(files)}
    pairs = [
        (path, at, nth) for path, steps in named.items() for at, (_, made) in enumerate(steps) for nth in range(made)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairing, "ROWS_PER_SHARD", per_shard)
        patch.setattr(pairing, "ROWS_PER_GROUP", per_group)
        shards = planned(named)
    left = iter(pairs)
    sizes = even_sizes(len(pairs), max(1, len(pairs) // per_shard)) if pairs else []
    assert [sum(shard.groups) for shard in shards] == sizes
    assert len({shard.name for shard in shards}) == len(shards)
    for shard in shards:
        assert max(shard.groups) <= per_group
        assert max(shard.groups) - min(shard.groups) <= 1
        read = []
        for run in shard.runs:
            begin = 0
            for at, (queries, made) in enumerate(named[run.path]):
                if run.begin <= begin < run.end:
                    assert begin + queries <= run.end
                    read += [(run.path, at, nth) for nth in range(made)]
                begin += queries
        assert len(read) == shard.pairs
        own = read[shard.skip :][: sum(shard.groups)]
        assert len(own) == sum(shard.groups)
        assert own == list(islice(left, len(own)))
        for end in (0, -1):
            assert read[end][:2] == own[end][:2], "a step is read that has no pair of the shard"
    assert next(left, None) is None


class Inline(Executor):
    """An executor that works at once."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


def row_after_row(store: Store, config: PairConfig, out: Path, per_shard: int, per_group: int) -> dict[str, bytes]:
    """The pairs of every domain, cut and written one after the other."""
    for domain in store.manifest.domains:
        tables = [table for batch in store.batches(domain) for table in pair_tables(batch, config)]
        rows = pa.concat_tables(tables).combine_chunks()
        sizes = even_sizes(len(rows), max(1, len(rows) // per_shard))
        begin = 0
        for at, size in enumerate(sizes):
            path = out / f"pairs/{domain}/train-{at:05d}-of-{len(sizes):05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            named = ["domain", "chosen_model", "rejected_model"]
            options = {"compression": "zstd", "compression_level": 3, "write_page_index": True}
            with pq.ParquetWriter(path, rows.schema, use_dictionary=named, **options) as writer:
                for group in even_sizes(size, -(-size // per_group)):
                    table = rows.slice(begin, group).combine_chunks()
                    writer.write_table(table, row_group_size=group)
                    begin += group
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.parquet")}


def observed(store: Store, config: PairConfig) -> StoreObserved:
    return observe_store(store, config, load_rules(), lambda queries: None, Processes(1))


@pytest.mark.parametrize(
    ("rows_per_shard", "rows_per_group", "options"),
    [
        (3, 2, {}),
        (7, 5, {"format": "conversational"}),
        (100, 100, {"strategy": "best_random", "seed": 3, "max_pairs_per_query": 2}),
    ],
)
def test_bytes_are_those_of_one_writer(
    rows_per_shard: int, rows_per_group: int, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "ROWS_PER_SHARD", 13)
    monkeypatch.setattr(pairing, "ROWS_PER_GROUP", 6)
    monkeypatch.setattr("coig_p.publish.one_pass._ROWS_AT_ONCE", 3)  # steps that are no row groups
    rows = make_rows({"math": 45, "chat": 31})
    made = make_store(tmp_path / "store", rows, rows_per_shard=rows_per_shard, rows_per_group=rows_per_group)
    store, config = Store.open(made), PairConfig(threshold=1, **options)
    wanted = row_after_row(store, config, tmp_path / "wanted", 13, 6)
    assert len(wanted) >= 4
    found = observed(store, config)
    shape = Shape(as_messages=config.format == "conversational")
    for workers in (Processes(1), Threads(2), Inline()):
        seen: list[int] = []
        written = list(
            write_pairs(store, Journal(made), config, shape, found.statistics, found.made, seen.append, workers)
        )
        assert {one.file.path: (made / one.file.path).read_bytes() for one in written} == wanted
        assert sum(seen) == found.statistics.total.pairs == sum(one.file.rows or 0 for one in written)
        for one in written:
            content = (made / one.file.path).read_bytes()
            assert (one.file.bytes, one.file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
            groups = pq.ParquetFile(made / one.file.path).iter_batches(6)
            assert one.loaded == sum(batch.nbytes for batch in groups)
        assert not list((made / "pairs").rglob(".*")), "an unfinished file was left"


@pytest.mark.parametrize("more", [1, -1])
def test_a_store_that_makes_other_pairs_than_were_counted_is_refused(more: int, tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", twin())
    store, config = Store.open(path), PairConfig(threshold=2)
    found = observed(store, config)
    first = store.data_files()[0].path
    steps = list(found.made[first])
    other = {**found.made, first: [(steps[0][0], steps[0][1] + more), *steps[1:]]}
    splits = {domain: dict(one.splits) for domain, one in found.statistics.domains.items()}
    counted = cast(Any, SimpleNamespace(domains={}))
    for domain, own in splits.items():
        total = sum(pairs for file in store.data_files(domain) for _, pairs in other[file.path])
        counted.domains[domain] = SimpleNamespace(splits=dict.fromkeys(own, SimpleNamespace(pairs=total)))
    with pytest.raises(StoreError, match=f"{first} makes other pairs than before: it was changed meanwhile"):
        list(write_pairs(store, Journal(path), config, Shape(), counted, other, lambda pairs: None, Processes(1)))
    assert not [left for left in (path / "pairs").rglob("*") if left.is_file()]


@pytest.mark.parametrize("size", [1, 3, 256])
def test_some_rows_of_a_shard(size: int, tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 11}), rows_per_shard=11, rows_per_group=4))
    every = [row["query_id"] for batch in store.batches() for row in batch.to_pylist()]
    for begin in range(11):
        for end in range(begin + 1, 12):
            with open_shard(store.path / store.data_files()[0].path) as shard:
                batches = list(read_rows(shard, begin, end, size))
            assert all(0 < batch.num_rows <= size for batch in batches)
            assert ids(batches) == every[begin:end]


def ids(batches: Sequence[pa.RecordBatch]) -> list[str]:
    return [id for batch in batches for id in batch.column("query_id").to_pylist()]
