"""The shards of a store that is written anew, by all processes: which rows of which old shard make each new one.

    look -> keep -> plan -> (set aside) -> write

Every old shard tells its query_ids, from which the process that folds knows what stays of it. New shards are equal in
rows, so that each is some rows of neighbouring old ones: whoever writes it reads those. A row that another one takes in
is set aside in a file first, since it may stand anywhere. What is written is the same however the old shards are cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index
from coig_p.engine.journal import Journal, task_name
from coig_p.engine.local import Workers, in_order
from coig_p.engine.scratch import read_piece, release, write_pieces
from coig_p.errors import StoreError
from coig_p.schema import RAW_SCHEMA
from coig_p.store.changes import Change, Changes, Changing, Losses, Row, changed
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import part_of
from coig_p.store.store import shard_batches
from coig_p.store.writing import ROWS_PER_GROUP, ShardPlan, WrittenShard, cut, plan_shards, write_shard

_IDS = part_of(RAW_SCHEMA, "query_id")


@dataclass(frozen=True)
class Kept:
    """What becomes of an old shard.

    Attributes:
        rows: that it has.
        changing: those that do not stay as they are.
        ids: their query_ids.
        changes: what knows what becomes of them.
    """

    file: StoreFile
    rows: int
    changing: Changing
    ids: pa.StringArray
    changes: Changes

    def places(self) -> Index:
        """Of the rows that stay, ascending."""
        stays = np.ones(self.rows, bool)
        stays[self.changing.places[self.changing.gone]] = False
        return np.flatnonzero(stays)

    def source(self, begin: int, end: int, left: int) -> Source:
        """Rows from one place to another."""
        low, high = np.searchsorted(self.changing.places, (begin, end)).tolist()
        changes = self.changes.of(str(self.file.domain), self.ids.slice(low, high - low)) if high > low else {}
        return Source(self.file, begin, end, left, changes)

    def moved(self) -> list[str]:
        """Of the rows that another one takes in, their query_ids."""
        return self.ids.filter(pa.array(self.changing.moved)).to_pylist() if self.changing.moved.any() else []


@dataclass(frozen=True)
class Source:
    """Rows of an old shard that one task reads.

    Attributes:
        begin, end: their places, without the end.
        left: how many of them stay.
        changes: of those that do not stay as they are, by query_id.
    """

    file: StoreFile
    begin: int
    end: int
    left: int
    changes: Mapping[str, Change]


@dataclass(frozen=True)
class NewShard:
    """What one task does.

    Attributes:
        plan: what it writes; None where nothing of these rows stays, so that they are counted only.
        sources: what it reads.
        aside: of queries that are taken in, the number of the file where they lie.
    """

    plan: ShardPlan | None
    sources: tuple[Source, ...]
    aside: Mapping[str, int]


@dataclass(frozen=True)
class Recut:
    """What one task gives.

    Attributes:
        written: None where nothing was.
        dropped: by reason, what went, by unit.
        read: how many old rows were.
    """

    written: WrittenShard | None
    dropped: Mapping[str, Mapping[str, int]]
    read: int

    def to_json(self) -> dict[str, Any]:
        """For a journal."""
        written = None if self.written is None else self.written.to_json()
        return {"written": written, "dropped": self.dropped, "read": self.read}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Recut:
        """The reverse of `to_json`."""
        written = told["written"]
        shard = None if written is None else WrittenShard.from_json(written)
        return cls(shard, told["dropped"], told["read"])


def what_stays(root: Path, files: Sequence[StoreFile], changes: Changes, workers: Workers) -> list[Kept]:
    """What becomes of each of the shards of the store at `root`, in their order.

    Raises:
        StoreError: one cannot be read.
    """
    found = []
    for file, ids in in_order(partial(_ids_of, root), files, workers):
        changing = changes.among(str(file.domain), ids)
        # A copy: a view would keep all ids of the shard.
        own = ids.take(pa.array(changing.places))
        found.append(Kept(file, len(ids), changing, own, changes))
    return found


def _ids_of(root: Path, file: StoreFile) -> pa.StringArray:
    batches = shard_batches(root, file, file.rows or 1, _IDS, threads=False)
    return pa.Table.from_batches(batches, _IDS).combine_chunks().column(0).combine_chunks()


def plan_of(kept: Sequence[Kept]) -> Iterator[NewShard]:
    """The tasks that write a store of what stays, by domain and split in the old store's order."""
    parts: dict[tuple[str, str], list[Kept]] = {}
    for one in kept:
        parts.setdefault((str(one.file.domain), str(one.file.split)), []).append(one)
    aside = {name: at for at, one in enumerate(kept) for name in one.moved()}
    for (domain, split), some in parts.items():
        for plan, sources in _planned(domain, split, some):
            taken = (taken for source in sources for change in source.changes.values() for taken in change.taken_in)
            yield NewShard(plan, tuple(sources), {one.query_id: aside[one.query_id] for one in taken})


def _planned(domain: str, split: str, kept: Sequence[Kept]) -> Iterator[tuple[ShardPlan | None, list[Source]]]:
    """Each new shard with the rows that it is made of. Every old row is in one, also where it goes."""
    left = [one.places() for one in kept]
    total = sum(map(len, left))
    if not total:
        yield from ((None, [one.source(0, one.rows, 0)]) for one in kept)
        return
    plans = plan_shards(domain, split, total)
    shard = used = row = 0  # of the old shard: rows that stay and are dealt out, and all rows that are
    for plan in plans:
        sources: list[Source] = []
        missing = plan.rows
        # The last one also has what goes behind its last row.
        while shard < len(kept) and (missing or plan is plans[-1]):
            one, places = kept[shard], left[shard]
            taken = min(missing, len(places) - used)
            whole = used + taken == len(places)
            end = one.rows if whole else int(places[used + taken - 1]) + 1
            if end > row:
                sources.append(one.source(row, end, taken))
            missing, used, row = missing - taken, used + taken, end
            if whole:
                shard, used, row = shard + 1, 0, 0
        yield plan, sources


@dataclass(frozen=True)
class Places:
    """What every task is told.

    Attributes:
        old, new: stores; the new one is unfinished.
        aside: a folder for rows that others take in.
    """

    old: Path
    new: Path
    aside: Path


def write_what_stays(kept: Sequence[Kept], places: Places, journal: Journal, workers: Workers) -> Iterator[Recut]:
    """Write the shards of the new store that are not there.

    Args:
        journal: of the new store.

    Raises:
        StoreError: an old shard cannot be read, or changed since.
        DataError: a comparison that named no response would now name one.
    """
    moved = [(at, one.file, one.moved()) for at, one in enumerate(kept) if one.changing.moved.any()]
    if moved:
        places.aside.mkdir(exist_ok=True)
        told = journal.in_order(
            partial(_set_aside, places),
            moved,
            workers,
            task=partial(task_name, "set aside"),
            files=lambda item: [_aside(places, item[0]).relative_to(places.new).as_posix()],
        )
        deque(told, maxlen=0)
    for one in dict.fromkeys(str(one.file.domain) for one in kept if len(one.places())):
        (places.new / "data" / one).mkdir(parents=True, exist_ok=True)
    for _, done in journal.in_order(
        partial(_write, places),
        plan_of(kept),
        workers,
        task=partial(task_name, "write"),
        files=lambda new: [] if new.plan is None else [new.plan.name],
        told=lambda done: {} if done.written is None else done.written.file.content,
        as_json=Recut.to_json,
        from_json=Recut.from_json,
    ):
        yield done


def _set_aside(places: Places, item: tuple[int, StoreFile, list[str]]) -> None:
    """Write these rows of a shard to a file of their own."""
    number, file, names = item
    wanted = pa.array(names, pa.string())
    batches = shard_batches(places.old, file, ROWS_PER_GROUP)
    some = (batch.filter(pc.is_in(batch.column("query_id"), wanted)) for batch in batches)
    rows = pa.Table.from_batches(some, RAW_SCHEMA).combine_chunks()
    write_pieces(_aside(places, number), RAW_SCHEMA, rows.to_batches())


def _aside(places: Places, number: int) -> Path:
    return places.aside / f"{number:06d}.arrow"


class _Aside:
    """Rows that were set aside, by their query_ids; those that are not asked for are not read."""

    def __init__(self, places: Places, numbers: Mapping[str, int]) -> None:
        self.places, self.numbers = places, numbers
        self.files: dict[int, tuple[pa.RecordBatch, dict[str, int]]] = {}

    def __call__(self, query_id: str) -> Row:
        number = self.numbers[query_id]
        if number not in self.files:
            batch = read_piece(_aside(self.places, number))
            self.files[number] = batch, {name: at for at, name in enumerate(batch.column("query_id").to_pylist())}
        batch, at = self.files[number]
        row: Row = batch.slice(at[query_id], 1).to_pylist()[0]
        return row


def _write(places: Places, new: NewShard) -> Recut:
    dropped: Losses = {}
    batches = _left_of(places, new, dropped)
    written = None
    if new.plan is not None:
        written = write_shard(places.new, new.plan, cut(batches, new.plan.groups))
    deque(batches, maxlen=0)  # nothing more is written, but what goes is counted
    numbers = {reason: dict(lost) for reason, lost in dropped.items()}
    release()
    return Recut(written, numbers, sum(source.end - source.begin for source in new.sources))


def _left_of(places: Places, new: NewShard, dropped: Losses) -> Iterator[pa.RecordBatch]:
    row_of = _Aside(places, new.aside)
    for source in new.sources:
        left = 0
        # Decoded here: what Arrow's own threads keep of memory nobody gives back.
        between = (source.begin, source.end)
        for batch in shard_batches(places.old, source.file, ROWS_PER_GROUP, threads=False, between=between):
            changes = {}
            if source.changes:
                names = enumerate(batch.column("query_id").to_pylist())
                changes = {at: source.changes[name] for at, name in names if name in source.changes}
            for some in changed(batch, changes, dropped, row_of):
                left += some.num_rows
                yield some
        if left != source.left:
            raise StoreError(places.old, f"{source.file.path} changed while it was read. Try again")
