"""Checked rows on disk until all are known: then rows of one query become one row, before any is written to a store.

Memory holds a few numbers a row, and the rows of a block of queries while they are merged.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index, Mask
from coig_p.core.in_pieces import InPieces
from coig_p.ingest.merge import Origin, Refuse, merge
from coig_p.schema import RAW_SCHEMA
from coig_p.store.writing import ROWS_PER_GROUP

_ORIGIN = "origin"
_SCHEMA = RAW_SCHEMA.append(pa.field(_ORIGIN, pa.string()))
_HELD = 4096
"""Responses, scores and comparisons of rows that wait in memory: a row of a TaP run has hundreds."""


class Spool:
    """The checked rows of one domain on disk, each with the place of its query in the store."""

    def __init__(self, domain: str, folder: Path) -> None:
        self.domain, self.queries = domain, 0
        self.path, self.merged_path = folder / f"{domain}.arrow", folder / f"{domain}.merged.arrow"
        self.file = pa.OSFile(str(self.path), "wb")
        self.writer = pa.ipc.new_file(InPieces(self.file), _SCHEMA)
        self.waiting: list[dict[str, Any]] = []
        self.held = 0  # by those that wait
        self.places = array("q")
        self.plain = array("b")
        self.starts = array("q")  # of each batch on disk: its first row

    def add(self, place: int, row: dict[str, Any], origin: Origin | None, *, plain: bool) -> None:
        """Keep one checked row of the query at `place`.

        Args:
            row: of RAW_SCHEMA, with a sample for every response.
            origin: where it came from, where that may be asked: see `coig_p.ingest.merge`.
            plain: alone it would go into the store as it is: every response has a model of its own.
        """
        self.plain.append(plain and origin is None)
        self.queries = max(self.queries, place + 1)
        self.places.append(place)
        self.waiting.append(row | {_ORIGIN: None if origin is None else json.dumps(origin)})
        self.held += len(row["comparisons"] or ()) + sum(1 + len(one["scores"]) for one in row["responses"])
        if len(self.waiting) == ROWS_PER_GROUP or self.held >= _HELD:
            self._write()

    def add_batch(self, batch: pa.RecordBatch, places: Sequence[int], *, plain: bool) -> None:
        """Keep checked rows, none of which says where it came from: see `add`."""
        self._write()
        self.starts.append(len(self.places))
        self.places.extend(places)
        self.plain.extend([plain] * batch.num_rows)
        self.queries = max(self.queries, max(places) + 1)
        self.writer.write_batch(batch.append_column(_ORIGIN, pa.nulls(batch.num_rows, pa.string())))

    def _write(self) -> None:
        if self.waiting:
            self.starts.append(len(self.places) - len(self.waiting))
            self.writer.write_batch(pa.RecordBatch.from_pylist(self.waiting, schema=_SCHEMA))
            self.waiting, self.held = [], 0

    def close(self, refuse: Refuse, merged: Counter[str]) -> None:
        """Merge what belongs together; nothing can be added afterwards.

        Args:
            refuse, merged: see `coig_p.ingest.merge.merge`.
        """
        self._write()
        self.writer.close()
        self.file.close()
        arrived, plain = np.array(self.places, np.int64), np.array(self.plain, bool)
        if plain.all() and (np.diff(arrived) > 0).all():
            return  # as it lies
        order = np.argsort(arrived, kind="stable")
        places, plain = arrived[order], plain[order]
        starts = np.array(self.starts, np.int64)
        with (
            pa.memory_map(str(self.path)) as source,  # nobody else writes to it
            pa.ipc.open_file(source) as reader,
            self.merged_path.open("wb") as file,
            pa.ipc.new_file(InPieces(file), RAW_SCHEMA) as writer,
        ):
            for begin in range(0, self.queries, ROWS_PER_GROUP):
                low, high = np.searchsorted(places, [begin, begin + ROWS_PER_GROUP])
                rows = _gather(reader, starts, order[low:high])
                writer.write_batch(_merged(rows, places[low:high], plain[low:high], refuse, merged))
        self.path.unlink()
        self.path = self.merged_path

    def batches(self) -> Iterator[pa.RecordBatch]:
        """One row per query in order of first appearance, once closed."""
        with pa.memory_map(str(self.path)) as source, pa.ipc.open_file(source) as reader:
            for at in range(reader.num_record_batches):
                yield reader.get_batch(at).select(RAW_SCHEMA.names)


def _gather(reader: Any, starts: Index, rows: Index) -> pa.RecordBatch:
    """Rows of the spool, in the order asked for, from batches that begin at `starts`."""
    batch_of = np.searchsorted(starts, rows, side="right") - 1
    place = rows - starts[batch_of]
    needed = np.unique(batch_of)
    by_batch = [np.flatnonzero(batch_of == number) for number in needed]
    parts = [_taken(reader.get_batch(int(number)), place[at]) for number, at in zip(needed, by_batch, strict=True)]
    back = np.argsort(np.concatenate(by_batch), kind="stable")
    (batch,) = pa.Table.from_batches(parts).combine_chunks().to_batches()
    return _taken(batch, back)


def _taken(batch: pa.RecordBatch, rows: Index) -> pa.RecordBatch:
    """These rows of a batch, of which there is one at least; rows that follow each other are not copied."""
    if (np.diff(rows) == 1).all():
        return batch.slice(int(rows[0]), len(rows))
    return batch.take(pa.array(rows))


def _merged(batch: pa.RecordBatch, places: Index, plain: Mask, refuse: Refuse, merged: Counter[str]) -> pa.RecordBatch:
    """A row for each place. Rows of one place stand side by side, in the order in which they were read."""
    begins = np.flatnonzero(np.diff(places, prepend=-1))
    sizes = np.diff(begins, append=len(places))
    if plain.all() and (sizes == 1).all():
        return batch.select(RAW_SCHEMA.names)
    if plain.all() and (together := _side_by_side(batch, begins)) is not None:
        return together
    rows = batch.to_pylist()
    origins = [None if (text := row.pop(_ORIGIN)) is None else Origin(*json.loads(text)) for row in rows]
    found = []
    for begin, size in zip(begins.tolist(), sizes.tolist(), strict=True):
        end = begin + size
        one = size == 1 and plain[begin]
        found.append(rows[begin] if one else merge(rows[begin:end], origins[begin:end], refuse, merged))
    return pa.RecordBatch.from_pylist(found, schema=RAW_SCHEMA)


def _side_by_side(batch: pa.RecordBatch, begins: Index) -> pa.RecordBatch | None:
    """Plain rows as a row for each run of them, where that is all there is to do: no model answers a query twice.

    Args:
        begins: the first row of each query.
    """
    lists = batch.column("responses")
    if any(batch.column(name).null_count < len(batch) for name in ("source", "meta", "comparisons")):
        return None
    responses = lists.flatten()
    ends = np.cumsum(lists.value_lengths().to_numpy())
    offsets = np.append(np.append(0, ends)[begins], ends[-1]).astype(np.int32)
    codes = responses.field("model").dictionary_encode().indices.to_numpy().astype(np.int64)
    query = np.repeat(np.arange(len(begins)), np.diff(offsets))
    if len(np.unique(query * (codes.max(initial=0) + 1) + codes)) < len(codes):
        return None
    rows = batch.select([name for name in RAW_SCHEMA.names if name != "responses"]).take(pa.array(begins))
    whole = pa.ListArray.from_arrays(pa.array(offsets), responses)
    return rows.add_column(RAW_SCHEMA.get_field_index("responses"), RAW_SCHEMA.field("responses"), whole)
