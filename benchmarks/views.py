"""Lazy loads against stock loading of the finished pairs, which `coigp pairs` writes with zstd: times and cache.

    python benchmarks/views.py [QUERIES [ROUNDS]]

Each measurement is a process of its own with a cache of its own, but for what a later threshold finds there. All are
repeated in rounds, and of each number the median counts.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from corpus import make_store
from measuring import in_own_process, publish, where

THRESHOLDS = (2.0, 1.0)
SWEEP = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
SHOWN = (
    ("copying load", "copied", "load"),
    ("first lazy load", "lazy", "load"),
    ("lazy load of a further threshold", "again", "load"),
    ("cache", "lazy", "bytes"),
    ("a row", "lazy", "row"),
    ("8 random rows", "lazy", "few"),
    ("1,000 random rows", "lazy", "random"),
    ("batches in order", "lazy", "batches"),
    ("filter on a number, named", "lazy", "filter"),
    ("filter on a number of the row", "lazy", "filter row"),
    ("sort by a number", "lazy", "sort"),
)


def measure(how: str, work: str, cache: str, threshold: str) -> dict[str, float]:
    import datasets

    import coig_p

    datasets.disable_progress_bars()

    def load(at: float) -> datasets.Dataset:
        if how == "stock":
            files = str(Path(work) / f"pairs-{threshold}.parquet")
            return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
        options = {"threshold": at, "lazy": how != "copied", "cache_dir": cache}
        return coig_p.load_dataset("math", data_dir=f"{work}/store", split="train", **options)

    os.sync()  # what others wrote does not wait to be written now
    begin = time.perf_counter()
    found = [load(at) for at in (SWEEP if how == "sweep" else (float(threshold),))][-1]
    loaded = time.perf_counter() - begin
    if how == "sweep":
        return {"load": loaded}
    size = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())

    def timed(run: object, times: int) -> float:
        start = time.perf_counter()
        for at in range(times):
            run(at)  # type: ignore[operator]
        return (time.perf_counter() - start) / times

    rows, step = len(found), 7919
    return {
        "load": loaded,
        "bytes": size,
        "row": timed(lambda at: found[at * step % rows], 2000),
        "few": timed(lambda at: found[[(at * 8 + n) * step % rows for n in range(8)]], 500),
        "random": timed(lambda at: found[[(at * 1000 + n) * step % rows for n in range(1000)]], 10),
        "batches": timed(lambda _: sum(1 for _ in found.select(range(min(rows, 20000))).iter(1000)), 1),
        "filter": timed(lambda _: found.filter(lambda margin: margin >= 3, input_columns="margin"), 1),
        "filter row": timed(lambda _: found.filter(lambda row: row["margin"] >= 3), 1),
        "sort": timed(lambda _: found.sort("margin"), 1),
    }


def one_round(work: str) -> dict[tuple[str, float, str], float]:
    """Every number, by how it was loaded, threshold and name."""
    found: dict[tuple[str, float, str], float] = {}

    def note(how: str, threshold: float, cache: str) -> None:
        for name, value in in_own_process(how, work, f"{work}/{cache}", threshold).items():
            found["again" if cache.endswith("again") else how, threshold, name] = value

    for threshold, other in (THRESHOLDS, THRESHOLDS[::-1]):
        for how in ("stock", "copied", "lazy"):
            note(how, threshold, f"cache-{how}")
            if how == "lazy":
                Path(work, "cache-lazy").rename(Path(work, "cache-again"))
                note(how, other, "cache-again")
            for cache in Path(work).glob("cache-*"):  # at once: each begins with as much memory free
                shutil.rmtree(cache)
    note("sweep", SWEEP[0], "cache-sweep")
    shutil.rmtree(f"{work}/cache-sweep")
    note("lazy", SWEEP[0], "cache-sweep")
    shutil.rmtree(f"{work}/cache-sweep")
    return found


def main() -> None:
    queries, rounds = (int(one) for one in [*sys.argv[1:], *("10000", "3")[len(sys.argv) - 1 :]])
    with tempfile.TemporaryDirectory() as work:
        make_store(Path(work, "store"), queries)
        write_pairs(Path(work))
        made = [one_round(work) for _ in range(rounds)]
    median = {key: statistics.median(one[key] for one in made) for key in made[0]}
    lines = ["|  | " + " | ".join(f"threshold {one:g}" for one in THRESHOLDS) + " |", "|---|---|---|"]
    for name, how, what in SHOWN:
        ratios = [median[how, one, what] / median["stock", one, what] for one in THRESHOLDS]
        lines.append(f"| {name} | " + " | ".join(f"{one:.3f}" for one in ratios) + " |")
    ten = median["sweep", SWEEP[0], "load"] / median["lazy", SWEEP[0], "load"]
    head = f"{queries:,} queries; times and bytes where stock loading of the finished pairs is 1, median of {rounds} "
    head += f"rounds. {where('datasets', 'pyarrow')}"
    last = f"Ten thresholds from {SWEEP[0]:g} to {SWEEP[-1]:g}, each loaded: {ten:.2f} times the first of them alone."
    publish("views.md", head + "\n\n" + "\n".join(lines) + "\n\n" + last + "\n")


def write_pairs(work: Path) -> None:
    import pyarrow.parquet as pq

    from coig_p.pairs.config import PairConfig
    from coig_p.pairs.rows import pair_tables
    from coig_p.schema import PAIRING_SCHEMA
    from coig_p.store.reading import open_shard, read_batches

    for threshold in THRESHOLDS:
        writer = None
        for path in sorted((work / "store/data/math").glob("*.parquet")):
            with open_shard(path) as shard:
                for batch in read_batches(shard, 256, None, PAIRING_SCHEMA):
                    for table in pair_tables(batch, PairConfig(threshold=threshold)):
                        target = work / f"pairs-{threshold}.parquet"
                        writer = writer or pq.ParquetWriter(target, table.schema, compression="zstd")
                        writer.write_table(table)
        assert writer is not None
        writer.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:])))
    else:
        main()
