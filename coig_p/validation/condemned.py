"""What goes of a store by what a check found: rows of a table, sorted by query, not an object for each.

    findings -> what each names, by file beyond some memory -> for some queries what becomes of them

Of each query that changes a few numbers are in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, Mask
from coig_p.engine.sorting import Sorting
from coig_p.store.changes import Change, Changing
from coig_p.validation.checks.notes import is_note
from coig_p.validation.findings import Report
from coig_p.validation.rules import Rule

_COLUMNS = ("rule", "severity", "domain", "query_id", "response", "score", "comparison", "field")
_QUERY = ("domain", "query_id")
_UNIT = ("comparison", "response", "score", "note")
_UNITS = pa.schema(
    [
        ("domain", pa.string()),
        ("query_id", pa.string()),
        ("comparison", pa.int32()),
        ("response", pa.int32()),
        ("score", pa.int32()),
        ("note", pa.string()),
        ("at", pa.int64()),
        ("rule", pa.string()),
    ]
)
"""One row for each finding that drops something: a comparison, a response, a score or a note; else all of the query.

What it is not about is -1, or "", so that what drops the row comes first. `at` is the finding's place among all: of
several that name one unit, the first one's rule is the reason.
"""
_ROWS_AT_ONCE = 1 << 14


class Condemned:
    """What becomes of the queries that findings name: `coig_p.store.changes.Changes`.

    Attributes:
        reasons: rules under which something goes.
    """

    def __init__(self, report: Report, more: Collection[str]) -> None:
        """Take what errors, and the rules in `more`, name.

        Raises:
            OSError: a file cannot be written, as where the disk is full.
        """
        found, at = Sorting(_UNITS, lambda table: table.drop_columns(["rule"])), 0
        for batch in report.findings.select(list(_COLUMNS)).to_batches(_ROWS_AT_ONCE):
            found.add(_units(batch, at, report.rules, more))
            at += batch.num_rows
        self._batches = found.result().to_batches()
        self._ends = np.cumsum([len(batch) for batch in self._batches]).astype(np.int64)
        self.reasons: set[str] = set()
        begins, gone = [np.zeros(0, np.int64)], [np.zeros(0, bool)]
        for number, (batch, other_query, other_unit) in enumerate(_borders(self._batches)):
            self.reasons |= set(pc.unique(batch.column("rule").filter(pa.array(other_unit))).to_pylist())
            begins.append(np.flatnonzero(other_query) + _before(self._ends, number))
            gone.append(_whole(batch)[other_query])
        self._begins, self._gone = np.concatenate(begins), np.concatenate(gone)
        self._number_by_hash()

    def _number_by_hash(self) -> None:
        """Each query by a hash of its name: no two have the same."""
        self._salt, unique = 0, False
        while not unique:
            hashes = np.concatenate([np.zeros(0, np.int64), *self._hashes()])
            unique = len(np.unique(hashes)) == len(hashes)
            self._salt += not unique
        self._order = np.argsort(hashes)
        self._sorted = hashes[self._order]

    def _hashes(self) -> Iterator[Index]:
        for low in range(0, len(self._begins), _ROWS_AT_ONCE):
            names = self._taken(self._begins[low : low + _ROWS_AT_ONCE]).select(_QUERY).to_pydict()
            yield self._hashed(names["domain"], names["query_id"])

    def _hashed(self, domains: Collection[str], ids: Collection[str]) -> Index:
        some = (hash((self._salt, domain, name)) for domain, name in zip(domains, ids, strict=True))
        return np.fromiter(some, np.int64, len(ids))

    def among(self, domain: str, ids: pa.StringArray) -> Changing:
        """Which of these rows of a domain do not stay as they are."""
        places, numbers = self._found(domain, ids)
        return Changing(places, self._gone[numbers], np.zeros(len(places), bool))

    def of(self, domain: str, ids: pa.StringArray) -> dict[str, Change]:
        """What becomes of these, by query_id."""
        numbers = np.unique(self._found(domain, ids)[1])
        ends = np.append(self._begins, self._ends[-1:])[numbers + 1]
        rows = [np.arange(begin, end) for begin, end in zip(self._begins[numbers], ends, strict=True)]
        changes: dict[str, Change] = {}
        for one in self._taken(np.concatenate([np.zeros(0, np.int64), *rows])).to_pylist():
            change, rule = changes.setdefault(one["query_id"], Change()), one["rule"]
            if one["note"]:
                change.notes.setdefault(one["note"], rule)
            elif one["comparison"] >= 0:
                change.comparisons.setdefault(one["comparison"], rule)
            elif one["response"] < 0:
                change.row = change.row or rule
            elif one["score"] < 0:
                change.responses.setdefault(one["response"], rule)
            else:
                change.scores.setdefault((one["response"], one["score"]), rule)
        return changes

    def _found(self, domain: str, ids: pa.StringArray) -> tuple[Index, Index]:
        """Where some are that change, and the number of each."""
        if not len(self._begins):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        names = ids.to_pylist()
        hashes = self._hashed([domain] * len(names), names)
        place = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
        at = np.flatnonzero(self._sorted[place] == hashes)
        numbers = self._order[place[at]]
        told = self._taken(self._begins[numbers]).select(_QUERY).to_pydict()
        same = [(domain, names[one]) for one in at.tolist()]
        right = np.array([mine == own for mine, own in zip(same, zip(*told.values(), strict=True), strict=True)], bool)
        return at[right], numbers[right]

    def _taken(self, rows: Index) -> pa.Table:
        """Some rows, from whichever batches they are in."""
        batch = np.searchsorted(self._ends, rows, side="right")
        some = np.unique(batch)
        pieces = [
            self._batches[one].take(pa.array(rows[batch == one] - _before(self._ends, one))) for one in some.tolist()
        ]
        order = np.argsort(np.argsort(batch, kind="stable"), kind="stable")
        return pa.Table.from_batches(pieces, _UNITS).take(pa.array(order))


def _before(ends: Index, batch: int) -> int:
    """Rows in all batches before one."""
    return int(ends[batch - 1]) if batch else 0


def _units(batch: pa.RecordBatch, begin: int, rules: Mapping[str, Rule], more: Collection[str]) -> pa.Table:
    """What findings drop, as rows of _UNITS."""
    table = pa.Table.from_batches([batch]).append_column("at", pa.array(begin + np.arange(batch.num_rows)))
    drops = pc.or_(
        pc.equal(table.column("severity"), "error"),
        pc.is_in(table.column("rule"), pa.array(list(more), pa.string())),
    )
    table = table.filter(pc.and_(drops, pc.is_valid(table.column("query_id"))))
    fields = table.column("field")
    notes = [one for one in pc.unique(fields).to_pylist() if is_note(one)]
    texts = [id for id, rule in rules.items() if rule.over == "texts"]
    note = pc.and_(
        pc.is_in(fields, pa.array(notes, pa.string())), pc.is_in(table.column("rule"), pa.array(texts, pa.string()))
    )
    comparison = pc.if_else(note, -1, pc.fill_null(table.column("comparison"), -1))
    other = pc.or_(note, pc.greater_equal(comparison, 0))
    response = pc.if_else(other, -1, pc.fill_null(table.column("response"), -1))
    score = pc.if_else(pc.less(response, 0), -1, pc.fill_null(table.column("score"), -1))
    columns = {
        **{name: table.column(name) for name in (*_QUERY, "at", "rule")},
        **{"comparison": comparison, "response": response, "score": score, "note": pc.if_else(note, fields, "")},
    }
    return pa.table([columns[name].cast(_UNITS.field(name).type) for name in _UNITS.names], schema=_UNITS)


def _borders(batches: Collection[pa.RecordBatch]) -> Iterator[tuple[pa.RecordBatch, Mask, Mask]]:
    """Each batch of sorted rows, with where another query begins, and where another unit of one does."""
    last: pa.RecordBatch | None = None
    for batch in batches:
        before = pa.Table.from_batches([batch.slice(0, 1) if last is None else last, batch.slice(0, len(batch) - 1)])
        other = np.zeros(len(batch), bool)
        other[0] = last is None
        masks = []
        for names in (_QUERY, _UNIT):
            for name in names:
                differs = pc.not_equal(batch.column(name), before.column(name).combine_chunks())
                other = other | differs.to_numpy(zero_copy_only=False)
            masks.append(other)
        yield batch, masks[0], masks[1]
        last = batch.slice(len(batch) - 1, 1)


def _whole(batch: pa.RecordBatch) -> Mask:
    """Rows that drop all of a query."""
    of_unit = np.stack([batch.column(name).to_numpy() >= 0 for name in _UNIT[:3]]).any(axis=0)
    return np.asarray(~of_unit & pc.equal(batch.column("note"), "").to_numpy(zero_copy_only=False))
