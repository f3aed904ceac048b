"""Checked rows on disk until all are known: then rows of one query_id become one row."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p.schema import RAW_SCHEMA
from coig_p.store.writing import ROWS_PER_GROUP

Integers = np.ndarray[Any, np.dtype[np.int64]]


def digest(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Spool:
    """The checked rows of one domain on disk, each with the place of its query in the store."""

    def __init__(self, domain: str, folder: Path) -> None:
        self.domain, self.queries = domain, 0
        self.path = folder / f"{domain}.arrow"
        self.writer = pa.ipc.new_file(self.path, RAW_SCHEMA)
        self.waiting: list[dict[str, Any]] = []
        self.places = array("q")
        self.merge_same = array("b")
        self.starts = array("q")  # of each batch on disk: its first row

    def add(self, place: int, row: dict[str, Any], *, merge_same: bool) -> None:
        """Keep one checked row of the query at `place`.

        Args:
            merge_same: a response with model and text of an earlier one of the query is that one.
        """
        self.merge_same.append(merge_same)
        self.queries = max(self.queries, place + 1)
        self.places.append(place)
        self.waiting.append(row)
        if len(self.waiting) == ROWS_PER_GROUP:
            self._write()

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Keep checked rows, each of a query of its own that was not there before."""
        self._write()
        self.starts.append(len(self.places))
        self.places.extend(range(self.queries, self.queries + batch.num_rows))
        self.merge_same.extend([0] * batch.num_rows)
        self.queries += batch.num_rows
        self.writer.write_batch(batch)

    def close(self) -> None:
        """Write what is waiting; nothing can be added afterwards."""
        self._write()
        self.writer.close()

    def _write(self) -> None:
        if self.waiting:
            self.starts.append(len(self.places) - len(self.waiting))
            self.writer.write_batch(pa.RecordBatch.from_pylist(self.waiting, schema=RAW_SCHEMA))
            self.waiting = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        """One row per query in order of first appearance, merged and named."""
        arrived, starts = np.array(self.places), np.array(self.starts)
        order = np.argsort(arrived, kind="stable")
        places = arrived[order]
        merge_same = np.array(self.merge_same)[order]
        as_it_lies = len(places) == self.queries and not merge_same.any() and bool((np.diff(arrived) > 0).all())
        with pa.OSFile(str(self.path)) as source:
            reader = pa.ipc.open_file(source)
            if as_it_lies:
                for at in range(len(starts)):
                    batch = reader.get_batch(at)
                    yield (
                        _merge(batch.to_pylist(), range(len(batch)), [0] * len(batch)) if _has_unnamed(batch) else batch
                    )
                return
            for begin in range(0, self.queries, ROWS_PER_GROUP):
                low, high = np.searchsorted(places, [begin, begin + ROWS_PER_GROUP])
                batch = _gather(reader, starts, order[low:high])
                several = high - low > min(ROWS_PER_GROUP, self.queries - begin)
                if several or merge_same[low:high].any() or _has_unnamed(batch):
                    batch = _merge(batch.to_pylist(), places[low:high].tolist(), merge_same[low:high].tolist())
                yield batch


def _gather(reader: Any, starts: Integers, rows: Integers) -> pa.RecordBatch:
    """Rows of the spool, in the order asked for, from batches that begin at `starts`."""
    batch_of = np.searchsorted(starts, rows, side="right") - 1
    place = rows - starts[batch_of]
    needed = np.unique(batch_of)
    by_batch = [np.flatnonzero(batch_of == number) for number in needed]
    parts = [
        reader.get_batch(int(number)).take(pa.array(place[at])) for number, at in zip(needed, by_batch, strict=True)
    ]
    back = np.argsort(np.concatenate(by_batch), kind="stable")
    (batch,) = pa.Table.from_batches(parts).combine_chunks().to_batches()
    return batch.take(pa.array(back))


def _has_unnamed(batch: pa.RecordBatch) -> bool:
    return bool(batch.column("responses").flatten().field("model").null_count)


def _merge(rows: list[dict[str, Any]], places: Sequence[int], merge_same: Sequence[int]) -> pa.RecordBatch:
    """Rows of equal place become one: responses side by side, the first known source."""
    merged: list[dict[str, Any]] = []
    last = None
    for row, place, same in zip(rows, places, merge_same, strict=True):
        if place != last:
            merged.append(row | {"responses": [], "comparisons": None})
        _append(merged[-1], row, bool(same))
        last = place
    for row in merged:
        _name_unnamed(row["responses"])
    return pa.RecordBatch.from_pylist(merged, schema=RAW_SCHEMA)


def _append(row: dict[str, Any], more: dict[str, Any], merge_same: bool) -> None:
    responses = row["responses"]
    place_of = {(response["model"], response["text"]): at for at, response in enumerate(responses)}
    moved_to = []
    for response in more["responses"]:
        key = (response["model"], response["text"])
        if merge_same and key in place_of:
            responses[place_of[key]]["scores"] += response["scores"]
        else:
            place_of[key] = len(responses)
            responses.append(response)
        moved_to.append(place_of[key])
    row["source"] = row["source"] if row["source"] is not None else more["source"]
    if more["comparisons"] is not None:
        moved = [
            comparison | {"first": moved_to[comparison["first"]], "second": moved_to[comparison["second"]]}
            for comparison in more["comparisons"]
        ]
        row["comparisons"] = (row["comparisons"] or []) + moved


def _name_unnamed(responses: list[dict[str, Any]]) -> None:
    """Call responses without a model unknown-1, unknown-2 in the order of their text's hash."""
    taken = {response["model"] for response in responses}
    free = (name for number in range(1, 2 * len(responses) + 1) if (name := f"unknown-{number}") not in taken)
    unnamed = [response for response in responses if response["model"] is None]
    for response in sorted(unnamed, key=lambda response: (digest(response["text"]), json.dumps(response["scores"]))):
        response["model"] = next(free)
