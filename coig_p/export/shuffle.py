"""A shuffle of more rows than memory holds: rows go to files by the head of their key, and come back sorted.

Whoever makes the rows of a shard writes them to one Arrow file, a batch or more for each partition of keys;
whoever writes a run of output rows reads the batches of the partitions that it meets, of all those files, and
sorts them. The key of a row is a hash (see `coig_p.pairs.plan.shuffle_keys`), so its first bits deal rows
evenly, and partitions one after the other are all rows in the order of their keys. Rows of equal keys stay in
the order in which they were made.

    rows      are sorted within a part, of which memory holds one, and cut into batches from its beginning: so bytes of
              what is written do not depend on who writes how much of it
    fine      is a part cut further, so that a run need not read all of the parts at its ends
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p.core.atomic import placed
from coig_p.store.writing import cut

_KEY, _MARK = "__key__", "__mark__"
_BYTES_PER_PART = 64 << 20
_BYTES_PER_FINE = 8 << 20
_DECODED = 8  # bytes of rows for each of a store: 6.5 at threshold 2 on the corpus of the benchmarks
_MOST_PARTS = 128
_MOST_FINE = 4096  # in all
_BYTES_HELD = 32 << 20  # of rows, before they are written
_BATCH = 4096

Side = tuple[str, int]
"""A split, and the place of a label in it."""


@dataclass(frozen=True)
class Parts:
    """How keys are dealt: to `number` parts, each of `fine` smaller ones.

    Attributes:
        bytes: of all rows, about.
    """

    number: int
    fine: int = 1
    bytes: int = 0

    @classmethod
    def of(cls, stored_bytes: int) -> Parts:
        """For the pairs of a store of so many bytes."""
        decoded = stored_bytes * _DECODED
        number = max(1, min(_MOST_PARTS, -(-decoded // _BYTES_PER_PART)))
        return cls(number, max(1, min(_MOST_FINE // number, decoded // number // _BYTES_PER_FINE)), decoded)

    def find(self, keys: Any) -> Any:
        """The fine part of each key (uint64)."""
        place = keys.astype(np.float64) / 2**64 * self.number
        part = place.astype(np.int64).clip(0, self.number - 1)
        return part * self.fine + ((place - part) * self.fine).astype(np.int64).clip(0, self.fine - 1)


@dataclass(frozen=True)
class Held:
    """Rows of one side and fine part, as a batch of a file.

    Attributes:
        file: its number.
        batch: its place in the file.
    """

    side: Side
    part: int
    file: int
    batch: int
    rows: int


class Spill:
    """Rows on their way to one file, those of a shard or of several that follow each other."""

    def __init__(self, path: Path, number: int, parts: Parts) -> None:
        self.path, self.number, self.parts = path, number, parts
        self.held: list[Held] = []
        self._waiting: dict[Side, list[pa.Table]] = defaultdict(list)
        self._bytes = 0
        self._writer: Any = None

    def add(self, side: Side, rows: pa.Table, keys: Any, marks: Any = None) -> None:
        """Take rows in, each with its key (uint64), and where some are left out later its mark (uint64)."""
        if marks is not None:
            rows = rows.append_column(_MARK, pa.array(marks, pa.uint64()))
        self._waiting[side].append(rows.append_column(_KEY, pa.array(keys, pa.uint64())))
        self._bytes += rows.nbytes
        if self._bytes >= _BYTES_HELD:
            self._flush()

    def _flush(self) -> None:
        for side, tables in self._waiting.items():
            rows = pa.concat_tables(tables)
            part = self.parts.find(rows.column(_KEY).to_numpy())
            order = np.argsort(part, kind="stable")
            rows, part = rows.take(pa.array(order)), part[order]
            if self._writer is None:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writer = pa.ipc.new_file(str(self.path), rows.schema, options=options)
            for one in np.unique(part).tolist():
                begin, end = np.searchsorted(part, [one, one + 1])
                for batch in rows.slice(begin, end - begin).combine_chunks().to_batches():
                    self._writer.write_batch(batch)
                    self.held.append(Held(side, one, self.number, len(self.held), batch.num_rows))
        self._waiting.clear()
        self._bytes = 0

    def close(self) -> None:
        """Write what is left; where there were no rows there is no file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()


@dataclass(frozen=True)
class Run:
    """Rows of one side that follow each other once they are sorted, and where they lie.

    Attributes:
        begin, end: their places among all of the side.
        parts: of each part that they meet: the place of its first row, the place of the first row that is read, and
            the file and batch of what is.
    """

    begin: int
    end: int
    parts: tuple[tuple[int, int, tuple[tuple[int, int], ...]], ...]


class Shuffled:
    """What lies in a folder of spilled files: which rows of a side are where in their order.

    Args:
        only: of a split whose rows are marked, which of them come back, by their marks.
    """

    def __init__(
        self, folder: Path, held: Iterable[Held], parts: Parts, only: Mapping[str, Callable[[Any], Any]] | None = None
    ) -> None:
        self.folder, self.parts = folder, parts
        self.rows: Counter[Side] = Counter()
        self._held: dict[Side, dict[int, list[Held]]] = defaultdict(lambda: defaultdict(list))
        for one in held:
            self._held[one.side][one.part].append(one)
        self._first: dict[Side, dict[int, int]] = {}  # place of the first row of each fine part
        for side, by_part in self._held.items():
            kept = (only or {}).get(side[0])
            first = self._first[side] = {}
            for part in sorted(by_part):
                first[part] = self.rows[side]
                self.rows[side] += sum(one.rows if kept is None else self._marked(one, kept) for one in by_part[part])

    def _marked(self, one: Held, kept: Callable[[Any], Any]) -> int:
        with pa.memory_map(str(spilled(self.folder, one.file))) as source:
            at = pa.ipc.open_file(source).schema.get_field_index(_MARK)
            options = pa.ipc.IpcReadOptions(included_fields=[at])
            marks = pa.ipc.open_file(source, options=options).get_batch(one.batch).column(0)
            return int(kept(marks.to_numpy()).sum())

    def run(self, side: Side, begin: int, end: int) -> Run:
        """Where the rows from `begin` to `end` of a side lie."""
        found = []
        first = self._first.get(side, {})
        ends = dict(zip(first, [*list(first.values())[1:], self.rows[side]], strict=True))
        for _, some in groupby(first, key=lambda part: part // self.parts.fine):
            fine = list(some)
            met = [part for part in fine if first[part] < end and ends[part] > begin]
            if met:
                where = tuple((one.file, one.batch) for part in met for one in self._held[side][part])
                found.append((first[fine[0]], first[met[0]], where))
        return Run(begin, end, tuple(found))


def spilled(folder: Path, number: int) -> Path:
    """The name of a spilled file."""
    return folder / f"{number:06d}.arrow"


def read_run(folder: Path, run: Run, only: Callable[[Any], Any] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a run in the order of their keys, in pieces.

    Args:
        only: which of them come back, by their marks; None for all.
    """
    for begin_of_part, read_from, where in run.parts:
        rows = _read(folder, where)
        if only is not None:
            rows = rows.filter(pa.array(only(rows.column(_MARK).to_numpy()))).drop_columns([_MARK])
        order = np.argsort(rows.column(_KEY).to_numpy(), kind="stable")
        rows = rows.drop_columns([_KEY])
        last = min(run.end, read_from + len(order))
        at = max(run.begin, read_from)
        while at < last:
            upto = min(last, at + _BATCH - (at - begin_of_part) % _BATCH)
            taken = rows.take(pa.array(order[at - read_from : upto - read_from]))
            yield from taken.combine_chunks().to_batches()
            at = upto


def _read(folder: Path, where: Sequence[tuple[int, int]]) -> pa.Table:
    """Batches of files, in the order in which they are named."""
    by_file: dict[int, list[int]] = defaultdict(list)
    for file, batch in where:
        by_file[file].append(batch)
    read = {}
    for file, batches in by_file.items():
        with pa.memory_map(str(spilled(folder, file))) as source:
            reader = pa.ipc.open_file(source)
            read.update({(file, batch): reader.get_batch(batch) for batch in batches})
    return pa.Table.from_batches([read[one] for one in where])


def interleaved(
    true: Iterator[pa.RecordBatch], false: Iterator[pa.RecordBatch], rows: tuple[int, int], begin: int, end: int
) -> Iterator[pa.RecordBatch]:
    """The rows of both, from `begin` to `end`, mixed so evenly that any run of rows has as many of either as it can.

    Of N rows the first n hold `ones(n, rows)` of the one kind.

    Args:
        true, false: the rows of either kind that lie between.
        rows: how many there are of either in all.
    """
    bounds = [begin, *range(begin - begin % _BATCH + _BATCH, end, _BATCH), end]
    shares = []
    for one, other in pairwise(bounds):
        counts = ones(np.arange(one, other + 1, dtype=np.int64), rows)
        shares.append(np.diff(counts).astype(bool))
    sides = (
        cut(true, [int(share.sum()) for share in shares]),
        cut(false, [int((~share).sum()) for share in shares]),
    )
    for share, some, others in zip(shares, *sides, strict=True):
        both = pa.Table.from_batches([*some, *others])
        place = np.where(share, np.cumsum(share) - 1, share.sum() + np.cumsum(~share) - 1)
        yield from both.take(pa.array(place)).combine_chunks().to_batches()


def ones(number: Any, rows: tuple[int, int]) -> Any:
    """How many of the first `number` rows are of the first kind."""
    return number * rows[0] // max(1, sum(rows))


def spill_to(path: Path, number: int, parts: Parts, make: Callable[[Spill], Any]) -> tuple[Any, list[Held]]:
    """What `make` gives, and where the rows lie that it adds: the file is there whole, or not at all."""
    with placed(path) as temporary:
        spill = Spill(temporary, number, parts)
        try:
            made = make(spill)
        finally:
            spill.close()
        if not spill.held:
            temporary.touch()
    return made, spill.held
