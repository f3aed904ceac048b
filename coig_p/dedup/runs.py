"""Queries on their way to where they are compared: sorted runs in files, and the cuts between ranges of texts.

A text is a comparison form with what it is asked with: texts of other tools or speakers are not compared. Each run
holds some shards' queries in the order of their texts. Cuts are drawn from samples of all runs, so that a range of
texts is one piece of each run, and ranges are about equal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Mask
from coig_p.dedup.clusters import Queries
from coig_p.engine.scratch import read_piece, write_pieces

TEXT = ("setting", "speakers", "form")
"""What makes a text, in the order that texts are in."""

RUN = pa.schema(
    [
        *((name, pa.large_string()) for name in TEXT),
        ("place", pa.int64()),
        ("query_id", pa.large_string()),
        ("domain", pa.large_string()),
        ("scored", pa.int64()),
    ]
)
"""`place` is where a query stands among all: the run's number, then the row in it, 32 bits each."""

_SAMPLE = 64  # texts of each range that are drawn, of all runs together
_CUT = 32  # characters of a form in a cut: enough to tell where it lies

Cut = tuple[str, str, str]


@dataclass(frozen=True)
class Run:
    """A file of RUN, sorted by text; queries without a letter or digit, which are like no other, are left out.

    Attributes:
        queries: that were read, those left out among them.
        samples: texts in it, evenly drawn.
        apart: whether any query has tools, calls, or speakers to be told apart by.
    """

    path: Path
    queries: int
    samples: list[Cut]
    apart: bool


def write_run(pieces: Iterable[Queries], number: int, path: Path, *, merge: bool, every: int) -> Run:
    """Sort queries into a run.

    Args:
        pieces: one after the other; of those before only their rows are kept, not their objects.
        number: of the run among all.
        merge: queries whose turns others speak are told apart, too.
        every: of so many texts one is drawn.
    """
    size, apart, tables = 0, False, [RUN.empty_table()]
    for piece in pieces:
        tables.append(_rows(piece, (number << 32) + size, merge))
        size += len(piece.ids)
        apart = apart or any(piece.settings) or (merge and any(piece.speakers))
    whole = in_text_order(pa.concat_tables(tables).combine_chunks())
    del tables
    write_pieces(path, RUN, whole.combine_chunks().to_batches()[:1] or [pa.RecordBatch.from_pylist([], RUN)])
    drawn = whole.select(TEXT).take(pa.array(np.arange(0, whole.num_rows, every)))
    samples = [_shortened(*text) for text in zip(*(drawn.column(name).to_pylist() for name in TEXT), strict=True)]
    return Run(path, size, samples, apart)


def _rows(queries: Queries, begin: int, merge: bool) -> pa.Table:
    size = len(queries.ids)
    columns = [
        pa.array(queries.settings or [""] * size, pa.large_string()),
        pa.array((merge and queries.speakers) or [""] * size, pa.large_string()),
        pa.array(queries.forms, pa.large_string()),
        pa.array(begin + np.arange(size)),
        pa.array(queries.ids, pa.large_string()),
        pa.array(queries.domains, pa.large_string()),
        pa.array(queries.scored, pa.int64()),
    ]
    whole = pa.table(columns, schema=RUN)
    return whole.filter(pc.not_equal(whole.column("form"), ""))


def in_text_order(table: pa.Table) -> pa.Table:
    """Rows by text; of one text in no order."""
    *beside, form = TEXT
    keys = [*(name for name in beside if pc.count_distinct(table.column(name)).as_py() > 1), form]
    return table.take(pc.sort_indices(table.select(keys), sort_keys=[(name, "ascending") for name in keys]))


def _shortened(setting: str, speakers: str, form: str) -> Cut:
    return setting, speakers, form[:_CUT]


def sample_every(queries: int, ranges: int) -> int:
    """Of how many texts one is drawn."""
    return max(1, queries // (_SAMPLE * ranges))


def cuts_between(runs: Sequence[Run], ranges: int) -> list[Cut]:
    """Where ranges of texts end and begin, ascending: at most `ranges` - 1 of them, all different."""
    samples = sorted(text for run in runs for text in run.samples)
    drawn = {samples[at * len(samples) // ranges] for at in range(1, ranges)} if samples else set()
    return sorted(drawn)


def read_range(runs: Sequence[Path], low: Cut | None, high: Cut | None, columns: Sequence[str]) -> pa.Table:
    """Of every run the texts from `low` up to `high`, without it; None where there is no end. In no order."""
    schema = pa.schema([RUN.field(name) for name in columns])
    found = [_copied(_between(read_piece(run), low, high).select(columns)) for run in runs]
    return pa.Table.from_batches(found, schema).combine_chunks()


def _copied(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows in memory: as long as rows of a file are used, all of it is mapped."""
    return rows.take(pa.array(np.arange(rows.num_rows)))


def _between(run: pa.RecordBatch, low: Cut | None, high: Cut | None) -> pa.RecordBatch:
    columns = [run.column(name) for name in TEXT]

    def text(row: int) -> Cut:
        setting, speakers, form = (column[row].as_py() for column in columns)
        return setting, speakers, form

    def place(cut: Cut | None, without: int) -> int:
        return without if cut is None else bisect_left(range(run.num_rows), cut, key=text)

    begin = place(low, 0)
    return run.slice(begin, place(high, run.num_rows) - begin)


def differs(table: pa.Table) -> Mask:
    """Of rows in the order of their texts, which begin another text."""
    new = np.zeros(table.num_rows, bool)
    new[:1] = True
    for name in TEXT:
        column = table.column(name)
        if table.num_rows > 1:
            new[1:] |= pc.not_equal(column.slice(1), column.slice(0, table.num_rows - 1)).to_numpy(zero_copy_only=False)
    return new


def batches_of(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Neighbours together, up to so many rows; one that has more is alone."""
    begin = total = 0
    for at, size in enumerate(sizes):
        if at > begin and total + size > most:
            yield slice(begin, at)
            begin, total = at, 0
        total += size
    if begin < len(sizes):
        yield slice(begin, len(sizes))
