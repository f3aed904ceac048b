"""Rewards taken along where a store is written anew: cut to the new shards, each for the prompt and text it was given.

A response that comes to answer another prompt, as one of a near-duplicate does, has no reward there until it is scored.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

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

_logger = logging.getLogger("coig_p")
_DIGITS = 16  # of a hash, so that prompt and text together are named by 128 bits


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
        columns = []
        for file in files:
            if sha256_of(store.path / file.path) != file.sha256:  # a page that is damaged need not be found otherwise
                raise StoreError(store.path, f"{file.path} is not what {MANIFEST} says. {score_again(name)}")
            rows = read_rewards(store.path / file.path).rows
            columns.append((_names(rows), *(rows.column(at) for at in ("reward", "reason", "truncated"))))
        kinds = (pa.string(), pa.float64(), pa.string(), pa.bool_())
        found = zip(*columns, strict=True) if columns else [[]] * len(kinds)
        return cls(*(pa.concat_arrays([pa.array([], kind), *one]) for kind, one in zip(kinds, found, strict=True)))

    def rows(self, keys: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of REWARD_SCHEMA for responses, of KEY_SCHEMA; NOT_SCORED where nothing is known of one."""
        at = pc.index_in(_names(keys), value_set=self.names)
        reason = pc.if_else(pc.is_null(at), NOT_SCORED, self.reason.take(at))
        return with_values(keys, self.reward.take(at), reason, pc.fill_null(self.truncated.take(at), False))


def with_carried(manifest: Manifest, root: Path, store: Store) -> Manifest:
    """Write the rewards of `store` for the shards of the store that is being written at `root`.

    Args:
        manifest: of the new store, its shards known; it names no rewards.

    Returns:
        The manifest with them.

    Raises:
        StoreError: rewards of `store` cannot be read.
    """
    known = {name: KnownRewards.of(store, name) for name in store.manifest.rewards}
    if not known:
        return manifest
    counts = {name: Counts() for name in known}
    files: dict[str, list[StoreFile]] = {name: [] for name in known}
    for shard in manifest.data_files():
        keys = [own for _, own in shard_keys(root, shard)]
        for name, rewards in known.items():
            rows = [rewards.rows(own) for own in keys]
            files[name].append(write_rewards(root, name, shard, rows))
            for one in rows:
                counts[name].add(one)
    for name, told in store.manifest.rewards.items():
        manifest = with_rewards(manifest, name, {**told, **counts[name].told()}, files[name])
    return manifest


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
