"""Stores side by side: each measured by itself, then every two beside each other.

Cost: a store is read some ten times, and its floor takes most of the time (sixteen fits). In memory are, in each
process, one store's pairs that are trained on (`max_responses`) and of the others some hundred queries at a time; then
the queries of two stores; then the weights of all floors (half a MB each) and the numbers of one store's pairs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from coig_p.core.lengths import read_tokenizer
from coig_p.core.progress import Bar, no_bar
from coig_p.dedup.benchmarks import ContaminationConfig, read_benchmarks
from coig_p.engine.local import Processes, check_num_proc, in_order, processes
from coig_p.errors import UnknownNameError
from coig_p.evaluate.compare.config import CompareConfig
from coig_p.evaluate.compare.floor import test_floors
from coig_p.evaluate.compare.measuring import measure
from coig_p.evaluate.compare.opening import Opened, check_unchanged, open_stores
from coig_p.evaluate.compare.overlap import overlaps
from coig_p.evaluate.compare.results import Across, SideBySide, StoreRow
from coig_p.reward.bench.metrics import Accuracy

_SECONDS_A_QUERY = 0.004  # of three responses, the floor included

_Job = tuple[Opened, Path]


def side_by_side(
    stores: Sequence[str | Path], config: CompareConfig | None = None, *, num_proc: int | None = 1, bar: Bar = no_bar
) -> SideBySide:
    """Measure stores and set them side by side.

    Args:
        stores: folders, or org/name, org/name@revision and hf://datasets/org/name on the Hub.
        num_proc: processes that share the stores; None for as many as pay.
        bar: shows how far it is.

    Raises:
        UsageError: no store, one twice, a split that none has, or an option that one of them does not know; names it.
        StoreError: one that is no whole store, or changed while it was read.
        DataError: a benchmark or a tokenizer that cannot be read.
        RemoteError: a repository that cannot be had.
    """
    config = config or CompareConfig()
    check_num_proc(num_proc)
    opened = open_stores(stores)
    if config.split is not None:
        splits = {split for one in opened for split in one.store.manifest.splits()}
        if config.split not in splits:
            raise UnknownNameError("split", config.split, splits)
    if config.against:  # before any store is read
        read_benchmarks(config.against, ContaminationConfig(fields=config.fields))
    if config.tokenizer is not None:
        read_tokenizer(config.tokenizer)
    queries = sum(file.queries or 0 for one in opened for file in one.store.data_files())
    workers = Processes(processes(len(opened), queries * _SECONDS_A_QUERY, num_proc))
    with tempfile.TemporaryDirectory(prefix="coigp-compare-") as folder:
        jobs = [(one, Path(folder) / str(at)) for at, one in enumerate(opened)]
        rows = []
        with bar("Measuring", len(jobs), "stores") as advance:
            for _, row in in_order(partial(_measured, config), jobs, workers):
                rows.append(row)
                advance(1)
        near = {}
        with bar("Comparing", len(jobs) * (len(jobs) - 1) // 2, "pairs of stores") as advance:
            for at, beside, shared, found in overlaps(opened, advance):
                near[at, beside] = shared, found
        tested: list[dict[int, Accuracy | str]] = [{} for _ in jobs]
        if config.floor and len(jobs) > 1:
            made = [at for at, row in enumerate(rows) if row.floor is not None]
            folders = [jobs[at][1] for at in made]
            with bar("Testing floors", len(jobs), "stores") as advance:
                work = partial(_tested, config, folders)
                for at, (_, (said, why)) in enumerate(in_order(work, opened, workers)):
                    tested[at] = {one: why or said[nth] for nth, one in enumerate(made)}
                    advance(1)
    for one in opened:
        check_unchanged(one)
    across = tuple(
        _across(rows, at, beside, near[at, beside], tested[beside].get(at))
        for at in range(len(rows))
        for beside in range(len(rows))
        if at != beside
    )
    return SideBySide(config, tuple(rows), across)


def _measured(config: CompareConfig, job: _Job) -> StoreRow:
    opened, folder = job
    return measure(opened, folder, config)


def _tested(config: CompareConfig, folders: Sequence[Path], opened: Opened) -> tuple[list[Accuracy], str | None]:
    return test_floors(opened, folders, config)


def _across(
    rows: Sequence[StoreRow], at: int, beside: int, near: tuple[int, int], said: Accuracy | str | None
) -> Across:
    floor = said if isinstance(said, Accuracy) else None
    why = said if isinstance(said, str) else None
    if said is None and "floor" in rows[at].empty:
        why = f"{rows[at].name} has no floor: {rows[at].empty['floor']}"
    return Across(rows[at].name, rows[beside].name, *near, floor=floor, why=why)
