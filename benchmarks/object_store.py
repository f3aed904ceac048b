"""How long a check, statistics, a load and a stream take from S3, beside the same store on the disk.

    python benchmarks/object_store.py [--queries 10000] [--runs 3]

S3 is moto, in a process of its own on loopback: it uses the same cores, so a ratio is an upper bound of what the client
costs, and says nothing of a network. Ways take turns, each in a process of its own. What is made is equal, or the
benchmark fails. Prints a table and keeps it in benchmarks/results/object_store.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import Measured, in_own_process, median, publish, spread, where

JOBS = ("check", "stats", "load", "stream")
SERVER = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"


def measure(job: str, place: str) -> dict[str, Any]:
    import datasets

    import coig_p
    from coig_p.stats.counts import statistics
    from coig_p.validation import check

    if place.startswith("s3://"):
        import s3fs  # noqa: F401 - imports are not what is measured
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        options = {"data_dir": place, "split": "train", "cache_dir": folder}
        begin = time.perf_counter()
        if job == "check":
            made = check(coig_p.Store.open(place), num_proc=1).findings.num_rows
        elif job == "stats":
            made = statistics(coig_p.Store.open(place)).total.pairs
        elif job == "load":
            made = len(coig_p.load_dataset("math", **options))
        else:
            stream = coig_p.load_dataset("math", streaming=True, **options)
            made = sum(table.num_rows for table in stream.with_format("arrow").iter(1000))
        return {"seconds": time.perf_counter() - begin, "made": made}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("JOB", "PLACE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    from corpus import make_store

    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        store = Path(folder) / "store"
        make_store(store, arguments.queries)
        server = subprocess.Popen([sys.executable, "-c", SERVER], stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr is not None
            found = next(match for line in server.stderr if (match := re.search(r"http://127\.0\.0\.1:\d+", line)))
            os.environ |= {"AWS_ENDPOINT_URL": found[0], "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
            os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
            subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
            import fsspec

            files = fsspec.filesystem("s3")
            files.mkdir("bucket")
            files.put(f"{store}/", "bucket/store/", recursive=True)
            rows = ["| | disk | S3 on loopback | ratio |", "|---|---|---|---|"]
            for job in JOBS:
                runs: dict[str, list[Measured]] = {str(store): [], "s3://bucket/store": []}
                for _ in range(arguments.runs):
                    for place, kept in runs.items():
                        kept.append(in_own_process(job, place))
                disk, remote = runs.values()
                assert {one["made"] for one in (*disk, *remote)} == {disk[0]["made"]}
                ratio = median(remote, "seconds") / median(disk, "seconds")
                rows.append(f"| {job} | {spread(disk, 'seconds')} | {spread(remote, 'seconds')} | {ratio:.2f} |")
        finally:
            server.kill()
            server.wait()
    head = where("datasets", "pyarrow", "s3fs", "moto")
    title = f"{arguments.queries:,} queries x 15 responses, {arguments.runs} runs. {head}"
    publish("object_store.md", "\n".join(["# From S3", "", title, "", *rows, ""]))


if __name__ == "__main__":
    main()
