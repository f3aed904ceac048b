"""Near-duplicate queries of a whole store, however many: in memory where they are few, else by files.

Both ways find the same, to the byte. In memory a million short queries are 1.5 GB; by files the process that folds
holds what is found, and each worker one range of texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index
from coig_p.core.progress import Advance
from coig_p.dedup.clusters import Queries, Summary, as_clusters, joined
from coig_p.dedup.queries import DedupConfig, find_duplicates, prefix_of, queries_of, read_queries, summary
from coig_p.dedup.runs import Run, batches_of, sample_every, write_run
from coig_p.dedup.shingles import jaccard
from coig_p.dedup.shuffled import similar_texts
from coig_p.engine.local import Workers, held, in_order, threads
from coig_p.engine.scratch import release, scratch_folder
from coig_p.store.manifest import StoreFile
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store

IN_MEMORY = 250_000
"""Queries up to which no files are needed."""
_OF_A_RUN = 1 << 16
_OF_A_RANGE = 1 << 15
_PAIRS_AT_ONCE = 1 << 13
_MOST_RANGES = 512  # each is opened by each: of 100 million queries, and from there on ranges grow


@dataclass(frozen=True)
class Found:
    """Near-duplicates among queries.

    Attributes:
        duplicates: a table of `coig_p.dedup.clusters.DUPLICATES`.
        summary: of it.
    """

    duplicates: pa.Table
    summary: Summary


@dataclass(frozen=True)
class _Shards:
    """Neighbouring shards of one store, which become a run."""

    number: int
    root: Path
    prefix: str
    files: tuple[StoreFile, ...]
    path: Path


def find_store_duplicates(
    store: Store,
    config: DedupConfig,
    advance: Advance = lambda queries: None,
    against: Sequence[Store] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
    *,
    in_memory: int = IN_MEMORY,
    ranges: int | None = None,
) -> Found:
    """Near-duplicates of a store's queries: `read_queries` and `find_duplicates`, at any size.

    Args:
        against: stores whose queries the store's are compared with, too.
        num_proc: processes that share the work; None for as many as pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place; files go to its `scratch`, where it has one.
        in_memory: queries of all stores together up to which it is done in memory.
        ranges: into how many texts are cut otherwise; default: one for 65,536 queries.

    Raises:
        OSError: files cannot be written, as where the disk is full; names one.
    """
    total = sum(file.rows or 0 for one in (store, *against) for file in one.data_files())
    if total <= in_memory:
        queries = read_queries(store, advance, against, num_proc, engine)
        found = find_duplicates(queries, config, num_proc)
        return Found(found, summary(found, queries))
    ranges = ranges or min(_MOST_RANGES, 1 + total // _OF_A_RANGE)
    every = [file for one in (store, *against) for file in one.data_files()]
    with (
        scratch_folder(engine) as folder,
        held(workers_for(every, num_proc, engine, alone=threads(num_proc))) as workers,
    ):
        shards = list(_cut(store, against, folder))
        drawn = sample_every(total, ranges)
        runs: list[Run] = []
        for one, run in in_order(partial(_run_of, config.merge, drawn), shards, workers):
            runs.append(run)
            if not one.prefix:
                advance(run.queries)
        own = [one for one in shards if not one.prefix]
        return find_in_runs(runs, len(own), folder, config, ranges, workers)


def _cut(store: Store, against: Sequence[Store], folder: Path) -> list[_Shards]:
    shards: list[_Shards] = []
    for at, one in enumerate((store, *against)):
        files = one.data_files()
        for some in batches_of([file.rows or 0 for file in files], _OF_A_RUN):
            path = folder / f"run-{len(shards)}.arrow"
            prefix = prefix_of(one) if at else ""
            shards.append(_Shards(len(shards), one.path, prefix, tuple(files[some]), path))
    return shards


def _run_of(merge: bool, every: int, shards: _Shards) -> Run:
    pieces = (queries_of(shards.root, shards.prefix, file) for file in shards.files)
    run = write_run(pieces, shards.number, shards.path, merge=merge, every=every)
    release()
    return run


def find_in_runs(
    runs: Sequence[Run], own: int, folder: Path, config: DedupConfig, ranges: int, workers: Workers
) -> Found:
    """Near-duplicates among the queries of runs.

    Args:
        own: how many of the runs are the store's own; those of others come after.
        folder: for files.
        ranges: into how many texts are cut, about.
    """
    alike = similar_texts(runs, folder, ranges, workers, config.threshold, config.n, config.num_perm, config.seed)
    members = alike.members(workers)
    text_of = np.searchsorted(alike.involved, members.column("text").to_numpy())
    here = int(np.count_nonzero(members.column("place").to_numpy() < own << 32))
    queries = Queries(
        ids=members.column("query_id").to_pylist(),
        domains=members.column("domain").to_pylist(),
        forms=members.column("form").to_pylist(),
        scored=members.column("scored").to_pylist(),
        elsewhere=members.num_rows - here,
    )
    del members
    cluster = joined(len(alike.involved), alike)[text_of]

    def rank(at: int) -> tuple[int, str]:
        return -queries.scored[at], queries.ids[at]

    def similarity(one: Index, other: Index) -> Floats:
        pairs = np.stack([one, other], axis=1)
        some = (pairs[low : low + _PAIRS_AT_ONCE] for low in range(0, len(pairs), _PAIRS_AT_ONCE))
        return np.concatenate([np.zeros(0), *(jaccard(queries.forms, piece, config.n) for piece in some)])

    found = as_clusters(queries, cluster, rank, similarity, config.method, alike, text_of)
    told = summary(found, queries)
    release()
    return Found(found, replace(told, total=sum(run.queries for run in runs[:own])))
