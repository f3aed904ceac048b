"""What a shard costs beside what is in it: every command on stores of many shards of one query.

    python benchmarks/many_shards.py [--shards 2000 20000] [--only JOB,...] [--profile JOB]

Processor time of each job, in a process of its own and one process, in milliseconds a shard: what grows from one column
to the next is more than linear in shards. Work that processes share is sent to two as well, and the last column is what
the process that folds then takes, for a shard: that bounds how many machines are of use. Prints a table and keeps it in
benchmarks/results/many_shards.md; --profile prints where one job spends its time.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import logging
import os
import pstats
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Measured, in_own_process, progress, publish, where

DOMAINS = 10


def make(path: Path, shards: int) -> None:
    """A store of so many shards of one query with two responses, which can be released."""
    import pyarrow as pa

    from coig_p.core.atomic import atomic_directory
    from coig_p.schema import RAW_SCHEMA
    from coig_p.store import writing
    from coig_p.store.manifest import Manifest

    here = Path(__file__).resolve().parents[1]
    writing.ROWS_PER_SHARD = 1

    def row(at: int, domain: str) -> dict[str, Any]:
        text = f"第{at}个问题的答案，{'想一想，' * (at % 3)}"
        responses = [
            {
                "model": f"model-{nth}",
                "sample": 0,
                "text": f"{text}{'甲乙丙'[nth]}同学说：{'好' * (1 + (at * 7 + nth * 5) % 11)}。",
                "scores": [{"judge": "pan", "dimension": "overall", "score": float(1 + (at * 3 + nth * 4) % 10)}],
            }
            for nth in range(2)
        ]
        return {"query_id": f"q-{at:06d}", "domain": domain, "query": f"请解释第{at}道题？", "responses": responses}

    parts = []
    for number in range(DOMAINS):
        name = f"d{number}"
        own = [row(at, name) for at in range(number, shards, DOMAINS)]
        parts.append(writing.Part(name, "train", len(own), pa.Table.from_pylist(own, RAW_SCHEMA).to_batches()))
    with atomic_directory(path) as root:
        writing.write_store(root, parts, Manifest(score_range=(1.0, 10.0), default_threshold=2.0, tool="benchmark"))
    shutil.copy(here / "coig_p" / "bundled" / "card.toml", path)


def _open(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.store.store import Store

    Store.open(store)


def _load(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.builder import load_dataset

    load_dataset("d3", data_dir=str(store), split="train", cache_dir=str(out))


def _verify(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.store.store import Store

    assert not Store.open(store).verify(num_proc=1)


def _check(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.validation import check

    check(store, **workers)


def _stats(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.stats.counts import statistics

    statistics(store, **workers)


def _sweep(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.stats.sweep import sweep

    sweep(store, **workers)


def _contamination(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.dedup.contamination import ContaminationConfig, compare
    from coig_p.store.store import Store

    out.mkdir()
    (out / "benchmark.jsonl").write_text('{"prompt": "请解释第七千道题应该怎样做才好呢？"}\n', encoding="utf-8")
    compare(Store.open(store), [out / "benchmark.jsonl"], ContaminationConfig(), **workers)


def _export(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.export.write import ExportConfig, export_store

    export_store(store, out, ExportConfig("trl-dpo"), **workers)


def _clean(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.store.changes import Change
    from coig_p.store.rewrite import rewrite_store
    from coig_p.store.store import Store

    def becomes(domain: str, query_id: str) -> Change | None:
        return Change(row="bad") if query_id.endswith("7") else None

    rewrite_store(Store.open(store), out, becomes, step="clean", record=lambda _: {"dropped": {}}, **workers)


def _dedup(store: Path, out: Path, *, in_memory: int = 1 << 40, **workers: Any) -> None:
    from coig_p.dedup.finding import find_store_duplicates
    from coig_p.dedup.queries import DedupConfig
    from coig_p.store.store import Store

    find_store_duplicates(Store.open(store), DedupConfig(threshold=1.0), in_memory=in_memory, **workers)


def _dedup_by_files(store: Path, out: Path, **workers: Any) -> None:
    _dedup(store, out, in_memory=0, **workers)


def _release(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.publish.release import ReleaseConfig, write_release
    from coig_p.store.store import Store
    from coig_p.validation import load_rules

    rules = {id: rule for id, rule in load_rules().items() if rule.severity != "error"}
    write_release(Store.open(store), out, ReleaseConfig("1.0.0", rules=rules, **workers))


def _view(store: Path, out: Path, **workers: Any) -> None:
    from coig_p.report.view.index import load_index
    from coig_p.store.store import Store

    load_index(Store.open(store), out, num_proc=workers.get("num_proc", 1))


ALONE: dict[str, Callable[..., None]] = {"open": _open, "load a tenth": _load, "verify": _verify}
"""What no processes share."""
JOBS: dict[str, Callable[..., None]] = ALONE | {
    "check": _check,
    "stats": _stats,
    "sweep": _sweep,
    "contamination": _contamination,
    "export": _export,
    "write anew": _clean,
    "find duplicates": _dedup,
    "find duplicates by files": _dedup_by_files,
    "release": _release,
    "index of view": _view,
}


def measure(job: str, store: Path, processes: int) -> Measured:
    """Processor and wall seconds of a job; with `processes` those of this one alone."""
    import coig_p.builder
    import coig_p.publish.release
    import coig_p.report.view.index  # noqa: F401

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(dir=store.parent) as folder:
        begin, worked = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        JOBS[job](store, Path(folder) / "out", num_proc=processes)
        done = resource.getrusage(resource.RUSAGE_SELF)
        seconds = time.perf_counter() - begin
    return {"processor": done.ru_utime + done.ru_stime - worked.ru_utime - worked.ru_stime, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--only", default=",".join(JOBS))
    parser.add_argument("--stores", type=Path, help="Where the stores are, or are kept. Default: nowhere.")
    parser.add_argument("--alone", action="store_true", help="Leave out the last column.")
    parser.add_argument("--profile", metavar="JOB")
    parser.add_argument("--processes", type=int, default=1, help="Of the job whose profile is printed.")
    parser.add_argument("--measure", nargs=3, metavar=("JOB", "STORE", "PROCESSES"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        job, store, processes = given.measure
        print(json.dumps(measure(job, Path(store), int(processes))))
        return
    place = given.stores or Path(tempfile.mkdtemp(prefix="coigp-bench-"))
    try:
        stores = {number: place / f"shards-{number}" for number in given.shards}
        for number, path in stores.items():
            if not path.exists():
                progress(f"making a store of {number:,} shards ...")
                make(path, number)
        if given.profile:
            with cProfile.Profile() as profile:
                measure(given.profile, stores[given.shards[-1]], given.processes)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(60)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            return
        heads = [f"{number:,} shards" for number in stores]
        rows = ["| ms a shard | " + " | ".join([*heads, "of which who folds, beside two"]) + " |"]
        rows.append("|---|" + "---|" * (len(heads) + 1))
        for job in given.only.split(","):
            cells = []
            for number, path in stores.items():
                alone = in_own_process(job, path, 1)
                cells.append(f"{alone['processor'] / number * 1000:.2f}")
            if job in ALONE or given.alone:
                cells.append("")
            else:
                folding = in_own_process(job, path, 2)
                cells.append(f"{folding['processor'] / number * 1000:.2f}")
            rows.append(f"| {job} | " + " | ".join(cells) + " |")
            progress(rows[-1])
        head = f"Shards of one query with two responses, in {DOMAINS} domains. {where('pyarrow', 'numpy')}"
        publish("many_shards.md", "\n".join([head, "", *rows]) + "\n")
    finally:
        if given.stores is None:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
