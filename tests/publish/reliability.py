"""Every fault at every request of a release, two publishers at once, and a 2 GB store: docs/reliability.md.

python tests/publish/reliability.py               all of it, some hours on two cores
python tests/publish/reliability.py --minutes 5   so long for each of the matrices: one request of each kind first
python tests/publish/reliability.py --only memory
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
THREADS = 2 * (os.cpu_count() or 1)  # they wait, mostly
ROWS, BYTES = 100_000, 5_300  # of a response; five a query


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=("first", "second", "loading", "rivals", "memory"))
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="for each matrix; default: until it is whole"
    )
    asked = parser.parse_args()
    sections = {
        "first": lambda: faults(published=False, minutes=asked.minutes),
        "second": lambda: faults(published=True, minutes=asked.minutes),
        "loading": lambda: faults(published=True, minutes=asked.minutes, loading=True),
        "rivals": two_publishers,
        "memory": memory,
    }
    for name, make in sections.items():
        if asked.only is None or name in asked.only:
            write(name, make())


def write(name: str, text: str) -> None:
    """Put a section's figures between its marks in the page."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    page = PAGE.read_text("utf-8")
    before, after = page.split(begin)[0], page.split(end)[1]
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
    print(text)


def faults(*, published: bool, minutes: float, loading: bool = False) -> str:
    """Every fault at every request of a first or a second release.

    Args:
        minutes: after which no further fault is tried.
        loading: at the requests of those who load back what was staged, and at no other. Else nobody loads: rows are
            counted, in seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        scene = make_scene(Path(folder), published=published, loads=False)
        requests = requests_of(scene)
        meets = range(len(requests))
        if loading:
            counted = [what(request) for request in requests]
            scene = replace(scene, loads=True)
            requests = requests_of(scene)
            meets = range(*added([what(request) for request in requests], counted))
        jobs = in_turn(requests, meets)
        trials = every_fault(scene, jobs, minutes)
    hit = len({trial.at for trial in trials})
    wrong = [trial for trial in trials if trial.wrong]
    whole = "all" if len(trials) == len(jobs) else f"of {len(jobs):,} that there are"
    head = f"{len(meets)} requests; {hit} of them met {len(trials):,} faults ({whole}): {len(wrong)} broken promises."
    told = [f"- {trial.kind} at request {trial.at} ({what(trial.hit)}): {'; '.join(trial.wrong)}" for trial in wrong]
    return "\n\n".join([head, as_table(trials), *(["\n".join(told)] if told else []), where()])


def added(these: list[str], those: list[str]) -> tuple[int, int]:
    """Where what these have more than those begins and ends."""
    pairs = list(zip(these, those, strict=False))
    begin = next((at for at, (one, other) in enumerate(pairs) if one != other), len(pairs))
    pairs = list(zip(reversed(these), reversed(those), strict=False))
    end = next((at for at, (one, other) in enumerate(pairs) if one != other), len(pairs))
    return begin, max(begin, len(these) - end)


def in_turn(requests: list[str], meets: Iterable[int]) -> list[tuple[str, int]]:
    """Every fault at every request: at the first of each kind first, changes before questions, then at the second."""
    seen = Counter[str]()
    turn = {}
    for at in meets:
        shape = what(requests[at].partition("?")[0])
        turn[at] = seen[shape]
        seen[shape] += 1
    # A question changes nothing, so for one it is the same whether the server acted before it failed.
    return [
        (kind, at)
        for at in sorted(turn, key=lambda at: (turn[at], requests[at].startswith(("GET", "HEAD")), at))
        for kind in KINDS
        if not requests[at].startswith(("GET", "HEAD")) or not kind.endswith(" done")
    ]


def every_fault(scene: Scene, jobs: list[tuple[str, int]], minutes: float) -> list[Trial]:
    done = Counter[str]()
    end = time.monotonic() + minutes * 60

    def one(job: tuple[str, int]) -> Trial | None:
        if time.monotonic() > end:
            return None
        trial = run_trial(scene, *job)
        done["all"] += 1
        done["wrong"] += bool(trial.wrong)
        print(f"\r{done['all']}/{len(jobs)} faults, {done['wrong']} wrong", end="", file=sys.stderr, flush=True)
        if trial.wrong:
            print(f"\n{trial}", file=sys.stderr, flush=True)
        return trial

    with ThreadPoolExecutor(THREADS) as threads:
        return [trial for trial in threads.map(one, jobs) if trial is not None]


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
