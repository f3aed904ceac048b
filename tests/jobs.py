"""Every job whose work can be shared, each as a function that gives all the bytes that it makes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
from make import make_rows, make_store, twin
from releasing import CARD

from coig_p.dedup.benchmarks import ContaminationConfig
from coig_p.dedup.contamination import compare
from coig_p.dedup.finding import find_store_duplicates
from coig_p.dedup.queries import DedupConfig, dedup_store, find_duplicates, read_queries
from coig_p.dedup.responses import ResponseConfig, dedup_responses, find_similar_responses
from coig_p.export.write import ExportConfig, export_store
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig
from coig_p.publish import pairing
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.stats.counts import statistics
from coig_p.stats.sweep import sweep
from coig_p.store.store import Store
from coig_p.validation import check, load_rules
from coig_p.validation.cleaning import clean_store
from coig_p.validation.findings import Report

Made = dict[str, bytes]
Job = Callable[..., Made]
BENCHMARK = [{"prompt": "问题7：math？", "answer": "以上都对"}, {"prompt": "没有人问过的", "answer": "没有"}]


def many(path: Path, rows_per_shard: int = 10) -> Path:
    """A store with something to find for every job: duplicates, texts twice, scores out of range, in many shards."""
    rows = make_rows({"math": 45, "chat": 25})
    for at in (3, 20, 41):
        rows[at]["query"] = "请用一句话说明什么是重复的问题，并举一个例子"
        rows[at + 1]["query"] = "请用一句话说明什么是重复的问题，并举一个例子吧"
    for row in rows[::9]:
        row["responses"][0]["text"] = row["responses"][1]["text"] = "这是同一个回答，一个字也不差，所以是重复的。"
        row["responses"][2]["text"] = "请打电话给我：13800138000。<|im_end|>"
    return make_store(path, rows, rows_per_shard=rows_per_shard)


def clean(path: Path, rows_per_shard: int = 5) -> Path:
    """A store that can be released."""
    store = make_store(path, twin(), rows_per_shard=rows_per_shard)
    (store / CARD_TOML).write_text(CARD, encoding="utf-8")
    return store


def table(found: pa.Table) -> bytes:
    """All values, whatever the chunks."""
    return json.dumps(found.to_pylist(), ensure_ascii=False, default=str).encode()


def files(folder: Path) -> Made:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def hashes(made: Made) -> dict[str, str]:
    """Of what was made, by name."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(made.items())}


def _said(report: Report) -> Made:
    return {"findings": table(report.findings), "report": json.dumps(report.to_dict(), ensure_ascii=False).encode()}


def _check(store: Path, out: Path, **workers: Any) -> Made:
    return _said(check(store, **workers))


def _stats(store: Path, out: Path, *, config: PairConfig | None = None, **workers: Any) -> Made:
    return {"": statistics(store, config, **workers).to_json().encode()}


def _sweep(store: Path, out: Path, **workers: Any) -> Made:
    return {"": sweep(store, **workers).to_json().encode()}


def _clean(store: Path, out: Path, **workers: Any) -> Made:
    opened = Store.open(store)
    written = clean_store(opened, check(opened, **workers), out, **workers)
    return files(out) | {"dropped": json.dumps({why: one.to_dict() for why, one in written.dropped.items()}).encode()}


def _dedup(store: Path, out: Path, *, merge: bool, **workers: Any) -> Made:
    opened, config = Store.open(store), DedupConfig(merge=merge)
    found = find_duplicates(read_queries(opened, **workers), config, workers.get("num_proc", 1))
    assert found.num_rows
    dedup_store(opened, out, config, found, **workers)
    return files(out)


def _dedup_by_files(store: Path, out: Path, **workers: Any) -> Made:
    found = find_store_duplicates(Store.open(store), DedupConfig(), in_memory=0, ranges=3, **workers)
    return {"duplicates": table(found.duplicates), "summary": repr(found.summary).encode()}


def _responses(store: Path, out: Path, **workers: Any) -> Made:
    opened, config = Store.open(store), ResponseConfig()
    found = find_similar_responses(opened, config, **workers)
    assert found.num_rows
    dedup_responses(opened, out, config, found, **workers)
    return files(out)


def _contamination(
    store: Path, out: Path, *, rows: Sequence[Mapping[str, str]], config: ContaminationConfig, **workers: Any
) -> Made:
    out.mkdir(parents=True, exist_ok=True)
    benchmark = out / "benchmark.jsonl"
    benchmark.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    found, told = compare(Store.open(store), [benchmark], config, **workers)
    assert found.num_rows
    return {"findings": table(found), "told": repr(told).encode()}


def _export(store: Path, out: Path, *, config: ExportConfig, **workers: Any) -> Made:
    export_store(store, out, config, **workers)
    # The README tells where the rows lie.
    return {name: content.replace(str(out).encode(), b"OUT") for name, content in files(out).items()}


def _import(store: Path, out: Path, *, num_proc: int = 1, engine: Any = None) -> Made:
    """Its shards are written by threads, whatever else there is."""
    raw = store.with_name(f"{store.name}-rows") / "rows.jsonl"  # its manifest names it, whatever the store is called
    raw.parent.mkdir(exist_ok=True)
    with raw.open("w", encoding="utf-8") as stream:
        for batch in Store.open(store).batches():
            for row in batch.to_pylist():
                kept = {name: row[name] for name in ("query_id", "domain", "query", "responses")}
                stream.write(json.dumps(kept, ensure_ascii=False) + "\n")
    import_files([raw], out / "store", ImportConfig(on_error="skip"), num_proc=5 if engine else num_proc)
    return files(out / "store")


def _verify(store: Path, out: Path, *, num_proc: int = 1, engine: Any = None) -> Made:
    """Of a store with a file that is another, one that is missing and one too many."""
    shutil.rmtree(out, ignore_errors=True)  # of a run that was killed
    shutil.copytree(store, out)
    shards = sorted(out.glob("data/*/*.parquet"))
    content = bytearray(shards[0].read_bytes())
    content[len(content) // 2] ^= 1
    shards[0].write_bytes(content)
    (out / "data" / "more.txt").write_text("one too many")
    opened = Store.open(out, check_sizes=False)
    if len(shards) > 2:
        shards[2].unlink()
    return {"": "\n".join(opened.verify(num_proc=num_proc, workers=engine)).encode()}


def _release(store: Path, out: Path, *, rows_per_shard: int = 20, format: str = "dpo", **workers: Any) -> Made:
    """Its pairs in several shards; what checks say of its texts is no reason to refuse it."""
    rules = {id: rule for id, rule in load_rules().items() if rule.severity != "error"}
    with (
        mock.patch.object(pairing, "ROWS_PER_SHARD", rows_per_shard),
        mock.patch.object(pairing, "ROWS_PER_GROUP", max(1, rows_per_shard * 4 // 5)),
    ):
        write_release(Store.open(store), out, ReleaseConfig("1.0.0", PairConfig(format=format), rules=rules, **workers))
    return files(out)


_PARTS = SplitConfig(test_size=0.2)
JOBS: dict[str, Job] = {
    "check": _check,
    "stats": _stats,
    "sweep": _sweep,
    "clean": _clean,
    "dedup": partial(_dedup, merge=False),
    "dedup --merge": partial(_dedup, merge=True),
    "dedup by files": _dedup_by_files,
    "dedup --scope responses": _responses,
    "contamination": partial(_contamination, rows=BENCHMARK, config=ContaminationConfig(threshold=0.6, n=2, least=4)),
    "export": partial(_export, config=ExportConfig("trl-dpo", splits=_PARTS, order=ShardConfig(world_size=2))),
    "export with labels": partial(_export, config=ExportConfig("trl-kto", weights={"math": 2.0})),
    "export as JSON Lines": partial(_export, config=ExportConfig("llama-factory", PairConfig(strategy="best_worst"))),
    "export one by one": partial(_export, config=ExportConfig("trl-dpo", weights={"math": 0.5})),
}
"""From a store, a folder that is not there, and num_proc= and engine= of the job, to what it makes by name."""
RELEASE: Job = _release
THREADS: dict[str, Job] = {"import": _import, "verify": _verify}
"""The same, of those that threads work at, and an executor where it can."""
EVERY: dict[str, Job] = JOBS | THREADS | {"release": RELEASE}
