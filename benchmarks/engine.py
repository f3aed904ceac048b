"""How long a check, statistics, an export and a release take in one process, two, and two workers of Ray.

    python benchmarks/engine.py [--queries 10000] [--runs 3]

Ways take turns, each in a process of its own. Times are wall time of the work, with the start of processes; Ray's own
start is told apart. What is made is the same bytes in every way, or the benchmark fails. Without the extra `ray` its
column is left out. Prints a table and keeps it in benchmarks/results/engine.md.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from measuring import Measured, in_own_process, median, progress, publish, spread, where

HERE = Path(__file__).resolve().parents[1]
ONE, TWO, RAY = "one process", "two processes", "Ray, two workers"
JOBS = ("check", "stats", "export", "release")


def work(job: str, store: Path, out: Path, **workers: Any) -> bytes:
    """Do it; all bytes of what it made."""
    from coig_p.export.write import ExportConfig, export_store
    from coig_p.publish.release import ReleaseConfig, write_release
    from coig_p.stats.counts import statistics
    from coig_p.store.store import Store
    from coig_p.validation import check

    if job == "check":
        return json.dumps(check(store, **workers).findings.to_pylist(), default=str).encode()
    if job == "stats":
        return statistics(store, **workers).to_json().encode()
    if job == "export":
        export_store(store, out, ExportConfig("trl-dpo"), **workers)
    else:
        write_release(Store.open(store), out, ReleaseConfig("1.0.0", **workers))
    return b"".join(path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file() and path.name != "README.md")


def measure(way: str, job: str, store: Path) -> dict[str, Any]:
    import coig_p.dedup.contamination
    import coig_p.export.write
    import coig_p.publish.release
    import coig_p.stats.counts  # noqa: F401

    if way == RAY:
        from coig_p.engine.ray import RayExecutor

    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        begin = time.perf_counter()
        with RayExecutor(num_proc=2) if way == RAY else nullcontext() as engine:
            begun = time.perf_counter()
            if engine is not None:
                assert engine.window == 2
                begun = time.perf_counter()
            workers = {"num_proc": 1 if way == ONE else 2, "engine": engine}
            made = work(job, store, Path(folder) / "out", **workers)
            seconds = time.perf_counter() - begun
            started = begun - begin
    return {"seconds": seconds, "start": started, "made": hashlib.sha256(made).hexdigest()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "JOB", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, job, name = arguments.measure
        print(json.dumps(measure(way, job, Path(name))))
        return
    from corpus import make_store

    ways = [ONE, TWO, RAY] if importlib.util.find_spec("ray") else [ONE, TWO]
    found: dict[tuple[str, str], list[Measured]] = {(job, way): [] for job in JOBS for way in ways}
    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        store = Path(folder) / "store"
        progress(f"making a corpus of {arguments.queries:,} queries ...")
        make_store(store, arguments.queries)
        shutil.copy(HERE / "coig_p" / "bundled" / "card.toml", store)
        for run in range(arguments.runs):
            for job, way in found:
                progress(f"run {run + 1} of {arguments.runs}: {job}, {way}")
                found[job, way].append(in_own_process(way, job, store))
    for job in JOBS:
        made = {run["made"] for way in ways for run in found[job, way]}
        if len(made) != 1:
            sys.exit(f"{job}: not the same bytes in every way")
    packages = ("pyarrow", "numpy", *(("ray",) if RAY in ways else ()))
    lines = [
        f"{arguments.queries:,} queries x 15 responses; median wall time of {arguments.runs} runs (spread), and how "
        f"many times as fast as one process. The same bytes in every way. {where(*packages)}",
        "",
        f"| | {' | '.join(ways)} |",
        f"|---|{'---|' * len(ways)}",
    ]
    for job in JOBS:
        one = median(found[job, ONE], "seconds")
        cells = [
            spread(found[job, way], "seconds")
            + ("" if way == ONE else f", {one / median(found[job, way], 'seconds'):.2f}")
            for way in ways
        ]
        lines.append(f"| {job} | {' | '.join(cells)} |")
    if RAY in ways:
        starts = [run for job in JOBS for run in found[job, RAY]]
        lines += ["", f"Ray itself takes {spread(starts, 'start')} to start, which is not in its column."]
    publish("engine.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
