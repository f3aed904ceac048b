"""Parquet files of one schema, put together as the one file that their writer would have made of all row groups.

Pages hold no place of themselves, so they are copied as they are: no row is decoded. What does name places is written
anew: the footer, and the index of pages before it, both structs of Thrift's compact protocol. The same bytes as one
writer gives, so that a file may be written by several processes, a run of row groups each.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12
_COPIED = 8 << 20  # bytes at a time

_ROWS, _ROW_GROUPS = 3, 4  # fields of the footer
_COLUMNS, _GROUP_OFFSET, _ORDINAL = 1, 5, 7  # of a row group
_CHUNK_OFFSET, _META, _OFFSETS_AT, _OFFSETS_LENGTH, _INDEX_AT, _INDEX_LENGTH = 2, 3, 4, 5, 6, 7  # of a column in it
_PLACES = (9, 10, 11)  # of its pages, index and dictionary
_LOCATIONS, _LOCATION = 1, 1  # of an index of places; of one in it

Struct = dict[int, tuple[int, Any]]
"""Fields by number, ascending: their kind, and what they hold."""


def join_files(parts: Sequence[Path], target: Path) -> None:
    """Write `target` from files that one kind of writer made, each of at least one row group; they stay.

    Where `can_join` is true, the bytes are those of one writer.

    Raises:
        ValueError: a part is no whole Parquet file.
    """
    with target.open("wb") as out:
        out.write(_MAGIC)
        footer: Struct = {}
        groups: list[Struct] = []
        indexes: list[tuple[Struct, bytes, Struct | None]] = []  # of each column: itself, its index, its places
        rows = 0
        for path in parts:
            with path.open("rb") as stream:
                found, end = _footer(stream, path)
                own = _listed(found, _ROW_GROUPS)
                chunks = [chunk for group in own for chunk in _listed(group, _COLUMNS)]
                places = [_value(chunk, at) for chunk in chunks for at in (_INDEX_AT, _OFFSETS_AT)]
                end = min([end, *(place for place in places if place)])
                shift = out.tell() - len(_MAGIC)
                for chunk in chunks:
                    index = _piece(stream, chunk, _INDEX_AT, _INDEX_LENGTH)
                    offsets = _piece(stream, chunk, _OFFSETS_AT, _OFFSETS_LENGTH)
                    told = _Reader(offsets).struct() if offsets else None
                    for location in _listed(told, _LOCATIONS) if told else ():
                        _move(location, _LOCATION, shift)
                    indexes.append((chunk, index, told))
                    _move(chunk, _CHUNK_OFFSET, shift)
                    meta = chunk[_META][1] if _META in chunk else {}
                    for place in _PLACES:
                        _move(meta, place, shift)
                for group in own:
                    _move(group, _GROUP_OFFSET, shift)
                    if _ORDINAL in group:
                        group[_ORDINAL] = (group[_ORDINAL][0], len(groups))
                    groups.append(group)
                rows += _value(found, _ROWS)
                footer = footer or found
                stream.seek(len(_MAGIC))
                _copy(stream, out, end - len(_MAGIC))
        for chunk, index, _ in indexes:
            _place(out, chunk, index, _INDEX_AT, _INDEX_LENGTH)
        for chunk, _, told in indexes:
            _place(out, chunk, _written(told) if told else b"", _OFFSETS_AT, _OFFSETS_LENGTH)
        footer[_ROWS] = (footer[_ROWS][0], rows)
        footer[_ROW_GROUPS] = (_LIST, (_STRUCT, groups))
        end_of = _written(footer)
        out.write(end_of + struct.pack("<I", len(end_of)) + _MAGIC)


@cache
def can_join() -> bool:
    """Whether this pyarrow writes files of which `join_files` makes what it would have written: versions differ."""
    table = pa.table({"a": ["x" * 99, "y", None] * 4, "b": [[1], None, [2, 3]] * 4, "c": ["k"] * 12})
    options = {"compression": "zstd", "use_dictionary": ["c"], "write_page_index": True}

    def write(where: Any, groups: list[pa.Table]) -> None:
        with pq.ParquetWriter(where, table.schema, **options) as writer:
            for group in groups:
                writer.write_table(group, row_group_size=group.num_rows)

    import tempfile

    groups = [table.slice(0, 4), table.slice(4, 4), table.slice(8)]
    whole = io.BytesIO()
    write(whole, groups)
    with tempfile.TemporaryDirectory(prefix="coig-p-") as folder:
        parts = [Path(folder) / "0", Path(folder) / "1"]
        write(parts[0], groups[:1])
        write(parts[1], groups[1:])
        try:
            join_files(parts, Path(folder) / "joined")
        except (ValueError, IndexError, KeyError):
            return False
        return (Path(folder) / "joined").read_bytes() == whole.getvalue()


def _footer(stream: BinaryIO, path: Path) -> tuple[Struct, int]:
    """What it says, and where it begins."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - 8))
    end = stream.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or length + 12 > size:
        raise ValueError(f"{path} is no whole Parquet file")
    begin = size - 8 - length
    stream.seek(begin)
    return _Reader(stream.read(length)).struct(), begin


def _value(fields: Struct, field: int) -> int:
    return int(fields[field][1]) if field in fields else 0


def _listed(fields: Struct, field: int) -> list[Struct]:
    return list(fields[field][1][1]) if field in fields else []


def _move(fields: Struct, field: int, shift: int) -> None:
    if _value(fields, field):  # 0 says that there is none
        fields[field] = (fields[field][0], fields[field][1] + shift)


def _piece(stream: BinaryIO, chunk: Struct, at: int, length: int) -> bytes:
    if not _value(chunk, at):
        return b""
    stream.seek(_value(chunk, at))
    return stream.read(_value(chunk, length))


def _place(out: BinaryIO, chunk: Struct, data: bytes, at: int, length: int) -> None:
    if data:
        chunk[at], chunk[length] = (chunk[at][0], out.tell()), (chunk[length][0], len(data))
        out.write(data)


def _copy(stream: BinaryIO, out: BinaryIO, left: int) -> None:
    while left:
        data = stream.read(min(left, _COPIED))
        if not data:
            raise ValueError("a part ended before its footer")
        out.write(data)
        left -= len(data)


class _Reader:
    """Reads structs of Thrift's compact protocol, whatever they hold."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def struct(self) -> Struct:
        found: Struct = {}
        field = 0
        while (head := self._byte()) != _STOP:
            field = field + (head >> 4) if head >> 4 else self._number()
            kind = head & 15
            found[field] = (kind, kind == _TRUE if kind in (_TRUE, _FALSE) else self._held(kind))
        return found

    def _held(self, kind: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):  # a truth value takes a byte in a list
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind in (_LIST, _SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            return head & 15, [self._held(head & 15) for _ in range(size)]
        if kind == _STRUCT:
            return self.struct()
        if kind in (4, 5, 6):
            return self._number()
        raise ValueError(f"a field of kind {kind}, which no Parquet file has")

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _bytes(self, length: int) -> bytes:
        self.at += length
        return self.data[self.at - length : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) > 127:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _written(fields: Struct) -> bytes:
    out = bytearray()
    _write_struct(out, fields)
    return bytes(out)


def _write_struct(out: bytearray, fields: Struct) -> None:
    before = 0
    for field, (kind, value) in fields.items():
        if 0 < field - before < 16:
            out.append((field - before) << 4 | kind)
        else:
            out.append(kind)
            _write_number(out, field)
        if kind not in (_TRUE, _FALSE):
            _write(out, kind, value)
        before = field
    out.append(_STOP)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in (_TRUE, _FALSE, _BYTE):
        out.append(value)
    elif kind == _DOUBLE:
        out += value
    elif kind == _BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind in (_LIST, _SET):
        of, held = value
        out.append(min(len(held), 15) << 4 | of)
        if len(held) > 14:
            _write_varint(out, len(held))
        for one in held:
            _write(out, of, one)
    elif kind == _STRUCT:
        _write_struct(out, value)
    else:
        _write_number(out, value)


def _write_number(out: bytearray, value: int) -> None:
    _write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
