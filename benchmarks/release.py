"""How long a release takes beside the same release by another checkout.

    python benchmarks/release.py --against CHECKOUT [--queries 10000] [--runs 5] [--from-rows]

CHECKOUT has a `.venv` of its own (`make test` sets it up). Both run `coigp-publish STORE --version 1.0.0 --target
dir:...` on one store, in turns, so that a slow minute of the machine hits both. Times are of the whole process,
imports too: processor time (user and system, children with it) and wall time. With --from-rows they begin with
`coigp import` of JSON Lines. Prints a table and keeps it in benchmarks/results/release.md, or release_from_rows.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from imports import nested
from measuring import Measured, median, progress, publish, spread, where

HERE = Path(__file__).resolve().parents[1]
RUN = "import sys; sys.argv[0] = 'coigp-publish'; from {module} import main; main()"
MODULES = ("coig_p.cli.publish", "coig_p.publish.cli")  # now, and before modules had rooms


def measure(checkout: Path, store: Path, rows: Path | None, out: Path) -> Measured:
    """One release, in a process of its own, and before it an import in another."""
    module = next(name for name in MODULES if (checkout / (name.replace(".", "/") + ".py")).exists())
    python = checkout / ".venv" / "bin" / "python"
    commands = [
        [python, "-c", RUN.format(module=module), store, "--version", "1.0.0", "--target", f"dir:{out}"],
    ]
    if rows is not None:
        shutil.rmtree(store, ignore_errors=True)
        importing = "import sys; sys.argv[0] = 'coigp'; from {module} import main; main()"
        module = "coig_p.cli.main" if (checkout / "coig_p/cli/main.py").exists() else "coig_p.cli"
        commands.insert(0, [python, "-c", importing.format(module=module), "import", rows, "--out", store])
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for nth, command in enumerate(commands):
        if nth:
            shutil.copy(HERE / "coig_p" / "bundled" / "card.toml", store)
        subprocess.run(
            command, check=True, cwd=checkout, env={"PYTHONPATH": str(checkout), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"processor": used, "wall": wall}


def write_rows(store: Path, path: Path) -> Path:
    """The queries of a store as JSON Lines, a query with its responses a row."""
    from coig_p.store.store import Store

    with path.open("w", encoding="utf-8") as stream:
        for batch in Store.open(store).batches():
            for row in batch.to_pylist():
                for line in nested(row):
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--from-rows", action="store_true", help="begin with an import")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="coigp-bench-"))
    try:
        from corpus import make_store

        progress(f"making a corpus of {arguments.queries:,} queries ...")
        make_store(work / "store", arguments.queries)
        shutil.copy(HERE / "coig_p" / "bundled" / "card.toml", work / "store")
        rows = write_rows(work / "store", work / "rows.jsonl") if arguments.from_rows else None
        sides = {"that checkout": arguments.against.resolve(), "this one": HERE}
        found: dict[str, list[Measured]] = {name: [] for name in sides}
        for nth in range(arguments.runs):
            for name, checkout in sides.items():
                progress(f"run {nth + 1} of {arguments.runs}: {name}")
                found[name].append(measure(checkout, work / "store", rows, work / "release"))
                pairs = json.loads((work / "release" / "statistics.json").read_text("utf-8"))["total"]["pairs"]
                shutil.rmtree(work / "release")
        that, this = found.values()
        lines = ["| | processor time | wall time |", "|---|---|---|"]
        lines += [f"| {name} | {spread(runs, 'processor')} | {spread(runs, 'wall')} |" for name, runs in found.items()]
        ratios = [median(this, kind) / median(that, kind) for kind in ("processor", "wall")]
        each = [one["processor"] / other["processor"] for one, other in zip(this, that, strict=True)]
        lines.append(f"| this to that | {ratios[0]:.2f} | {ratios[1]:.2f} |")
        revision = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=sides["that checkout"], capture_output=True, text=True,
            check=False,
        ).stdout.strip()  # fmt: skip
        head = (
            f"{'An import and a' if rows else 'A'} release of {arguments.queries:,} queries x 15 responses, {pairs:,} "
            f"pairs, beside checkout {revision}; "
            f"median of {arguments.runs} runs (spread), in turns. Ratio of processor times run by run: median "
            f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f}). {where('pyarrow', 'numpy')}"
        )
        publish("release_from_rows.md" if rows else "release.md", "\n".join([head, "", *lines]) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
