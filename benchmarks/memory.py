"""Memory of the process that folds, by queries: what grows with a store, where two processes share the shards.

    python benchmarks/memory.py [--queries 50000 200000]

Stores of small queries, two short responses each, in shards of 1,000; one query in twenty is an edited copy of
another, and one response in fifty has a telephone number. Each command runs in a process of its own, which starts two
others; its peak is of memory that is no mapped file, above what it had when all was imported. What a million more
queries take is the difference of both sizes. Prints a table and keeps it in benchmarks/results/memory.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from measuring import Measured, PeakMemory, in_own_process, progress, publish, where

HERE = Path(__file__).resolve().parents[1]
JOBS = ("check", "stats", "clean", "dedup", "contamination", "export", "release")
RESPONSES, CHARACTERS = 2, 60
_BY_FILES = 10_000  # queries from which dedup goes by files here, as it does from 250,000 on


def make(path: Path, queries: int) -> None:
    """A store with something to find."""
    import corpus

    from coig_p.core.atomic import atomic_directory
    from coig_p.store.store import Store
    from coig_p.store.writing import Part, write_store

    plain = path.with_name(path.name + "-plain")
    corpus.make_store(plain, queries, responses=RESPONSES, characters=CHARACTERS)
    store = Store.open(plain)

    def batches():  # type: ignore[no-untyped-def]
        for batch in store.batches():
            rows = batch.to_pylist()
            for at in range(0, len(rows) - 1, 20):
                rows[at + 1]["query"] = rows[at]["query"] + "吗"
            for row in rows[::25]:
                row["responses"][0]["text"] += "请打电话给我：13800138000。"
            yield pa.RecordBatch.from_pylist(rows, batch.schema)

    with atomic_directory(path) as root:
        write_store(root, [Part("math", "train", queries, batches())], replace(store.manifest, domains=(), files=()))
    shutil.rmtree(plain)
    shutil.copy(HERE / "coig_p" / "bundled" / "card.toml", path)
    benchmark = [{"prompt": f"没有人问过的第{at}个问题是什么？", "answer": f"第{at}个答案"} for at in range(500)]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in benchmark]
    path.with_suffix(".jsonl").write_text("".join(lines), encoding="utf-8")


def work(job: str, path: Path, out: Path) -> None:
    """Do it as the command does, with two processes."""
    from coig_p.dedup.benchmarks import ContaminationConfig
    from coig_p.dedup.contamination import compare
    from coig_p.dedup.finding import find_store_duplicates
    from coig_p.dedup.queries import DedupConfig, dedup_store
    from coig_p.export.write import ExportConfig, export_store
    from coig_p.publish.release import ReleaseConfig, write_release
    from coig_p.stats.counts import statistics
    from coig_p.store.store import Store
    from coig_p.validation import check
    from coig_p.validation.cleaning import clean_store

    store = Store.open(path)
    if job == "check":
        check(store, num_proc=2)
    elif job == "stats":
        statistics(store, num_proc=2)
    elif job == "clean":
        clean_store(store, check(store, num_proc=2), out, more=["mobile"], num_proc=2)
    elif job == "dedup":
        config = DedupConfig()
        found = find_store_duplicates(store, config, num_proc=2, in_memory=_BY_FILES)
        dedup_store(store, out, config, found.duplicates, num_proc=2)
    elif job == "contamination":
        compare(store, [path.with_suffix(".jsonl")], ContaminationConfig(), num_proc=2)
    elif job == "export":
        export_store(store, out, ExportConfig("trl-dpo"), num_proc=2)
    else:
        write_release(store, out, ReleaseConfig("1.0.0", num_proc=2))


def measure(job: str, path: Path) -> Measured:
    """What it takes, once all is imported: by a run on a store of few queries."""
    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        work(job, path.with_name("few"), Path(folder) / "few")
        gc.collect()
        begin = time.perf_counter()
        with PeakMemory() as memory:
            work(job, path, Path(folder) / "out")
        return {"memory": memory.grown(), "seconds": time.perf_counter() - begin}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, nargs=2, default=[50_000, 200_000])
    parser.add_argument("--jobs", nargs="*", default=JOBS, choices=JOBS)
    parser.add_argument("--measure", nargs=2, metavar=("JOB", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        job, name = arguments.measure
        print(json.dumps(measure(job, Path(name))))
        return
    few, many = arguments.queries
    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        make(Path(folder, "few"), 2_500)
        for queries in (few, many):
            progress(f"making a corpus of {queries:,} queries ...")
            make(Path(folder, str(queries)), queries)
        lines = [
            f"Peak memory of the process that folds, two processes sharing the shards; {RESPONSES} responses a query. "
            f"{where('pyarrow', 'numpy')}",
            "",
            f"| | {few:,} queries | {many:,} queries | a million more |",
            "|---|---|---|---|",
        ]
        for job in arguments.jobs:
            found = []
            for queries in (few, many):
                progress(f"{job}, {queries:,} queries")
                found.append(in_own_process(job, Path(folder, str(queries)))["memory"] / 2**20)
            more = (found[1] - found[0]) / (many - few) * 1e6
            lines.append(f"| {job} | {found[0]:,.0f} MiB | {found[1]:,.0f} MiB | {more:,.0f} MiB |")
            progress(lines[-1])
    publish("memory.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
