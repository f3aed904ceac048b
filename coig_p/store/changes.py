"""What becomes of the rows of a store that is written anew: what goes, under which reason, and what comes.

A row that nothing becomes of is passed on as it is, one that goes whole is counted as it goes, and only those that are
edited are taken apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index, Mask
from coig_p.errors import DataError
from coig_p.schema import RAW_SCHEMA, UNITS

_COUNTED = (*UNITS, "notes")
Row = dict[str, Any]
"""One query as `pyarrow.RecordBatch.to_pylist` gives it."""
Losses = dict[str, Counter[str]]
"""By reason, how many of each unit went."""


@dataclass(frozen=True)
class Loss:
    """How many rows, responses, scores and comparisons went; and how many notes beside those that stay."""

    rows: int = 0
    responses: int = 0
    scores: int = 0
    comparisons: int = 0
    notes: int = 0

    def __add__(self, other: Loss) -> Loss:
        return Loss(**{unit: getattr(self, unit) + getattr(other, unit) for unit in _COUNTED})

    def to_dict(self) -> dict[str, int]:
        """Numbers by unit, as a manifest has them; notes only where some went."""
        return {unit: number for unit, number in asdict(self).items() if number or unit in UNITS}

    @classmethod
    def from_dict(cls, told: object) -> Loss:
        """The reverse of `to_dict`; 0 where a unit is missing or no number."""
        numbers = told if isinstance(told, Mapping) else {}
        return cls(**{unit: numbers[unit] for unit in _COUNTED if isinstance(numbers.get(unit), int)})


@dataclass(frozen=True)
class TakenIn:
    """A query, gone and moved, whose responses another one takes in.

    Attributes:
        reason: what cannot be taken is counted under it.
    """

    query_id: str
    reason: str


@dataclass
class Change:
    """What becomes of one query. What goes has a reason, a short name under which it is counted.

    Attributes:
        row: the reason why all of it goes; None where it stays.
        moved: of a row that goes: another query takes in what it holds, and counts what it cannot take.
        responses: by their places, those that go. Their scores and comparisons go with them.
        scores: by place of the response and place among its scores, those that go.
        comparisons: by their places, those that go.
        notes: by where they stand, those that become null: meta, source, responses[1].scores[0].rationale or
            comparisons[2].rationale. What they stand beside stays.
        taken_in: queries of the store whose responses are appended, with the comparisons among them. A model that has
            answered already, with the same sample number, keeps its answer.
        compared: comparisons that come behind those there, naming responses by their places before.
    """

    row: str | None = None
    moved: bool = False
    responses: dict[int, str] = field(default_factory=dict)
    scores: dict[tuple[int, int], str] = field(default_factory=dict)
    comparisons: dict[int, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    taken_in: list[TakenIn] = field(default_factory=list)
    compared: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class Changing:
    """Rows of a shard that do not stay as they are, C of them.

    Attributes:
        places: C; where they are, ascending.
        gone: C; whether all of a row goes.
        moved: C; whether another one takes it in (see `Change.moved`).
    """

    places: Index
    gone: Mask
    moved: Mask


class Changes(Protocol):
    """What becomes of the rows of a store. It is asked twice: meanwhile nobody needs to hold what becomes of each."""

    def among(self, domain: str, ids: pa.StringArray) -> Changing:
        """Which of these rows of a domain do not stay as they are."""

    def of(self, domain: str, ids: pa.StringArray) -> dict[str, Change]:
        """What becomes of rows that do not stay as they are, by query_id."""


@dataclass(frozen=True)
class Each:
    """What is known of each row by itself.

    Attributes:
        becomes: called with domain and query_id; None leaves a row as it is.
    """

    becomes: Callable[[str, str], Change | None]

    def among(self, domain: str, ids: pa.StringArray) -> Changing:
        """See `Changes`."""
        found = [(at, self.becomes(domain, name)) for at, name in enumerate(ids.to_pylist())]
        some = [(at, change) for at, change in found if change is not None]
        return Changing(
            np.array([at for at, _ in some], np.int64),
            np.array([change.row is not None for _, change in some], bool),
            np.array([change.moved for _, change in some], bool),
        )

    def of(self, domain: str, ids: pa.StringArray) -> dict[str, Change]:
        """See `Changes`."""
        found = ((name, self.becomes(domain, name)) for name in ids.to_pylist())
        return {name: change for name, change in found if change is not None}


def changed(
    batch: pa.RecordBatch,
    changes: Mapping[int, Change],
    counted: Losses,
    row_of: Callable[[str], Row],
) -> Iterable[pa.RecordBatch]:
    """What is left of a batch of RAW_SCHEMA.

    Args:
        changes: by place in the batch, of rows that do not stay as they are.
        counted: what goes is added to it.
        row_of: the row of a query that is taken in.

    Raises:
        DataError: a comparison that named no response would now name one.
    """
    if not changes:
        return [batch]
    same = [at for at in range(batch.num_rows) if at not in changes]
    _count_rows(batch, changes, counted)
    edited = [at for at in sorted(changes) if changes[at].row is None]
    left = _taken(batch, same)
    if not edited:
        return [left] if left.num_rows else []
    rows = _taken(batch, edited).to_pylist()
    new = [_edited(row, changes[at], counted, row_of) for at, row in zip(edited, rows, strict=True)]
    pieces = pa.Table.from_batches([left, pa.RecordBatch.from_pylist(new, schema=RAW_SCHEMA)])
    places = [*same, *edited]
    order = sorted(range(len(places)), key=places.__getitem__)
    found: list[pa.RecordBatch] = pieces.take(pa.array(order, pa.int64())).to_batches()
    return found


def _taken(batch: pa.RecordBatch, rows: list[int]) -> pa.RecordBatch:
    return batch.take(pa.array(rows, pa.int64()))


def _count_rows(batch: pa.RecordBatch, changes: Mapping[int, Change], counted: Losses) -> None:
    """Count the rows that go whole, and what is in them."""
    gone: dict[tuple[str, bool], list[int]] = {}
    for at, change in sorted(changes.items()):
        if change.row is not None:
            gone.setdefault((change.row, change.moved), []).append(at)
    for (reason, moved), rows in gone.items():
        loss = counted.setdefault(reason, Counter())
        loss["rows"] += len(rows)
        if not moved:
            left = _taken(batch, rows)
            responses = left.column("responses").flatten()
            loss["responses"] += len(responses)
            loss["scores"] += len(responses.field("scores").flatten())
            loss["comparisons"] += len(left.column("comparisons").flatten())


def _edited(row: Row, change: Change, counted: Losses, row_of: Callable[[str], Row]) -> Row:
    """The row without what goes and with what comes; what goes is counted."""

    def count(reason: str, **numbers: int) -> None:
        counted.setdefault(reason, Counter()).update(numbers)

    def without(unit: Row, name: str, where: str) -> Row:
        if where not in change.notes or unit[name] is None:
            return unit
        count(change.notes[where], notes=1)
        return unit | {name: None}

    for name in ("meta", "source"):
        row = without(row, name, name)
    responses: list[Row] = []
    place: dict[int, int] = {}  # where each response that stays stands now
    for at, response in enumerate(row["responses"] or ()):
        given = response["scores"]
        if at in change.responses:
            count(change.responses[at], responses=1, scores=len(given or ()))
            continue
        gone = [nth for nth in range(len(given or ())) if (at, nth) in change.scores]
        for nth in gone:
            count(change.scores[at, nth], scores=1)
        place[at] = len(responses)
        kept = given and [
            without(score, "rationale", f"responses[{at}].scores[{nth}].rationale")
            for nth, score in enumerate(given)
            if nth not in gone
        ]
        responses.append(response | {"scores": kept})
    comparisons: list[Row] = []
    nowhere: list[int] = []  # what comparisons name though it was never there; a check would have said so
    for at, comparison in enumerate(row["comparisons"] or ()):
        if at in change.comparisons:
            count(change.comparisons[at], comparisons=1)
            continue
        sides = (comparison["first"], comparison["second"])
        missing = [side for side in sides if side is not None and side not in place]
        gone = [side for side in missing if side in change.responses]
        if gone:
            count(change.responses[gone[0]], comparisons=1)
        else:
            nowhere += missing
            comparison = without(comparison, "rationale", f"comparisons[{at}].rationale")
            comparisons.append(_moved(comparison, place))
    comparisons += [_moved(comparison, place) for comparison in change.compared]
    for taken in change.taken_in:
        answered = {(response["model"], response["sample"]) for response in responses}
        there: dict[int, int] = {}
        other = row_of(taken.query_id)
        for at, response in enumerate(other["responses"] or ()):
            if (response["model"], response["sample"]) in answered:
                count(taken.reason, responses=1, scores=len(response["scores"] or ()))
            else:
                there[at] = len(responses)
                responses.append(response)
        for comparison in other["comparisons"] or ():
            if comparison["first"] in there and comparison["second"] in there:
                comparisons.append(_moved(comparison, there))
            else:
                count(taken.reason, comparisons=1)
    named = next((side for side in nowhere if 0 <= side < len(responses)), None)
    if named is not None:
        raise DataError(
            f"{row['domain']} {row['query_id']}: a comparison names response {named}, where there was none before "
            "others were taken in. Drop such comparisons first: coigp clean"
        )
    none = row["comparisons"] is None and not comparisons
    return row | {"responses": responses, "comparisons": None if none else comparisons}


def _moved(comparison: Row, place: Mapping[int, int]) -> Row:
    """The comparison, naming its responses by where they stand now."""
    return comparison | {side: place.get(comparison[side], comparison[side]) for side in ("first", "second")}
