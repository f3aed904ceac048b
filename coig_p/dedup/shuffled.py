"""Near-duplicates of more queries than memory holds: the steps of `coig_p.dedup.minhash`, with files between them.

    runs -> sign -> pair -> ship -> compare -> decide

Texts are cut into ranges, in their order, so that a text's number is its range's and its place there, and numbers are
ordered as texts are. Every range is signed; keys go by their hash to where equal ones meet; a pair goes to the range of
its lower text, which sends it on with that text's signature to the range of the other; what the signatures do not speak
against comes back with the other's form, and exact Jaccard decides. Each task holds a range, or the keys of one piece.

What is found is what `similar_pairs` finds: the same keys meet, and texts are in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, hash64
from coig_p.dedup.minhash import APART, TEXTS_AT_ONCE, bands, bits_of, pairs_of_band, promising, signed, unpacked
from coig_p.dedup.runs import RUN, TEXT, Cut, Run, cuts_between, differs, in_text_order, read_range
from coig_p.dedup.shingles import Pairs, jaccard, sorted_unique
from coig_p.engine.local import Workers, in_order
from coig_p.engine.scratch import read_piece, release, write_pieces

_KEYS_AT_ONCE = 1 << 21  # of a band, which one task sorts
_PAIRS_AT_ONCE = 1 << 16
_TEXTS = pa.schema([(name, pa.large_string()) for name in TEXT])
_KEYS = pa.schema([("key", pa.uint64()), ("text", pa.uint32())])
_PAIRS = pa.schema([("one", pa.int64()), ("other", pa.int64())])
_LEFT = pa.schema([*_PAIRS, *_TEXTS])
MEMBERS = pa.schema([("text", pa.int64()), *(RUN.field(name) for name in ("form", *RUN.names[3:]))])
"""Queries and their texts by number."""


@dataclass(frozen=True)
class Task:
    """What every task is told.

    Attributes:
        cuts: between ranges of texts.
        pieces: into which the keys of a band are cut.
        apart: whether texts differ in more than their form.
    """

    folder: Path
    runs: tuple[Path, ...]
    cuts: tuple[Cut, ...]
    pieces: int
    apart: bool
    threshold: float
    n: int
    num_perm: int
    seed: int

    @property
    def ranges(self) -> int:
        """How many there are."""
        return len(self.cuts) + 1

    def file(self, kind: str, number: int) -> Path:
        """The file of a kind that a task of that number writes."""
        return self.folder / f"{kind}-{number}.arrow"

    def small(self, number: int) -> npt.NDArray[np.uint8]:
        """The signatures of a range, eight bits of each value."""
        flat = read_piece(self.file("small", number)).column(0)
        return np.asarray(flat.to_numpy().reshape(-1, self.num_perm))


@dataclass(frozen=True)
class Alike:
    """Texts that are alike, in files.

    Attributes:
        task: what the tasks were told.
        repeated: by range, the numbers of texts that several queries have.
        involved: the numbers of all texts that are alike to another, or that several queries have, ascending.
    """

    task: Task
    repeated: list[Index]
    involved: Index

    def __iter__(self) -> Iterator[Pairs]:
        """Pairs, by their places in `involved`, a range at a time."""
        for at in range(self.task.ranges):
            yield np.searchsorted(self.involved, _pairs(self.task.file("alike", at)))

    def members(self, workers: Workers) -> pa.Table:
        """The queries of `involved`, in the order in which they were read, as MEMBERS."""
        edges = np.searchsorted(self.involved, np.arange(self.task.ranges + 1) << 32)
        items = [(at, self.involved[edges[at] : edges[at + 1]]) for at in range(self.task.ranges)]
        found = [table for _, table in in_order(partial(_members, self.task), items, workers)]
        whole = pa.concat_tables([MEMBERS.empty_table(), *found])
        return whole.take(pc.sort_indices(whole.column("place")))


def similar_texts(
    runs: Sequence[Run], folder: Path, ranges: int, workers: Workers, threshold: float, n: int, num_perm: int, seed: int
) -> Alike:
    """Texts whose n-grams have a Jaccard similarity of at least the threshold.

    Args:
        folder: for files, until what is given is no longer used; every worker sees it.
        ranges: into how many the texts are cut, about.
        workers: those that `coig_p.engine.local.held` gives start once for all steps.
    """
    task = Task(
        folder,
        tuple(run.path for run in runs),
        tuple(cuts_between(runs, ranges)),
        1 + sum(run.queries for run in runs) // _KEYS_AT_ONCE,
        any(run.apart for run in runs),
        threshold,
        n,
        num_perm,
        seed,
    )
    places = range(task.ranges)
    repeated = _each(_sign, task, places, workers)
    for step, items, written in (
        (_pair, range(bands(threshold, num_perm)[0] * task.pieces), "keys"),
        (_ship, places, "pairs"),
        (_compare, places, "shipped"),
        (_decide, places, "left"),
    ):
        _each(step, task, items, workers)
        for done in folder.glob(f"{written}-*.arrow"):
            done.unlink()
    alike = [sorted_unique(_pairs(task.file("alike", at)).ravel()) for at in places]
    return Alike(task, repeated, sorted_unique(np.concatenate([*alike, *repeated])))


def _each(step: Callable[[Task, int], Any], task: Task, items: Iterable[int], workers: Workers) -> list[Any]:
    return [made for _, made in in_order(partial(_done, step, task), items, workers)]


def _done(step: Callable[[Task, int], Any], task: Task, item: int) -> Any:
    made = step(task, item)
    release()
    return made


def _sign(task: Task, at: int) -> Index:
    """Sign the texts of a range; the numbers of those that several queries have."""
    ends = (None, *task.cuts, None)
    found = in_text_order(read_range(task.runs, ends[at], ends[at + 1], RUN.names)).combine_chunks()
    begins = differs(found)
    text = (at << 32) + np.cumsum(begins) - 1
    texts = found.select(TEXT).filter(pa.array(begins)).combine_chunks()
    members = [pa.array(text), *(found.column(name).combine_chunks() for name in MEMBERS.names[1:])]
    write_pieces(task.file("members", at), MEMBERS, [pa.record_batch(members, schema=MEMBERS)])
    write_pieces(task.file("texts", at), _TEXTS, _one(texts, _TEXTS))
    number, times = np.unique(text, return_counts=True)
    del found, begins, text, members
    cut, size = bands(task.threshold, task.num_perm), texts.num_rows
    keys, small = np.empty((cut[0], size), np.uint64), np.empty((size, task.num_perm), np.uint8)
    for low in range(0, size, TEXTS_AT_ONCE):
        piece = slice(low, low + TEXTS_AT_ONCE)
        some = texts.slice(low, TEXTS_AT_ONCE)
        forms = some.column("form").to_pylist()
        keys[:, piece], small[piece] = signed(forms, cut, task.n, task.num_perm, task.seed)
        if task.apart:
            keys[:, piece] ^= _groups(some) * np.uint64(APART)
    flat = pa.record_batch([pa.array(small.ravel())], ["value"])
    write_pieces(task.file("small", at), flat.schema, [flat])
    write_pieces(task.file("keys", at), _KEYS, _key_pieces(keys, task.pieces))
    return np.asarray(number[times > 1])


def _one(table: pa.Table, schema: pa.Schema) -> list[pa.RecordBatch]:
    return [pa.record_batch([column.combine_chunks() for column in table.columns], schema=schema)]


def _groups(texts: pa.Table) -> npt.NDArray[np.uint64]:
    """A number for each, the same for those that may be alike."""
    names = zip(texts.column("setting").to_pylist(), texts.column("speakers").to_pylist(), strict=True)
    return np.array([hash64(f"{setting}\0{speakers}") for setting, speakers in names], np.uint64)


def _key_pieces(keys: npt.NDArray[np.uint64], pieces: int) -> Iterator[pa.RecordBatch]:
    """Of each band in turn, the keys of each piece with their texts, which ascend."""
    text = np.arange(keys.shape[1], dtype=np.uint32)
    for band in keys:
        piece = (band * np.uint64(APART)) >> np.uint64(32)  # all bits of a key have a say
        piece %= np.uint64(pieces)
        for at in range(pieces):
            own = piece == at
            yield pa.record_batch([pa.array(band[own]), pa.array(text[own])], schema=_KEYS)


def _pair(task: Task, at: int) -> None:
    """Pairs of texts with an equal key in one piece of a band, for the range of the lower text."""
    found = [read_piece(task.file("keys", place), at) for place in range(task.ranges)]
    key = np.concatenate([piece.column("key").to_numpy() for piece in found])
    text = np.concatenate(
        [(place << 32) + piece.column("text").to_numpy().astype(np.int64) for place, piece in enumerate(found)]
    )
    pairs = text[unpacked(np.sort(pairs_of_band(key)), bits_of(len(key)))]
    write_pieces(task.file("pairs", at), _PAIRS, _by_range(pairs, pairs[:, 0], task.ranges))


def _by_range(pairs: Pairs, by: Index, ranges: int) -> Iterator[pa.RecordBatch]:
    """Pairs in the order of some of their texts, cut where another range begins."""
    edges = np.searchsorted(by, np.arange(ranges + 1) << 32)
    for at in range(ranges):
        one, other = pairs[edges[at] : edges[at + 1]].T
        yield pa.record_batch([pa.array(one), pa.array(other)], schema=_PAIRS)


def _pairs(path: Path, at: int = 0) -> Pairs:
    found = read_piece(path, at)
    return np.stack([found.column(name).to_numpy() for name in _PAIRS.names], axis=1)


def _ship(task: Task, at: int) -> None:
    """Each pair of a lower text in a range once, with its signature, for the range of the other text."""
    files = [task.file("pairs", one) for one in range(bands(task.threshold, task.num_perm)[0] * task.pieces)]
    pairs = np.concatenate([_pairs(file, at) for file in files])
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    pairs = pairs[np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))[: len(pairs)]]
    small, signature = task.small(at), pa.list_(pa.uint8(), task.num_perm)
    schema = _PAIRS.append(pa.field("small", signature))

    def shipped() -> Iterator[pa.RecordBatch]:
        for batch in _by_range(pairs, pairs[:, 1], task.ranges):
            own = small[batch.column("one").to_numpy() & 0xFFFFFFFF]
            lists = pa.FixedSizeListArray.from_arrays(pa.array(own.ravel()), task.num_perm)
            yield pa.record_batch([*batch.columns, lists], schema=schema)

    write_pieces(task.file("shipped", at), schema, shipped())


def _compare(task: Task, at: int) -> None:
    """The pairs of a higher text in a range that signatures do not speak against, with that text."""
    small = task.small(at)
    texts = read_piece(task.file("texts", at))

    def left() -> Iterator[pa.RecordBatch]:
        for place in range(task.ranges):
            shipped = read_piece(task.file("shipped", place), at)
            right = [_right(task, small, shipped.slice(low, _PAIRS_AT_ONCE)) for low in _steps(shipped.num_rows)]
            pairs = shipped.select(_PAIRS.names).filter(pa.array(np.concatenate([np.zeros(0, bool), *right])))
            others = texts.take(pa.array(pairs.column("other").to_numpy() & 0xFFFFFFFF))
            yield pa.record_batch([*pairs.columns, *others.columns], schema=_LEFT)

    write_pieces(task.file("left", at), _LEFT, left())


def _steps(size: int) -> range:
    return range(0, size, _PAIRS_AT_ONCE)


def _right(task: Task, small: npt.NDArray[np.uint8], shipped: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    lower = shipped.column("small").flatten().to_numpy().reshape(-1, task.num_perm)
    upper = small[shipped.column("other").to_numpy() & 0xFFFFFFFF]
    row = np.arange(len(lower))
    return promising(np.concatenate([lower, upper]), np.stack([row, len(lower) + row], axis=1), task.threshold)


def _decide(task: Task, at: int) -> None:
    """The pairs of a lower text in a range that are as similar as the threshold, ascending."""
    texts = read_piece(task.file("texts", at))
    found = []
    for place in range(task.ranges):
        whole = read_piece(task.file("left", place), at)
        for low in _steps(whole.num_rows):
            found.append(_alike(task, texts, whole.slice(low, _PAIRS_AT_ONCE)))
    pairs = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    write_pieces(task.file("alike", at), _PAIRS, [pa.record_batch(list(map(pa.array, pairs.T)), schema=_PAIRS)])


def _alike(task: Task, texts: pa.RecordBatch, left: pa.RecordBatch) -> Pairs:
    pairs = np.stack([left.column(name).to_numpy() for name in _PAIRS.names], axis=1)
    own = texts.take(pa.array(pairs[:, 0] & 0xFFFFFFFF))
    right = np.ones(len(pairs), bool)
    if task.apart:  # equal keys, then, but for chance
        for name in TEXT[:2]:
            right = right & pc.equal(own.column(name), left.column(name)).to_numpy(zero_copy_only=False)
    place = [np.unique(pairs[:, side], return_index=True, return_inverse=True)[1:] for side in (0, 1)]
    (lower, one), (upper, other) = place
    forms = own.column("form").take(pa.array(lower)).to_pylist()
    number = np.stack([one, len(forms) + other], axis=1)
    forms += left.column("form").take(pa.array(upper)).to_pylist()
    return np.asarray(pairs[right & (jaccard(forms, number, task.n) >= task.threshold)])


def _members(task: Task, item: tuple[int, Index]) -> pa.Table:
    """The queries of these texts of a range."""
    at, texts = item
    members = read_piece(task.file("members", at))
    return pa.Table.from_batches([members.filter(pc.is_in(members.column("text"), pa.array(texts)))])
