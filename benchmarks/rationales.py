"""What judges' words cost a cold load, which never reads them: the same store with and without.

    python benchmarks/rationales.py [--queries 10000] [--characters 200] [--runs 9] [--threshold 2]

Two stores that are equal but for the rationale of every score, about so many Chinese characters in one and null in
the other. Every load is a process of its own with an empty cache, and the two take turns. Processor time is user and
system of the whole process, from the call to a Dataset, imports not counted. The bar: within 5%. Prints a table and
keeps it in benchmarks/results/rationales.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from measuring import Measured, in_own_process, median, progress, publish, spread, where
from ways import OURS, load

WITHOUT, WITH = "without rationales", "with rationales"


def measure(threshold: int, work: Path) -> Measured:
    """One cold load in this process."""
    import datasets

    import coig_p.builder  # noqa: F401

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=work) as cache:
        begin, processor = time.perf_counter(), time.process_time()
        rows = load(OURS, threshold, work, Path(cache)).num_rows
        used = time.process_time() - processor
        return {"seconds": time.perf_counter() - begin, "processor": used, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--characters", type=int, default=200)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threshold", type=int, default=2)
    parser.add_argument("--measure", nargs=2, metavar=("THRESHOLD", "WORK"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        threshold, name = arguments.measure
        print(json.dumps(measure(int(threshold), Path(name))))
        return
    from corpus import make_store

    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        stores = {WITHOUT: (Path(folder) / "without", 0), WITH: (Path(folder) / "with", arguments.characters)}
        for way, (work, characters) in stores.items():
            progress(f"making a corpus of {arguments.queries:,} queries {way} ...")
            work.mkdir()
            make_store(work / "store", arguments.queries, rationale=characters)
        found: dict[str, list[Measured]] = {way: [] for way in stores}
        for run in range(arguments.runs):
            progress(f"run {run + 1} of {arguments.runs}")
            for way in list(stores)[:: 1 if run % 2 else -1]:
                found[way].append(in_own_process(arguments.threshold, stores[way][0]))
        lines = ["| | store | pairs | processor time | relative | time | relative |", "|---|---|---|---|---|---|---|"]
        for way, own in found.items():
            size = sum(path.stat().st_size for path in stores[way][0].glob("store/data/*/*.parquet"))
            ratios = [median(own, name) / median(found[WITHOUT], name) for name in ("processor", "seconds")]
            lines.append(
                f"| {way} | {size / 2**20:.0f} MiB | {own[0]['rows']:,.0f} | {spread(own, 'processor')} "
                f"| {ratios[0]:.3f} | {spread(own, 'seconds')} | {ratios[1]:.3f} |"
            )
    about = (
        f"Cold load at threshold {arguments.threshold} of {arguments.queries:,} queries, rationales of about "
        f"{arguments.characters} characters; median of {arguments.runs} runs (spread). {where('datasets', 'pyarrow')}"
    )
    publish("rationales.md", "\n".join([about, "", *lines]) + "\n")


if __name__ == "__main__":
    main()
