"""JSON Lines of the common shapes, a block at a time, where nothing in the block is unusual.

Most rows of most files are right. Arrow's parser and a few comparisons of whole columns see that
many times sooner than a look at each value. They judge nothing: a block with anything out of the
ordinary, wrong or merely rare, is handed back, and `coig_p.ingest.intake` goes through it row by row. So
this way gives what that way would give, or nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from coig_p.ingest.columns import SHAPES, Rows, Shape, Unusual, nested, taken
from coig_p.ingest.keyed import derived_id
from coig_p.ingest.readers import Lines, RawRow
from coig_p.ingest.values import identity_of
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

    def asked(self) -> tuple[list[str], list[bytes], list[str | None]]:
        """For each row the id of its query, what that query is (see `identity_of`), and the row's domain."""
        queries, messages = self.batch.column("query").to_pylist(), self.batch.column("messages")
        turns = [None] * len(queries) if messages.null_count == len(messages) else messages.to_pylist()
        known = [identity_of(query, given, None) for query, given in zip(queries, turns, strict=True)]
        given = self.batch.column("query_id").to_pylist()
        ids = [name or derived_id(identity) for name, identity in zip(given, known, strict=True)]
        return ids, known, self.batch.column("domain").to_pylist()

    def parts(self, ids: Sequence[str], domains: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
        """The rows of each domain under these ids and domains."""
        batch = self.batch
        for name, values in (("query_id", ids), ("domain", domains)):
            at = batch.schema.get_field_index(name)
            batch = batch.set_column(at, batch.schema.field(at), pa.array(values, pa.string()))
        several = list(dict.fromkeys(domains))
        for domain in several:
            own = [at for at, name in enumerate(domains) if name == domain]
            yield domain, batch.take(pa.array(own)) if len(several) > 1 else batch

    def plain(self) -> bool:
        """Whether every response has a model of its own in its row: one that is named does not answer twice."""
        return not self._responses().field("model").null_count

    def held(self) -> dict[str, int]:
        """How many there are of each unit."""
        responses = self._responses()
        return {
            "rows": len(self.batch),
            "responses": len(responses),
            "scores": len(responses.field("scores").flatten()),
            "comparisons": len(self.batch.column("comparisons").flatten()),
        }

    def extremes(self) -> tuple[float, float] | None:
        """The lowest and the highest score, None where there is none."""
        scores = self._responses().field("scores").flatten().field("score")
        found = pc.min_max(scores)
        return (found["min"].as_py(), found["max"].as_py()) if len(scores) else None

    def judge(self) -> str | None:
        """Who gave the scores, None where there are several."""
        names = pc.unique(self._responses().field("scores").flatten().field("judge"))
        return names[0].as_py() if len(names) == 1 else None

    def _responses(self) -> pa.StructArray:
        return self.batch.column("responses").flatten()


def clean_rows(block: Lines | RawRow, rows: Rows, forms: Collection[str] = ALL) -> CleanRows | None:
    """The rows of a block in which nothing is unusual, None of any other.

    Args:
        forms: that the rows may be of.
    """
    if isinstance(block, RawRow) or (lines := _objects(block.data)) is None:
        return None
    first = first_row(block.data)
    try:
        if "nested" in forms and "responses" in first:
            return CleanRows("nested", nested(_parsed(block.data, RAW_SCHEMA, lines), rows))
        for shape, schema, names in _fitting(first, forms):
            return CleanRows(shape.form, taken(_parsed(block.data, schema, lines), shape, names, rows))
    except (pa.ArrowException, ValueError, Unusual):
        pass
    return None


def _parsed(data: bytes | bytearray, schema: pa.Schema, lines: int) -> pa.RecordBatch:
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    # One chunk: the caller runs several blocks side by side.
    whole = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
    table = pj.read_json(pa.BufferReader(data), whole, options)
    table.validate(full=True)  # the parser lets bytes pass that are not UTF-8
    if table.num_rows != lines:
        raise Unusual  # two objects in one line
    (batch,) = table.combine_chunks().to_batches()
    return batch.select(schema.names)


def first_row(data: bytes | bytearray) -> Mapping[str, Any]:
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
