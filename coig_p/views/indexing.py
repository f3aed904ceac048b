"""Which texts each row shows, as numbers: 36 bytes a pair, and no text copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index
from coig_p.errors import DataError
from coig_p.pairs.kernel import Pairs
from coig_p.pairs.ranked import RankedRows
from coig_p.pairs.rows import Rows
from coig_p.views.texts import FIRST, NUMBER, Texts

ROWS = 1 << 16  # of a table of an index, at least, but for the last
_SHOWS: dict[str, tuple[str, str | None]] = {
    "prompt": ("query", "prompt"),
    "query_id": ("query", "query_id"),
    "domain": ("query", "domain"),
    "chosen": ("chosen", "answer"),
    "rejected": ("rejected", "answer"),
    "chosen_model": ("chosen", "model"),
    "rejected_model": ("rejected", "model"),
    "completion": ("response", "answer"),
    "model": ("response", "model"),
}


class Shown(NamedTuple):
    """What a column shows.

    Attributes:
        number: the column of the index that it reads.
        text: which texts its numbers are of (see `coig_p.views.texts`); None where the index has the values themselves.
        type: of the column.
    """

    number: str
    text: str | None
    type: pa.DataType


def shown_columns(schema: pa.Schema) -> dict[str, Shown]:
    """What each column of rows shows."""
    found = {}
    for one in schema:
        number, text = _SHOWS.get(one.name, (one.name, None))
        found[one.name] = Shown(number, text, one.type)
    return found


def index_schema(schema: pa.Schema, responses: int) -> pa.Schema:
    """The columns of the index of rows of `schema`.

    Args:
        responses: how many the texts hold, for the width of their numbers.
    """
    number = pa.int32() if responses < 2**31 else pa.int64()
    found: dict[str, pa.DataType] = {}
    for shown in shown_columns(schema).values():
        found[shown.number] = number if shown.text else pa.int8() if pa.types.is_boolean(shown.type) else shown.type
    return pa.schema(found.items())


def index_tables(texts: Texts, made: Iterable[Rows], schema: pa.Schema) -> Iterator[pa.Table]:
    """The index of rows of texts, in their order, as tables of `schema` that are not empty.

    Args:
        made: of batches that bring along their numbers (see `Texts.numbered`).

    Raises:
        DataError: a text that a row shows is null; names the query. The same as where texts are copied.
    """
    waiting: list[pa.Table] = []
    count = 0
    texts.check()
    for rows in made:
        if not len(rows):
            continue
        if not rows.check() and rows.shape.as_messages:
            raise DataError(
                f"query_id {rows.batch.column('query_id')[0].as_py()!r} or one that follows is a conversation, and "
                "the manifest counts none. Import the store again, or see what differs: coigp verify"
            )
        columns = _columns(rows)
        waiting.append(pa.table([pa.array(columns[one.name]).cast(one.type) for one in schema], schema=schema))
        count += len(rows)
        if count >= ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, count = [], 0
    texts.check()
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _columns(rows: Rows) -> Mapping[str, Index | Floats]:
    found, responses, batch = rows.found, rows.responses, rows.batch
    assert not isinstance(found, RankedRows)
    local = np.searchsorted(responses.query, np.arange(batch.num_rows))  # where the responses of each query begin
    shift = batch.column(FIRST).to_numpy() - local

    def numbers(side: Index) -> Index:
        return np.asarray(side + shift[responses.query[side]])

    query = batch.column(NUMBER).to_numpy()[found.query]
    if isinstance(found, Pairs):
        return {
            "query": query,
            "chosen": numbers(found.chosen),
            "rejected": numbers(found.rejected),
            "chosen_score": found.chosen_score,
            "rejected_score": found.rejected_score,
            "margin": found.margin,
        }
    return {
        "query": query,
        "response": numbers(found.response),
        "label": found.label.astype(np.int8),
        "score": found.score,
    }
