"""One shard of a store as a stream of tables: its raw rows or its pairs.

Reading, pairing and whatever the caller does with a table run side by side: each stage works
one item ahead of the next, in a thread of its own. Memory is bounded by a few batches, whatever
the shard's size.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from coig_p.engine.local import ahead
from coig_p.pairs.config import PairConfig
from coig_p.pairs.rows import pair_tables
from coig_p.pairs.splits import OneSplit
from coig_p.pairs.turns import Shape
from coig_p.schema import PAIRING_SCHEMA, RAW_SCHEMA
from coig_p.store.reading import open_shard, read_batches

BATCH_SIZE = 256
_ID = RAW_SCHEMA.field("query_id")
FIRST_BATCH_SIZE = 16  # for streaming: the first pairs come soon


def shard_tables(
    stream: Any,
    config: PairConfig,
    row_groups: Sequence[int] | None = None,
    split: OneSplit | None = None,
    *,
    shape: Shape | None = None,
    streaming: bool = False,
) -> Iterator[pa.Table]:
    """The pairs of a shard as tables of PAIR_SCHEMAS[config.format], or as `shape` has them; none of them empty.

    Args:
        stream: a path or binary file object of a Parquet shard.
        config: which pairs; its threshold must be set.
        row_groups: read these alone.
        split: take the queries of this split alone.
        shape: how conversations are shown (see `coig_p.pairs.rows.find_rows`).
        streaming: rows are taken one by one in Python. It changes how they are cut into tables,
            never the rows.
    """
    make = partial(pair_tables, config=config, shape=shape)
    return _tables(stream, PAIRING_SCHEMA, make, row_groups, split, streaming=streaming)


def raw_tables(
    stream: Any,
    schema: pa.Schema,
    row_groups: Sequence[int] | None = None,
    split: OneSplit | None = None,
    *,
    streaming: bool = False,
) -> Iterator[pa.Table]:
    """The raw rows of a shard as tables of `schema`, none of them empty. Other arguments are those of `shard_tables`.

    Args:
        schema: RAW_SCHEMA, or that of an older version where the shard is of one, or some of its columns.
    """
    read = schema
    if split is not None and _ID.name not in schema.names:  # by which rows are dealt
        read = schema.append(_ID)
    make = partial(_as_stored, columns=schema.names)
    return _tables(stream, read, make, row_groups, split, streaming=streaming)


def _as_stored(batch: pa.RecordBatch, columns: list[str]) -> Iterator[pa.Table]:
    yield pa.Table.from_batches([batch]).select(columns)


def _tables(
    stream: Any,
    schema: pa.Schema,
    make: Callable[[pa.RecordBatch], Iterator[pa.Table]],
    row_groups: Sequence[int] | None,
    split: OneSplit | None,
    *,
    streaming: bool,
) -> Iterator[pa.Table]:
    if streaming:
        # Python needs the interpreter's lock for every row: a second thread that pairs meanwhile
        # costs more in handing the lock over than the pairing itself.
        yield from _each(ahead(_batches(stream, schema, row_groups, FIRST_BATCH_SIZE, split)), make)
    else:
        yield from ahead(_each(ahead(_batches(stream, schema, row_groups, BATCH_SIZE, split)), make))


def _each(
    batches: Iterator[pa.RecordBatch], make: Callable[[pa.RecordBatch], Iterator[pa.Table]]
) -> Generator[pa.Table, None, None]:
    for batch in batches:
        yield from make(batch)


def _batches(
    stream: Any, schema: pa.Schema, row_groups: Sequence[int] | None, first_batch_size: int, split: OneSplit | None
) -> Generator[pa.RecordBatch, None, None]:
    with open_shard(stream) as shard:
        groups = list(range(shard.num_row_groups)) if row_groups is None else list(row_groups)
        for at, group in enumerate(groups):
            size = first_batch_size if at == 0 else BATCH_SIZE
            for batch in read_batches(shard, size, [group], schema):
                if split is not None:
                    batch = split.keep(batch)
                if batch.num_rows:
                    yield batch
