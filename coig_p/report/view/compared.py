"""Two ways to make pairs of one store: which pairs are shared, gained, lost and flipped, and in which queries."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index as Places
from coig_p.engine.local import in_order
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import Pairs, find_candidates, find_pairs_of
from coig_p.pairs.labels import Responses
from coig_p.report.one_query import Place
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.manifest import StoreFile
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP

KINDS = ("shared", "gained", "lost", "flipped")


@dataclass
class Compared:
    """How many pairs are of each kind, and the first queries that have such.

    Attributes:
        pairs, queries: by kind; shared pairs have the same chosen and rejected in both, flipped ones swapped.
        first: by kind the places of the first queries, and their ids.
    """

    pairs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    queries: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    first: dict[str, list[tuple[Place, str]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})


def compare_configs(store: Store, before: PairConfig, after: PairConfig, *, first: int) -> Compared:
    """Compare the pairs that two configs make of a store.

    Args:
        first: of how many queries of each kind the place is told.

    Raises:
        StoreError: a shard that cannot be read.
    """
    configs = before.with_defaults(store.manifest), after.with_defaults(store.manifest)
    found = Compared()
    files = store.data_files()
    numbers = {file.path: number for number, file in enumerate(files)}
    for file, part in in_order(partial(_of_shard, store.path, configs, first), files):
        for kind in KINDS:
            found.pairs[kind] += part.pairs[kind]
            found.queries[kind] += part.queries[kind]
            for place, query_id in part.first[kind]:
                if len(found.first[kind]) < first:
                    found.first[kind].append((Place(numbers[file.path], place.row), query_id))
    return found


def _of_shard(root: Path, configs: tuple[PairConfig, PairConfig], first: int, file: StoreFile) -> Compared:
    found, row = Compared(), 0
    for batch in shard_batches(root, file, ROWS_PER_GROUP, PAIRING_SCHEMA, rewards=reward_names(*configs)):
        for kind, queries in _kinds(batch, configs).items():
            found.pairs[kind] += len(queries)
            own = np.unique(queries)
            found.queries[kind] += len(own)
            for at in own[: first - len(found.first[kind])].tolist():
                found.first[kind].append((Place(0, row + at), batch.column("query_id")[at].as_py()))
        row += batch.num_rows
    return found


def _kinds(batch: pa.RecordBatch, configs: tuple[PairConfig, PairConfig]) -> dict[str, Places]:
    """Of each kind the query of each pair."""
    responses = Responses.of(batch)
    old, new = (
        find_pairs_of(responses, batch, config, find_candidates(responses, batch, config)) for config in configs
    )
    count = max(len(responses.query), 1)

    def keys(pairs: Pairs, swapped: bool = False) -> Places:
        sides = (pairs.rejected, pairs.chosen) if swapped else (pairs.chosen, pairs.rejected)
        return sides[0] * count + sides[1]

    shared = np.isin(keys(new), keys(old))
    flipped = np.isin(keys(new, swapped=True), keys(old))
    lost = ~np.isin(keys(old), keys(new)) & ~np.isin(keys(old, swapped=True), keys(new))
    return {
        "shared": new.query[shared],
        "gained": new.query[~shared & ~flipped],
        "lost": old.query[lost],
        "flipped": new.query[flipped],
    }
