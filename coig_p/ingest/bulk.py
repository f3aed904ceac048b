"""JSON Lines of the common shapes, a block at a time, where nothing in the block is unusual.

Most rows of most files are right. Arrow's parser and a few comparisons of whole columns see that
many times sooner than a look at each value. They judge nothing: a block with anything out of the
ordinary, wrong or merely rare, is handed back, and `coig_p.ingest.intake` goes through it row by row. So
this way gives what that way would give, or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from coig_p.ingest.columns import SHAPES, Rows, Shape, Unusual, nested, taken
from coig_p.ingest.readers import Lines, RawRow
from coig_p.schema import RAW_SCHEMA

ALL = frozenset(("nested", *(shape.form for shape in SHAPES)))
"""The forms that are taken in blocks."""


class CleanRows(NamedTuple):
    """Rows in which every value is right by itself; query ids and domains are still to be judged.

    Attributes:
        form: what all of them are.
        batch: of RAW_SCHEMA; query_id may be null, and domain is as the rows have it.
    """

    form: str
    batch: pa.RecordBatch


def clean_rows(block: Lines | RawRow, rows: Rows, forms: Collection[str] = ALL) -> CleanRows | None:
    """The rows of a block in which nothing is unusual, None of any other.

    Args:
        forms: that the rows may be of.
    """
    if isinstance(block, RawRow) or (lines := _objects(block.data)) is None:
        return None
    first = _first(block.data)
    try:
        if "nested" in forms and "responses" in first:
            return CleanRows("nested", nested(_parsed(block.data, RAW_SCHEMA, lines), rows))
        for shape, schema, names in _fitting(first, forms):
            return CleanRows(shape.form, taken(_parsed(block.data, schema, lines), shape, names, rows))
    except (pa.ArrowException, ValueError, Unusual):
        pass
    return None


def _parsed(data: bytearray, schema: pa.Schema, lines: int) -> pa.RecordBatch:
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    # One chunk: the caller runs several blocks side by side.
    whole = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
    table = pj.read_json(pa.BufferReader(data), whole, options)
    table.validate(full=True)  # the parser lets bytes pass that are not UTF-8
    if table.num_rows != lines:
        raise Unusual  # two objects in one line
    (batch,) = table.combine_chunks().to_batches()
    return batch.select(schema.names)


def _first(data: bytearray) -> Mapping[str, Any]:
    """The first row, nothing where it is none."""
    try:
        row = json.loads(data[: data.find(b"\n") if b"\n" in data else None])
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _fitting(row: Mapping[str, Any], forms: Collection[str]) -> list[tuple[Shape, pa.Schema, Mapping[str, str]]]:
    """The shape of a row, where there is one, and what to parse its block as."""
    found = []
    for shape in SHAPES:
        if shape.form in forms and (fits := shape.schema(row)) is not None:
            of_turns = pa.types.is_list(shape.fields["query"][1])
            if any(isinstance(row[name], list) == of_turns for name, ours in fits[1].items() if ours == "query"):
                found.append((shape, *fits))
    return found[:1]


def _objects(data: bytearray) -> int | None:
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
