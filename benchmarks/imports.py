"""How fast an import is, against pyarrow's own JSON reader on the same JSON Lines.

    python benchmarks/imports.py [--queries 10000 40000] [--runs 9]

The readers only parse: read_json all at once into memory, open_json batch by batch in constant
memory. The import also checks every value, counts, hashes its input, sorts by domain, and writes a
store: zstd Parquet in even shards with a manifest. What pyarrow needs to parse and write the same
rows as one such file, with nothing checked, is the floor for that. Each measurement is a process of
its own, they take turns, and the first read of the file is not measured. Prints a table and keeps it
in benchmarks/results/imports.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from measuring import Measured, PeakMemory, in_own_process, median, progress, publish, spread, where

OURS, READER = "coigp import", "pyarrow.json.read_json"
STREAM, FLOOR = "pyarrow.json.open_json", "read_json + write_table, zstd 3"
WAYS = (OURS, READER, STREAM, FLOOR)


def measure(way: str, path: Path) -> Measured:
    import pyarrow.json
    import pyarrow.parquet as pq

    from coig_p.ingest.files import import_files
    from coig_p.ingest.intake import ImportConfig

    with tempfile.TemporaryDirectory(dir=path.parent) as folder, PeakMemory() as memory:
        begin = time.perf_counter()
        if way == OURS:
            import_files([path], Path(folder) / "store", ImportConfig())
        elif way == STREAM:
            for _ in pyarrow.json.open_json(path):
                pass
        else:
            rows = pyarrow.json.read_json(path)
            if way == FLOOR:
                target = Path(folder) / "rows.parquet"
                pq.write_table(rows, target, compression="zstd", compression_level=3, use_dictionary=False)
        return {"seconds": time.perf_counter() - begin, "memory": memory.grown()}


def write_lines(store: Path, path: Path) -> None:
    from coig_p.store.store import Store

    with path.open("w", encoding="utf-8") as stream:
        for batch in Store.open(store).batches():
            for row in batch.to_pylist():
                del row["comparisons"]
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, nargs="+", default=[10_000, 40_000])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, name = arguments.measure
        print(json.dumps(measure(way, Path(name))))
        return
    from corpus import make_store

    lines = ["| queries | | input | time | speed, relative | memory |", "|---|---|---|---|---|---|"]
    for queries in arguments.queries:
        with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
            progress(f"making a corpus of {queries:,} queries ...")
            path = Path(folder) / "rows.jsonl"
            make_store(Path(folder) / "store", queries)
            write_lines(Path(folder) / "store", path)
            found: dict[str, list[Measured]] = {way: [] for way in WAYS}
            for run in range(arguments.runs):
                progress(f"run {run + 1} of {arguments.runs}")
                for way, runs in found.items():
                    runs.append(in_own_process(way, path))
            for way, runs in found.items():
                lines.append(
                    f"| {queries:,} | {way} | {path.stat().st_size / 2**20:.0f} MiB | {spread(runs, 'seconds')} "
                    f"| {median(found[READER], 'seconds') / median(runs, 'seconds'):.2f} "
                    f"| {median(runs, 'memory') / 2**20:.0f} MiB |"
                )
    head = f"Median of {arguments.runs} runs (spread). {where('pyarrow')}"
    publish("imports.md", "\n".join([head, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
