"""What an import costs, against pyarrow's own JSON reader and Parquet writer on the same JSON Lines.

    python benchmarks/imports.py [--queries 10000 40000] [--runs 9] [--shapes]

The measure is `read_json` and `write_table` with zstd level 3, which check nothing: pyarrow with its defaults, and as
cheap as it gets (one thread, larger blocks, no dictionaries, no statistics). The import also checks every value,
counts, hashes its input, sorts by domain, and writes even shards with a manifest. Processor time is user and system
of the whole process, from the call on: what is imported, pandas too, is there before. Each measurement is a process
of its own, they take turns, and the first read of the file is not measured. The bar: at least 1.0 of the speed of the
cheaper one, in rows per processor second, and at most .4 of its memory.

`--shapes` also imports other shapes. Prints a table and keeps it
in benchmarks/results/imports.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import Measured, PeakMemory, in_own_process, median, progress, publish, spread, where

OURS, READER = "coigp import", "pyarrow.json.read_json"
FLOOR, CHEAPEST = "read_json + write_table, zstd 3", "the same, as cheap as it gets"
WAYS = (OURS, READER, FLOOR, CHEAPEST)
SHAPES_QUERIES = 2_000


def measure(way: str, path: Path) -> Measured:
    import pandas  # noqa: F401  pyarrow imports it with the first array that is made of Python objects
    import pyarrow.json
    import pyarrow.parquet as pq

    from coig_p.ingest.files import import_files
    from coig_p.ingest.intake import ImportConfig

    with tempfile.TemporaryDirectory(dir=path.parent) as folder, PeakMemory() as memory:
        begin, processor = time.perf_counter(), time.process_time()
        target = Path(folder) / "rows.parquet"
        if way == OURS:
            import_files([path], Path(folder) / "store", ImportConfig(domain="math"))
        elif way == CHEAPEST:
            options = pyarrow.json.ReadOptions(use_threads=False, block_size=8 << 20)
            rows = pyarrow.json.read_json(path, options)
            pq.write_table(
                rows, target, compression="zstd", compression_level=3, use_dictionary=False, write_statistics=False
            )
        else:
            rows = pyarrow.json.read_json(path)
            if way == FLOOR:
                pq.write_table(rows, target, compression="zstd", compression_level=3)
        used = time.process_time() - processor
        return {"seconds": time.perf_counter() - begin, "processor": used, "memory": memory.grown()}


def nested(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows as people write them, without what is null."""
    responses = [
        {
            "model": one["model"],
            "text": one["text"],
            "scores": [{name: value for name, value in score.items() if value is not None} for score in one["scores"]],
        }
        for one in row["responses"]
    ]
    yield {"query_id": row["query_id"], "domain": row["domain"], "query": row["query"], "responses": responses}


def flat(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in row["responses"]:
        score = one["scores"][0]
        yield {
            "prompt": row["query"],
            "model": one["model"],
            "output": one["text"],
            "judge": score["judge"],
            "score": score["score"],
        }


def pairs(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    first, *others = row["responses"]
    yield from ({"prompt": row["query"], "chosen": first["text"], "rejected": one["text"]} for one in others)


def conversational(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    prompt = [{"role": "user", "content": row["query"]}]
    for one in pairs(row):
        chosen, rejected = ([{"role": "assistant", "content": one[side]}] for side in ("chosen", "rejected"))
        yield {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def kto(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for at, one in enumerate(row["responses"]):
        yield {"prompt": row["query"], "completion": one["text"], "label": at % 2 == 0}


SHAPES: dict[str, Callable[[dict[str, Any]], Iterator[dict[str, Any]]]] = {
    "nested": nested,
    "flat": flat,
    "pairs": pairs,
    "conversational pairs": conversational,
    "kto": kto,
}


def write_lines(store: Path, path: Path, shape: str = "nested") -> int:
    """The rows of a store as JSON Lines in one of SHAPES; how many there are."""
    from coig_p.store.store import Store

    written = 0
    with path.open("w", encoding="utf-8") as stream:
        for batch in Store.open(store).batches():
            for row in batch.to_pylist():
                for one in SHAPES[shape](row):
                    stream.write(json.dumps(one, ensure_ascii=False) + "\n")
                    written += 1
    return written


def table(queries: int, shape: str, runs: int, ways: tuple[str, ...]) -> list[str]:
    """A line for each way of taking in a corpus of one shape."""
    from corpus import make_store

    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        progress(f"making a corpus of {queries:,} queries, {shape} ...")
        path = Path(folder) / "rows.jsonl"
        make_store(Path(folder) / "store", queries)
        rows = write_lines(Path(folder) / "store", path, shape)
        found: dict[str, list[Measured]] = {way: [] for way in ways}
        for run in range(runs):
            progress(f"run {run + 1} of {runs}")
            for way in list(ways)[:: 1 if run % 2 else -1]:
                found[way].append(in_own_process(way, path))
        cheapest = min((FLOOR, CHEAPEST), key=lambda way: median(found[way], "processor"))

        def relative(way: str, name: str) -> float:
            return median(found[cheapest], name) / median(found[way], name)

        return [
            f"| {queries:,} | {shape} | {way} | {path.stat().st_size / 2**20:.0f} MiB | {spread(own, 'processor')} "
            f"| {rows / median(own, 'processor'):,.0f} "
            f"| {relative(way, 'processor'):.2f} | {spread(own, 'seconds')} | {relative(way, 'seconds'):.2f} "
            f"| {median(own, 'memory') / 2**20:.0f} MiB | {1 / relative(way, 'memory'):.2f} |"
            for way, own in found.items()
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, nargs="+", default=[10_000, 40_000])
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--shapes", action="store_true", help="other shapes too")
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, name = arguments.measure
        print(json.dumps(measure(way, Path(name))))
        return
    lines = [
        "| queries | shape | | input | processor time | rows per processor second | speed | time | speed | memory "
        "| relative |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for queries in arguments.queries:
        lines += table(queries, "nested", arguments.runs, WAYS)
    for shape in list(SHAPES)[1:] if arguments.shapes else []:
        lines += table(SHAPES_QUERIES, shape, arguments.runs, (OURS, FLOOR, CHEAPEST))
    head = f"Median of {arguments.runs} runs (spread). {where('pyarrow')}"
    publish("imports.md", "\n".join([head, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
