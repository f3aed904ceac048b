"""How long the pages of a view take on a store of COIG-P's size, and how much its index takes.

    python benchmarks/view.py [--queries 92784] [--runs 5]

The index is made once, in a process of its own with two workers; then a server answers on loopback and a client asks
for each page in turn. Beside each list stands what people would write without this: DuckDB over the same shards,
asked for the same 50 queries. Prints a table and keeps it in benchmarks/results/view.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from measuring import PeakMemory, in_own_process, median, progress, publish, where

PAGES = {
    "the first page": "",
    "the first 50 queries": "queries",
    "text in the query": "queries?q=%E7%9A%84",
    "one model, a margin of 3 or more": "queries?model=model-03&margin=3",
    "sorted by margin": "queries?sort=margin",
    "sorted by length difference, the last page": "queries?sort=length&page=999999",
    "one query": "query?file=1&row=77",
    "the query after it in a list": "query?file=1&row=77&sort=margin&model=model-03",
}
_MEASURE = "--measure"


def make_index(store: Path, cache: Path) -> dict[str, float]:
    from coig_p.report.view.index import load_index, place_of_index
    from coig_p.store.store import Store

    opened = Store.open(store)
    with PeakMemory() as memory:
        begin = time.perf_counter()
        load_index(opened, cache, num_proc=2)
        seconds = time.perf_counter() - begin
    size = sum(path.stat().st_size for path in place_of_index(opened, cache).iterdir())
    return {"seconds": seconds, "bytes": size, "memory": memory.grown()}


def asked(address: str) -> float:
    begin = time.perf_counter()
    with urllib.request.urlopen(address, timeout=600) as answer:
        answer.read()
    return time.perf_counter() - begin


def resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def by_duckdb(store: Path) -> float:
    """The first 50 queries with the largest margin that model-03 answered; every score is read, without an index."""
    import duckdb

    begin = time.perf_counter()
    duckdb.sql(
        f"""
        WITH answers AS (
            SELECT query_id, query, unnest(responses) AS answer FROM '{store}/data/*/*.parquet'
        ), valued AS (
            SELECT query_id, query, answer.model AS model, list_avg([s.score FOR s IN answer.scores]) AS score
            FROM answers
        )
        SELECT query_id, any_value(query), max(score) - min(score) AS margin FROM valued
        GROUP BY query_id HAVING bool_or(model = 'model-03') ORDER BY margin DESC LIMIT 50
        """
    ).fetchall()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=92784)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(_MEASURE, nargs=2)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(make_index(*map(Path, arguments.measure))))
        return
    from corpus import make_store

    work = Path(tempfile.mkdtemp(prefix="coigp-bench-"))
    try:
        progress("making the store")
        make_store(work / "store", arguments.queries)
        progress("making the index")
        index = in_own_process(work / "store", work / "cache")
        words = [sys.executable, "-m", "coig_p", "view", str(work / "store"), "--cache", str(work / "cache")]
        begin = time.perf_counter()
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                address = process.stdout.readline().strip()
                first = asked(address)
                opened = time.perf_counter() - begin
                times = {name: [asked(address + path) for _ in range(arguments.runs)] for name, path in PAGES.items()}
                memory = resident(process.pid)
            finally:
                process.terminate()
        duck = [{"seconds": by_duckdb(work / "store")} for _ in range(arguments.runs)]
        found = {name: median(({"seconds": one} for one in seconds), "seconds") for name, seconds in times.items()}
        lines = ["| | milliseconds |", "|---|---|"]
        lines += [f"| {name} | {1000 * seconds:.0f} |" for name, seconds in found.items()]
        lines.append(
            f"| DuckDB: one model's queries sorted by margin, without an index | {1000 * median(duck, 'seconds'):.0f} |"
        )
        head = (
            f"{arguments.queries:,} queries x 15 responses; medians of {arguments.runs} requests. The index: "
            f"{index['seconds']:.1f} s, {index['bytes'] / 1e6:.0f} MB, {index['memory'] / 2**20:.0f} MiB of memory. "
            f"From the command to the first page, with the index there: {opened:.2f} s, the page alone {first:.2f} s. "
            f"The server's memory at most {memory / 2**20:.0f} MiB. {where('starlette', 'pyarrow', 'duckdb')}"
        )
        publish("view.md", "\n".join([head, "", *lines]) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
