"""`coigp compare` on eight stores of 1,000 queries: how long it takes on two processes, how much memory, and what it is
of the commands for one store, run one after the other.

    python benchmarks/compare.py [--stores 8] [--queries 1000] [--responses 4] [--characters 400]

Stores overlap: a tenth of the queries of each are the next one's, too, a tenth near-duplicates of its own. Texts are
words by Zipf's law; a better response is a little longer, and each model has words of its own, so that a floor learns
something. The table holds what the command took, beside `check`, `dedup`, `judges`, `stats` and `reward train` of every
store, one process after the other, which is what it replaces as far as they go.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from measuring import RESULTS

from coig_p.ingest.config import ImportConfig
from coig_p.ingest.files import import_files

_LETTERS = [bytes([row, cell]).decode("gb2312") for row in range(0xB0, 0xD7) for cell in range(0xA1, 0xFF)]
_MODELS = 6


def made(folder: Path, options: argparse.Namespace) -> list[Path]:
    """The stores: half of them scored by two judges, half verdicts of two responses."""
    drawn = random.Random(0)
    words = ["".join(drawn.choices(_LETTERS, k=drawn.randint(1, 4))) for _ in range(20_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]

    def text(characters: int, more: str = "") -> str:
        size = max(5, int(drawn.lognormvariate(0, 0.6) * characters))
        return ("".join(drawn.choices(words, weights, k=size // 2)) + more)[:size] + "。"

    common = [text(40) for _ in range(options.queries * options.stores)]
    found = []
    for store in range(options.stores):
        begin = store * options.queries - (options.queries // 10 if store else 0)
        rows = []
        for at in range(options.queries):
            asked = common[begin + at] if at % 10 else common[begin + at - 1] + "呢"
            answers = []
            for model in drawn.sample(range(_MODELS), options.responses):
                quality = model + drawn.gauss(0, 1.5)
                said = text(int(options.characters * (1 + quality / 40)), words[100 + model])
                scores = [
                    {"judge": f"judge-{judge}", "score": min(10, max(1, round(3 + quality + drawn.gauss(0, 1))))}
                    for judge in range(2)
                ]
                answers.append({"model": f"model-{model}", "text": said, "scores": scores})
            row: dict[str, Any] = {"query_id": f"q{at}", "domain": ("chat", "math")[at % 2], "query": asked}
            if store % 2:
                answers.sort(key=lambda one: -one["scores"][0]["score"])
                rows.append({"prompt": asked, "chosen": answers[0]["text"], "rejected": answers[-1]["text"]})
            else:
                rows.append(row | {"responses": answers})
        path = folder / f"rows-{store}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
        out = folder / f"store-{store}"
        import_files([path], out, ImportConfig(domain="chat"))
        found.append(out)
    return found


def run(*words: object) -> None:
    command = [sys.executable, "-m", "coig_p", *map(str, words), "--json"]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode not in (0, 1):  # 1: there are findings
        raise SystemExit(f"{words}: exit code {done.returncode}")


def timed(work: Any) -> tuple[float, float, float]:
    """Seconds by the clock, seconds of the processor, and the largest process's peak in MB so far."""
    begun, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begun, spent, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, number in (("stores", 8), ("queries", 1000), ("responses", 4), ("characters", 400)):
        parser.add_argument(f"--{name}", type=int, default=number)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = made(folder, options)

        def singles() -> None:
            for at, store in enumerate(stores):
                for words in (("check",), ("stats",), ("judges", "--no-self-preference"), ("dedup", "--dry-run")):
                    run(words[0], store, *words[1:])
                run("reward", "train", store, "--model", "builtin:ngram", "--out", folder / f"floor-{at}")

        table = [
            ("coigp compare, two processes", timed(lambda: run("compare", *stores, "--num-proc", 2))),
            ("coigp compare, one process", timed(lambda: run("compare", *stores))),
            (
                "coigp compare --no-floor, two processes",
                timed(lambda: run("compare", *stores, "--num-proc", 2, "--no-floor")),
            ),
            ("check, stats, judges, dedup, reward train of each store", timed(singles)),
        ]
    head = (
        f"`coigp compare` on {options.stores} stores of {options.queries:,} queries; {options.responses} responses a "
        f"query in half of them, 2 in the others, about {options.characters} characters each. "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, numpy {version('numpy')}, {platform.system()}."
    )
    lines = [
        head,
        "",
        "| what | seconds | seconds of the processor | peak of the largest process so far, MB |",
        "|---|---|---|---|",
    ]
    lines += [f"| {what} | {clock:.1f} | {spent:.1f} | {peak:,.0f} |" for what, (clock, spent, peak) in table]
    text = "\n".join(lines) + "\n"
    print(text)
    (RESULTS / "compare.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
