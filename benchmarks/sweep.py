"""How long a sweep of 20 thresholds takes beside one cold load, one pass for each threshold, and statistics.

    python benchmarks/sweep.py [--queries 10000] [--runs 7]

Every measurement is a process of its own, the load with an empty cache; the ways take turns, so
that a slow minute of the machine hits all of them. Imports are not counted. The corpus has one
judge a response; a second one has two, so that a second judge is counted too. Prints a table and
keeps it in benchmarks/results/sweep.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from measuring import Measured, PeakMemory, in_own_process, median, progress, publish, spread, where

LOAD, SWEEP = "one cold load of the pairs at threshold 2", "a sweep of 20 thresholds"
PASSES, STATS = "find_pairs once for each of the 20", "all statistics at threshold 2"
WAYS = (LOAD, SWEEP, PASSES, STATS)
STORES = {"store": "one judge a response", "judged": "two judges a response"}
SLOW_RUNS = 2  # of what takes longest
THRESHOLDS = [at / 2 for at in range(20)]


def run(way: str, store: Path, work: Path) -> int:
    """Do it; the number of pairs at threshold 2."""
    import coig_p
    from coig_p.pairs.config import PairConfig
    from coig_p.pairs.kernel import find_pairs
    from coig_p.stats.counts import statistics
    from coig_p.stats.sweep import sweep
    from coig_p.store.store import Store

    if way == LOAD:
        with tempfile.TemporaryDirectory(dir=work) as cache:
            loaded = coig_p.load_dataset("math", data_dir=str(store), threshold=2, split="train", cache_dir=cache)
            return int(loaded.num_rows)
    if way == SWEEP:
        return next(row.pairs for row in sweep(store, thresholds=THRESHOLDS).thresholds if row.threshold == 2)
    if way == STATS:
        return statistics(store).total.pairs
    counts = dict.fromkeys(THRESHOLDS, 0)
    for threshold in THRESHOLDS:
        config = PairConfig(threshold=threshold)
        counts[threshold] = sum(len(find_pairs(batch, config).query) for batch in Store.open(store).batches())
    return counts[2]


def measure(way: str, store: Path, work: Path) -> Measured:
    import datasets
    import scipy.special  # noqa: F401

    import coig_p.builder
    import coig_p.stats.counts  # noqa: F401

    datasets.disable_progress_bars()
    with PeakMemory() as memory:
        begin = time.perf_counter()
        pairs = run(way, store, work)
        return {"seconds": time.perf_counter() - begin, "pairs": pairs, "memory": memory.grown()}


def with_second_judge(source: Path, target: Path) -> None:
    """The same store, every response scored by another judge too, within a point of the first."""
    from coig_p.core.atomic import atomic_directory
    from coig_p.schema import RAW_SCHEMA
    from coig_p.store.manifest import Manifest
    from coig_p.store.store import Store
    from coig_p.store.writing import Part, write_store

    rng = np.random.default_rng(1)

    def judged(row: dict[str, Any]) -> dict[str, Any]:
        for response in row["responses"]:
            (first,) = response["scores"]
            score = min(10.0, max(1.0, first["score"] + rng.integers(-2, 3) / 2))
            response["scores"].append({"judge": "judge-z", "dimension": "overall", "score": score})
        return row

    opened = Store.open(source)
    batches = (
        pa.RecordBatch.from_pylist([judged(row) for row in batch.to_pylist()], schema=RAW_SCHEMA)
        for batch in opened.batches()
    )
    with atomic_directory(target) as root:
        part = Part("math", "train", sum(file.rows or 0 for file in opened.data_files()), batches)
        write_store(root, [part], Manifest(score_range=(1.0, 10.0), default_threshold=2.0, tool="benchmark"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "STORE", "WORK"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, store, folder = arguments.measure
        print(json.dumps(measure(way, Path(store), Path(folder))))
        return
    work = Path(tempfile.mkdtemp(prefix="coigp-bench-"))
    try:
        from corpus import make_store

        progress(f"making two corpora of {arguments.queries:,} queries ...")
        make_store(work / "store", arguments.queries)
        with_second_judge(work / "store", work / "judged")
        found: dict[tuple[str, str], list[Measured]] = {(name, way): [] for name in STORES for way in WAYS}
        for nth in range(arguments.runs):
            progress(f"run {nth + 1} of {arguments.runs}")
            for name, way in found:
                if way == PASSES and nth >= SLOW_RUNS:
                    continue
                found[name, way].append(in_own_process(way, work / name, work))
        for name in STORES:
            assert len({runs[0]["pairs"] for (other, _), runs in found.items() if other == name}) == 1
        lines = ["| | | time | relative | memory |", "|---|---|---|---|---|"]
        for (name, way), runs in found.items():
            ratio = median(runs, "seconds") / median(found[name, LOAD], "seconds")
            memory = f"{median(runs, 'memory') / 2**20:.0f} MiB"
            lines.append(f"| {STORES[name]} | {way} | {spread(runs, 'seconds')} | {ratio:.2f} | {memory} |")
        pairs = " and ".join(f"{found[name, LOAD][0]['pairs']:,} with {words}" for name, words in STORES.items())
        head = (
            f"{arguments.queries:,} queries x 15 responses, {pairs} at threshold 2, the same by every way; median of "
            f"{arguments.runs} runs (spread), {SLOW_RUNS} of find_pairs; relative to the cold load "
            "of the same store in the same run. "
            f"{where('datasets', 'pyarrow', 'numpy')}"
        )
        publish("sweep.md", "\n".join([head, "", *lines]) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
