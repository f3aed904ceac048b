"""Rows with the rewards of a model beside them, in a column of their own: no column of the store, and nowhere stored.

It holds a list for each row and in it a number for each of its responses, null where there is no reward. So it goes
wherever rows go: through splits, slices, and batches that are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats
from coig_p.store.rewards import REWARDS, Rewards, read_rewards

_Opened = Callable[[str], AbstractContextManager[Any]]


def reward_column(name: str) -> str:
    """What the column of these rewards is called: no column of a store has a blank in its name."""
    return f"{REWARDS} {name}"


def rewards_beside(shard: str, names: Iterable[str], opened: _Opened) -> dict[str, Rewards]:
    """The rewards of a shard, by name.

    Args:
        shard: a path or URL, .../data/<domain>/<file>, wherever the store lies.
        opened: from such a path to a context of a binary file object or a path.

    Raises:
        StoreError: a file that is damaged, or none of rewards.
    """
    store, _, domain, file = shard.rsplit("/", 3)
    found = {}
    for name in names:
        path = f"{store}/{REWARDS}/{name}/{domain}/{file}"
        with opened(path) as source:
            found[name] = read_rewards(source, path)
    return found


def rewarded(batches: Iterable[pa.RecordBatch], found: Mapping[str, Rewards]) -> Iterator[pa.RecordBatch]:
    """The same rows of a shard with a column for each of its rewards.

    Raises:
        StoreError: rewards of another shard.
    """
    for batch in batches:
        for name, rewards in found.items():
            batch = add_rewards(batch, name, rewards.of(batch).reward)
        yield batch


def with_rewards_of(batch: pa.RecordBatch, other: pa.RecordBatch, names: Iterable[str]) -> pa.RecordBatch:
    """The same rows with the rewards that another batch of them brings along."""
    columns = {reward_column(name): other.column(reward_column(name)) for name in names}
    return pa.RecordBatch.from_arrays([*batch.columns, *columns.values()], names=[*batch.schema.names, *columns])


def add_rewards(batch: pa.RecordBatch, name: str, rewards: Floats) -> pa.RecordBatch:
    """The same rows with a column for these rewards, one of each response, NaN where there is none."""
    sizes = pc.fill_null(pc.list_value_length(batch.column("responses")), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(rewards, from_pandas=True))
    return pa.RecordBatch.from_arrays([*batch.columns, lists], names=[*batch.schema.names, reward_column(name)])
