"""The pairs of a store that a reward model is trained on: each query's responses once, in the store's order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from coig_p.core.arrays import hash64
from coig_p.errors import DataError
from coig_p.pairs.selection import Selection
from coig_p.reward.bench.form import Item, pairs_of
from coig_p.reward.bench.from_store import NO_PAIR, items_of
from coig_p.reward.halves import Groups, half_of, query_groups
from coig_p.store.store import Store


@dataclass(frozen=True)
class TrainingPairs:
    """What is trained on.

    Attributes:
        items: one a query: its prompt, the responses of its pairs, and the pairs (see `pairs_of`).
        groups: near-duplicate queries, which are held out together.
        found: pairs and queries of the half, or of all, of which items are some.
    """

    items: tuple[Item, ...]
    groups: Groups
    found: dict[str, int]

    @property
    def pairs(self) -> int:
        """How many there are."""
        return sum(len(pairs_of(item)) for item in self.items)

    def part_of(self, query_id: str, parts: int, seed: int) -> int:
        """Which of so many parts a query is in, from 0: by hash, near-duplicates in one."""
        return hash64(f"part {seed} {self.groups.get(query_id, query_id)}") % parts

    def to_dict(self) -> dict[str, Any]:
        """What a record says of it."""
        taken = {"queries": len(self.items), "pairs": self.pairs}
        return taken if taken == self.found else taken | {"of": self.found}


def read_training_pairs(
    store: Store,
    selection: Selection,
    split: str,
    *,
    half: int | None = None,
    max_responses: int | None = None,
    seed: int = 0,
) -> TrainingPairs:
    """Read what is trained on.

    Args:
        half: of the store, 1 or 2; None for all.
        max_responses: whole queries are drawn by hash until they have so many; None for all. No more than these, and
            one query, are ever in memory.

    Raises:
        DataError: no query has a pair with these options; or one cannot be shown, or its id stands twice; names it.
    """
    groups = query_groups(store)
    found = {"queries": 0, "pairs": 0}
    kept = list(_drawn(_in_half(items_of(store, selection, split), groups, half), found, max_responses, seed))
    if not kept:
        where = "" if half is None else f" in half {half}"
        raise DataError(f"{store.path}: no pair{where} with these options: {NO_PAIR}")
    seen: set[str] = set()
    for item in kept:
        if item.id in seen:
            raise DataError(f"{store.path}: query_id {item.id!r} stands twice. Run: coigp check")
        seen.add(item.id)
    return TrainingPairs(tuple(kept), groups, found)


def _in_half(items: Iterator[Item], groups: Groups, half: int | None) -> Iterator[Item]:
    return (item for item in items if half is None or half_of(item.id, groups) == half)


def _drawn(items: Iterator[Item], found: dict[str, int], most: int | None, seed: int) -> list[Item]:
    """In the store's order, those with the smallest hashes that together reach `most` responses, or all.

    One whose hash is larger than those of enough others goes, whichever come first: the order changes nothing.
    """
    heap: list[tuple[int, int, int, Item]] = []  # the largest hash first
    held = 0
    for at, item in enumerate(items):
        number = len(item.responses)
        found["queries"] += 1
        found["pairs"] += len(pairs_of(item))
        heapq.heappush(heap, (-hash64(f"draw {seed} {item.id}"), at, number, item))
        held += number
        while most is not None and held - heap[0][2] >= most:
            held -= heapq.heappop(heap)[2]
    return [item for _, _, _, item in sorted(heap, key=lambda one: one[1])]
