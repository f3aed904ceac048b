"""What must not be trained on where a benchmark is to say anything: its queries, and those that are nearly the same."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from coig_p.core.progress import Advance
from coig_p.dedup.finding import find_store_duplicates
from coig_p.dedup.queries import DedupConfig
from coig_p.pairs.exclusion import Exclusion
from coig_p.store.store import Store

TRAIN_EXCLUDE = "train-exclude.txt"
"""What the list is called in a benchmark's folder."""


@dataclass(frozen=True)
class TrainExclude:
    """A list of queries of a store.

    Attributes:
        listed: all of them.
        own: the benchmark's.
        near: near-duplicates of these.
        near_options: what counts as one.
    """

    listed: Exclusion
    own: int
    near: int
    near_options: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As bench.json has it."""
        told = {"file": TRAIN_EXCLUDE, **self.listed.to_dict(), "own": self.own, "near_duplicates": self.near}
        return told | {"near_options": self.near_options}


def train_exclude(
    store: Store, query_ids: Collection[str], config: DedupConfig | None = None, advance: Advance = lambda queries: None
) -> TrainExclude:
    """The queries, and all that a chain of near-duplicates leads to from one of them (see `coig_p.dedup.queries`)."""
    config = config or DedupConfig()
    found = find_store_duplicates(store, config, advance).duplicates
    clusters: dict[int, set[str]] = {}
    for cluster, query_id in zip(*(found.column(name).to_pylist() for name in ("cluster", "query_id")), strict=True):
        clusters.setdefault(cluster, set()).add(query_id)
    own = set(query_ids)
    near = set().union(*(members for members in clusters.values() if not own.isdisjoint(members))) - own
    told = {"method": config.method, "threshold": config.threshold, "n": config.n}
    return TrainExclude(Exclusion.of_ids(own | near), len(own), len(near), told)
