"""What stands beside queries and responses: what judges said of them, where they come from, what upstream kept.

It is published as the rest is, and may be longer than it. Personal data are looked for in it, and they begin with a
few characters that a pattern finds in linear time: only texts that have them are laid out for the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index

_DIGIT, _DOT = "[0-9\uff10-\uff19]", "[.\uff0e]"
_SUSPICIOUS = f"[@\uff20]|(?:{_DIGIT}[- \u00a0\uff0d]?){{11}}|(?:{_DIGIT}{{1,3}}{_DOT}){{3}}{_DIGIT}"
"""What every text matches in which a rule of `coig_p.validation.checks.privacy` finds a number or an address."""

COLUMNS = ("meta", "source")


class Notes(NamedTuple):
    """N notes, and where each stands; -1 for what it is not about.

    Attributes:
        column: N strings.
        row: in the batch.
        response, comparison: in the row.
        score: in the response.
        answer: of all responses of the batch.
        judge: who said it; null where nobody did.
    """

    column: pa.StringArray
    row: Index
    response: Index
    answer: Index
    score: Index
    comparison: Index
    judge: pa.StringArray

    def field(self, note: int) -> str:
        """Where in its row a note stands, for people: see `is_note`."""
        if self.comparison[note] >= 0:
            return f"comparisons[{self.comparison[note]}].rationale"
        if self.score[note] >= 0:
            return f"responses[{self.response[note]}].scores[{self.score[note]}].rationale"
        return COLUMNS[-2 - int(self.score[note])]


def is_note(field: str | None) -> bool:
    """Whether a finding's field is a note, which may be left out without what it stands beside."""
    return field is not None and (field in COLUMNS or field.endswith(".rationale"))


def find_notes(batch: pa.RecordBatch, every: bool = False) -> Notes:
    """The notes of a batch in which there may be personal data.

    Args:
        every: all of them.
    """
    parts = list(_parts(batch, every))
    nothing, nobody = np.zeros(0, np.int64), pa.array([], pa.string())
    return Notes(
        column=pa.concat_arrays([nobody, *(part.column for part in parts)]),
        row=np.concatenate([nothing, *(part.row for part in parts)]),
        response=np.concatenate([nothing, *(part.response for part in parts)]),
        answer=np.concatenate([nothing, *(part.answer for part in parts)]),
        score=np.concatenate([nothing, *(part.score for part in parts)]),
        comparison=np.concatenate([nothing, *(part.comparison for part in parts)]),
        judge=pa.concat_arrays([nobody, *(part.judge for part in parts)]),
    )


def _parts(batch: pa.RecordBatch, every: bool) -> Iterator[Notes]:
    for at, name in enumerate(COLUMNS):
        column = batch.column(name)
        some = _some(column, every)
        none = np.full(len(some), -1)
        which = np.full(len(some), -2 - at)
        yield Notes(column.take(pa.array(some)), some, none, none, which, none, pa.nulls(len(some), pa.string()))
    lists = batch.column("responses")
    responses = lists.flatten()
    held = pc.struct_field(responses, "scores")
    scores = held.flatten()
    column = pc.struct_field(scores, "rationale")
    some = _some(column, every)
    if len(some):
        row, response = places_in(lists)
        answer, score = (places[some] for places in places_in(held))
        judge = pc.struct_field(scores, "judge").take(pa.array(some))
        none = np.full(len(some), -1)
        yield Notes(column.take(pa.array(some)), row[answer], response[answer], answer, score, none, judge)
    lists = batch.column("comparisons")
    comparisons = lists.flatten()
    column = pc.struct_field(comparisons, "rationale")
    some = _some(column, every)
    if len(some):
        row, comparison = (places[some] for places in places_in(lists))
        judge = pc.struct_field(comparisons, "judge").take(pa.array(some))
        none = np.full(len(some), -1)
        yield Notes(column.take(pa.array(some)), row, none, none, none, comparison, judge)


def _some(column: pa.StringArray, every: bool) -> Index:
    """The places of notes that are looked at."""
    if column.null_count == len(column):
        return np.zeros(0, np.int64)
    looked_at = column.is_valid() if every else pc.fill_null(pc.match_substring_regex(column, _SUSPICIOUS), False)
    return np.flatnonzero(looked_at.to_numpy(zero_copy_only=False))


def places_in(lists: pa.ListArray) -> tuple[Index, Index]:
    """Of each element of lists its row, and its place there."""
    held = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    row = np.repeat(np.arange(len(lists)), held)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(held) - held, held)
