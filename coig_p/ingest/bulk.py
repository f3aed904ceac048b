"""JSON Lines in the nested shape, a block at a time, where nothing in the block is unusual.

Most rows of most files are right. Arrow's parser and a few comparisons of whole columns see that
many times sooner than a look at each value. They judge nothing: a block with anything out of the
ordinary, wrong or merely rare, is handed back, and `coig_p.ingest.intake` goes through it row by row. So
this way gives what that way would give, or nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from coig_p.ingest.readers import Lines, RawRow
from coig_p.schema import OVERALL, RAW_SCHEMA, RESPONSE_TYPE, SCORE_GRID, SCORE_TYPE

_SCHEMA = pj.ParseOptions(explicit_schema=RAW_SCHEMA, unexpected_field_behavior="error")


class CleanRows(NamedTuple):
    """Rows in which every value is right by itself; query ids and domains are still to be judged.

    Attributes:
        batch: of RAW_SCHEMA; query_id may be null, and domain is as the rows have it.
    """

    batch: pa.RecordBatch


def clean_rows(block: Lines | RawRow, score_range: tuple[float, float]) -> CleanRows | None:
    """The rows of a block in which nothing is unusual, None of any other."""
    if isinstance(block, RawRow) or (lines := _objects(block.data)) is None:
        return None
    try:
        # One chunk: the caller runs several blocks side by side.
        whole = pj.ReadOptions(use_threads=False, block_size=len(block.data) + 1)
        table = pj.read_json(pa.BufferReader(block.data), whole, _SCHEMA)
        table.validate(full=True)  # the parser lets bytes pass that are not UTF-8
    except (pa.ArrowException, ValueError):
        return None
    if table.num_rows != lines:
        return None  # two objects in one line
    (batch,) = table.combine_chunks().to_batches()
    return _checked(batch, score_range)


def _objects(data: bytes | bytearray) -> int | None:
    """The number of lines where every line begins with { and ends with }, otherwise None.

    Then no value goes on over the end of a line, since } and { never meet inside one; as many
    objects as lines means one in each.
    """
    letters = np.frombuffer(data, np.uint8)
    letters = letters[:-1] if data.endswith(b"\n") else letters
    breaks = np.flatnonzero(letters == ord("\n"))
    begins, ends = np.append(0, breaks + 1), np.append(breaks, len(letters)) - 1
    if not len(letters) or begins[-1] == len(letters) or ends[0] < 0:
        return None
    return len(begins) if (letters[begins] == ord("{")).all() and (letters[ends] == ord("}")).all() else None


def _checked(batch: pa.RecordBatch, score_range: tuple[float, float]) -> CleanRows | None:
    """What `coig_p.ingest.intake` asks of each value, asked of columns."""
    ids, queries, lists = (batch.column(name) for name in ("query_id", "query", "responses"))
    ids = pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)
    responses = lists.flatten()
    models, texts, score_lists = (responses.field(name) for name in ("model", "text", "scores"))
    scores = score_lists.flatten()
    judges, dimensions, values, rationales = (
        scores.field(name) for name in ("judge", "dimension", "score", "rationale")
    )
    required = (queries, lists, responses, models, texts, scores, judges, values)
    absent = (
        *(batch.column(name) for name in ("messages", "tools", "meta", "comparisons")),
        *(responses.field(name) for name in ("sample", "extra")),
    )
    if any(column.null_count for column in required) or any(len(column) > column.null_count for column in absent):
        return None
    named = (ids, queries, batch.column("source"), models, texts, judges, dimensions, rationales)
    if any(_has_blank(column) for column in named):
        return None
    if not _on_scale(values.to_numpy(zero_copy_only=False), score_range):
        return None
    if _answers_twice(models.dictionary_encode(), lists.offsets.to_numpy()):
        return None
    dimensions = pc.fill_null(dimensions, OVERALL)
    scores = pa.StructArray.from_arrays([judges, dimensions, values, rationales], fields=list(SCORE_TYPE))
    score_lists = pa.ListArray.from_arrays(score_lists.offsets, scores)  # no list of scores is an empty one
    samples = pa.array(np.zeros(len(responses), np.int32))
    parts = [models, samples, texts, responses.field("extra"), score_lists]
    responses = pa.StructArray.from_arrays(parts, fields=list(RESPONSE_TYPE))
    lists = pa.ListArray.from_arrays(lists.offsets, responses)
    for name, column in (("query_id", ids), ("responses", lists)):
        at = RAW_SCHEMA.get_field_index(name)
        batch = batch.set_column(at, RAW_SCHEMA.field(at), column)
    return CleanRows(batch=batch)


def _has_blank(texts: pa.StringArray) -> bool:
    """Whether a text is blank, by Python's white space: few begin with one, and only those are looked at."""
    first = pc.utf8_slice_codeunits(texts, 0, 1)
    white = [letter for letter in pc.unique(first).to_pylist() if letter is not None and not letter.strip()]
    if not white:
        return False
    begins_white = pc.is_in(first, pa.array(white, pa.string()))
    return any(not text.strip() for text in texts.filter(begins_white).to_pylist() if text is not None)


def _on_scale(values: np.ndarray, score_range: tuple[float, float]) -> bool:
    low, high = score_range
    in_range = (values >= low) & (values <= high)
    on_grid = np.rint(values * SCORE_GRID) / SCORE_GRID == values
    minus_zero = (values == 0) & np.signbit(values)  # JSON's -0 is 0, its -0.0 is not; Arrow reads both as -0.0
    return bool((in_range & on_grid & ~minus_zero).all())


def _answers_twice(models: pa.DictionaryArray, offsets: np.ndarray) -> bool:
    """Whether one row has two responses of one model."""
    codes = models.indices.to_numpy().astype(np.int64)
    sizes = np.diff(offsets)
    pairs = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes) * max(1, len(models.dictionary)) + codes
    return len(np.unique(pairs)) < len(pairs)
