"""Rows of one shard, of any schema version, as the columns that the caller reads.

Columns that are not asked for are not decoded, also inside `responses`: what judges said at length costs
nothing where pairs are made.

A damaged shard is one StoreError wherever it is read. Pages carry checksums, so that what was changed on the way is
found and not shown; a shard without them, of an older version, has its text looked at instead.
"""

from __future__ import annotations

import errno
import io
import os
import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.core.bombs import check_bomb
from coig_p.core.objects import ObjectPath
from coig_p.core.text import counted
from coig_p.errors import NO_MORE_THREADS, CoigPError, RemoteError, StoreError
from coig_p.schema import ONLY_IN_2, RAW_SCHEMA, RAW_SCHEMAS, without

CHECKSUMS = {"coig_p.page_checksums": "crc32"}
"""What the footer of a shard says whose pages all have checksums."""

_SAYS_SO = {name.encode(): value.encode() for name, value in CHECKSUMS.items()}.items()
DAMAGE = (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError, KeyError, IndexError)
"""What reading bytes may end in that are no footer or no page, or text that is none."""

LARGEST_FETCHED = 32 << 20
"""Bytes of a file of an object store that is fetched whole."""

_HUB = "hf://"
_NO_THREAD = "Failed to launch worker thread"  # as Arrow says it
_SMALL = 1 << 20  # bytes of a file that is read whole: a read for each column, or a thread that reads ahead, costs more
_EMPTY = 64  # bytes of a column at most where all its lists are null: headers, and levels that say so
_MOST_BYTES = 2 << 30  # of a column of a row group, which is read whole
_LISTED = ("messages", "responses", "comparisons")  # columns that are lists; in responses are scores


@contextmanager
def open_shard(
    source: Any,
    name: str | None = None,
    *,
    rows: bool = True,
    schemas: Collection[pa.Schema] = tuple(RAW_SCHEMAS.values()),
    folder: str = "data",
    size: int | None = None,
    again: pq.FileMetaData | None = None,
) -> Iterator[pq.ParquetFile]:
    """A shard to read in the block, and every error of reading it there as one that names the file.

    Args:
        source: a path, also of an object store, a binary file object, or what `fetch` gives.
        name: a path or URL that messages show; default that of `source`.
        rows: False where the block counts rows and row groups alone: it may then look at no column.
        schemas: what its columns may be.
        folder: of the store in which it lies.
        size: bytes that its manifest lists, where the block reads nearly all of them: see `fetch`.
        again: the metadata of this shard as it was opened before, which is not looked at once more.

    Raises:
        StoreError: damaged, or not the shard of a store.
        RemoteError: a file that is read from the Hub or an object store did not come.
    """
    named = name or name_of(source)
    try:
        with ExitStack() as stack:
            if isinstance(source, ObjectPath):
                source = stack.enter_context(source.open() if size is None else fetch(source, size))
            elif isinstance(source, (str, os.PathLike)):
                source = os.path.abspath(source)  # Arrow takes a relative path that begins as run:1 for a URL
            whole = _whole(source)
            shard = stack.enter_context(
                pq.ParquetFile(
                    whole or source, metadata=again, page_checksum_verification=True, pre_buffer=whole is None
                )
            )
            if again is not None:
                yield shard
                return
            if shard.schema_arrow.remove_metadata() not in schemas:
                raise ValueError("its columns are not those of a store")
            groups = (shard.metadata.row_group(at).num_rows for at in range(shard.num_row_groups))
            if sum(groups) != shard.metadata.num_rows:
                raise ValueError("its footer contradicts itself: its row groups have other rows than it says")
            if rows:
                check_bomb(shard, whole or source, most=_MOST_BYTES)
            yield shard
    except DAMAGE as error:
        raise shard_error(named, error, folder) from None


def _whole(source: Any) -> pa.BufferReader | None:
    """All that a small local file holds, or one that was fetched; None for every other source."""
    if isinstance(source, Fetched):
        return pa.BufferReader(source.content)
    if type(source) is not io.BufferedReader or os.fstat(source.fileno()).st_size > _SMALL:
        return None
    return pa.BufferReader(source.read())


@dataclass(frozen=True)
class Fetched:
    """A file of an object store that is here as a whole; a context that does nothing."""

    name: str
    content: bytes = field(repr=False)

    def __enter__(self) -> Fetched:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def fetch(path: ObjectPath, size: int) -> Fetched | io.BufferedReader:
    """A file of an object store to read from end to end: by one request, where it is not large.

    Args:
        size: bytes that its manifest lists.

    Raises:
        StoreError: it is not there, or shorter.
        RemoteError: it did not come.
    """
    try:
        if size > LARGEST_FETCHED:
            return path.open()
        content = path.read_first(size)  # of one that is longer the end is no footer
        if len(content) < size:
            raise ValueError(f"{len(content):,} bytes, {size:,} in manifest.json")
    except DAMAGE as error:
        raise shard_error(str(path), error) from None
    return Fetched(str(path), content)


def name_of(source: Any) -> str:
    """What messages call a shard that is read from a path or a file object."""
    if isinstance(source, Fetched):
        return source.name
    if hasattr(source, "read"):
        name = str(getattr(source, "name", None) or getattr(source, "path", "the shard"))
        return _HUB + name if name.startswith("datasets/") else name
    return str(source)


def shard_error(name: str, error: BaseException, folder: str = "data") -> BaseException:
    """The error of reading a shard, as one that names it: see `open_shard`."""
    if isinstance(error, CoigPError):
        return error
    if _NO_THREAD in str(error):  # nothing is wrong with the shard
        return OSError(errno.EAGAIN, NO_MORE_THREADS)
    remote = name.startswith(_HUB)
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    # Arrow's own are of this very class and have no number; those of a connection are of classes below it.
    if remote and isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
        return RemoteError(f"{name}: the Hub could not be reached while it was read ({type(error).__name__}: {said})")
    store, _, path = name.rpartition(f"/{folder}/")
    if not store:
        return StoreError(name, f"cannot be read: {said}")
    where = "a copy of it" if remote else shlex.quote(store)
    return StoreError(store, f"{folder}/{path} cannot be read: {said}. Run: coigp verify {where}")


def read_batches(
    shard: pq.ParquetFile,
    size: int,
    row_groups: Sequence[int] | None = None,
    schema: pa.Schema = RAW_SCHEMA,
    *,
    threads: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Rows of an open shard as batches of `schema`, none of them empty.

    Args:
        shard: see `open_shard`.
        size: rows of a batch, at most.
        row_groups: these alone; default all.
        schema: RAW_SCHEMA or a part of it, as PAIRING_SCHEMA is; what an older version does not have is null,
            and sample is 0.
        threads: False decodes in the caller's thread.
    """
    groups = list(range(shard.num_row_groups)) if row_groups is None else list(row_groups)
    has_checksums = (shard.metadata.metadata or {}).items() >= _SAYS_SO
    newest = shard.metadata.num_columns == _COLUMNS
    footers = [shard.metadata.row_group(group) for group in groups]
    left = sum(footer.num_rows for footer in footers)
    columns = None if schema is RAW_SCHEMA else list(leaves(schema))
    # A footer and headers of pages have no checksum: what one says is compared with the other.
    entries: dict[str, int] = {}
    nulls = [] if columns is None else [name for name in _TELLING if _seems_null(name, columns, footers)]
    for batch in _read(shard, size, groups, columns, nulls, threads):
        if batch.num_rows:
            left -= batch.num_rows
            if not has_checksums:
                batch.validate(full=True)
            for name in _LISTED:
                if name in batch.schema.names:
                    _count_entries(entries, name, batch.column(name))
            unread = [name for name in nulls if name not in batch.schema.names]
            for name in unread:
                entries[name] = entries.get(name, 0) + batch.num_rows
            if batch.schema.equals(schema):
                yield batch.replace_schema_metadata(None)
            elif not _has_all(batch.schema, schema if newest else without(schema, ONLY_IN_2), unread):
                raise ValueError("its footer does not name all of its columns")
            else:
                yield conformed(batch, schema)
    if left:
        raise ValueError(f"{counted(abs(left), 'row')} {'fewer' if left > 0 else 'more'} than its footer says")
    for name, found in entries.items():
        at = _FIRST_LEAF[newest][name]
        left = sum(shard.metadata.row_group(group).column(at).num_values for group in groups) - found
        if left:
            raise ValueError(f"{name}: {abs(left):,} {'fewer' if left > 0 else 'more'} than its footer says")


def read_rows(
    shard: pq.ParquetFile, begin: int, end: int, size: int, schema: pa.Schema = RAW_SCHEMA
) -> Iterator[pa.RecordBatch]:
    """The rows `begin` to `end` of an open shard, decoded in the caller's thread; row groups without any are not read.

    Args:
        size, schema: see `read_batches`.
    """
    first = 0
    for group in range(shard.num_row_groups):
        at, first = first, first + shard.metadata.row_group(group).num_rows
        if at >= end or first <= begin:
            continue
        for batch in read_batches(shard, size, [group], schema, threads=False):
            low, high = max(begin - at, 0), min(end - at, batch.num_rows)
            at += batch.num_rows
            if low < high:
                yield batch.slice(low, high - low)


def _has_all(held: pa.Schema, wanted: pa.Schema, unread: Sequence[str]) -> bool:
    """Whether a schema has what is wanted but for what was not read, in any order, and nothing else."""
    names = [name for name in wanted.names if name not in unread]
    return len(held) == len(names) and all(
        name in held.names and held.field(name).equals(wanted.field(name)) for name in names
    )


def _count_entries(entries: dict[str, int], name: str, lists: pa.ListArray, others: int = 0) -> None:
    """Add what a footer counts of lists: their entries, and 1 for each that has none; the same of scores in responses.

    Args:
        others: places without any list, which count 1 each.
    """
    empty, inner = len(lists), lists.values
    if lists.null_count < empty:
        ends = lists.offsets.to_numpy()
        inner = inner.slice(ends[0], ends[-1] - ends[0])
        empty = len(lists) - int(np.count_nonzero(ends[1:] != ends[:-1]))
    else:
        inner = inner.slice(0, 0)
    entries[name] = entries.get(name, 0) + len(inner) + empty + others
    if name == "responses":
        scores = inner.type.get_field_index("scores")
        if scores >= 0:
            _count_entries(entries, "scores", inner.field(scores), empty)


def _first_leaves(schema: pa.Schema) -> dict[str, int]:
    """The first leaf of every list that is counted, by its place in the file."""
    named = leaves(schema)
    found = {name: f"{name}.list.element." for name in _LISTED if name in schema.names}
    found["scores"] = "responses.list.element.scores.list.element."
    return {name: next(at for at, leaf in enumerate(named) if leaf.startswith(path)) for name, path in found.items()}


def _read(
    shard: pq.ParquetFile, size: int, groups: list[int], columns: list[str] | None, nulls: list[str], threads: bool
) -> Iterator[pa.RecordBatch]:
    """Batches of these leaves, or all. Of the lists that are named one leaf is read, which tells that they are null."""
    done = 0
    if columns and nulls:
        some = [leaf for leaf in columns if leaf in _TELLING.values() or leaf.partition(".")[0] not in nulls]
        for batch in shard.iter_batches(size, groups, some, use_threads=threads):
            if any(batch.column(name).null_count < batch.num_rows for name in nulls):
                break
            done += batch.num_rows
            yield batch.select([name for name in batch.schema.names if name not in nulls])
        else:
            return
    for batch in shard.iter_batches(size, groups, columns, use_threads=threads):
        before = min(done, batch.num_rows)
        done -= before
        yield batch.slice(before)


def _seems_null(name: str, columns: list[str], footers: list[pq.RowGroupMetaData]) -> bool:
    """Whether a list column takes no more room than where every list is null. It does not say so for sure."""
    leaf, at = _TELLING[name], _PLACES[name]
    if leaf not in columns or any(at >= footer.num_columns for footer in footers):  # an older version has fewer
        return False
    chunks = (footer.column(at) for footer in footers)
    return all(chunk.total_uncompressed_size <= _EMPTY and chunk.path_in_schema == leaf for chunk in chunks)


def takes_most(schema: pa.Schema) -> bool:
    """Whether nearly all bytes of a shard are in columns of `schema`: texts are."""
    return _TEXT in leaves(schema)


def part_of(schema: pa.Schema, *columns: str) -> pa.Schema:
    """These columns of a schema alone."""
    return pa.schema([schema.field(name) for name in columns])


@cache
def leaves(schema: pa.Schema) -> tuple[str, ...]:
    """The names of a schema's columns as Parquet has them, for instance responses.list.element.text."""
    return tuple(name for field in schema for name in _leaves(field.name, field.type))


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_list(kind):
        return _leaves(f"{name}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    return [name]


_TEXT = "responses.list.element.text"
_TELLING = {"messages": "messages.list.element.role", "comparisons": "comparisons.list.element.first"}
_PLACES = {name: leaves(RAW_SCHEMA).index(leaf) for name, leaf in _TELLING.items()}


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch of any schema version as one of `schema`."""
    if batch.schema.equals(schema):
        return batch.replace_schema_metadata(None)
    columns = [
        _conformed(batch.column(field.name), field.type)
        if field.name in batch.schema.names
        else _absent(field.name, field.type, batch.num_rows)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _conformed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if values.type.equals(kind):
        return values
    if pa.types.is_list(kind):
        offsets = values.offsets
        if values.null_count:  # a null offset is a null list
            absent = np.append(values.is_null().to_numpy(zero_copy_only=False), False)
            offsets = pc.if_else(pa.array(absent), pa.scalar(None, offsets.type), offsets)
        return pa.ListArray.from_arrays(offsets, _conformed(values.values, kind.value_type)).cast(kind)
    if pa.types.is_struct(kind):
        there = {field.name for field in values.type}
        parts = [
            _conformed(pc.struct_field(values, field.name), field.type)
            if field.name in there
            else _absent(field.name, field.type, len(values))
            for field in kind
        ]
        mask = values.is_null() if values.null_count else None
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)
    return values.cast(kind)


def _absent(name: str, kind: pa.DataType, length: int) -> pa.Array:
    """What an older version says by not having the field."""
    return pa.array(np.zeros(length, np.int32)) if name == "sample" else pa.nulls(length, kind)


_COLUMNS = len(leaves(RAW_SCHEMA))
_FIRST_LEAF = {newest: _first_leaves(RAW_SCHEMAS[2 if newest else 1]) for newest in (True, False)}
