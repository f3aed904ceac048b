"""How long a check, statistics, a load and a stream take from S3, beside the same store on the disk.

    python benchmarks/object_store.py [--queries 10000] [--runs 3]

S3 is moto, in a process of its own on loopback: it uses the same cores, so a ratio is an upper bound of what the client
costs, and says nothing of a network. Processor time is told apart: the client's, which makes its session in it, and
the server's. Ways take turns, each in a process of its own. What is made is equal, or the benchmark fails. Prints a
table and keeps it in benchmarks/results/object_store.md.
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
        begin, worked = time.perf_counter(), time.process_time()
        if job == "check":
            made = check(coig_p.Store.open(place), num_proc=1).findings.num_rows
        elif job == "stats":
            made = statistics(coig_p.Store.open(place)).total.pairs
        elif job == "load":
            made = len(coig_p.load_dataset("math", **options))
        else:
            stream = coig_p.load_dataset("math", streaming=True, **options)
            made = sum(table.num_rows for table in stream.with_format("arrow").iter(1000))
        return {"seconds": time.perf_counter() - begin, "worked": time.process_time() - worked, "made": made}


def worked(process: int) -> float:
    """Processor seconds of a process so far; 0 where the system does not say."""
    try:
        told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


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
            head = "| | disk | S3 on loopback | ratio | processor: disk | S3 | ratio | server |"
            rows = [head, "|---" * 8 + "|"]
            for job in JOBS:
                runs: dict[str, list[Measured]] = {str(store): [], "s3://bucket/store": []}
                before = worked(server.pid)
                for _ in range(arguments.runs):
                    for place, kept in runs.items():
                        kept.append(in_own_process(job, place))
                served = (worked(server.pid) - before) / arguments.runs
                disk, remote = runs.values()
                assert {one["made"] for one in (*disk, *remote)} == {disk[0]["made"]}
                cells = [job]
                for name in ("seconds", "worked"):
                    ratio = median(remote, name) / median(disk, name)
                    cells += [spread(disk, name), spread(remote, name), f"{ratio:.2f}"]
                rows.append(f"| {' | '.join(cells)} | {served:.2f} s |")
        finally:
            server.kill()
            server.wait()
    told = where("datasets", "pyarrow", "s3fs", "moto")
    title = f"{arguments.queries:,} queries x 15 responses, {arguments.runs} runs. {told}"
    publish("object_store.md", "\n".join(["# From S3", "", title, "", *rows, ""]))


if __name__ == "__main__":
    main()
