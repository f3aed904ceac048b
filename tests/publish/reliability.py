"""Every fault at every request of a release, two publishers at once, and a 2 GB store: docs/reliability.md.

python tests/publish/reliability.py            all of it, about an hour on two cores
python tests/publish/reliability.py --only memory
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import pyarrow as pa  # noqa: E402
from faults import KINDS, REPO, FaultyHandler, FaultyHub, what  # noqa: E402
from making import make_release  # noqa: E402
from trials import (  # noqa: E402
    ACCOUNTS,
    Scene,
    Trial,
    make_scene,
    requests_of,
    rivals,
    run_measured,
    run_trial,
    summary,
)

from coig_p.core.atomic import atomic_directory  # noqa: E402
from coig_p.schema import RAW_SCHEMA  # noqa: E402
from coig_p.store.manifest import Manifest  # noqa: E402
from coig_p.store.writing import Part, write_store  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "reliability.md"
ROUNDS = 8
ROWS, BYTES = 100_000, 5_300  # of a response; five a query


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("first", "second", "rivals", "memory"))
    parser.add_argument("--requests", choices=("all", "changes"), default="all", help="changes: no GET and HEAD")
    asked = parser.parse_args()
    sections = {
        "first": lambda: faults(published=False, changes=asked.requests == "changes"),
        "second": lambda: faults(published=True, changes=asked.requests == "changes"),
        "rivals": two_publishers,
        "memory": memory,
    }
    for name, make in sections.items():
        if asked.only in (None, name):
            write(name, make())


def write(name: str, text: str) -> None:
    """Put a section's figures between its marks in the page."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    page = PAGE.read_text("utf-8")
    before, after = page.split(begin)[0], page.split(end)[1]
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    print(text)


def faults(*, published: bool, changes: bool) -> str:
    """Every fault at every request of a first or a second release, or at those that change something."""
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(Path(folder), published=published)
        requests = requests_of(scene)
        trials = every_fault(scene, requests, changes)
    hit = len({trial.at for trial in trials})
    wrong = [trial for trial in trials if trial.wrong]
    which = "those that change something" if changes else "all"
    head = (
        f"{len(requests)} requests; {hit} of them ({which}) met {len(trials):,} faults: {len(wrong)} broken promises."
    )
    told = [f"- {trial.kind} at request {trial.at} ({what(trial.hit)}): {'; '.join(trial.wrong)}" for trial in wrong]
    return "\n\n".join([head, as_table(trials), *(["\n".join(told)] if told else []), where()])


def every_fault(scene: Scene, requests: list[str], changes: bool) -> list[Trial]:
    # A question changes nothing, so for one it is the same whether the server acted before it failed.
    jobs = [
        (kind, at)
        for at, hit in enumerate(requests)
        for kind in KINDS
        if not hit.startswith(("GET", "HEAD")) or not (changes or kind.endswith(" done"))
    ]
    done = Counter[str]()

    def one(job: tuple[str, int]) -> Trial:
        trial = run_trial(scene, *job)
        done["all"] += 1
        done["wrong"] += bool(trial.wrong)
        print(f"\r{done['all']}/{len(jobs)} faults, {done['wrong']} wrong", end="", file=sys.stderr, flush=True)
        if trial.wrong:
            print(f"\n{trial}", file=sys.stderr, flush=True)
        return trial

    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        return list(threads.map(one, jobs))


def as_table(trials: list[Trial]) -> str:
    columns = ["trials", "finished at once", "finished by the next run", "broken promises"]
    lines = [f"| fault | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for kind, counts in summary(trials).items():
        lines.append(f"| {kind} | {' | '.join(str(counts[column]) for column in columns)} |")
    return "\n".join(lines)


def two_publishers() -> str:
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(Path(folder))
        outcomes = Counter[str]()
        for number in range(ROUNDS):
            outcomes += rivals(scene, number)
            print(f"\r{number + 1}/{ROUNDS} rounds", end="", file=sys.stderr, flush=True)
    lines = [f"| {outcome} | {count} |" for outcome, count in sorted(outcomes.items())]
    head = f"Two processes started together publish different content under one version, {ROUNDS} times."
    return "\n".join([head, "", "| outcome | times |", "|---|---|", *lines, "", where()])


def memory() -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = folder / "store"
        with atomic_directory(store) as root:
            part = Part("math", "train", ROWS, batches())
            write_store(root, [part], Manifest(score_range=(1.0, 10.0), default_threshold=2.0, tool="reliability"))
        release = make_release(store, folder / "release")
        size = sum(path.stat().st_size for path in release.rglob("*") if path.is_file())
        hub = FaultyHub(folder / "hub", ACCOUNTS, handler=FaultyHandler)
        with hub.serving():
            code, peak = run_measured(hub.endpoint, release, folder)
        assert code == 0, f"the release failed with {code}"
        sent = sum(request.sent for request in hub.requests if request.method == "PUT")
        shards = len(hub.repositories[REPO].find("main").tree)
    return (
        f"A release of {size / 1e9:.2f} GB in {shards} files, {sent / 1e9:.2f} GB of them uploaded, downloaded, "
        f"hashed and loaded in every config, map-style and streaming: "
        f"peak resident memory of the command and of what it starts {peak / 1e6:,.0f} MB.\n\n{where()}"
    )


def batches() -> Iterator[pa.RecordBatch]:
    """Random texts, which no compression makes small; one query in 50 has a pair."""
    per = 500
    for begin in range(0, ROWS, per):
        queries = range(begin, begin + per)
        rows = []
        for query in queries:
            noise = base64.b64encode(os.urandom(BYTES * 15 // 4)).decode()
            responses = [
                {
                    "model": f"model-{nth}",
                    "sample": 0,
                    "text": noise[nth * BYTES : (nth + 1) * BYTES],
                    "scores": [{"judge": "judge", "dimension": "overall", "score": 9.0 if nth == query % 250 else 5.0}],
                }
                for nth in range(5)
            ]
            rows.append(
                {
                    "query_id": f"q-{query:06d}",
                    "domain": "math",
                    "query": f"问题{query}？",
                    "source": None,
                    "responses": responses,
                    "comparisons": None,
                }
            )
        yield pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)


def where() -> str:
    names = ("datasets", "huggingface_hub", "httpx2", "pyarrow")
    return "Python " + ", ".join([sys.version.split()[0], *(f"{name} {version(name)}" for name in names)]) + "."


if __name__ == "__main__":
    main()
