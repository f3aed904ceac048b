"""Parquet that somebody may have sent: a file of kilobytes that would take gigabytes of memory is an error.

A footer says how large each column of a row group is unpacked, and how many values it has. What is unpacked is not
all: values that stand once, in a dictionary, are written out for every place they stand at. Where that may be much, it
is counted from the dictionary before anything is written out. Large honest data passes: it is not nearly as small
packed.
"""

from __future__ import annotations

import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.core.pages import unpacked

MOST = 512 << 20
"""Bytes that one column may take, of a batch or where it is packed beyond reason."""

_RATIO = 1000  # times smaller: no text that people or models write
_TIMES = 8  # as much may be written out of a row group that is read in parts
_WIDTH = 16  # bytes of a value that is no text, at most
_VALUES_PER_BYTE = 80
PACKED_AT_MOST = {"UNCOMPRESSED": 1, "SNAPPY": 64, "LZ4": 256, "GZIP": 1_040, "ZSTD": 1 << 15}
"""Bytes that a byte of a format can stand for: of zstd a block of 128 KiB takes 4. Of others nobody knows."""


def check_bomb(shard: pq.ParquetFile, source: Any, rows: int | None = None, most: int = MOST) -> None:
    """Raise ValueError where reading would take far more memory than a file's size lets one expect.

    A damaged footer is what Arrow raises of it. To ask pyarrow for a column of such a footer ends the process, so that
    nobody may before this was called. To ask for a column's statistics may end it even afterwards: do not.

    Args:
        shard: `source`, opened. Where that is a path, or lies on this machine, the headers of pages are asked, too: a
            footer may say less.
        rows: how many are read at a time; None for whole row groups.
        most: bytes that a column of them may take.
    """
    _look_through(shard, source)
    here = isinstance(source, pa.BufferReader | io.BufferedReader)  # not on a Hub, where each look is a request
    with Path(source).open("rb") if isinstance(source, str | Path) else nullcontext(source if here else None) as stream:
        _check_columns(shard, source, stream, rows, most)


def _check_columns(shard: pq.ParquetFile, source: Any, stream: BinaryIO | None, rows: int | None, most: int) -> None:
    for at in range(shard.num_row_groups):
        group = shard.metadata.row_group(at)
        for column in map(group.column, range(group.num_columns)):
            size, values = column.total_uncompressed_size, column.num_values
            if stream is not None and not _is_little(column, most):
                size = max(size, unpacked(stream, column))
            if size <= most and values * max(size, _WIDTH) <= most:
                continue  # whatever it is, it is not much
            packed = column.total_compressed_size
            where = f"column {column.path_in_schema} of row group {at}"
            if size > most and size > packed * _RATIO:
                raise ValueError(f"{where} is {packed:,} bytes that would take {size:,} unpacked")
            if values * _WIDTH > most and values > packed * _VALUES_PER_BYTE:
                raise ValueError(f"{where} is {packed:,} bytes that would give {values:,} values")
            if column.has_dictionary_page and column.physical_type == "BYTE_ARRAY" and values * size > most:
                total = _check_written_out(source, at, column.path_in_schema, rows or group.num_rows, most, where)
                if total > most * _TIMES and total > packed * _RATIO:
                    raise ValueError(f"{where} is {packed:,} bytes that would take {total:,} written out")


def _is_little(column: pq.ColumnChunkMetaData, most: int) -> bool:
    """Whether so few bytes cannot become more than `most`, whatever the headers of their pages say."""
    times = PACKED_AT_MOST.get(column.compression)
    return times is not None and not column.has_dictionary_page and column.total_compressed_size * times <= most


def _look_through(shard: pq.ParquetFile, source: Any) -> None:
    """Have Arrow make a reader of every column, which raises, and read no row.

    Columns that are not in memory get a reader with a buffer: without one they would be fetched whole.
    """
    if isinstance(source, pa.BufferReader):
        _make_readers(shard)
        return
    with pq.ParquetFile(source, metadata=shard.metadata, buffer_size=1 << 12, pre_buffer=False) as buffered:
        _make_readers(buffered)


def _make_readers(shard: pq.ParquetFile) -> None:
    for at in range(shard.num_row_groups):
        for _ in shard.reader.iter_batches(0, row_groups=[at], use_threads=False):
            pass


def _check_written_out(source: Any, at: int, name: str, rows: int, most: int, where: str) -> int:
    total = 0
    with pq.ParquetFile(source, read_dictionary=[name]) as shard:
        for batch in shard.iter_batches(max(rows, 1), [at], [name]):
            size = sum(map(_written_out, batch.columns))
            total += size
            if size > most:
                raise ValueError(f"{where} would take {size:,} bytes written out, {most:,} at most")
    return total


def _written_out(values: pa.Array) -> int:
    kind = values.type
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(values.dictionary).cast(pa.int64())
        return pc.sum(lengths.take(values.indices)).as_py() or 0
    if pa.types.is_struct(kind):
        return sum(_written_out(values.field(part)) for part in range(kind.num_fields))
    if pa.types.is_map(kind):
        return _written_out(values.keys) + _written_out(values.items)
    return _written_out(values.values) if pa.types.is_nested(kind) and hasattr(values, "values") else 0
