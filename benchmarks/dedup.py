"""Near-duplicate search on many short questions: datasketch, rensa and ours on the same normalised text.

    python benchmarks/dedup.py [--questions FILE] [--runs 5] [--naive 5000] [--growth 10000 100000 1000000]

FILE has one question a line; without one, questions are made up, a tenth of them edited copies of
others. Every way gets comparison forms and trigrams, threshold .7 and 128 permutations, and ends with
which questions are duplicates; ours also verifies each pair by exact Jaccard and names clusters and
survivors. Naive datasketch runs on a part, and its time is multiplied up. Each measurement is a process
of its own, the ways take turns. Prints tables and keeps them in benchmarks/results/dedup.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from measuring import Measured, PeakMemory, in_own_process, median, progress, publish, spread, where

THRESHOLD, N, NUM_PERM = 0.7, 3, 128
WAYS = ("datasketch update + LSH", "datasketch bulk + LSH", "rensa deduplicator", "ours, numpy", "ours, numba")
NAIVE, BULK, RENSA, NUMPY, NUMBA = WAYS
FORMS = ("comparison_form, one by one", "comparison_forms")


def grams(form: str) -> list[str]:
    return [form[at : at + N] for at in range(max(1, len(form) - N + 1))]


def naive(forms: list[str]) -> int:
    from datasketch import MinHash, MinHashLSH

    lsh, found = MinHashLSH(threshold=THRESHOLD, num_perm=NUM_PERM), 0
    for at, form in enumerate(forms):
        signature = MinHash(num_perm=NUM_PERM, scheme="affine32")
        for gram in grams(form):
            signature.update(gram.encode())
        if lsh.query(signature):
            found += 1
        else:
            lsh.insert(at, signature)
    return found


def bulk(forms: list[str]) -> int:
    from datasketch import MinHash, MinHashLSH

    lsh, found = MinHashLSH(threshold=THRESHOLD, num_perm=NUM_PERM), 0
    encoded = [[gram.encode() for gram in grams(form)] for form in forms]
    for at, signature in enumerate(MinHash.bulk(encoded, num_perm=NUM_PERM, scheme="affine32")):
        if lsh.query(signature):
            found += 1
        else:
            lsh.insert(at, signature)
    return found


def rensa(forms: list[str]) -> int:
    from rensa import RMinHashDeduplicator

    seen = RMinHashDeduplicator(THRESHOLD, NUM_PERM, True)
    fresh = seen.add_pairs([(str(at), grams(form)) for at, form in enumerate(forms)])
    return len(forms) - sum(fresh)


def ours(forms: list[str]) -> int:
    from coig_p.dedup.clusters import Queries
    from coig_p.dedup.queries import DedupConfig, find_duplicates

    number = len(forms)
    queries = Queries([f"q-{at}" for at in range(number)], ["chat"] * number, forms, [1] * number)
    found = find_duplicates(queries, DedupConfig(threshold=THRESHOLD, n=N, num_perm=NUM_PERM))
    return found.num_rows - len(set(found.column("survivor").to_pylist()))


def without_numba(forms: list[str]) -> int:
    from coig_p.dedup import minhash, shingles

    for module in (minhash, shingles):
        vars(module)["fast_kernels"] = lambda: None
    return ours(forms)


RUN: dict[str, Callable[[list[str]], int]] = {
    **{NAIVE: naive, BULK: bulk, RENSA: rensa, NUMPY: without_numba, NUMBA: ours}
}


def measure(way: str, path: Path) -> Measured:
    from coig_p.core.normalize import comparison_form, comparison_forms

    lines = path.read_text("utf-8").splitlines()
    if way in FORMS:
        comparison_forms(lines[:100]), comparison_form(lines[0])  # tables and dictionaries are read once
        begin = time.perf_counter()
        found = len(comparison_forms(lines) if way == FORMS[1] else list(map(comparison_form, lines)))
        return {"seconds": time.perf_counter() - begin, "memory": 0, "found": found}
    forms = comparison_forms(lines)
    del lines
    RUN[way](forms[:100])  # imports, and compiled code from numba's cache
    gc.collect()
    gc.freeze()  # or somebody's run would go over all that the imports made
    with PeakMemory() as memory:
        begin = time.perf_counter()
        found = RUN[way](forms)
        return {"seconds": time.perf_counter() - begin, "memory": memory.grown(), "found": found}


def made_up(number: int, path: Path) -> None:
    rng = np.random.default_rng(0)
    letters = [bytes([row, cell]).decode("gb2312") for row in range(0xB0, 0xD7) for cell in range(0xA1, 0xFF)]
    words = np.array(["".join(rng.choice(letters, n)) for n in rng.integers(1, 4, 20_000)])
    weights = 1 / np.arange(10, len(words) + 10)
    weights /= weights.sum()
    lines: list[str] = []
    while len(lines) < number:
        size = int(np.clip(rng.lognormal(2.2, 0.5), 4, 40))
        line = list("".join(rng.choice(words, size, p=weights)))
        if lines and rng.random() < 0.1:
            line = list(lines[rng.integers(len(lines))])
            for at in rng.integers(0, len(line), max(1, len(line) // 25)):
                line[at] = letters[rng.integers(len(letters))]
        lines.append("".join(line))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, help="One a line. Default: made up.")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--naive", type=int, default=5_000, help="Questions that the naive way gets.")
    parser.add_argument("--growth", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "PATH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure[0], Path(arguments.measure[1]))))
        return
    versions = where("datasketch", "rensa", "numba", "numpy", "opencc")
    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        text = compared(arguments, Path(folder))
        text += grown(arguments.growth, Path(folder)) if arguments.growth else ""
    publish("dedup.md", f"Median of {arguments.runs} runs (spread). {versions}\n{text}")


def compared(arguments: argparse.Namespace, folder: Path) -> str:
    path = arguments.questions
    if path is None:
        path = folder / "questions.txt"
        made_up(190_000, path)
    lines = path.read_text("utf-8").splitlines()
    part = folder / "part.txt"
    part.write_text("\n".join(lines[: arguments.naive]) + "\n", encoding="utf-8")
    found: dict[str, list[Measured]] = {way: [] for way in (*WAYS, *FORMS)}
    for run in range(arguments.runs):
        progress(f"run {run + 1} of {arguments.runs}")
        for way, runs in found.items():
            runs.append(in_own_process(way, part if way == NAIVE else path))
    for run in found[NAIVE]:
        run["seconds"] *= len(lines) / arguments.naive
    base, quickest = median(found[BULK], "seconds"), median(found[NUMBA], "seconds")
    table = [
        *["", f"{len(lines):,} questions, {'of a file' if arguments.questions else 'made up'}.", ""],
        "| way | time | speed, bulk = 1 | duplicates | memory |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        runs = found[way]
        of_part = f" ({arguments.naive:,}, multiplied up)" if way == NAIVE else ""
        duplicates = "" if of_part else f"{median(runs, 'found'):,.0f}"
        table.append(
            f"| {way}{of_part} | {spread(runs, 'seconds')} | {base / median(runs, 'seconds'):.2f} "
            f"| {duplicates} | {median(runs, 'memory') / 2**20:.0f} MiB |"
        )
    table += ["", "Normalisation, before all of them:", "", "| way | time | of ours, numba |", "|---|---|---|"]
    for way in FORMS:
        seconds = median(found[way], "seconds")
        table.append(f"| {way} | {spread(found[way], 'seconds')} | {seconds / quickest:.2f} |")
    return "\n".join(table) + "\n"


def grown(sizes: list[int], folder: Path) -> str:
    table = ["", "Growth, on made-up questions:", "", "| questions | way | time | memory |", "|---|---|---|---|"]
    seconds: dict[str, list[float]] = {NUMPY: [], NUMBA: []}
    for size in sizes:
        progress(f"{size:,} questions ...")
        path = folder / "grown.txt"
        made_up(size, path)
        for way in seconds:
            runs = [in_own_process(way, path) for _ in range(3 if size < 1_000_000 else 1)]
            seconds[way].append(median(runs, "seconds"))
            table.append(
                f"| {size:,} | {way} | {median(runs, 'seconds'):.2f} s | {median(runs, 'memory') / 2**20:.0f} MiB |"
            )
    table.append("")
    for way, times in seconds.items():
        slope = np.polyfit([math.log(size) for size in sizes], [math.log(time) for time in times], 1)[0]
        table.append(f"{way}: time grows with the number of questions to the power of {slope:.2f}.")
    return "\n".join(table) + "\n"


if __name__ == "__main__":
    main()
