"""How fast shuffled pairs stream to a trainer: an export beside stock Parquet with a shuffle buffer.

    python benchmarks/streaming.py [--queries 3000] [--runs 5] [--buffer 1000]

The stock way is what people do with finished pairs: one Parquet file per shard, written by
`Dataset.to_parquet`, streamed with `.shuffle(buffer_size=...)`. Ours are the same pairs, exported
by `coigp export` (globally shuffled, small row groups) and streamed by the same library without a
buffer, and the store itself, streamed with `shuffle_seed=`. Every measurement is a process of its
own; the ways take turns. Every row becomes a Python dict. Prints a table and keeps it in
benchmarks/results/streaming.md.
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

from measuring import Measured, in_own_process, median, progress, publish, spread, where

EXPORT, STORE = "coigp export, no buffer", "store, shuffle_seed=0"
STOCK, BUFFERLESS = "stock Parquet, shuffle buffer", "stock Parquet, not shuffled"
WAYS = (EXPORT, STORE, STOCK, BUFFERLESS)


def stream(way: str, work: Path, buffer: int) -> Any:
    import datasets

    options = {"split": "train", "streaming": True}
    if way == STORE:
        return datasets.load_dataset("coig-p", "math", data_dir=str(work / "store"), shuffle_seed=0, **options)
    files = sorted(map(str, (work / ("export/train" if way == EXPORT else "pairs")).glob("*.parquet")))
    rows = datasets.load_dataset("parquet", data_files=files, **options)
    return rows.shuffle(seed=0, buffer_size=buffer) if way == STOCK else rows


def measure(way: str, work: Path, buffer: int) -> Measured:
    """One pass in this process: time to the first row, and rows per second in all."""
    import datasets  # noqa: F401

    import coig_p.builder  # noqa: F401

    if find_spec("torch"):
        __import__("torch")  # datasets imports it for any stream where it is installed
    begin = time.perf_counter()
    rows = iter(stream(way, work, buffer))
    next(rows)
    first = time.perf_counter() - begin
    number = 1 + sum(1 for _ in rows)
    return {"first": first, "rows": number, "rate": number / (time.perf_counter() - begin)}


def prepare(work: Path, queries: int) -> None:
    """The corpus, its pairs as the stock library writes them, and as an export with the same number of shards."""
    from corpus import make_store

    import coig_p.builder
    from coig_p.export.write import ExportConfig, export_store
    from coig_p.pairs.plan import ShardConfig

    make_store(work / "store", queries)
    shards = max(1, queries // 1000)
    columns = ["prompt", "chosen", "rejected", "query_id", "domain"]
    with tempfile.TemporaryDirectory(dir=work) as cache:
        pairs = coig_p.builder.load_dataset("math", data_dir=str(work / "store"), split="train", cache_dir=cache)
        pairs = pairs.select_columns(columns)  # those of the export, and no more
        (work / "pairs").mkdir()
        for at in range(shards):
            name = f"train-{at:05d}-of-{shards:05d}.parquet"
            pairs.shard(shards, at, contiguous=True).to_parquet(work / "pairs" / name)
    export_store(work / "store", work / "export", ExportConfig("trl-dpo", order=ShardConfig(shards=shards)))


def check_equal(work: Path, buffer: int) -> None:
    """All ways give the same rows, or the comparison means nothing."""
    names = ("query_id", "chosen", "rejected")
    found = [sorted(tuple(row[name] for name in names) for row in stream(way, work, buffer)) for way in WAYS]
    assert all(one == found[0] for one in found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "WORK", "BUFFER"))
    parser.add_argument("--queries", type=int, default=3_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--buffer", type=int, default=1_000, help="1,000 is the default of IterableDataset.shuffle.")
    arguments = parser.parse_args()
    if arguments.measure:
        way, work, buffer = arguments.measure
        print(json.dumps(measure(way, Path(work), int(buffer))))
        return
    import datasets

    datasets.disable_progress_bars()
    work = Path(tempfile.mkdtemp(prefix="coigp-bench-"))
    try:
        progress(f"making a corpus of {arguments.queries:,} queries ...")
        prepare(work, arguments.queries)
        check_equal(work, arguments.buffer)
        runs: dict[str, list[Measured]] = {way: [] for way in WAYS}
        for number in range(arguments.runs):
            progress(f"run {number + 1} of {arguments.runs} ...")
            for way in WAYS:
                runs[way].append(in_own_process(way, work, arguments.buffer))
        stock = runs[STOCK]
        lines = [
            f"{arguments.queries:,} queries x 15 responses, {stock[0]['rows']:,} pairs at threshold 2, every row as a "
            f"Python dict; median of {arguments.runs} runs (spread); buffer of {arguments.buffer:,} rows. "
            f"{where('datasets', 'pyarrow')}",
            "",
            "| | time to the first row | relative | rows per second | relative |",
            "|---|---|---|---|---|",
        ]
        for way, own in runs.items():
            lines.append(
                f"| {way} | {spread(own, 'first')} | {median(own, 'first') / median(stock, 'first'):.2f} "
                f"| {median(own, 'rate'):,.0f} | {median(own, 'rate') / median(stock, 'rate'):.2f} |"
            )
        sizes = {
            name: sum(file.stat().st_size for file in (work / name).rglob("*.parquet")) / 2**20
            for name in ("export", "pairs", "store")
        }
        lines += ["", f"On disk: {', '.join(f'{name} {size:.0f} MiB' for name, size in sizes.items())}."]
        publish("streaming.md", "\n".join(lines) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
