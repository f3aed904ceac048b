"""What the headers of a Parquet file's pages say, for files whose footer may say otherwise.

Arrow makes room for what a page's header says, whatever the footer does. The headers are read here without the pages:
each is a Thrift struct of the compact protocol, of which two numbers matter.
"""

from __future__ import annotations

from typing import BinaryIO

import pyarrow.parquet as pq

_AT_FIRST, _AT_MOST = 1 << 10, 1 << 20  # bytes of a header; statistics in it may be long
_PAGES = 1 << 20  # of a column of a row group: a terabyte in usual ones
_UNPACKED, _PACKED = 2, 3  # its fields
_STOP, _TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 0, 1, 2, 3, 7, 8, 9, 10, 11, 12


def unpacked(stream: BinaryIO, column: pq.ColumnChunkMetaData) -> int:
    """Bytes that a column of a row group takes unpacked, as the headers of its pages say.

    Raises:
        ValueError: a header that is none.
    """
    if not column.num_values:
        return 0  # nothing is read
    at = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < at:
        at = column.dictionary_page_offset
    end, total, pages = at + column.total_compressed_size, 0, 0
    while at < end:
        pages += 1
        if pages > _PAGES:
            raise ValueError(f"a column of more than {_PAGES:,} pages")
        size, packed, length = _header(stream, at)
        if packed < 0 or size < 0:
            raise ValueError(f"the header of a page at byte {at:,} says a negative size")
        total += size
        at += length + packed
    return total


def _header(stream: BinaryIO, at: int) -> tuple[int, int, int]:
    """A page's size unpacked and packed, and the length of its header."""
    for length in (_AT_FIRST, _AT_MOST):
        stream.seek(at)
        data = stream.read(length)
        try:
            return _Reader(data).sizes()
        except RecursionError:
            break
        except IndexError:
            if len(data) < length:
                break
    raise ValueError(f"no header of a page at byte {at:,}")


class _Reader:
    """Reads a struct of Thrift's compact protocol; IndexError where the bytes end before it."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def sizes(self) -> tuple[int, int, int]:
        found = {_UNPACKED: 0, _PACKED: 0}
        field = 0
        while (head := self._byte()) != _STOP:
            field = field + (head >> 4) if head >> 4 else self._number()
            if field in found:
                found[field] = self._number()
            else:
                self._skip(head & 15)
        return found[_UNPACKED], found[_PACKED], self.at

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _pass(self, number: int) -> None:
        self.at += number
        if self.at > len(self.data):  # else the end of a list of billions would be looked for one by one
            raise IndexError

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("no header of a page: a number of more than 64 bits")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, kind: int) -> None:
        if kind in (_TRUE, _FALSE):
            return
        if kind == _BYTE:
            self._pass(1)
        elif kind == _DOUBLE:
            self._pass(8)
        elif kind == _BINARY:
            self._pass(self._varint())
        elif kind in (_LIST, _SET):
            head = self._byte()
            for _ in range(head >> 4 if head >> 4 < 15 else self._varint()):
                self._skip_one(head & 15)
        elif kind == _MAP:
            number = self._varint()
            kinds = self._byte() if number else 0
            for _ in range(number):
                self._skip_one(kinds >> 4)
                self._skip_one(kinds & 15)
        elif kind == _STRUCT:
            while (head := self._byte()) != _STOP:
                if not head >> 4:
                    self._number()
                self._skip(head & 15)
        elif kind in (4, 5, 6):
            self._varint()
        else:
            raise ValueError("no header of a page: it has a field of no kind that there is")

    def _skip_one(self, kind: int) -> None:
        """An element of a list: a truth value takes a byte there."""
        if kind in (_TRUE, _FALSE):
            self._pass(1)
        else:
            self._skip(kind)
