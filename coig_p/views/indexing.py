"""Which texts each row shows, as numbers: 36 bytes a pair, and no text copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from coig_p.core.arrays import Index
from coig_p.features import cast
from coig_p.pairs.kernel import Pairs
from coig_p.pairs.ranked import RankedRows
from coig_p.pairs.rows import Rows
from coig_p.views.decoding import shown_columns
from coig_p.views.texts import FIRST, NUMBER, Texts

ROWS = 1 << 16  # of a table of an index, at least, but for the last


def index_schema(schema: pa.Schema, responses: int) -> pa.Schema:
    """The columns of the index of rows of `schema`.

    Args:
        responses: how many the texts hold, for the width of their numbers.
    """
    number = pa.int32() if responses < 2**31 else pa.int64()
    found: dict[str, pa.DataType] = {}
    for shown in shown_columns(schema).values():
        if shown.text is None:
            found[shown.number] = pa.int8() if pa.types.is_boolean(shown.made) else shown.made
        else:
            found[shown.number] = pa.list_(number) if shown.number == "responses" else number
    return pa.schema(found.items())


def index_tables(
    texts: Texts, made: Iterable[Rows], schema: pa.Schema, given: pa.Schema | None = None
) -> Iterator[pa.Table]:
    """The index of rows of texts, in their order, as tables of `schema` that are not empty.

    Args:
        made: of batches that bring along their numbers (see `Texts.numbered`).
        given: the columns that features= casts, of other types than rows are made of.

    Raises:
        DataError, UsageError: what a row shows is null, or cannot be shown or cast. The same as where texts are copied.
    """
    waiting: list[pa.Table] = []
    count = 0
    texts.check()
    for rows in made:
        if not len(rows):
            continue
        rows.check()
        if given is not None:
            for table in replace(rows, shape=replace(rows.shape, columns=tuple(given.names))).tables():
                cast(table, given)
        columns = _columns(rows)
        waiting.append(pa.table([pa.array(columns[one.name]).cast(one.type) for one in schema], schema=schema))
        count += len(rows)
        if count >= ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, count = [], 0
    texts.check()
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _columns(rows: Rows) -> Mapping[str, npt.NDArray[Any] | pa.ListArray]:
    found, responses, batch = rows.found, rows.responses, rows.batch
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
    if isinstance(found, RankedRows):
        places = found.places()
        offsets = pa.array(np.concatenate([[0], np.cumsum(found.size)]).astype(np.int32))
        lists = {"responses": numbers(found.response), "scores": found.score, "ranks": found.rank}
        made = {name: pa.ListArray.from_arrays(offsets, pa.array(one[places])) for name, one in lists.items()}
        return {"query": query, **made}
    return {
        "query": query,
        "response": numbers(found.response),
        "label": found.label.astype(np.int8),
        "score": found.score,
    }
