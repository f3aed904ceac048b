"""A store written anew, with less in it or more: what becomes of each query, and a count of all that goes.

Rows stream through in the store's order. One that nothing becomes of is passed on as it is, one that
goes whole is counted as it goes, and only those that are edited are taken apart. How many rows stay is
counted before, from the query_ids alone, since shards are equal in rows.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p._version import __version__
from coig_p.core.atomic import atomic_directory
from coig_p.core.progress import Advance
from coig_p.errors import DataError, UsageError
from coig_p.schema import RAW_SCHEMA, UNITS
from coig_p.store.benchmarks import BenchmarkCheck, added, checks_on_disk, with_checks
from coig_p.store.manifest import MANIFEST
from coig_p.store.places import check_target
from coig_p.store.reading import part_of
from coig_p.store.replacing import carry_over, check_replaced
from coig_p.store.rewards_carried import with_carried
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import Part, describe_file, write_store

_COUNTED = (*UNITS, "notes")
Row = dict[str, Any]
"""One query as `pyarrow.RecordBatch.to_pylist` gives it."""


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
    """A query whose responses another one takes in; what it cannot take is counted under the reason."""

    row: Row
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
        taken_in: queries whose responses are appended, with the comparisons among them. A model that has
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
class Rewritten:
    """What a rewriting gave.

    Attributes:
        store: the new store.
        dropped: by reason, what went this time.
    """

    store: Store
    dropped: Mapping[str, Loss]

    @property
    def lost(self) -> Loss:
        """What went for any reason."""
        return sum(self.dropped.values(), Loss())

    def to_dict(self) -> dict[str, Any]:
        """The new store's path, and numbers by reason and unit."""
        return {
            "store": str(self.store.path),
            "dropped": {reason: loss.to_dict() for reason, loss in self.dropped.items()},
        }


def rewrite_store(
    store: Store,
    out: Path,
    becomes: Callable[[str, str], Change | None],
    *,
    step: str,
    record: Callable[[Mapping[str, Loss]], Mapping[str, Any]],
    reasons: Collection[str] = (),
    earlier: Mapping[str, Loss] | None = None,
    beside: Mapping[str, pa.Table] | None = None,
    checks: Sequence[BenchmarkCheck] = (),
    overwrite: bool = False,
    advance: Advance = lambda queries: None,
    num_proc: int | None = 1,
) -> Rewritten:
    """Write a store of what is left of another, rewards too. Its owner's card.toml comes along, unless `out` has one.

    Args:
        becomes: called with domain and query_id of each row; None leaves it as it is. What a change takes in is of
            the same store.
        step: the name under which the new manifest's options tell of it.
        record: what they tell, given all that went by reason, earlier runs of this step included.
        reasons: those that are told even where nothing went for them.
        earlier: what went in earlier runs of this step, by reason.
        beside: tables written to the new store under their names.
        checks: benchmarks that `store` was compared with, once what is dropped is gone. What its manifest remembers of
            others is remembered in the new one, since no row is there that was not compared.
        advance: called with the number of queries read since the last call.
        num_proc: threads that write (see `write_store`).

    Raises:
        UsageError: `out` cannot be used.
        DataError: nothing would be left, or a comparison that named no response would now name one.
        StoreError: a shard cannot be read.
    """
    check_rewrite(store, out, overwrite)
    left = _rows_left(store, becomes)
    if not left.total():
        raise DataError("nothing was written: no query is left")
    counted: dict[str, Counter[str]] = {}
    options = {**store.manifest.options, step: {}}

    def parts() -> Iterator[Part]:
        for (domain, split), rows in left.items():
            batches = _what_is_left(store, domain, split, becomes, counted, advance)
            if rows:
                yield Part(domain, split, rows, batches)
            deque(batches, maxlen=0)  # nothing more is written, but what goes is counted
        options[step] = record(_added_up(counted, reasons, earlier or {}))  # all parts are written by now

    check_rewrite(store, out, overwrite)  # again: it was read since
    with atomic_directory(out, MANIFEST) as root:
        extra = []
        for name, table in (beside or {}).items():
            pq.write_table(table, root / name, compression="zstd")
            extra.append(describe_file(root, name, Path(name).stem, rows=table.num_rows))
        tool = f"coig-p {__version__}"
        manifest = replace(store.manifest, domains=(), files=tuple(extra), tool=tool, options=options, rewards={})
        remembered = added(checks_on_disk(store), checks)
        write_store(
            root,
            parts(),
            manifest,
            lambda written: with_checks(with_carried(written, root, store), remembered),
            num_proc,
        )
        carry_over(root, out, store.path)
    return Rewritten(Store.open(out), _added_up(counted, reasons, {}))


def check_rewrite(store: Store, out: Path, overwrite: bool) -> None:
    """Raise UsageError where `out` cannot become what is left of `store`, before anything is read."""
    check_target(out, overwrite)
    if out.resolve() == store.path.resolve():
        raise UsageError(f"{out} is the store itself: choose another place")
    check_replaced(out)


def dropped_before(store: Store, step: str) -> Mapping[str, Any]:
    """What earlier runs of a step counted as dropped, as the store's manifest has it; empty where none did."""
    told = store.manifest.options.get(step)
    found = told.get("dropped") if isinstance(told, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _added_up(
    counted: Mapping[str, Counter[str]], reasons: Collection[str], earlier: Mapping[str, Loss]
) -> dict[str, Loss]:
    return {
        reason: earlier.get(reason, Loss()) + Loss(**counted.get(reason, Counter()))
        for reason in sorted({*counted, *reasons, *earlier})
    }


def _rows_left(store: Store, becomes: Callable[[str, str], Change | None]) -> Counter[tuple[str, str]]:
    """By domain and split, in the store's order, how many rows stay; 0 where all of them go."""
    left: Counter[tuple[str, str]] = Counter()
    for file in store.data_files():
        domain = str(file.domain)
        for batch in shard_batches(store.path, file, file.rows or 1, part_of(RAW_SCHEMA, "query_id")):
            changes = (becomes(domain, query_id) for query_id in batch.column("query_id").to_pylist())
            left[domain, str(file.split)] += sum(change is None or change.row is None for change in changes)
    return left


def _what_is_left(
    store: Store,
    domain: str,
    split: str,
    becomes: Callable[[str, str], Change | None],
    counted: dict[str, Counter[str]],
    advance: Advance,
) -> Iterator[pa.RecordBatch]:
    for batch in store.batches(domain, split):
        advance(batch.num_rows)
        changes = [becomes(domain, query_id) for query_id in batch.column("query_id").to_pylist()]
        same = [at for at, change in enumerate(changes) if change is None]
        if len(same) == len(changes):
            yield batch
            continue
        _count_rows(batch, changes, counted)
        edited = [at for at, change in enumerate(changes) if change is not None and change.row is None]
        left = _taken(batch, same)
        if edited:
            rows = _taken(batch, edited).to_pylist()
            changed = [_edited(row, changes[at] or Change(), counted) for at, row in zip(edited, rows, strict=True)]
            pieces = pa.Table.from_batches([left, pa.RecordBatch.from_pylist(changed, schema=RAW_SCHEMA)])
            places = [*same, *edited]
            order = sorted(range(len(places)), key=places.__getitem__)
            yield from pieces.take(pa.array(order, pa.int64())).to_batches()
        elif left.num_rows:
            yield left


def _taken(batch: pa.RecordBatch, rows: list[int]) -> pa.RecordBatch:
    return batch.take(pa.array(rows, pa.int64()))


def _count_rows(batch: pa.RecordBatch, changes: list[Change | None], counted: dict[str, Counter[str]]) -> None:
    """Count the rows that go whole, and what is in them."""
    gone: dict[tuple[str, bool], list[int]] = {}
    for at, change in enumerate(changes):
        if change is not None and change.row is not None:
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


def _edited(row: Row, change: Change, counted: dict[str, Counter[str]]) -> Row:
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
        for at, response in enumerate(taken.row["responses"] or ()):
            if (response["model"], response["sample"]) in answered:
                count(taken.reason, responses=1, scores=len(response["scores"] or ()))
            else:
                there[at] = len(responses)
                responses.append(response)
        for comparison in taken.row["comparisons"] or ():
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
