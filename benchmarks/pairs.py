"""How long a cold load and a stream of pairs take: ours, the same pairs made beforehand, joins.

    python benchmarks/pairs.py [--queries 10000] [--runs 9] [--sizes 1000 10000 92784]

Every measurement is a process of its own with an empty cache; the ways take turns, so that a slow
minute of the machine hits all of them. Time is from the call to a Dataset, imports not counted;
memory is what the process grew by after the imports, at its peak, without mapped files. 92,784
queries with 15 responses each are COIG-P's own size (COIG-P, Table 2). Prints tables and keeps
them in benchmarks/results/pairs.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from measuring import Measured, PeakMemory, in_own_process, median, progress, publish, spread, where
from ways import COLUMNS, DUCKDB, ITERTOOLS, OURS, POLARS, SNAPPY, STOCK, load, stock_folder

JOINS = {POLARS: "polars", DUCKDB: "duckdb"}
LEFT_OUT = [package for package in JOINS.values() if not find_spec(package)]
CASES = (
    *((way, 2) for way in (OURS, STOCK, SNAPPY, ITERTOOLS, POLARS, DUCKDB) if JOINS.get(way) not in LEFT_OUT),
    *((way, 1) for way in (OURS, STOCK, SNAPPY)),
)
CASES_IN_EVERY_RUN = tuple((way, threshold) for way, threshold in CASES if way in (OURS, STOCK, SNAPPY))
STREAMS = (OURS, STOCK)
GROWTH_RUNS = JOIN_RUNS = 3  # of what is there for scale; the others are compared closely
BEGAN = time.perf_counter()


def measure(way: str, threshold: int, work: Path) -> Measured:
    """One cold load in this process."""
    import datasets

    import coig_p.builder  # noqa: F401

    if way in JOINS:
        __import__(JOINS[way])
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=work) as cache, PeakMemory() as memory:
        begin, worked = time.perf_counter(), time.process_time()
        rows = load(way, threshold, work, Path(cache)).num_rows
        return {
            "seconds": time.perf_counter() - begin,
            "processor": time.process_time() - worked,
            "rows": rows,
            "memory": memory.grown(),
        }


def measure_stream(way: str, threshold: int, work: Path) -> Measured:
    """One pass over a stream in this process: time to the first row, and rows per second in all."""
    import datasets  # noqa: F401

    import coig_p.builder  # noqa: F401

    if find_spec("torch"):
        __import__("torch")  # datasets imports it for any stream where it is installed
    begin = time.perf_counter()
    rows = iter(load(way, threshold, work, work / "unused", streaming=True))
    next(rows)
    first = time.perf_counter() - begin
    number = 1 + sum(1 for _ in rows)
    return {"first": first, "rows": number, "rate": number / (time.perf_counter() - begin)}


def prepare(work: Path, queries: int) -> None:
    """The corpus, and its pairs twice: as `coigp pairs` writes them, the strongest file that stock code can be given,
    and as the stock library writes them, one file per shard of the store."""
    import datasets
    from corpus import make_store

    from coig_p.export.one_file import write_pairs
    from coig_p.pairs.config import PairConfig

    datasets.disable_progress_bars()
    make_store(work / "store", queries)
    for threshold in sorted({threshold for _, threshold in CASES}):
        with tempfile.TemporaryDirectory(dir=work) as cache:
            pairs = load(OURS, threshold, work, Path(cache))
            shards = max(1, queries // 1000)
            zstd, snappy = (stock_folder(way, threshold, work) for way in (STOCK, SNAPPY))
            zstd.mkdir()
            snappy.mkdir()
            write_pairs(work / "store", zstd / "pairs.parquet", PairConfig(threshold=threshold))
            for at in range(shards):
                name = f"train-{at:05d}-of-{shards:05d}.parquet"
                pairs.shard(shards, at, contiguous=True).to_parquet(snappy / name)


def check_equal(work: Path) -> None:
    """All ways give the same pairs, joins in any order, or the comparison means nothing."""
    with tempfile.TemporaryDirectory(dir=work) as cache:
        ours, *others = (load(way, 2, work, Path(cache) / str(at)) for at, (way, t) in enumerate(CASES) if t == 2)
        wanted = _in_one_order(ours)
        for other in others:
            assert _in_one_order(other).equals(wanted)


def _in_one_order(pairs: Any) -> pa.Table:
    table = pairs.data.table.select(COLUMNS)
    order = pc.sort_indices(table, [(name, "ascending") for name in ("query_id", "chosen_model", "rejected_model")])
    strings = pa.schema([(name, pa.large_string()) for name in COLUMNS])
    return table.cast(strings).take(order).combine_chunks()


Loads = dict[tuple[str, int], list[Measured]]


def loads_table(loads: Loads) -> list[str]:
    lines = [
        "| threshold | | pairs | time | relative | processor time | relative | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (way, threshold), runs in loads.items():
        ratio, worked = (
            median(runs, name) / median(loads[STOCK, threshold], name) for name in ("seconds", "processor")
        )
        lines.append(
            f"| {threshold} | {way} | {runs[0]['rows']:,} | {spread(runs, 'seconds')} | {ratio:.2f} "
            f"| {spread(runs, 'processor')} | {worked:.2f} | {median(runs, 'memory') / 2**20:.0f} MiB |"
        )
    return lines


def streams_table(streams: dict[str, list[Measured]]) -> list[str]:
    lines = ["| | time to the first row | relative | rows per second | relative |", "|---|---|---|---|---|"]
    for way, runs in streams.items():
        first, rate = median(runs, "first"), median(runs, "rate")
        stock = streams[STOCK]
        lines.append(
            f"| {way} | {first * 1000:.0f} ms | {first / median(stock, 'first'):.2f} "
            f"| {rate:,.0f} | {rate / median(stock, 'rate'):.2f} |"
        )
    return lines


def growth_table(growth: dict[int, list[Measured]]) -> list[str]:
    sizes = list(growth)
    times = [median(growth[size], "seconds") for size in sizes]
    if not sizes:
        return ["(not measured in this run)"]
    lines = ["| queries | responses | pairs | time | memory |", "|---|---|---|---|---|"]
    for size, runs in growth.items():
        lines.append(
            f"| {size:,} | {size * 15:,} | {runs[0]['rows']:,} | {spread(runs, 'seconds')} "
            f"| {median(runs, 'memory') / 2**20:.0f} MiB |"
        )
    if len(sizes) < 2:
        return lines
    exponent = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    return [*lines, "", f"Time grows as the {exponent:.2f}th power of the number of queries."]


def told(words: str) -> None:
    """Say what comes next, and after how many seconds: what each part costs can be read off."""
    progress(f"{time.perf_counter() - BEGAN:6.0f} s: {words}")


def size_of(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*.parquet')) / 2**20:.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000, 92_784])
    parser.add_argument("--measure", nargs=4, metavar=("WHAT", "WAY", "THRESHOLD", "WORK"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        what, way, threshold, folder = arguments.measure
        print(json.dumps((measure if what == "load" else measure_stream)(way, int(threshold), Path(folder))))
        return
    if LEFT_OUT:
        progress(f"left out, not installed: {', '.join(LEFT_OUT)}")
    work = Path(tempfile.mkdtemp(prefix="coigp-bench-"))
    try:
        told(f"making a corpus of {arguments.queries:,} queries, and its pairs")
        prepare(work, arguments.queries)
        told("all ways give the same pairs?")
        check_equal(work)
        loads: Loads = {case: [] for case in CASES}
        streams: dict[str, list[Measured]] = {way: [] for way in STREAMS}
        for run in range(arguments.runs):
            told(f"run {run + 1} of {arguments.runs}")
            for way, threshold in CASES if run < JOIN_RUNS else CASES_IN_EVERY_RUN:
                loads[way, threshold].append(in_own_process("load", way, threshold, work))
            for way in STREAMS:
                streams[way].append(in_own_process("stream", way, 2, work))
        sizes = f"the store {size_of(work / 'store')}"
        for threshold in (2, 1):
            zstd, snappy = (size_of(stock_folder(way, threshold, work)) for way in (STOCK, SNAPPY))
            sizes += f"; its pairs at threshold {threshold} {zstd} as zstd, {snappy} as snappy"
        growth = {size: measure_growth(size) for size in arguments.sizes}
        text = [
            f"{arguments.queries:,} queries x 15 responses; median of {arguments.runs} runs (spread), of the generator "
            f"and joins {min(JOIN_RUNS, arguments.runs)}; relative to stock Parquet in zstd at the same threshold in "
            "the same run. "
            f"{where('datasets', 'pyarrow', *(package for package in JOINS.values() if package not in LEFT_OUT))}",
            "",
            *loads_table(loads),
            "",
            "Streaming at threshold 2, every row as a Python dict:",
            "",
            *streams_table(streams),
            "",
            f"Bytes on disk: {sizes}.",
            "",
            f"Our cold load at threshold 2 as the corpus grows, median of {GROWTH_RUNS} runs:",
            "",
            *growth_table(growth),
        ]
        publish("pairs.md", "\n".join(text) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def measure_growth(queries: int) -> list[Measured]:
    from corpus import make_store

    told(f"growth: making and loading {queries:,} queries")
    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        make_store(Path(folder) / "store", queries)
        return [in_own_process("load", OURS, 2, folder) for _ in range(GROWTH_RUNS)]


if __name__ == "__main__":
    main()
