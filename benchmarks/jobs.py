"""The long commands, as the benchmarks of memory and of processes run them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

JOBS = ("check", "stats", "sweep", "clean", "dedup", "contamination", "export", "release")
_MODULES = ("dedup.contamination", "dedup.finding", "export.write", "publish.release", "stats.counts", "stats.sweep")


def imported() -> None:
    """Import what they need, or a first one would pay for it."""
    for name in _MODULES:
        importlib.import_module(f"coig_p.{name}")


def work(job: str, path: Path, out: Path, in_memory: int | None = None, **workers: Any) -> Any:
    """Do it as the command does.

    Args:
        path: of a store; `contamination` compares it with the file of its name that ends in .jsonl.
        in_memory: queries from which `dedup` goes by files; default its own.
        workers: `num_proc` and `engine`.

    Returns:
        what it found, where that is all it does (see `told`).
    """
    from coig_p.dedup.benchmarks import ContaminationConfig
    from coig_p.dedup.contamination import compare
    from coig_p.dedup.finding import find_store_duplicates
    from coig_p.dedup.queries import DedupConfig, dedup_store
    from coig_p.export.write import ExportConfig, export_store
    from coig_p.publish.release import ReleaseConfig, write_release
    from coig_p.stats.counts import statistics
    from coig_p.stats.sweep import sweep
    from coig_p.store.store import Store
    from coig_p.validation import check
    from coig_p.validation.cleaning import clean_store

    store = Store.open(path)
    if job == "check":
        return check(store, **workers)
    if job == "stats":
        return statistics(store, **workers)
    if job == "sweep":
        return sweep(store, **workers)
    if job == "clean":
        clean_store(store, check(store, **workers), out, more=["mobile"], **workers)
    elif job == "dedup":
        config, by_files = DedupConfig(), {} if in_memory is None else {"in_memory": in_memory}
        found = find_store_duplicates(store, config, **workers, **by_files)
        dedup_store(store, out, config, found.duplicates, **workers)
    elif job == "contamination":
        return compare(store, [path.with_suffix(".jsonl")], ContaminationConfig(), **workers)
    elif job == "export":
        export_store(store, out, ExportConfig("trl-dpo"), **workers)
    else:
        write_release(store, out, ReleaseConfig("1.0.0", **workers))
    return None


def told(job: str, found: Any) -> bytes:
    """All that a job found, to be compared."""
    if job == "check":
        return json.dumps(found.findings.to_pylist(), default=str).encode()
    return found.to_json().encode() if job == "stats" else repr(found).encode()
