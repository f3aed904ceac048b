"""Pools that a benchmark is built from, who is asked there, and the pairs that it draws from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oracle import oracle_pairs

from coig_p.review.folder import open_review, read_key
from coig_p.reward.bench.pool import PoolConfig, make_pool
from coig_p.store.store import Store

Row = dict[str, Any]
ABC = ("a", "b", "c")


def with_pairs(rows: list[Row]) -> dict[str, list[Row]]:
    """The pairs of each query that has any."""
    found: dict[str, list[Row]] = {}
    for pair in oracle_pairs(rows, threshold=2):
        found.setdefault(pair["query_id"], []).append(pair)
    return found


def pooled(store: Store, folder: Path, annotators: tuple[str, ...] = ABC, **options: Any) -> Path:
    pairs = options.pop("pairs", None)
    make_pool(store, folder, PoolConfig(**options), annotators, pairs=pairs)
    return folder


def drawn(folder: Path) -> dict[str, set[str]]:
    """Who is asked about each query."""
    found: dict[str, set[str]] = {}
    for row in read_key(open_review(folder)):
        found.setdefault(row.query_id, set()).add(row.annotator)
    return found
