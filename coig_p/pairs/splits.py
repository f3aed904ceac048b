"""Train, validation and test of one store: by query, by hash, so that neither growth nor order moves one.

A query goes where the hash of (split_seed, its id) falls, and all its pairs with it. A hash is
uniform in every domain, so each domain is cut in the same proportion; adding queries moves no
other. Near-duplicates go together: a cluster is hashed by its smallest query_id.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coig_p.core.arrays import Mask, hash64
from coig_p.core.bombs import check_bomb
from coig_p.core.objects import as_path
from coig_p.errors import DataError, UsageError
from coig_p.pairs.options import exact, whole_number
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.reading import DAMAGE

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class SplitConfig:
    """How the train split of a store is cut. The same names are keywords of load_dataset and CLI options.

    Sizes are shares of the queries, between 0 and 1. A query's split depends on a hash of (split_seed,
    query_id) alone, or of the smallest query_id of its cluster of near-duplicates; all its pairs go with it.

    Raises:
        UsageError: a size that is not a share, or sizes that leave nothing to train on.
    """

    test_size: float | None = field(default=None, metadata={"help": "Share of queries for a test split."})
    validation_size: float | None = field(default=None, metadata={"help": "Share of queries for a validation split."})
    split_seed: int = field(default=0, metadata={"help": "Seed of the splits."})
    clusters: str | None = field(
        default=None,
        metadata={"help": "Parquet of near-duplicate queries to keep on one side. Default: the store's own, if any."},
    )

    def __post_init__(self) -> None:
        for name in ("test_size", "validation_size"):
            value = getattr(self, name)
            if value is None:
                continue
            number = exact(value)
            share = 0.0 if number is None or not 0 < number < 1 else float(number)
            if not 0 < share < 1:
                raise UsageError(
                    f"{name}={value!r}: use a share between 0 and 1, for instance 0.05. A number of rows would "
                    "move queries from one split to the other whenever the store grows"
                )
            object.__setattr__(self, name, share)
        if (self.test_size or 0) + (self.validation_size or 0) >= 1:
            raise UsageError("test_size and validation_size leave nothing to train on: their sum must be below 1")
        object.__setattr__(self, "split_seed", whole_number("split_seed", self.split_seed))
        if self.clusters is not None and not isinstance(self.clusters, (str, os.PathLike)):
            raise UsageError(f"clusters={self.clusters!r}: use the path of a file that coigp dedup wrote")
        if not self.cuts and (self.clusters is not None or self.split_seed != 0):
            raise UsageError("clusters and split_seed are for test_size or validation_size: name one")

    @property
    def cuts(self) -> bool:
        """Whether anything is split off."""
        return self.test_size is not None or self.validation_size is not None

    @property
    def names(self) -> list[str]:
        """The splits that train becomes."""
        sizes = {VALIDATION: self.validation_size, TEST: self.test_size}
        return [TRAIN, *(name for name, size in sizes.items() if size is not None)]


@dataclass(frozen=True)
class Splits:
    """Which split each query is in.

    Attributes:
        cluster: for queries of a near-duplicate cluster, the query_id that stands for it.
    """

    config: SplitConfig
    cluster: Mapping[str, str]

    def of(self, query_id: str) -> str:
        """The split of one query."""
        share = hash64(f"split {self.config.split_seed} {self.cluster.get(query_id, query_id)}") / 2**64
        test = self.config.test_size or 0.0
        if share < test:
            return TEST
        return VALIDATION if share < test + (self.config.validation_size or 0.0) else TRAIN

    def mask(self, batch: pa.RecordBatch | pa.Table, split: str) -> Mask:
        """Which rows of a batch or table with a column query_id are in `split`."""
        return np.array([self.of(one) == split for one in batch.column("query_id").to_pylist()], dtype=bool)


@dataclass(frozen=True)
class OneSplit:
    """The rows of one split of a batch."""

    splits: Splits
    name: str

    def keep(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch without the rows of other splits."""
        return batch.filter(pa.array(self.splits.mask(batch, self.name)))


def check_split_names(config: SplitConfig, found: list[str]) -> None:
    """Raise UsageError where a store with these splits cannot be cut."""
    if TRAIN not in found:
        raise UsageError(f"test_size and validation_size cut the split train; the store has {', '.join(found)}")
    for name in config.names[1:]:
        if name in found:
            raise UsageError(f"the store has a split {name} already: leave out {name}_size")


def own_clusters(manifest: Manifest) -> StoreFile | None:
    """The store's own file of near-duplicate clusters, where it has one."""
    return next((file for file in manifest.files if file.role == "duplicates"), None)


def read_clusters(path: str | Path) -> dict[str, str]:
    """Near-duplicate clusters, as `coigp dedup` writes them: for every query the smallest id of its cluster.

    Clusters of several methods that share a query are one.

    Raises:
        DataError: the file cannot be read, has no columns cluster and query_id, or a null in one of them.
    """
    try:
        place = as_path(path)
        if not place.is_file():
            raise ValueError("no such file")
        with place.open("rb") as stream, pq.ParquetFile(stream) as found:
            check_bomb(found, stream)
            table = found.read()
    except DAMAGE as error:
        raise DataError(f"{path}: clusters cannot be read: {error}. Make them with: coigp dedup") from None
    missing = {"cluster", "query_id"} - set(table.column_names)
    if missing:
        raise DataError(f"{path}: no column {min(missing)}; it is not the duplicates.parquet that coigp dedup writes")
    for name in ("query_id", "cluster"):
        nulls = np.flatnonzero(table.column(name).is_null().to_numpy())
        if len(nulls):
            raise DataError(f"{path}: row {nulls[0] + 1}: its {name} is null. Make the file with: coigp dedup")
    parent: dict[Any, Any] = {}

    def find(node: Any) -> Any:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    methods = table.column("method").to_pylist() if "method" in table.column_names else [""] * table.num_rows
    ids = [str(one) for one in table.column("query_id").to_pylist()]
    for one, cluster, method in zip(ids, table.column("cluster").to_pylist(), methods, strict=True):
        parent[find((method, cluster))] = find((one,))
    smallest: dict[Any, str] = {}
    for one in ids:
        root = find((one,))
        smallest[root] = min(one, smallest.get(root, one))
    return {one: smallest[find((one,))] for one in ids}
