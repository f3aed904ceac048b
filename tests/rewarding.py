"""Stores with rewards of a model, for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from coig_p.core.atomic import atomic_file
from coig_p.store.manifest import MANIFEST
from coig_p.store.reward_files import shard_keys, with_rewards, with_values, write_rewards
from coig_p.store.rewards import Counts
from coig_p.store.store import Store

Reward = Callable[[str, str, int, str], float | None]
"""From query_id, model, sample and text to a reward, or None."""


def with_given(path: Path, name: str, reward: Reward, *, reason: str = "too-long") -> Path:
    """Write rewards into a store in its place, and its manifest anew."""
    store = Store.open(path)
    counts, files = Counts(), []
    for shard in store.data_files():
        rows = []
        for batch, keys in shard_keys(store.path, shard):
            texts = batch.column("responses").flatten().field("text").to_pylist()
            named = (keys.column(at).to_pylist() for at in range(3))
            given = [reward(*one) for one in zip(*named, texts, strict=True)]
            reasons = [reason if one is None else None for one in given]
            rows.append(with_values(keys, pa.array(given, pa.float64()), pa.array(reasons, pa.string())))
            counts.add(rows[-1])
        files.append(write_rewards(store.path, name, shard, rows))
    told: dict[str, Any] = {"model": "tests", **counts.told()}
    with atomic_file(path / MANIFEST) as stream:
        stream.write(with_rewards(store.manifest, name, told, files).to_json().encode())
    return path
