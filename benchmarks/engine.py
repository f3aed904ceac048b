"""How long long commands take in one process, in several, and with two workers of Ray.

    python benchmarks/engine.py [--queries 10000] [--runs 3] [--num-proc 1 2] [--jobs check stats ...]

Ways take turns, each in a process of its own. Times are wall time of the work, with the start of processes; Ray's own
start is told apart; processor time is of all processes, but not of Ray's. What is made is the same bytes in every way,
or the benchmark fails. Without the extra `ray` its column is left out. Prints a table and keeps it in
benchmarks/results/engine.md; with more than two processes, in engine_cores.md.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from jobs import JOBS, imported, told, work
from measuring import Measured, in_own_process, median, progress, publish, spread, where

HERE = Path(__file__).resolve().parents[1]
RAY = "Ray, two workers"
DEFAULT = ("check", "stats", "clean", "export", "release")


def measure(way: str, job: str, store: Path) -> dict[str, Any]:
    imported()
    if way == RAY:
        from coig_p.engine.ray import RayExecutor

    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        begin, out = time.perf_counter(), Path(folder) / "out"
        with RayExecutor(num_proc=2) if way == RAY else nullcontext() as engine:
            if engine is not None:
                assert engine.window == 2
            begun, used = time.perf_counter(), sum(os.times()[:4])
            found = work(job, store, out, num_proc=2 if way == RAY else int(way), engine=engine)
            seconds, processor = time.perf_counter() - begun, sum(os.times()[:4]) - used
        digest = hashlib.sha256(told(job, found))
        for path in sorted(path for path in out.rglob("*") if path.is_file() and path.name != "README.md"):
            digest.update(path.read_bytes())
    return {"seconds": seconds, "processor": processor, "start": begun - begin, "made": digest.hexdigest()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--num-proc", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--jobs", nargs="+", default=DEFAULT, choices=JOBS)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "JOB", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, job, name = arguments.measure
        print(json.dumps(measure(way, job, Path(name))))
        return
    from corpus import make_store

    ways = [*map(str, arguments.num_proc), *([RAY] if importlib.util.find_spec("ray") else [])]
    found: dict[tuple[str, str], list[Measured]] = {(job, way): [] for job in arguments.jobs for way in ways}
    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        store = Path(folder) / "store"
        progress(f"making a corpus of {arguments.queries:,} queries ...")
        make_store(store, arguments.queries)
        shutil.copy(HERE / "coig_p" / "bundled" / "card.toml", store)
        for run in range(arguments.runs):
            for job, way in found:
                progress(f"run {run + 1} of {arguments.runs}: {job}, {way}")
                found[job, way].append(in_own_process(way, job, store))
    for job in arguments.jobs:
        made = {run["made"] for way in ways for run in found[job, way]}
        if len(made) != 1:
            sys.exit(f"{job}: not the same bytes in every way")
    packages = ("pyarrow", "numpy", *(("ray",) if RAY in ways else ()))
    lines = [
        f"{arguments.queries:,} queries x 15 responses; median wall time of {arguments.runs} runs (spread), and how "
        f"many times as fast as the first. The same bytes in every way. {where(*packages)}",
        "",
        f"| processes | {' | '.join(ways)} |",
        f"|---|{'---|' * len(ways)}",
    ]
    for job in arguments.jobs:
        one = median(found[job, ways[0]], "seconds")
        cells = [
            spread(found[job, way], "seconds")
            + ("" if way == ways[0] else f", {one / median(found[job, way], 'seconds'):.2f}")
            for way in ways
        ]
        lines.append(f"| {job} | {' | '.join(cells)} |")
    heads = ["job", *(f"{way} process{'es' if way != '1' else ''}" for way in ways if way != RAY)]
    lines += ["", "Processor seconds of all processes for a million responses:", ""]
    lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for job in arguments.jobs:
        used = [median(found[job, way], "processor") for way in ways if way != RAY]
        lines.append(f"| {job} | {' | '.join(f'{each / (arguments.queries * 15) * 1e6:.1f}' for each in used)} |")
    if RAY in ways:
        starts = [run for job in arguments.jobs for run in found[job, RAY]]
        lines += ["", f"Ray itself takes {spread(starts, 'start')} to start, which is not in its column."]
    publish("engine.md" if max(arguments.num_proc) <= 2 else "engine_cores.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
