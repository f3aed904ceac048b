"""How long a check takes, rule by rule, beside one OpenCC pass and langdetect over the same texts.

    python benchmarks/checks.py [--queries 10000] [--runs 3]

Times are of one process on one core unless said otherwise. "Doubled" is the slowest rule's growth
when a hostile text of two million characters is made twice as long: 2 is linear. Prints a table and
keeps it in benchmarks/results/checks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from measuring import Measured, PeakMemory, in_own_process, median, progress, publish, spread, where

HOSTILE = (
    "<|",
    "[INST",
    "```\n",
    "```c\n",
    "x```y\n",
    "~~~ ",
    "$",
    "\\begin{",
    "(",
    "a@a.",
    "1",
    "1 ",
    "1.1.",
    "我是",
    "很抱歉",
    "浣犲ソ",
    "ä½\xa0",
    "甲",
)
OPENCC, OURS, BOTH = "one OpenCC t2s pass", "coigp check", "coigp check --num-proc 2"


def measure(way: str, store: Path) -> Measured:
    from coig_p.core.normalize import to_simplified
    from coig_p.store.store import Store
    from coig_p.validation import check
    from coig_p.validation.checks.letters import flags

    to_simplified("预热")
    flags()
    with PeakMemory() as memory:
        begin = time.perf_counter()
        if way == OPENCC:
            for batch in Store.open(store).batches():
                for texts in (batch.column("query"), batch.column("responses").flatten().field("text")):
                    to_simplified("\n".join(texts.to_pylist()))
        else:
            check(store, num_proc=2 if way == BOTH else 1)
        return {"seconds": time.perf_counter() - begin, "memory": memory.grown()}


def time_rules(store: Path) -> dict[str, float]:
    """Seconds of each text and row rule, of what they share, over one shard; not of totals' sums."""
    from coig_p.stats.batch import Observed
    from coig_p.store.store import Store
    from coig_p.store.writing import ROWS_PER_GROUP
    from coig_p.validation.checks import CHECKS
    from coig_p.validation.checks.rows import BatchView
    from coig_p.validation.checks.texts import Texts
    from coig_p.validation.checks.totals import Totals
    from coig_p.validation.gate import TEXTS_OF
    from coig_p.validation.rules import RULES

    opened = Store.open(store)
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        found = work()
        spent[name] += time.perf_counter() - begin
        return found

    over = {kind: [rule for rule in RULES.values() if rule.over == kind] for kind in ("texts", "rows")}
    for file in opened.data_files():
        for batch in pq.ParquetFile(store / file.path).iter_batches(batch_size=ROWS_PER_GROUP):
            observed = Observed(batch)
            timed("(totals)", partial(Totals(opened.manifest).add, observed))
            view = BatchView(observed, opened.manifest)
            for rule in over["rows"]:
                timed(rule.id, lambda rule=rule, view=view: list(CHECKS[rule.id](view, **rule.options)))
            for at in range(0, batch.num_rows, TEXTS_OF):
                texts = timed("(code points and flags)", partial(Texts, batch.slice(at, TEXTS_OF)))
                for rule in over["texts"]:
                    timed(rule.id, partial(CHECKS[rule.id], texts, **rule.options))
    return dict(spent)


def doubled() -> tuple[float, str]:
    """The worst growth of a rule's time over all hostile texts, where it takes long enough to tell."""
    from coig_p.validation.checks import CHECKS
    from coig_p.validation.checks.texts import Texts
    from coig_p.validation.rules import RULES

    def seconds(rule: str, texts: Texts) -> float:
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            CHECKS[rule](texts, **RULES[rule].options)
            times.append(time.perf_counter() - begin)
        return min(times)

    worst = (0.0, "")
    for unit in HOSTILE:
        small, large = (Texts(batch_of(unit * (size // len(unit)))) for size in (2_000_000, 4_000_000))
        for rule in RULES.values():
            if rule.over == "texts":
                once, twice = seconds(rule.id, small), seconds(rule.id, large)
                if twice > 0.1:
                    worst = max(worst, (twice / once, f"{rule.id} on {unit!r}"))
    return worst


def batch_of(text: str) -> pa.RecordBatch:
    from coig_p.schema import RAW_SCHEMA

    row = {"query_id": "1", "domain": "chat", "query": "问", "responses": [{"model": "m", "text": text, "scores": []}]}
    return pa.RecordBatch.from_pylist([row], schema=RAW_SCHEMA)


def langdetect_share(store: Path, texts: int = 300) -> float:
    """Time of langdetect on every text, as people use it, to that of our rule on the same texts."""
    from langdetect import DetectorFactory, LangDetectException, detect

    from coig_p.store.store import Store
    from coig_p.validation.checks.script import languages
    from coig_p.validation.checks.texts import Texts

    DetectorFactory.seed = 0
    batch = next(iter(Store.open(store).batches(batch_size=max(1, texts // 15))))
    detect("预热")
    begin = time.perf_counter()
    for text in batch.column("responses").flatten().field("text").to_pylist():
        with contextlib.suppress(LangDetectException):
            detect(text)
    naive = time.perf_counter() - begin
    begin = time.perf_counter()
    languages(Texts(batch))
    return naive / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        way, name = arguments.measure
        print(json.dumps(measure(way, Path(name))))
        return
    from corpus import make_store

    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        store = Path(folder) / "store"
        progress(f"making a corpus of {arguments.queries:,} queries ...")
        make_store(store, arguments.queries)
        found: dict[str, list[Measured]] = {way: [] for way in (OPENCC, OURS, BOTH)}
        for run in range(arguments.runs):
            progress(f"run {run + 1} of {arguments.runs}")
            for way, runs in found.items():
                runs.append(in_own_process(way, store))
        progress("rule by rule ...")
        rules = time_rules(store)
        naive = langdetect_share(store)
    progress("hostile texts ...")
    growth, which = doubled()
    whole = statistics.median(run["seconds"] for run in found[OPENCC])
    lines = [
        f"{arguments.queries:,} queries x 15 responses; median of {arguments.runs} runs (spread). "
        f"{where('pyarrow', 'opencc', 'langdetect')}",
        "",
        "| | time | relative to OpenCC | memory |",
        "|---|---|---|---|",
    ]
    for way, runs in found.items():
        memory = "" if way == BOTH else f"{median(runs, 'memory') / 2**20:.0f} MiB"  # of the parent, which does nothing
        lines.append(f"| {way} | {spread(runs, 'seconds')} | {median(runs, 'seconds') / whole:.2f} | {memory} |")
    speed_up = median(found[OURS], "seconds") / median(found[BOTH], "seconds")
    lines += [
        "",
        f"Two processes are {speed_up:.2f} times as fast as one. langdetect on every text takes {naive:,.0f} times as "
        f"long as our language of each. A text of twice the length takes at most {growth:.1f} times as long ({which}).",
        "",
        "| rule | relative to OpenCC |",
        "|---|---|",
        *(f"| {name} | {spent / whole:.3f} |" for name, spent in sorted(rules.items(), key=lambda item: -item[1])),
    ]
    publish("checks.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
