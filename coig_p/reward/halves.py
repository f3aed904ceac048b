"""The two halves of a store: one to train a reward model on, the other for the policy that it will judge (TaP).

A query's half is its hash's, so that neither row order nor shards nor other queries change it. Near-duplicate queries
(see `coig_p.dedup`) are one group and lie in one half: that of the member whose hash is smallest. A query that is added
moves others only where it is a near-duplicate of theirs. Halves by hash are equal but for chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from coig_p.core.arrays import hash64
from coig_p.core.atomic import atomic_directory
from coig_p.core.progress import Advance
from coig_p.core.text import counted
from coig_p.dedup.finding import find_store_duplicates
from coig_p.dedup.queries import DedupConfig
from coig_p.errors import DataError
from coig_p.pairs.exclusion import line_of
from coig_p.schema import RAW_SCHEMA
from coig_p.store.places import check_folder
from coig_p.store.reading import part_of
from coig_p.store.store import Store

FILES = ("half-1.txt", "half-2.txt")

Groups = Mapping[str, str]
"""Of each query that has near-duplicates, by query_id, the one that stands for its group."""


def query_groups(store: Store, advance: Advance = lambda queries: None) -> Groups:
    """Near-duplicate queries of a whole store, found as `coigp dedup` finds them."""
    found = find_store_duplicates(store, DedupConfig(), advance).duplicates
    members: dict[str, list[str]] = {}
    for name, survivor in zip(*(found.column(name).to_pylist() for name in ("query_id", "survivor")), strict=True):
        members.setdefault(survivor, []).append(name)
    return {name: min(group, key=_key) for group in members.values() for name in group}


def half_of(query_id: str, groups: Groups) -> int:
    """The half that a query is in, 1 or 2."""
    return 1 + _key(groups.get(query_id, query_id))[0] % 2


def write_halves(
    store: Store, out: Path, *, overwrite: bool = False, advance: Advance = lambda queries: None
) -> list[int]:
    """Write the query ids of each half, one a line, in the store's order.

    Returns:
        How many queries each half has.

    Raises:
        UsageError: `out` cannot be used.
        DataError: one half would have no query, and the other would be the whole store.
    """
    check_folder(out, FILES, "a folder of halves", overwrite)
    groups = query_groups(store, advance)
    lines: list[list[str]] = [[], []]
    for batch in store.batches(schema=part_of(RAW_SCHEMA, "query_id")):
        for one in batch.column("query_id").to_pylist():
            lines[half_of(one, groups) - 1].append(f"{line_of(one)}\n")
    if not all(lines):
        raise DataError(_empty(store, [len(half) for half in lines], len(groups)))
    with atomic_directory(out) as root:
        for name, half in zip(FILES, lines, strict=True):
            (root / name).write_text("".join(half), encoding="utf-8", newline="\n")
    return [len(half) for half in lines]


def _empty(store: Store, found: list[int], near: int) -> str:
    total, half = sum(found), found.index(0) + 1
    if not total:
        return f"{store.path}: there is no query in it, so there are no halves"
    alike = f"{near:,} of them lie together, as near-duplicates" if near else "a query's half is its hash's"
    return (
        f"{store.path}: half {half} has no query, and the other is the whole store: it has "
        f"{counted(total, 'query', 'queries')}, and {alike}. Use a store of more queries; nothing was written"
    )


def _key(query_id: str) -> tuple[int, str]:
    return hash64(f"half {query_id}"), query_id
