"""How long a cold load and a stream of pairs take: ours, the same pairs made beforehand, itertools.

    python benchmarks/pairs.py [--queries 10000] [--runs 9]

Every run is a process of its own with an empty cache; the alternatives take turns, so that a
slow minute of the machine hits all of them. Time is from the call of load_dataset to a Dataset
on disk, imports not counted; memory is what the process grew by after the imports, at its peak,
without mapped files. Prints a table and writes it to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CASES = (
    ("coig_p", 2),
    ("stock Parquet of the same pairs", 2),
    ("itertools.combinations in a generator", 2),
    ("coig_p", 1),
    ("stock Parquet of the same pairs", 1),
)
STREAMS = ("coig_p", "stock Parquet of the same pairs")
COLUMNS = ("prompt", "chosen", "rejected", "query_id", "domain", "chosen_model", "rejected_model")


def load(case: str, threshold: int, work: Path, cache: Path, *, streaming: bool = False) -> Any:
    """Load the pairs of the corpus in one of three ways."""
    import datasets

    import coig_p  # noqa: F401  registers "coig-p"

    if case == "coig_p":
        return datasets.load_dataset(
            "coig-p",
            "math",
            data_dir=str(work / "store"),
            threshold=threshold,
            split="train",
            cache_dir=str(cache),
            streaming=streaming,
        )
    if case.startswith("stock"):
        files = sorted(map(str, (work / f"pairs-{threshold}").glob("*.parquet")))
        return datasets.load_dataset(
            "parquet", data_files=files, split="train", cache_dir=str(cache), streaming=streaming
        )
    return datasets.Dataset.from_generator(
        by_itertools, gen_kwargs={"store": str(work / "store"), "threshold": threshold}, cache_dir=str(cache)
    )


def by_itertools(store: str, threshold: float) -> Iterator[dict[str, Any]]:
    """The obvious way: Python objects and float means."""
    import pyarrow.parquet as pq

    for path in sorted(Path(store).glob("data/math/*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=256):
            for row in batch.to_pylist():
                scored = []
                for response in row["responses"]:
                    scores = [score["score"] for score in response["scores"] if score["judge"] != response["model"]]
                    if scores:
                        scored.append((response, sum(scores) / len(scores)))
                for (a, a_score), (b, b_score) in combinations(scored, 2):
                    if abs(a_score - b_score) >= threshold and a["text"] != b["text"]:
                        won, lost = ((a, a_score), (b, b_score)) if a_score > b_score else ((b, b_score), (a, a_score))
                        yield {
                            "prompt": row["query"],
                            "chosen": won[0]["text"],
                            "rejected": lost[0]["text"],
                            "query_id": row["query_id"],
                            "domain": row["domain"],
                            "chosen_model": won[0]["model"],
                            "rejected_model": lost[0]["model"],
                            "chosen_score": won[1],
                            "rejected_score": lost[1],
                            "margin": won[1] - lost[1],
                        }


def measure(case: str, threshold: int, work: Path) -> dict[str, float]:
    """One cold load in this process."""
    import datasets

    import coig_p.builder  # noqa: F401

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=work) as cache, PeakMemory() as memory:
        begin = time.perf_counter()
        rows = load(case, threshold, work, Path(cache)).num_rows
        return {"seconds": time.perf_counter() - begin, "rows": rows, "memory": memory.grown()}


def measure_stream(case: str, threshold: int, work: Path) -> dict[str, float]:
    """One pass over a stream in this process: time to the first row, and rows per second in all."""
    import datasets  # noqa: F401

    import coig_p.builder  # noqa: F401

    begin = time.perf_counter()
    rows = iter(load(case, threshold, work, work / "unused", streaming=True))
    next(rows)
    first = time.perf_counter() - begin
    number = 1 + sum(1 for _ in rows)
    return {"first": first, "rows": number, "rate": number / (time.perf_counter() - begin)}


class PeakMemory:
    """Peak growth of anonymous memory in bytes: resident, without mapped files. Linux; elsewhere maxrss."""

    def __enter__(self) -> PeakMemory:
        self.begin = self.peak = self.now()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def watch(self) -> None:
        while not self.stop.wait(0.005):
            self.peak = max(self.peak, self.now())

    def grown(self) -> int:
        return max(self.peak, self.now()) - self.begin

    @staticmethod
    def now() -> int:
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(status.split("RssAnon:")[1].split()[0]) * 1024


def prepare(work: Path, queries: int) -> None:
    """The corpus, and its pairs as the stock library writes them: one file per shard of the store."""
    from corpus import make_store

    make_store(work / "store", queries)
    for threshold in sorted({threshold for _, threshold in CASES}):
        with tempfile.TemporaryDirectory(dir=work) as cache:
            pairs = load("coig_p", threshold, work, Path(cache))
            shards = max(1, queries // 1000)
            (work / f"pairs-{threshold}").mkdir()
            for at in range(shards):
                name = f"train-{at:05d}-of-{shards:05d}.parquet"
                pairs.shard(shards, at, contiguous=True).to_parquet(work / f"pairs-{threshold}" / name)


def check_equal(work: Path) -> None:
    """All three ways give the same pairs, or the comparison means nothing."""
    with tempfile.TemporaryDirectory(dir=work) as cache:
        ours, *others = (load(case, 2, work, Path(cache) / str(at)) for at, (case, t) in enumerate(CASES) if t == 2)
        for other in others:
            for name in COLUMNS:
                assert ours[name] == other[name], f"{name} differs"


Results = dict[tuple[str, int], list[dict[str, float]]]


def report(results: Results, streams: dict[str, list[dict[str, float]]], sizes: dict[str, int], queries: int) -> str:
    import datasets
    import pyarrow

    versions = f"Python {platform.python_version()}, datasets {datasets.__version__}, pyarrow {pyarrow.__version__}"
    runs = len(next(iter(results.values())))
    lines = [
        f"{queries:,} queries x 15 responses; median of {runs} runs (spread); time relative to stock Parquet at the "
        f"same threshold in the same run. {versions}, {platform.system()}.",
        "",
        "| threshold | | pairs | time | relative | memory |",
        "|---|---|---|---|---|---|",
    ]
    for (case, threshold), found in results.items():
        seconds = [run["seconds"] for run in found]
        stock = [run["seconds"] for run in results["stock Parquet of the same pairs", threshold]]
        ratio = statistics.median(seconds) / statistics.median(stock)
        lines.append(
            f"| {threshold} | {case} | {found[0]['rows']:,} | {statistics.median(seconds):.2f} s "
            f"({min(seconds):.2f} to {max(seconds):.2f}) | {ratio:.2f} "
            f"| {statistics.median(run['memory'] for run in found) / 2**20:.0f} MiB |"
        )
    lines += [
        "",
        "Streaming at threshold 2, every row as a Python dict:",
        "",
        "| | time to the first row | relative | rows per second | relative |",
        "|---|---|---|---|---|",
    ]
    stock_first, stock_rate = (
        statistics.median(run[name] for run in streams["stock Parquet of the same pairs"]) for name in ("first", "rate")
    )
    for case, found in streams.items():
        first, rate = (statistics.median(run[name] for run in found) for name in ("first", "rate"))
        lines.append(
            f"| {case} | {first * 1000:.0f} ms | {first / stock_first:.2f} | {rate:,.0f} | {rate / stock_rate:.2f} |"
        )
    lines += ["", "Bytes on disk: " + ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in sizes.items()) + "."]
    return "\n".join(lines) + "\n"


def in_own_process(what: str, case: str, threshold: int, work: Path) -> dict[str, float]:
    os.sync()  # or a run would pay for writing back what the one before it left
    command = [sys.executable, __file__, "--measure", what, case, str(threshold), str(work)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--measure", nargs=4, metavar=("WHAT", "CASE", "THRESHOLD", "WORK"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, case, threshold, work = arguments.measure
        print(json.dumps((measure if what == "load" else measure_stream)(case, int(threshold), Path(work))))
        return
    work = Path(tempfile.mkdtemp(prefix="coigp-bench-"))
    try:
        print(f"making a corpus of {arguments.queries:,} queries ...", file=sys.stderr)
        prepare(work, arguments.queries)
        check_equal(work)
        results: Results = {case: [] for case in CASES}
        streams: dict[str, list[dict[str, float]]] = {case: [] for case in STREAMS}
        for run in range(arguments.runs):
            print(f"run {run + 1} of {arguments.runs}", file=sys.stderr)
            for case, threshold in CASES:
                results[case, threshold].append(in_own_process("load", case, threshold, work))
            for case in STREAMS:
                streams[case].append(in_own_process("stream", case, 2, work))
        sizes = {
            "the store": size_of(work / "store"),
            "its pairs at threshold 2": size_of(work / "pairs-2"),
            "at threshold 1": size_of(work / "pairs-1"),
        }
        table = report(results, streams, sizes, arguments.queries)
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "pairs.md").write_text(table, encoding="utf-8")
        print(table)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
