"""Lazy loads against stock loading of the finished pairs, which `coigp pairs` writes with zstd: times and cache.

    python benchmarks/views.py [QUERIES]

Each measurement is a process of its own with a cache of its own, but for what a later threshold finds there.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from corpus import make_store
from measuring import in_own_process, publish, where

THRESHOLDS = (2.0, 1.0)


def measure(how: str, work: str, cache: str, threshold: str) -> dict[str, float]:
    import datasets

    import coig_p

    datasets.disable_progress_bars()
    begin = time.perf_counter()
    if how == "stock":
        files = str(Path(work) / f"pairs-{threshold}.parquet")
        found = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)
    else:
        options = {"threshold": float(threshold), "lazy": how == "lazy", "cache_dir": cache}
        found = coig_p.load_dataset("math", data_dir=f"{work}/store", split="train", **options)
    loaded = time.perf_counter() - begin
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
        "rows": rows,
        "row": timed(lambda at: found[at * step % rows], 2000),
        "random": timed(lambda at: found[[(at * 1000 + n) * step % rows for n in range(1000)]], 10),
        "batches": timed(lambda _: sum(1 for _ in found.select(range(min(rows, 20000))).iter(1000)), 1),
    }


def main() -> None:
    queries = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as work:
        make_store(Path(work, "store"), queries)
        _write_pairs(Path(work))
        lines = ["|  | " + " | ".join(f"threshold {one:g}" for one in THRESHOLDS) + " |", "|---|---|---|"]
        found = {}
        for threshold in THRESHOLDS:
            for how in ("stock", "copied", "lazy"):
                cache = f"{work}/cache-{how}-{threshold}"
                found[how, threshold] = in_own_process(how, work, cache, threshold)
        for threshold, other in (THRESHOLDS, THRESHOLDS[::-1]):
            found["again", threshold] = in_own_process("lazy", work, f"{work}/cache-lazy-{other}", threshold)
        for name, how, what in (
            ("copying load", "copied", "load"),
            ("first lazy load", "lazy", "load"),
            ("lazy load of a further threshold", "again", "load"),
            ("cache", "lazy", "bytes"),
            ("a row", "lazy", "row"),
            ("1,000 random rows", "lazy", "random"),
            ("batches in order", "lazy", "batches"),
        ):
            ratios = [found[how, one][what] / found["stock", one][what] for one in THRESHOLDS]
            lines.append(f"| {name} | " + " | ".join(f"{one:.3f}" for one in ratios) + " |")
        head = f"{queries:,} queries; times and bytes where stock loading of the finished pairs is 1, one run. "
        head += f"{where('datasets', 'pyarrow')}"
        publish("views.md", head + "\n\n" + "\n".join(lines) + "\n")


def _write_pairs(work: Path) -> None:
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
