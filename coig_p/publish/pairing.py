"""The pairs of a release: which queries make which shard is planned, and each shard is then a task of its own.

How many pairs the queries of every shard of the store make is known once the store was checked, so that a shard of
pairs can be read where it begins, and whoever writes one need not wait for those before it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.core.arrays import Ints
from coig_p.core.atomic import placed
from coig_p.engine.journal import Journal, task_name
from coig_p.engine.local import Workers
from coig_p.errors import StoreError
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig
from coig_p.pairs.rows import find_rows
from coig_p.pairs.stream import BATCH_SIZE, joined
from coig_p.pairs.turns import Shape
from coig_p.publish.shards import HashedFile
from coig_p.schema import PAIR_SCHEMAS, PAIRING_SCHEMA
from coig_p.stats.results import Statistics
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import open_shard, read_rows
from coig_p.store.rewarded import rewarded, rewards_beside
from coig_p.store.store import Store
from coig_p.store.writing import cut, even_sizes

ROWS_PER_SHARD = 10_000
ROWS_PER_GROUP = 1_000

Made = Sequence[tuple[int, int]]
"""Of a shard of the store, of queries that follow each other: how many they are, and how many pairs they make."""


@dataclass(frozen=True)
class Run:
    """Queries of a shard of the store that follow each other: the rows `begin` to `end` of the file `path`."""

    path: str
    begin: int
    end: int


@dataclass(frozen=True)
class PairShard:
    """A shard of pairs that is to be written.

    Attributes:
        name: of its file in the release.
        groups: rows of each row group.
        runs: the queries that make its pairs, and some before and after them.
        pairs: how many pairs all these queries make.
        skip: how many of them come before the first of this shard.
    """

    name: str
    domain: str
    split: str
    groups: tuple[int, ...]
    runs: tuple[Run, ...]
    pairs: int
    skip: int


@dataclass(frozen=True)
class WrittenPairs:
    """A shard of pairs that was written: its line for the manifest, and what the stock library counts as num_bytes."""

    file: StoreFile
    loaded: int


@dataclass(frozen=True)
class _Source:
    """Where pairs come from, and which.

    Attributes:
        root: a folder with the shards of the store, and the rewards of their responses.
        store: what messages call it.
        shape: how they show conversations.
    """

    root: Path
    store: str
    config: PairConfig
    shape: Shape


def plan_pairs(store: Store, counted: Statistics, made: Mapping[str, Made]) -> Iterator[PairShard]:
    """Shards of pairs, equal in rows to within one for each domain and split.

    Args:
        made: by the path of each shard of the store.

    A split without a pair has no shard: the stock library does not load a split of no rows.
    """
    for domain, summary in counted.domains.items():
        for split, counts in summary.splits.items():
            if counts.pairs:
                yield from _plan_split(domain, split, counts.pairs, store.data_files(domain, split), made)


def _plan_split(
    domain: str, split: str, pairs: int, files: Sequence[StoreFile], made: Mapping[str, Made]
) -> Iterator[PairShard]:
    steps = [(at, *step) for at, file in enumerate(files) for step in made[file.path]]
    of_file, queries, pairs_of = np.array(steps, np.int64).reshape(-1, 3).T
    upto = np.cumsum(pairs_of)
    sizes = even_sizes(pairs, max(1, pairs // ROWS_PER_SHARD))
    end = 0
    for number, size in enumerate(sizes):
        begin, end = end, end + size
        first = int(np.searchsorted(upto, begin, side="right"))  # the step that makes the first pair
        last = int(np.searchsorted(upto, end))  # and the last
        before = int(upto[first - 1]) if first else 0
        yield PairShard(
            name=f"pairs/{domain}/{split}-{number:05d}-of-{len(sizes):05d}.parquet",
            domain=domain,
            split=split,
            groups=tuple(even_sizes(size, max(1, -(-size // ROWS_PER_GROUP)))),
            runs=tuple(_runs(files, of_file, queries, first, last)),
            pairs=int(upto[last]) - before,
            skip=begin - before,
        )


def _runs(files: Sequence[StoreFile], of_file: Ints, queries: Ints, first: int, last: int) -> Iterator[Run]:
    """The queries of the steps `first` to `last`, both with."""
    for at in range(int(of_file[first]), int(of_file[last]) + 1):
        low, high = (int(place) for place in np.searchsorted(of_file, [at, at + 1]))
        begin, end = max(low, first), min(high, last + 1)
        if begin < end:
            yield Run(files[at].path, int(queries[low:begin].sum()), int(queries[low:end].sum()))


def write_pairs(
    store: Store,
    journal: Journal,
    config: PairConfig,
    shape: Shape,
    counted: Statistics,
    made: Mapping[str, Made],
    advance: Callable[[int], None],
    workers: Workers,
) -> Iterator[WrittenPairs]:
    """Write the shards of pairs.

    Args:
        journal: of the unfinished release, with the store's shards and rewards in it: these are read, since they are
            what the manifest says.
        shape: how they show conversations.
        made: see `plan_pairs`.
        workers: who writes them.

    Raises:
        StoreError: a shard cannot be read, or makes other pairs than when it was counted.
    """
    planned = plan_pairs(store, counted, made)
    for shard, written in journal.in_order(
        partial(_write_shard, _Source(journal.root, str(store.path), config, shape)),
        _with_folders(journal.root, planned),
        workers,
        task=partial(task_name, "pairs", config, shape),
        files=lambda shard: [shard.name],
        told=lambda written: written.file.content,
        as_json=lambda written: [vars(written.file), written.loaded],
        from_json=lambda told: WrittenPairs(StoreFile(**told[0]), told[1]),
    ):
        yield written
        advance(sum(shard.groups))


def _with_folders(root: Path, shards: Iterator[PairShard]) -> Iterator[PairShard]:
    for shard in shards:
        (root / shard.name).parent.mkdir(parents=True, exist_ok=True)
        yield shard


def _write_shard(source: _Source, shard: PairShard) -> WrittenPairs:
    loaded = 0
    batches = _pair_batches(source, shard)
    schema = source.shape.schema(source.config.format)
    with placed(source.root / shard.name) as temporary, HashedFile(temporary) as stream:
        with pq.ParquetWriter(
            stream,
            schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=["domain", "chosen_model", "rejected_model"],
            write_page_index=True,
        ) as writer:
            for group in cut(batches, shard.groups):
                table = pa.Table.from_batches(group, schema).combine_chunks()
                writer.write_table(table, row_group_size=table.num_rows)
                loaded += _loaded_bytes(table)
        next(batches, None)  # there are none, but what comes after them is counted, too
    file = StoreFile(
        path=shard.name,
        role="pairs",
        sha256=stream.sha256.hexdigest(),
        bytes=stream.bytes,
        domain=shard.domain,
        split=shard.split,
        rows=sum(shard.groups),
    )
    return WrittenPairs(file, loaded)


def _pair_batches(source: _Source, shard: PairShard) -> Iterator[pa.RecordBatch]:
    """The pairs of a shard. Those before it and after it are found, and their texts not copied."""
    skip, left, found = shard.skip, sum(shard.groups), 0
    for _, batch in joined(_queries(source, shard.runs)):
        rows = find_rows(batch, source.config, source.shape)
        found += len(rows)
        begin = min(skip, len(rows))
        end = min(len(rows), begin + left)
        skip, left = skip - begin, left - (end - begin)
        for table in rows.take(slice(begin, end)).tables():
            yield from table.to_batches()
    if found != shard.pairs:
        raise StoreError(
            source.store, f"{shard.runs[0].path} makes other pairs than before: it was changed meanwhile. Run it again"
        )


def _queries(source: _Source, runs: Sequence[Run]) -> Generator[tuple[int, pa.RecordBatch], None, None]:
    for at, run in enumerate(runs):
        path = source.root / run.path
        beside = rewards_beside(str(path), reward_names(source.config), nullcontext)
        with open_shard(path, f"{source.store}/{run.path}") as opened:
            for batch in rewarded(read_rows(opened, run.begin, run.end, BATCH_SIZE, PAIRING_SCHEMA), beside):
                yield at, batch


def _loaded_bytes(table: pa.Table) -> int:
    """What the stock library will count for a row group of pairs, which it reads as one batch."""
    if table.schema != PAIR_SCHEMAS["dpo"]:  # lists of messages are read again: what they take is not their texts alone
        return _bytes_read(table)
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    nulls = tuple(column.null_count > 0 for column in table.columns)
    return _bytes_around(table.num_rows, nulls) + sum(
        int(pc.sum(pc.binary_length(text)).as_py() or 0) for text in texts
    )


@lru_cache(maxsize=256)
def _bytes_around(rows: int, nulls: tuple[bool, ...]) -> int:
    """What a row group of pairs takes once it is read, without its texts: pyarrow's versions differ, so it is tried."""
    columns = []
    for column, has_null in zip(PAIR_SCHEMAS["dpo"], nulls, strict=True):
        filler: Any = "" if pa.types.is_string(column.type) else 0.0
        columns.append(pa.array([None if has_null else filler, *[filler] * (rows - 1)][:rows], column.type))
    return _bytes_read(pa.table(columns, schema=PAIR_SCHEMAS["dpo"]))


def _bytes_read(table: pa.Table) -> int:
    """What a table takes once it was written as one row group and read as one batch."""
    stream, rows = io.BytesIO(), max(table.num_rows, 1)
    pq.write_table(table, stream, row_group_size=rows)
    return sum(int(batch.nbytes) for batch in pq.ParquetFile(stream).iter_batches(rows))
