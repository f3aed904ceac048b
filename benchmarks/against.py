"""Whether a checkout is as fast as another: the same work by both, in turns, in processor time.

    python benchmarks/against.py OLD NEW [--queries 10000] [--runs 5] [--only load,check]

OLD and NEW are checkouts with a `.venv` of their own. Every measurement is a process of its own, run by that
checkout's Python with that checkout's code; the two take turns, so that a slow minute of the machine hits both.
Processor time is user and system, of the process and its children, without imports. Prints a table. On a machine
that others use, too, the least of many runs says more than the median: its neighbours only ever add.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

# What both checkouts run. `one_of` finds a name where a checkout has it.
PRELUDE = """
import importlib, json, os, resource, shutil, sys, time
from pathlib import Path
sys.path.insert(0, "benchmarks")

def one_of(*places):
    for place in places:
        module, _, name = place.rpartition(".")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise SystemExit(f"none of {places} is there")

work, out = Path(sys.argv[1]), Path(sys.argv[2])
store = str(work / "store")
import coig_p, datasets, coig_p.builder
datasets.disable_progress_bars()
PairConfig = one_of("coig_p.pairs.PairConfig", "coig_p.pairs.config.PairConfig")
Store = one_of("coig_p.store.Store", "coig_p.store.store.Store")

def spent():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)
"""
# A full garbage collection takes a tenth of a second. When the next one is due depends on what was imported before:
# both begin just after one.
MEASURED = """
import gc
gc.collect()
begin, wall = spent(), time.perf_counter()
work_done = run()
print(json.dumps({"cpu": spent() - begin, "wall": time.perf_counter() - wall, "found": work_done}))
"""
WORK = {
    "load": """
def run():
    loaded = coig_p.load_dataset("math", data_dir=store, threshold=2, split="train", cache_dir=str(out))
    return loaded.num_rows
""",
    "load at threshold 1": """
def run():
    loaded = coig_p.load_dataset("math", data_dir=store, threshold=1, split="train", cache_dir=str(out))
    return loaded.num_rows
""",
    "stream": """
# What datasets imports when it first streams is not measured.
next(iter(coig_p.load_dataset("math", data_dir="coig_p/bundled/store", split="train", streaming=True)))
def run():
    return sum(1 for _ in coig_p.load_dataset("math", data_dir=store, split="train", streaming=True))
""",
    "shuffled stream": """
next(iter(coig_p.load_dataset("math", data_dir="coig_p/bundled/store", split="train", streaming=True)))
def run():
    rows = coig_p.load_dataset("math", data_dir=store, split="train", streaming=True, shuffle_seed=3, world_size=4)
    return sum(1 for _ in rows)
""",
    "import": """
import_files = one_of("coig_p.ingest.files.import_files", "coig_p.importing.import_files")
ImportConfig = one_of("coig_p.ingest.intake.ImportConfig", "coig_p.intake.ImportConfig")
def run():
    _, report = import_files([work / "rows.jsonl"], out / "store", ImportConfig())
    return report.accounting()["scores"]["stored"]
""",
    "check": """
check = one_of("coig_p.validation.check")
def run():
    return check(store).findings.num_rows
""",
    "statistics": """
stats = one_of("coig_p.stats.counts.statistics", "coig_p.stats.statistics")
import scipy.special
def run():
    total = stats(store).total
    return total["pairs"] if isinstance(total, dict) else total.pairs
""",
    "sweep": """
sweep = one_of("coig_p.stats.sweep.sweep", "coig_p.sweep.sweep")
import scipy.special
def run():
    rows = sweep(store, thresholds=[at / 2 for at in range(20)]).thresholds
    return [row["pairs"] if isinstance(row, dict) else row.pairs for row in rows]
""",
    "dedup": """
DedupConfig = one_of("coig_p.dedup.queries.DedupConfig")
find_duplicates = one_of("coig_p.dedup.queries.find_duplicates")
read_queries = one_of("coig_p.dedup.queries.read_queries")
find_duplicates(read_queries(Store.open("coig_p/bundled/store")), DedupConfig())
def run():
    return find_duplicates(read_queries(Store.open(store)), DedupConfig()).num_rows
""",
    "clean": """
clean_store = one_of("coig_p.validation.cleaning.clean_store", "coig_p.cleaning.clean_store")
check = one_of("coig_p.validation.check")
opened = Store.open(store)
report = check(opened)
more = [rule for rule, number in report.by_rule().items() if number and report.rules[rule].over != "totals"]
def run():
    clean_store(opened, report, out / "store", more=more)
    return more
""",
    "export": """
export_store = one_of("coig_p.export.write.export_store", "coig_p.export.export_store")
ExportConfig = one_of("coig_p.export.write.ExportConfig", "coig_p.export.ExportConfig")
def run():
    export_store(store, out / "dpo", ExportConfig("trl-dpo"))
    return sorted(path.name for path in (out / "dpo").rglob("*.parquet"))
""",
    "release": """
write_release = one_of("coig_p.publish.release.write_release", "coig_p.publish.plan.write_release")
ReleaseConfig = one_of("coig_p.publish.release.ReleaseConfig", "coig_p.publish.plan.ReleaseConfig")
def run():
    return len(write_release(Store.open(store), out / "release", ReleaseConfig("1.0.0")).manifest.files)
""",
}
MAKE = """
import json, shutil, sys; sys.path.insert(0, "benchmarks")
from pathlib import Path
from corpus import make_store
import pyarrow.parquet as pq
work = Path(sys.argv[1])
make_store(work / "store", int(sys.argv[2]))
shutil.copy("coig_p/bundled/card.toml", work / "store")
with (work / "rows.jsonl").open("w", encoding="utf-8") as rows:
    for path in sorted((work / "store").glob("data/*/*.parquet")):
        for row in pq.read_table(path).to_pylist():
            kept = {name: value for name, value in row.items() if value is not None}
            rows.write(json.dumps(kept, ensure_ascii=False) + "\\n")
"""


def measure(checkout: Path, name: str, work: Path) -> dict[str, object]:
    """One process of one checkout."""
    code = PRELUDE + WORK[name] + MEASURED
    with tempfile.TemporaryDirectory(dir=work) as out:
        command = [checkout.resolve() / ".venv" / "bin" / "python", "-c", code, work, out]
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: {name} ended with {done.returncode}:\n{done.stderr}")
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default=",".join(WORK), help="comma-separated; default: all")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="coigp-against-"))
    sides = {"old": arguments.old, "new": arguments.new}
    try:
        # Made by OLD: what it wrote, NEW must read.
        made = [arguments.old.resolve() / ".venv" / "bin" / "python", "-c", MAKE, work, str(arguments.queries)]
        subprocess.run(made, cwd=arguments.old, check=True)
        print(f"{arguments.queries:,} queries x 15 responses; medians of {arguments.runs} runs (spread), in turns\n")
        print("| | processor time, old | new | ratio | of the least | wall, ratio |")
        print("|---|---|---|---|---|---|", flush=True)
        for name in arguments.only.split(","):
            runs: dict[str, list[dict[str, object]]] = {side: [] for side in sides}
            for nth in range(arguments.runs):
                for side in list(sides)[:: 1 if nth % 2 else -1]:
                    runs[side].append(measure(sides[side], name.strip(), work))
            found = [json.dumps(run["found"]) for side in sides for run in runs[side]]
            if len(set(found)) > 1:
                raise SystemExit(f"{name}: the two did not do the same: {sorted(set(found))[:2]}")
            print(_line(name, runs), flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _line(name: str, runs: dict[str, list[dict[str, object]]]) -> str:
    times = {
        (side, kind): [float(str(run[kind])) for run in own] for side, own in runs.items() for kind in ("cpu", "wall")
    }
    middle = {key: statistics.median(values) for key, values in times.items()}
    spreads = [
        f"{middle[side, 'cpu']:.2f} s ({min(times[side, 'cpu']):.2f} to {max(times[side, 'cpu']):.2f})" for side in runs
    ]
    ratios = [f"{middle['new', kind] / middle['old', kind]:.2f}" for kind in ("cpu", "wall")]
    least = f"{min(times['new', 'cpu']) / min(times['old', 'cpu']):.2f}"
    return f"| {name} | {spreads[0]} | {spreads[1]} | {ratios[0]} | {least} | {ratios[1]} |"


if __name__ == "__main__":
    sys.exit(main())
