"""A shuffle of more rows than memory holds: rows go to files by the head of their key, and come back sorted.

The key of a row is a hash (see `coig_p.pairs.plan.shuffle_keys`), so its first bits deal rows evenly
to `parts` files. Every file is then small enough to be sorted in memory, and one after the
other they are all rows in the order of their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.store.writing import cut

_KEY, _MARK = "__key__", "__mark__"
_BYTES_PER_PART = 64 << 20
_DECODED = 8  # bytes of rows for each of a store: 6.5 at threshold 2 on the corpus of the benchmarks
_MOST_PARTS = 128  # files open at a time, for each split and label


def parts_for(stored_bytes: int) -> int:
    """How many files to deal the pairs of a store of so many bytes to."""
    return max(1, min(_MOST_PARTS, -(-stored_bytes * _DECODED // _BYTES_PER_PART)))


class Spill:
    """Rows of one split and label on their way through the disk.

    Attributes:
        rows: how many come back.
        only: which of them do, by their marks; None for all. To be set with `rows` before `batches`.
    """

    def __init__(self, folder: Path, parts: int) -> None:
        self.folder, self.parts, self.rows = folder, parts, 0
        self.only: Callable[[Any], Any] | None = None
        self._writers: dict[int, Any] = {}
        folder.mkdir(parents=True)

    def add(self, rows: pa.Table, keys: Any, marks: Any = None) -> None:
        """Take rows in, each with its key (uint64), and where `only` is set later its mark (uint64)."""
        order = np.argsort(keys, kind="stable")
        if marks is not None:
            rows = rows.append_column(_MARK, pa.array(marks, pa.uint64()))
        rows = rows.append_column(_KEY, pa.array(keys, pa.uint64())).take(pa.array(order)).combine_chunks()
        part = (keys[order].astype(np.float64) / 2**64 * self.parts).astype(np.int64).clip(0, self.parts - 1)
        for one in np.unique(part):
            begin, end = np.searchsorted(part, [one, one + 1])
            writer = self._writers.get(int(one))
            if writer is None:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                writer = pa.ipc.new_stream(str(self.folder / f"{one}.arrow"), rows.schema, options=options)
                self._writers[int(one)] = writer
            writer.write_table(rows.slice(begin, end - begin))
        self.rows += rows.num_rows

    def close(self) -> None:
        """End the files; to be called before `batches`, and where something went wrong."""
        for writer in self._writers.values():
            writer.close()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows in the order of their keys, in pieces; each file goes once it is read."""
        for one in sorted(self._writers):
            path = self.folder / f"{one}.arrow"
            with pa.memory_map(str(path)) as source:
                rows = pa.ipc.open_stream(source).read_all()
            path.unlink()
            if self.only is not None:
                kept = self.only(rows.column(_MARK).to_numpy())
                rows = rows.drop_columns([_MARK]).filter(pa.array(kept))
            order = pc.array_sort_indices(rows.column(_KEY).combine_chunks()).to_numpy()
            rows = rows.drop_columns([_KEY])
            for begin in range(0, len(order), 4096):
                yield from rows.take(pa.array(order[begin : begin + 4096])).combine_chunks().to_batches()


def interleaved(true: Spill, false: Spill) -> Iterator[pa.RecordBatch]:
    """The rows of both, mixed so evenly that any run of rows has as many of either as it can.

    Of N rows the first n hold n * true.rows // N of the one kind.
    """
    total = true.rows + false.rows
    share = np.diff(np.arange(total + 1, dtype=np.int64) * true.rows // max(1, total)).astype(bool)
    pieces = [share[begin : begin + 4096] for begin in range(0, total, 4096)]
    sides = (
        cut(true.batches(), (int(piece.sum()) for piece in pieces)),
        cut(false.batches(), (int((~piece).sum()) for piece in pieces)),
    )
    for piece, ones, others in zip(pieces, *sides, strict=True):
        both = pa.Table.from_batches([*ones, *others])
        place = np.where(piece, np.cumsum(piece) - 1, piece.sum() + np.cumsum(~piece) - 1)
        yield from both.take(pa.array(place)).combine_chunks().to_batches()
