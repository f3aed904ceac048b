"""Near-duplicates by files, of queries that a test holds in memory."""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from pathlib import Path

from coig_p.dedup.clusters import Queries
from coig_p.dedup.finding import Found, find_in_runs
from coig_p.dedup.queries import DedupConfig
from coig_p.dedup.runs import Run, write_run
from coig_p.engine.local import Processes, Workers


def part_of(queries: Queries, part: slice) -> Queries:
    """Some neighbours of the queries."""
    lists = {one.name: getattr(queries, one.name)[part] for one in fields(Queries) if one.name != "elsewhere"}
    return replace(queries, elsewhere=0, **lists)


def runs_of(queries: Queries, folder: Path, size: int, *, merge: bool = False, every: int = 1) -> tuple[list[Run], int]:
    """Runs of so many queries each, the last of a store's own of fewer; and how many are its own."""
    begins = [*range(0, queries.own, size), *range(queries.own, len(queries.ids), size)]
    ends = [min(begin + size, queries.own if begin < queries.own else len(queries.ids)) for begin in begins]
    runs = [
        write_run([part_of(queries, slice(begin, end))], at, folder / f"run-{at}.arrow", merge=merge, every=every)
        for at, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]
    return runs, sum(begin < queries.own for begin in begins)


def found_by_files(
    queries: Queries, config: DedupConfig, *, size: int, ranges: int, workers: Workers | None = None
) -> Found:
    """As `find_duplicates`, by files."""
    with tempfile.TemporaryDirectory() as folder:
        runs, own = runs_of(queries, Path(folder), size, merge=config.merge)
        return find_in_runs(runs, own, Path(folder), config, ranges, workers or Processes(1))
