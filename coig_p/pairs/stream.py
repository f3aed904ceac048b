"""Shards of a store as a stream of tables: their raw rows or their pairs.

Reading runs ahead in a thread of its own, across shards, while the caller pairs and does whatever it does with
a table: where shards are many and small, a thread for each would cost more than reading it. Memory is bounded by
a few batches, whatever the size of a shard.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p.engine.ahead import Item, ahead, check_not_forked
from coig_p.errors import CoigPError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.rows import Rows, find_rows
from coig_p.pairs.splits import OneSplit
from coig_p.pairs.turns import Shape
from coig_p.schema import PAIRING_SCHEMA, RAW_SCHEMA
from coig_p.store.reading import open_shard, read_batches
from coig_p.store.rewarded import rewarded
from coig_p.store.rewards import Rewards

BATCH_SIZE = 256
COPIED_BYTES = 2 << 20
"""Of a text column of a table that datasets writes at once: with 4 MiB the system took longer for the same rows."""
_ID = RAW_SCHEMA.field("query_id")
FIRST_BATCH_SIZE = 16  # for streaming: the first pairs come soon
_BEFORE_A_THREAD = 2  # batches
_TOGETHER = 64  # queries at most that small batches of a stream are paired by
_BYTES_TOGETHER = 2 << 20
_Numbered = tuple[int, pa.RecordBatch]
_Made = Iterator[tuple[int, pa.Table]]


@dataclass(frozen=True)
class Shard:
    """A shard that is to be read.

    Attributes:
        opened: gives a context of a path or a binary file object of the Parquet file; called once.
        row_groups: these alone; None for all.
        rewards: gives those that its rows bring along, by name (see `coig_p.store.rewarded`).
    """

    opened: Callable[[], AbstractContextManager[Any]]
    row_groups: Sequence[int] | None = None
    rewards: Callable[[], Mapping[str, Rewards]] = dict


def shard_tables(
    shards: Iterable[Shard],
    config: PairConfig,
    split: OneSplit | None = None,
    *,
    shape: Shape | None = None,
    streaming: bool = False,
) -> Iterator[tuple[int, pa.Table]]:
    """The pairs of shards as tables of PAIR_SCHEMAS[config.format], or as `shape` has them; none of them empty.

    Each comes with the place of its shard among `shards`.

    Args:
        config: which pairs; its threshold must be set. The rewards that it asks for are those of the shards.
        split: take the queries of this split alone.
        shape: how conversations are shown (see `coig_p.pairs.rows.find_rows`).
        streaming: rows are taken one by one in Python. It changes how they are cut into tables,
            never the rows.
    """
    make = _streamed if streaming else _copied
    return make(shards, partial(find_rows, config=config, shape=shape), split)


def raw_tables(
    shards: Iterable[Shard],
    schema: pa.Schema,
    split: OneSplit | None = None,
    *,
    streaming: bool = False,
) -> Iterator[tuple[int, pa.Table]]:
    """The raw rows of shards as tables of `schema`, none of them empty. The rest is as for `shard_tables`.

    Args:
        schema: RAW_SCHEMA, or that of an older version where the shards are of one, or some of its columns.
    """
    read = schema
    if split is not None and _ID.name not in schema.names:  # by which rows are dealt
        read = schema.append(_ID)
    make = partial(_as_stored, columns=schema.names)
    return _tables(shards, read, make, split, streaming=streaming)


def _as_stored(batch: pa.RecordBatch, columns: list[str]) -> Iterator[pa.Table]:
    yield pa.Table.from_batches([batch]).select(columns)


def _tables(
    shards: Iterable[Shard],
    schema: pa.Schema,
    make: Callable[[pa.RecordBatch], Iterator[pa.Table]],
    split: OneSplit | None,
    *,
    streaming: bool,
) -> Iterator[tuple[int, pa.Table]]:
    # One thread that reads, and no more: text that a thread allocates and another frees costs page faults, and
    # Python's lock is handed over for every row of a stream.
    batches = _batches(shards, schema, FIRST_BATCH_SIZE if streaming else BATCH_SIZE, split)
    for number, batch in _read_ahead(batches if streaming else joined(batches)):
        for table in make(batch):
            yield number, table


def _copied(shards: Iterable[Shard], find: Callable[[pa.RecordBatch], Rows], split: OneSplit | None) -> _Made:
    """The thread that reads pairs, too: copying texts and writing them take the caller longer than that."""
    batches = joined(_batches(shards, PAIRING_SCHEMA, BATCH_SIZE, split))
    for number, rows in _read_ahead((number, find(batch)) for number, batch in batches):
        for table in rows.tables(COPIED_BYTES):
            yield number, table


def _streamed(shards: Iterable[Shard], find: Callable[[pa.RecordBatch], Rows], split: OneSplit | None) -> _Made:
    """As `_tables` gives pairs to a stream. Every batch has the tables that it has alone: a resumed stream counts them.

    Small batches are paired together all the same, more of them from one time to the next: the first row comes soon.
    """
    for some in _read_ahead(_grouped(_batches(shards, PAIRING_SCHEMA, FIRST_BATCH_SIZE, split))):
        made = _together(some, find)
        try:
            first = next(made, None)
        except CoigPError:  # of one of them: the rows before it come first
            if len(some) == 1:
                raise
            made = (found for one in some for found in _together([one], find))
            first = next(made, None)
        if first is not None:
            yield first
            yield from made


def _grouped(batches: Generator[_Numbered, None, None]) -> Generator[list[_Numbered], None, None]:
    """The same batches, with small ones that follow each other in one list; those before an error come before it."""
    waiting: list[_Numbered] = []
    rows, held, most = 0, 0, 1
    try:
        for number, batch in batches:
            size = batch.get_total_buffer_size()
            if waiting and (rows + batch.num_rows > _TOGETHER or held + size > _BYTES_TOGETHER):
                yield waiting
                waiting, rows, held = [], 0, 0
            waiting.append((number, batch))
            rows, held = rows + batch.num_rows, held + size
            if rows >= most:  # at once: the next shard may be far away
                yield waiting
                waiting, rows, held, most = [], 0, 0, min(2 * most, _TOGETHER)
    except Exception:
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting


def _together(some: list[_Numbered], find: Callable[[pa.RecordBatch], Rows]) -> _Made:
    """The tables of batches that are paired as one. An error comes before the first of them."""
    rows = find(_one([batch for _, batch in some]))
    for at, table in rows.tables_of(np.cumsum([batch.num_rows for _, batch in some])):
        yield some[at][0], table


def _read_ahead(batches: Generator[Item, None, None]) -> Iterator[Item]:
    """The same batches, the third and later made ahead by a thread: to start it costs more than a small file does."""
    process = os.getpid()
    for _ in range(_BEFORE_A_THREAD):
        batch = next(batches, None)
        if batch is None:
            return
        yield batch
        check_not_forked(process)
    yield from ahead(batches)


def joined(batches: Generator[_Numbered, None, None]) -> Generator[_Numbered, None, None]:
    """The same rows, with small batches of shards that follow each other as one: to pair costs as much for one query.

    What is joined comes with the place of its last shard: datasets counts rows by it, and reads those counts nowhere.
    """
    waiting: list[pa.RecordBatch] = []
    rows = last = 0
    for number, batch in batches:
        if rows + batch.num_rows > BATCH_SIZE and waiting:
            yield last, _one(waiting)
            waiting, rows = [], 0
        waiting.append(batch)
        rows, last = rows + batch.num_rows, number
    if waiting:
        yield last, _one(waiting)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _batches(
    shards: Iterable[Shard], schema: pa.Schema, first_batch_size: int, split: OneSplit | None
) -> Generator[_Numbered, None, None]:
    for number, one in enumerate(shards):
        beside = one.rewards()
        with one.opened() as stream, open_shard(stream) as shard:
            groups = range(shard.num_row_groups) if one.row_groups is None else one.row_groups
            for at, group in enumerate(groups):
                size = first_batch_size if at == 0 else BATCH_SIZE
                # Nearly all bytes are in one column, so that Arrow's threads would only hand it around.
                for batch in rewarded(read_batches(shard, size, [group], schema, threads=False), beside):
                    if split is not None:
                        batch = split.keep(batch)
                    if batch.num_rows:
                        yield number, batch
