"""Where a copying load spends its time, beside stock loading of the finished pairs.

    python benchmarks/loading.py [QUERIES [ROUNDS]]

Each stage does what those before it do, and one thing more; all take turns in one process and one thread, and of the
processor time of each the least counts, since others may use the machine. Both loads are whole calls, ours with the
thread that reads ahead. The floor is the first stage: Arrow reads the columns that pairs need, and nothing is made.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from corpus import make_store
from datasets.arrow_writer import ArrowWriter
from measuring import publish, where
from views import THRESHOLDS, write_pairs

import coig_p
from coig_p.pairs.config import PairConfig
from coig_p.pairs.rows import find_rows
from coig_p.pairs.stream import BATCH_SIZE, COPIED_BYTES
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.reading import leaves, open_shard, read_batches


def stages(work: Path, threshold: float) -> dict[str, Callable[[], Any]]:
    config, shards = PairConfig(threshold=threshold), sorted((work / "store/data/math").glob("*.parquet"))

    def batches() -> Iterator[pa.RecordBatch]:
        for path in shards:
            with path.open("rb") as stream, open_shard(stream) as shard:
                for group in range(shard.num_row_groups):
                    yield from read_batches(shard, BATCH_SIZE, [group], PAIRING_SCHEMA, threads=False)

    def raw() -> None:
        for path in shards:
            columns = list(leaves(PAIRING_SCHEMA))
            for _ in pq.ParquetFile(path).iter_batches(BATCH_SIZE, columns=columns, use_threads=False):
                pass

    def tables() -> Iterator[pa.Table]:
        return (table for batch in batches() for table in find_rows(batch, config).tables(COPIED_BYTES))

    def written() -> None:
        writer = None
        for table in tables():
            features = datasets.Features.from_arrow_schema(table.schema)
            writer = writer or ArrowWriter(features=features, path=str(work / "cache" / "pairs.arrow"))
            writer.write_table(table)
        assert writer is not None
        writer.finalize()

    def load() -> None:
        options = {"threshold": threshold, "data_dir": str(work / "store"), "cache_dir": str(work / "cache")}
        coig_p.load_dataset("math", split="train", **options)

    def stock() -> None:
        files = str(work / f"pairs-{threshold}.parquet")
        datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(work / "cache"))

    return {
        "the columns of pairs, unpacked by Arrow": raw,
        "with checksums, and counts compared": lambda: sum(1 for _ in batches()),
        "pairs found": lambda: sum(len(find_rows(batch, config)) for batch in batches()),
        "texts of pairs copied": lambda: sum(1 for _ in tables()),
        "written by datasets' writer": written,
        "the load, with a thread that reads ahead": load,
        "stock loading of the finished pairs": stock,
    }


def least(work: Path, threshold: float, rounds: int) -> dict[str, float]:
    """Seconds of the processor of each stage."""
    made = stages(work, threshold)
    found = dict.fromkeys(made, float("inf"))
    for at in range(rounds + 1):
        for name, run in made.items():
            (work / "cache").mkdir()
            begin = time.process_time()
            run()
            if at:  # the first time imports
                found[name] = min(found[name], time.process_time() - begin)
            shutil.rmtree(work / "cache")
    return found


def main() -> None:
    queries, rounds = (int(one) for one in [*sys.argv[1:], *("10000", "9")[len(sys.argv) - 1 :]])
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_store(work / "store", queries)
        write_pairs(work)
        found = [least(work, threshold, rounds) for threshold in THRESHOLDS]
    lines = ["|  | " + " | ".join(f"threshold {one:g}" for one in THRESHOLDS) + " |", "|---|---|---|"]
    *_, last = found[0]
    for name in found[0]:
        lines.append(f"| {name} | " + " | ".join(f"{one[name] / one[last]:.2f}" for one in found) + " |")
    head = f"Processor time of stages, each with those before it; stock loading is 1. {queries:,} queries, least of "
    head += f"{rounds} rounds. {where('datasets', 'pyarrow')}"
    publish("loading.md", head + "\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
