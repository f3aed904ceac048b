"""What was observed as tables, one row a score or a comparison: the columns of `Store.to_pandas`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index
from coig_p.schema import RAW_SCHEMA, without

_TEXT = ("query_id", "domain", "split", "query")
_SIDES = ("first", "second")
SCORE_ROWS = pa.schema(
    [
        *((name, pa.string()) for name in (*_TEXT, "model")),
        ("sample", pa.int32()),
        *((name, pa.string()) for name in ("text", "judge", "dimension")),
        ("score", pa.float64()),
        ("rationale", pa.string()),
    ]
)
COMPARISON_ROWS = pa.schema(
    [
        *((name, pa.string()) for name in _TEXT),
        *(
            (f"{side}_{name}", pa.int32() if name == "sample" else pa.string())
            for side in _SIDES
            for name in ("model", "sample", "text")
        ),
        *((name, pa.string()) for name in ("judge", "dimension")),
        *((f"{side}_score", pa.float64()) for side in _SIDES),
        ("rationale", pa.string()),
    ]
)
_SHOWN = without(RAW_SCHEMA, {"messages", "tools", "source", "meta", "extra"})
SCORES_READ = without(_SHOWN, {"comparisons"})
"""What `score_rows` looks at."""

COMPARISONS_READ = without(_SHOWN, {"scores"})
"""What `comparison_rows` looks at."""


def score_rows(batch: pa.RecordBatch, split: str) -> pa.Table:
    """A batch of raw rows as SCORE_ROWS, in its order; a response without scores is one row, its score null."""
    responses = batch.column("responses")
    query_of, answers = _rows_of(responses), responses.flatten()
    scores = pc.struct_field(answers, "scores")
    number = _lengths(scores)
    answer_of = np.repeat(np.arange(len(answers)), np.maximum(number, 1))
    unscored = np.repeat(number == 0, np.maximum(number, 1))
    at = np.cumsum(~unscored) - 1
    given = scores.flatten().take(pa.array(at, mask=unscored))
    answer = answers.take(pa.array(answer_of))
    columns = {
        **{name: pc.struct_field(answer, name) for name in ("model", "sample", "text")},
        **{name: pc.struct_field(given, name) for name in ("judge", "dimension", "score", "rationale")},
    }
    return _table(batch, split, query_of[answer_of], columns, SCORE_ROWS)


def comparison_rows(batch: pa.RecordBatch, split: str) -> pa.Table:
    """A batch of raw rows as COMPARISON_ROWS, in its order; a side is null where its index leads nowhere."""
    responses, comparisons = batch.column("responses"), batch.column("comparisons")
    answers, compared, query_of = responses.flatten(), comparisons.flatten(), _rows_of(comparisons)
    size = _lengths(responses)
    begin = np.cumsum(size) - size
    said = ("judge", "dimension", "first_score", "second_score", "rationale")
    columns = {name: pc.struct_field(compared, name) for name in said}
    for side in _SIDES:
        nth = pc.fill_null(pc.struct_field(compared, side), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        nowhere = (nth < 0) | (nth >= size[query_of])
        shown = answers.take(pa.array(begin[query_of] + nth, mask=nowhere))
        columns |= {f"{side}_{name}": pc.struct_field(shown, name) for name in ("model", "sample", "text")}
    return _table(batch, split, query_of, columns, COMPARISON_ROWS)


def _table(
    batch: pa.RecordBatch, split: str, query_of: Index, columns: Mapping[str, pa.Array], schema: pa.Schema
) -> pa.Table:
    of_query = {name: batch.column(name).take(pa.array(query_of)) for name in ("query_id", "domain", "query")}
    found = {**of_query, "split": pa.repeat(pa.scalar(split), len(query_of)), **columns}
    return pa.table([found[name] for name in schema.names], schema=schema)


def _lengths(lists: pa.ListArray) -> Index:
    return np.asarray(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _rows_of(lists: pa.ListArray) -> Index:
    return np.repeat(np.arange(len(lists), dtype=np.int64), _lengths(lists))
