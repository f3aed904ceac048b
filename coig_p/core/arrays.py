"""Arrays of a batch: groups in sorted keys, hashes that are the same on every machine, slices of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]  # int64, or object holding Python ints where int64 could overflow
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def dense_ranks(values: Ints) -> Index:
    """0 for the smallest value, 1 for the next, equal for equal ones; also for Python's integers."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def group_starts(*keys: npt.NDArray[Any]) -> Index:
    """Where each run of equal keys begins."""
    if not len(keys[0]):
        return np.zeros(0, dtype=np.int64)
    change = np.zeros(len(keys[0]), dtype=bool)
    change[0] = True
    for key in keys:
        change[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(change)


def group_sizes(starts: Index, length: int) -> Index:
    """Length of each run, given where runs begin and how many elements there are."""
    return np.diff(starts, append=length)


_TEXT_BYTES = 4 << 20  # of one column in one table: far below 2 GiB, and row groups of that size are read fast


@lru_cache(maxsize=65536)
def hash64(text: str) -> int:
    """64 bits that depend on `text` alone, on every machine."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64's finalizer: every input bit reaches every output bit; wraps around on purpose."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def byte_slices(lengths: list[npt.NDArray[Any]], most: int | None = None) -> Iterator[slice]:
    """Consecutive slices of rows that cover all, each of at most `most` bytes, or 4 MiB, in its largest column."""
    most = _TEXT_BYTES if most is None else most
    total = len(lengths[0])
    if not total:
        return
    largest = np.max(np.stack([np.asarray(part, dtype=np.int64) for part in lengths]), axis=0)
    ends = np.cumsum(largest)
    begin, done = 0, 0
    while begin < total:
        end = max(int(np.searchsorted(ends, done + most, side="right")), begin + 1)
        yield slice(begin, end)
        begin, done = end, int(ends[end - 1])
