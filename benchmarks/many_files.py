"""What many files cost: 2,000 shards of one query, and 200 domains loaded as "all", beside as many files of pairs.

    python benchmarks/many_files.py [--runs 3]

The stock way are the same pairs made beforehand, as many zstd files of Parquet as the store has, written as
`coigp pairs` writes them. Every measurement is a process of its own and the ways take turns. Prints a table of
processor and wall time, and keeps it in benchmarks/results/many_files.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Measured, in_own_process, median, progress, publish, spread, where

QUERIES = 2_000
STORES = {"2,000 shards": (1, 1), "200 domains": (200, 1_000)}  # domains, and queries of a shard
OURS, STOCK = "coig_p", "stock Parquet of the same pairs"
MODES = ("map-style", "streaming")


def load(way: str, folder: Path, cache: str, *, streaming: bool) -> Any:
    import datasets

    import coig_p  # noqa: F401  registers "coig-p"

    options = {"split": "train", "cache_dir": cache, "streaming": streaming}
    if way == OURS:
        return datasets.load_dataset("coig-p", "all", data_dir=str(folder / "store"), **options)
    return datasets.load_dataset("parquet", data_files=sorted(map(str, (folder / "pairs").iterdir())), **options)


def measure(way: str, mode: str, folder: Path) -> Measured:
    """One cold load, or one pass over a stream, in this process."""
    import datasets

    import coig_p.builder  # noqa: F401

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        begin, worked = time.perf_counter(), time.process_time()
        found = load(way, folder, cache, streaming=mode == "streaming")
        rows = sum(1 for _ in found) if mode == "streaming" else found.num_rows
        return {
            "seconds": time.perf_counter() - begin,
            "processor": time.process_time() - worked,
            "rows": rows,
        }


def prepare(folder: Path, domains: int, per_shard: int) -> None:
    """A store, and its pairs in one file for each of its shards."""
    import corpus

    from coig_p.builder import load_dataset
    from coig_p.core.atomic import atomic_directory
    from coig_p.store import writing
    from coig_p.store.manifest import Manifest
    from coig_p.store.store import Store

    corpus.make_store(folder / "plain", QUERIES)
    batches = list(Store.open(folder / "plain").batches())
    rows = pa.Table.from_batches(batches)
    of_domain = QUERIES // domains

    def parts() -> Iterator[writing.Part]:
        for at in range(domains):
            name = f"d{at:03d}"
            own = rows.slice(at * of_domain, of_domain)
            own = own.set_column(1, "domain", pa.array([name] * of_domain)).cast(rows.schema)
            yield writing.Part(name, "train", of_domain, own.to_batches())

    writing.ROWS_PER_SHARD = per_shard
    with atomic_directory(folder / "store") as root:
        writing.write_store(root, parts(), Manifest(score_range=(1.0, 10.0), default_threshold=2.0, tool="benchmark"))
    (folder / "pairs").mkdir()
    pairs = load_dataset("all", data_dir=str(folder / "store"), split="train", cache_dir=str(folder / "cache"))
    number = len(list((folder / "store").glob("data/*/*.parquet")))
    table = pairs.data.table.combine_chunks()
    named = [name for name in table.schema.names if name.endswith(("model", "domain"))]
    for at in range(number):
        begin, end = (table.num_rows * edge // number for edge in (at, at + 1))
        pq.write_table(
            table.slice(begin, end - begin),
            folder / "pairs" / f"train-{at:05d}-of-{number:05d}.parquet",
            compression="zstd",
            compression_level=3,
            use_dictionary=named,
            write_page_index=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "MODE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, mode, folder = arguments.measure
        print(json.dumps(measure(way, mode, Path(folder))))
        return
    work = Path(tempfile.mkdtemp(prefix="coigp-bench-"))
    lines = [
        f"{QUERIES:,} queries x 15 responses; median of {arguments.runs} runs (spread); relative to stock, processor "
        f"time. {where('datasets', 'pyarrow')}",
        "",
        "| store | | | processor time | relative | wall time |",
        "|---|---|---|---|---|---|",
    ]
    try:
        for name, (domains, per_shard) in STORES.items():
            folder = work / f"{domains}"
            progress(f"making {name} ...")
            prepare(folder, domains, per_shard)
            for mode in MODES:
                runs: dict[str, list[Measured]] = {OURS: [], STOCK: []}
                for _ in range(arguments.runs):
                    for way, own in runs.items():
                        own.append(in_own_process(way, mode, folder))
                assert len({run["rows"] for own in runs.values() for run in own}) == 1
                for way, own in runs.items():
                    ratio = median(own, "processor") / median(runs[STOCK], "processor")
                    lines.append(
                        f"| {name} | {mode} | {way} | {spread(own, 'processor')} | {ratio:.2f} "
                        f"| {spread(own, 'seconds')} |"
                    )
        publish("many_files.md", "\n".join(lines) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
