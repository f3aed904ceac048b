"""Rewards taken along where a store is written anew: cut to the new shards, each for the prompt and text it was given.

A response that comes to answer another prompt, as one of a near-duplicate does, has no reward there until it is scored.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, mix
from coig_p.engine.local import Processes, Workers, in_order
from coig_p.engine.scratch import read_piece, write_pieces
from coig_p.errors import CoigPError, StoreError
from coig_p.store.manifest import MANIFEST, Manifest, StoreFile
from coig_p.store.reward_files import (
    is_of,
    shard_keys,
    with_rewards,
    with_values,
    without_rewards,
    write_rewards,
)
from coig_p.store.rewards import REWARDS, Counts, read_rewards, reward_files, score_again
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

NOT_SCORED = "not-scored"
"""Why a response has no reward that nobody asked for one: it came later, or answers another prompt than it did."""

Names = npt.NDArray[np.bytes_]

_logger = logging.getLogger("coig_p")
_DIGITS = 16  # of a hash, so that prompt and text together are named by 128 bits
_NAMED_BY = 2 * _DIGITS  # bytes
_NAME = f"S{_NAMED_BY}"
_KNOWN = pa.schema(
    [("name", pa.binary(_NAMED_BY)), ("reward", pa.float64()), ("reason", pa.string()), ("truncated", pa.bool_())]
)
_FOLDER = ".known"  # in the unfinished store, where all see it
_OF_A_PART = 1 << 20  # rewards, about
_MOST_PARTS = 256
_OF_A_PIECE = 1 << 16  # rewards, at least


@dataclass(frozen=True)
class KnownRewards:
    """The rewards of one name of a whole store, by what was scored: columns of equal length."""

    names: pa.StringArray
    reward: pa.DoubleArray
    reason: pa.StringArray
    truncated: pa.BooleanArray

    @classmethod
    def of(cls, store: Store, name: str) -> KnownRewards:
        """Read them.

        Raises:
            UnknownNameError: the store has no rewards of this name.
            StoreError: a file of them is missing or cannot be read.
        """
        return cls._read(store, name, reward_files(store.manifest, name, store.data_files(), store.path))

    @classmethod
    def listed(cls, store: Store, name: str) -> KnownRewards:
        """The same of all files that the manifest lists, whatever shards they are of.

        Raises:
            StoreError: one cannot be read.
        """
        return cls._read(store, name, [file for file in store.manifest.files if is_of(file, name)])

    @classmethod
    def _read(cls, store: Store, name: str, files: Sequence[StoreFile]) -> KnownRewards:
        columns = [_known_in(store.path, name, file) for file in files]
        kinds = (pa.string(), pa.float64(), pa.string(), pa.bool_())
        found = zip(*columns, strict=True) if columns else [[]] * len(kinds)
        return cls(*(pa.concat_arrays([pa.array([], kind), *one]) for kind, one in zip(kinds, found, strict=True)))

    def rows(self, keys: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of REWARD_SCHEMA for responses, of KEY_SCHEMA; NOT_SCORED where nothing is known of one."""
        at = pc.index_in(_names(keys), value_set=self.names)
        reason = pc.if_else(pc.is_null(at), NOT_SCORED, self.reason.take(at))
        return with_values(keys, self.reward.take(at), reason, pc.fill_null(self.truncated.take(at), False))


def with_carried(manifest: Manifest, root: Path, store: Store, workers: Workers | None = None) -> Manifest:
    """Write the rewards of `store` for the shards of the store that is being written at `root`.

    Args:
        manifest: of the new store, its shards known; it names no rewards.
        workers: who share the shards; default: the caller's thread.

    Returns:
        The manifest with them.

    Raises:
        StoreError: rewards of `store` cannot be read.
    """
    if not store.manifest.rewards:
        return manifest
    workers = workers or Processes(1)
    folder = root / _FOLDER
    folder.mkdir()
    try:
        known = tuple(_spread_out(store, name, folder, workers) for name in store.manifest.rewards)
        counts = {name: Counts() for name in store.manifest.rewards}
        files: dict[str, list[StoreFile]] = {name: [] for name in counts}
        for _, carried in in_order(partial(_carry, root, known), manifest.data_files(), workers):
            for name, one in carried.items():
                files[name].append(one.file)
                counts[name].merge(one.counts)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, told in store.manifest.rewards.items():
        manifest = with_rewards(manifest, name, {**told, **counts[name].told()}, files[name])
    return manifest


@dataclass(frozen=True)
class Carried:
    """A file of rewards, and what is in it."""

    file: StoreFile
    counts: Counts


@dataclass(frozen=True)
class _Spread:
    """The rewards of one name in files, by a part of what was scored; in each sorted, each once.

    They are mapped into memory, so that what is not looked for is not read.
    """

    name: str
    parts: tuple[Path, ...]

    def rows(self, keys: pa.RecordBatch) -> pa.RecordBatch:
        """As `KnownRewards.rows`."""
        names = _fixed(_names(keys))
        size = len(names)
        reward, reason, truncated = np.full(size, np.nan), np.full(size, NOT_SCORED, object), np.zeros(size, bool)
        scored = np.zeros(size, bool)
        part = _part(names, len(self.parts))
        for number in np.unique(part).tolist():
            own = np.flatnonzero(part == number)
            held = read_piece(self.parts[number])
            there = _view(held.column("name"))
            at = np.searchsorted(there, names[own])
            at[at == len(there)] = 0
            found = there[at] == names[own] if len(there) else np.zeros(len(own), bool)
            own, rows = own[found], held.take(pa.array(at[found]))
            given = rows.column("reward")
            reward[own] = given.to_numpy(zero_copy_only=False)
            scored[own] = given.is_valid().to_numpy(zero_copy_only=False)
            reason[own] = rows.column("reason").to_numpy(zero_copy_only=False)
            truncated[own] = rows.column("truncated").to_numpy(zero_copy_only=False)
        values = pa.array(reward, mask=~scored), pa.array(reason, pa.string()), pa.array(truncated)
        return with_values(keys, *values)


def _spread_out(store: Store, name: str, folder: Path, workers: Workers) -> _Spread:
    """Of every prompt and text the first reward in the store's order."""
    files = reward_files(store.manifest, name, store.data_files(), store.path)
    parts = min(_MOST_PARTS, 1 + sum(file.rows or 0 for file in files) // _OF_A_PART)
    dealt = list(_together(files))
    pieces = tuple(folder / f"{name}-{at}.piece" for at in range(len(dealt)))
    whole = tuple(folder / f"{name}-{at}.whole" for at in range(parts))
    for step, items in (
        (partial(_deal, store.path, name, parts), zip(dealt, pieces, strict=True)),
        (partial(_sort, pieces), enumerate(whole)),
    ):
        for _ in in_order(step, items, workers):
            pass
    for piece in pieces:
        piece.unlink()
    return _Spread(name, whole)


def _together(files: Sequence[StoreFile]) -> Iterator[list[StoreFile]]:
    """Neighbouring files, several where they are small: every part opens what each of these becomes."""
    some, rows = [], 0
    for file in files:
        some.append(file)
        rows += file.rows or 0
        if rows >= _OF_A_PIECE:
            yield some
            some, rows = [], 0
    if some:
        yield some


def _deal(root: Path, name: str, parts: int, item: tuple[Sequence[StoreFile], Path]) -> None:
    """Write the rewards of files, a batch for each part."""
    files, piece = item
    columns = zip(*(_known_in(root, name, file) for file in files), strict=True)
    known, *values = (pa.concat_arrays(column) for column in columns)
    names = _fixed(known)
    data = pa.FixedSizeBinaryArray.from_buffers(_KNOWN.field("name").type, len(names), [None, pa.py_buffer(names)])
    rows = pa.record_batch([data, *values], schema=_KNOWN)
    part = _part(names, parts)
    write_pieces(piece, _KNOWN, (rows.filter(pa.array(part == at)) for at in range(parts)))


def _sort(pieces: Sequence[Path], item: tuple[int, Path]) -> None:
    """Write a part of all files: each name once, as it came first."""
    at, target = item
    rows = pa.concat_batches([read_piece(piece, at) for piece in pieces])
    first = np.unique(_view(rows.column("name")), return_index=True)[1]
    write_pieces(target, _KNOWN, [rows.take(pa.array(first))])


def _carry(root: Path, known: Sequence[_Spread], shard: StoreFile) -> dict[str, Carried]:
    keys = [own for _, own in shard_keys(root, shard)]
    found = {}
    for one in known:
        rows = [one.rows(own) for own in keys]
        counts = Counts()
        for some in rows:
            counts.add(some)
        found[one.name] = Carried(write_rewards(root, one.name, shard, rows), counts)
    return found


def with_replaced(manifest: Manifest, root: Path, target: Path) -> Manifest:
    """The manifest with the rewards of the store that the one at `root` is to replace, for what is in both.

    They were paid for. Of a store that cannot be read, and where none is left, nothing is taken, which is logged.
    """
    try:
        old = Store.open(target)
    except CoigPError:  # none, or damaged: then nobody can tell what belongs to it
        return manifest
    names = ", ".join(old.manifest.rewards)
    if not names:
        return manifest
    try:
        manifest = with_carried(manifest, root, old)
    except StoreError as error:
        _logger.warning("the rewards %s of the store that is replaced went with it: %s", names, error)
        return manifest
    for name, told in list(manifest.rewards.items()):
        if not told["scored"]:
            _logger.warning("the rewards %s went with the store that is replaced: none of its responses is left", name)
            manifest = without_rewards(manifest, name)
            shutil.rmtree(root / REWARDS / name)
    if not manifest.rewards:
        (root / REWARDS).rmdir()
    return manifest


def _names(keys: pa.RecordBatch) -> pa.StringArray:
    """What names the prompt and text of each row."""
    parts = (pc.utf8_slice_codeunits(keys.column(name), 0, _DIGITS) for name in ("prompt_sha256", "text_sha256"))
    return pc.binary_join_element_wise(*parts, "")


def _known_in(root: Path, name: str, file: StoreFile) -> list[pa.Array]:
    """Of a file of rewards what was scored, reward, reason and whether it was truncated."""
    if sha256_of(root / file.path) != file.sha256:  # a page that is damaged need not be found otherwise
        raise StoreError(root, f"{file.path} is not what {MANIFEST} says. {score_again(name)}")
    rows = read_rewards(root / file.path).rows
    return [_names(rows), *(rows.column(at) for at in ("reward", "reason", "truncated"))]


def _fixed(names: pa.StringArray) -> Names:
    """Names as bytes of equal length, which numpy sorts and searches."""
    return np.asarray(names.cast(pa.binary()).to_numpy(zero_copy_only=False).astype(_NAME))


def _view(names: pa.FixedSizeBinaryArray) -> Names:
    """The same of an array that is laid out so."""
    if not len(names):
        return np.zeros(0, _NAME)
    return np.frombuffer(names.buffers()[1], _NAME, len(names), names.offset * _NAMED_BY)


def _part(names: Names, parts: int) -> Index:
    """In which part each name lies: by digits of the text's hash, which are even where one prompt has many texts."""
    digits = np.ascontiguousarray(names).view(np.uint64).reshape(-1, _NAMED_BY // 8)
    return np.asarray(mix(digits[:, -1]) % np.uint64(parts), np.int64)
