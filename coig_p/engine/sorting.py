"""Rows of many tables in one order, however many they are: in memory while they are few, beyond that in files.

    add -> (sort -> a run, in a file) ... -> cuts, of samples of all runs -> each range of all runs, sorted -> one table

Both ways give the same table. One that was sorted by files lies in a file that has no name and is mapped into memory:
it goes with the table, also where the process is killed, and what of it is not looked at takes no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.engine.scratch import mapped

IN_MEMORY = 32 << 20
"""Bytes of rows that are sorted in memory, which takes about three times as many."""
_SAMPLES = 64  # rows of each run that are drawn, so that ranges are about equal
_ROWS_AT_ONCE = 1 << 16  # of a batch in a file: whole pages of Parquet, so that a table in batches gives the same file


@dataclass
class Sorting:
    """Rows to be sorted: an accumulator. It can be sent to another process.

    Attributes:
        schema: of the rows.
        keys: of a table what its rows are sorted by, as a table; what is null comes last. Rows with equal keys
            are equal.
        in_memory: bytes up to which no file is written.
        tables: that were added since the last run.
        runs: sorted rows in files.
    """

    schema: pa.Schema
    keys: Callable[[pa.Table], pa.Table]
    in_memory: int = field(default_factory=lambda: IN_MEMORY)
    tables: list[pa.Table] = field(default_factory=list)
    runs: list[pa.Table] = field(default_factory=list)
    _size: int = 0

    def add(self, table: pa.Table) -> None:
        """Take in rows of `schema`.

        Raises:
            OSError: a file cannot be written, as where the disk is full.
        """
        pieces = 1 + table.nbytes // self.in_memory
        rows = -(-table.num_rows // pieces) or 1
        for begin in range(0, table.num_rows, rows):
            self.tables.append(table.slice(begin, rows))
            self._size += self.tables[-1].nbytes
            if self._size > self.in_memory:
                self._end_run()

    def merge(self, other: Sorting) -> None:
        """Take in what was added elsewhere."""
        for table in (*other.runs, *other.tables):
            self.add(table)

    def compact(self) -> None:
        """Hold in one table what is in memory: many of few rows take a megabyte once they were sent somewhere."""
        self.tables = [pa.concat_tables(self.tables).combine_chunks()] if self.tables else []

    def result(self) -> pa.Table:
        """All rows, in order.

        Raises:
            OSError: as `add`.
        """
        if not self.runs:
            return self._sorted(self.tables)
        self._end_run()
        return mapped(self.schema, _even(self._merged()))

    def _end_run(self) -> None:
        if self.tables:
            run = self._sorted(self.tables)
            self.runs.append(mapped(self.schema, run.to_batches(_ROWS_AT_ONCE)))
        self.tables, self._size = [], 0

    def _sorted(self, tables: Iterable[pa.Table]) -> pa.Table:
        table = pa.concat_tables([self.schema.empty_table(), *tables]).combine_chunks()
        return table.take(_order(self.keys(table)))

    def _merged(self) -> Iterator[pa.Table]:
        """Of each range in turn its rows of all runs."""
        samples = [run.take(np.arange(_SAMPLES) * run.num_rows // _SAMPLES) for run in self.runs]
        drawn = self.keys(self._sorted(samples))
        cuts = drawn.take(np.arange(1, len(self.runs)) * drawn.num_rows // len(self.runs))
        edges = [_places(self.keys(run), cuts) for run in self.runs]
        for at in range(len(self.runs)):
            yield self._sorted(
                run.slice(edge[at], edge[at + 1] - edge[at]) for run, edge in zip(self.runs, edges, strict=True)
            )


def _order(keys: pa.Table) -> pa.Array:
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])


def _places(keys: pa.Table, cuts: pa.Table) -> list[int]:
    """Where in sorted rows each cut falls, between the beginning and the end.

    A row that equals a cut may fall on either side: it is the last of one range or the first of the next.
    """
    order = _order(pa.concat_tables([cuts, keys])).to_numpy()
    places = np.flatnonzero(order < cuts.num_rows) - np.arange(cuts.num_rows)
    return [0, *places.tolist(), keys.num_rows]


def _even(tables: Iterable[pa.Table]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of _ROWS_AT_ONCE, but for the last."""
    left: list[pa.Table] = []
    for table in tables:
        left.append(table)
        whole = pa.concat_tables(left)
        end = whole.num_rows - whole.num_rows % _ROWS_AT_ONCE
        for begin in range(0, end, _ROWS_AT_ONCE):
            yield from whole.slice(begin, _ROWS_AT_ONCE).combine_chunks().to_batches()
        left = [whole.slice(end)]
    for table in left:
        yield from table.combine_chunks().to_batches()
