"""A run from a taxonomy at a tenth of the paper's size, against scripted models: is all of it as arithmetic has it?

    python benchmarks/tap.py [--subjects 724] [--responders 65] [--judges 6] [--kills 50] [--kill-subjects 12]

What the models say stands in `tap_plan.py`; the server is a process of its own. Each stage is estimated when the one
before it is done, and `types` and `prompts` once more when a few subjects are through. Then the same run is begun anew
with nothing to do. A smaller run is killed at random moments, and must end with the ledger and the store of one that
nobody disturbed. Any number that is not what it should be ends the script. At full size it takes about half an hour.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from measuring import PeakMemory, in_own_process, progress, publish, where
from tap_plan import WAYS, Plan, Scripted, bias

STAGES = ("types", "refine", "prompts", "generate", "compare")
FIRST = ("types", "prompts")  # whose requests hold answers that are still to come
FEW = 20  # subjects that are through before a second estimate of these
REPEATS = {"run once more": "all", "run with nothing to do": "all", "status": "status", "--estimate": "estimate"}
RUN = "from coig_p.cli.main import main; main()"


def serve(subjects: int, responders: int) -> None:
    from coig_p.annotate.scripted import ScriptedServer

    with ScriptedServer(Scripted(Plan.of(subjects), responders)) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


class Server:
    """Scripted models in a process of their own while the block runs."""

    def __init__(self, subjects: int, responders: int) -> None:
        command = [sys.executable, sys.argv[0], "--serve", str(subjects), str(responders)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self.process.communicate("")


def run_file(folder: Path, base_url: str, plan: Plan, responders: int, judges: int, concurrency: int = 8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    roles = [("writer", "writes")]
    roles += [(f"model-{at:02}", "generates") for at in range(responders)]
    roles += [(f"judge-{at}", "judges") for at in range(judges)]
    endpoints = "".join(
        f"""
[[endpoints]]
name = "{name}"
model = "{name}"
base_url = "{base_url}"
family = "{name}"
{does} = true
concurrency = {concurrency * (8 if does == "judges" else 1)}
input_price = 1
parameters = {{ max_tokens = 1024 }}
judge_parameters = {{ max_tokens = 512 }}
"""
        for name, does in roles
    )
    only = ", ".join(f'"{subject.code}"' for subject in plan.subjects)
    (folder / "run.toml").write_text(
        f"""[taxonomy]
only = [{only}]
ask_infeasible = true

[select]
anchor = "model-00"

[compare]
least_judges = {judges}
{endpoints}""",
        encoding="utf-8",
    )
    return folder / "run.toml"


class Told(NamedTuple):
    """Requests, tokens of prompts, tokens of answers, and the most that these may be."""

    requests: int = 0
    input: int = 0
    output: int = 0
    most: int = 0


def estimated(path: Path, stage: str) -> Told:
    from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
    from coig_p.annotate.config import load_config
    from coig_p.annotate.estimating import forecast
    from coig_p.annotate.repaying import kinds_of

    config = load_config(path)
    LedgerWriter.open(config.folder).close()
    with Ledger.open(config.folder) as ledger:
        found = forecast(config, ledger, kinds=kinds_of(config)[stage]).endpoints.values()
    names = ("requests", "input_tokens", "output_tokens", "most_output_tokens")
    return Told(*(sum(getattr(one, name) for one in found) for name in names))


def sent(path: Path, stage: str) -> tuple[Told, int]:
    """What a stage has sent so far, but for what was asked again, which stands behind it."""
    from coig_p.annotate.config import load_config
    from coig_p.annotate.repaying import kinds_of

    config = load_config(path)
    kinds = kinds_of(config)[stage]
    which = f"kind IN ({', '.join('?' * len(kinds))})"
    with closing(sqlite3.connect(config.folder / "ledger.sqlite")) as ledger:
        sums = "SELECT COUNT(*), SUM(prompt_tokens), SUM(completion_tokens) FROM requests WHERE"
        once = ledger.execute(f"{sums} {which} AND ask = 0", kinds).fetchone()
        every = ledger.execute(f"{sums} {which}", kinds).fetchone()
    return Told(*(int(one or 0) for one in once)), every[0] - once[0]


def measure_run(path: Path, stages: str) -> dict[str, float]:
    """Stages of a run, or "status" or "estimate", in this process."""
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.annotate.config import load_config
    from coig_p.annotate.estimating import forecast
    from coig_p.annotate.stages import run_stages
    from coig_p.annotate.status import status_of

    began, processor, number = time.perf_counter(), time.process_time(), 0
    with PeakMemory() as memory:
        config = load_config(path)
        if stages in ("status", "estimate"):
            with Ledger.open(config.folder) as ledger:
                found: Any = status_of(config, ledger) if stages == "status" else forecast(config, ledger)
            assert found is not None
        else:
            report = run_stages(config, None if stages == "all" else tuple(stages.split("+")))
            assert not report.failed, report
            assert not report.left, report
            number = sum(report.sent.values())
    seconds = {"seconds": time.perf_counter() - began, "processor": time.process_time() - processor}
    return {**seconds, "mebibytes": (memory.begin + memory.grown()) / 2**20, "sent": number}


def few(path: Path, stage: str) -> None:
    from coig_p.annotate.config import load_config
    from coig_p.annotate.stages import run_stages

    run_stages(load_config(path), (stage,), limit=FEW)


def check(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise SystemExit(f"{what}: {found!r}, and by the plan {wanted!r}")


def whole(path: Path, plan: Plan, responders: int, judges: int) -> tuple[list[str], dict[str, float]]:
    """A run stage by stage; the rows of the table, and how long the stages took."""
    rows, took = [], {}
    for stage in (*STAGES, "store"):
        if stage == "compare":
            took["select"] = in_own_process("run", path, "select")
        if stage == "store":
            took[stage] = in_own_process("run", path, stage)
            continue
        progress(f"{stage}: estimate")
        told = [estimated(path, stage)]
        if stage in FIRST and len(plan.subjects) > FEW:
            few(path, stage)
            before, _ = sent(path, stage)
            told.append(Told(*(one + other for one, other in zip(estimated(path, stage), before, strict=True))))
        progress(f"{stage}: {told[-1].requests:,} requests")
        took[stage] = in_own_process("run", path, stage)
        done, again = sent(path, stage)
        rows += [_row(stage, one, done, again, first=at == 0) for at, one in enumerate(told)]
        _check_estimate(stage, told, done)
    return rows, took


def _row(stage: str, told: Told, done: Told, again: int, *, first: bool) -> str:
    name = stage if first else f"{stage}, {FEW} subjects through"
    cells = [f"{told.requests:,}", f"{done.requests:,}", f"{again:,}"]
    cells += [f"{told.input:,}", f"{done.input:,}", f"{told.input / done.input - 1:+.2%}"]
    cells += [f"{told.output:,}", f"{done.output:,}", f"{told.most:,}"]
    return f"| {' | '.join([name, *cells])} |"


def _check_estimate(stage: str, told: list[Told], done: Told) -> None:
    for one in told:
        if one.most and one.most < done.output:
            raise SystemExit(f"{stage}: answers took {done.output:,} tokens, and at most {one.most:,} were told")
    if stage != "prompts":  # how many candidates types take nobody knows before
        check(f"{stage}: requests", done.requests, told[0].requests)
    last, near = told[-1], 0.05 if stage == "prompts" else 0.01
    if stage in FIRST and len(told) == 1:  # before anything was asked nobody knows how long answers are
        return
    if abs(last.input - done.input) > near * done.input:
        raise SystemExit(f"{stage}: prompts took {done.input:,} tokens, and {last.input:,} were told")


def counted(path: Path, plan: Plan, responders: int, judges: int) -> dict[str, Any]:
    """Whether counts follow by arithmetic; some of them."""
    from datasets import load_dataset

    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.annotate.config import load_config
    from coig_p.annotate.tap.positions import judged
    from coig_p.store.store import Store

    config = load_config(path)
    prompts, types = len(plan.cases), sum(plan.types.values())
    kept = min(WAYS, responders)
    pairs = kept * (kept - 1) // 2
    wanted = {"types": 3 * len(plan.subjects), "refine": types, "generate": prompts * responders}
    wanted |= dict.fromkeys(("prompt", "complete", "feasible"), prompts)
    wanted["compare"] = prompts * pairs * 2 * judges
    kinds: Counter[str] = Counter()
    with Ledger.open(config.folder) as ledger:
        for some in ledger.requests():
            kinds[some.kind] += some.number * (some.ask == 0)
            check(f"{some.kind} {some.state}", some.state in ("answered", "invalid"), True)
        told = judged(config, ledger)
    check("requests", dict(kinds), wanted)
    for name, one in told.items():
        check(f"invalid comparisons of {name}", one["invalid"], 0)
        check(f"bias of {name}", one["bias"], bias(name))
    comparisons = 0
    for batch in Store.open(config.folder / "store").batches():
        for row in batch.to_pylist():
            models = [one["model"] for one in row["responses"]]
            check(f"ways of {row['query_id']}", sorted(int(one[-2:]) % WAYS for one in models), list(range(kept)))
            check(f"anchor of {row['query_id']}", "model-00" in models, True)
            seen = Counter((one["judge"], one["first"], one["second"]) for one in row["comparisons"])
            both = {
                (judge, *pair[::turn]) for pair in combinations(range(kept), 2) for turn in (1, -1) for judge in told
            }
            check(f"comparisons of {row['query_id']}", seen, dict.fromkeys(both, 4))
            comparisons += len(row["comparisons"])
    found = {"prompts": prompts, "types": types, "comparisons": comparisons // 4}
    if kept == WAYS:
        for name in told:
            rows = load_dataset("coig-p", "all", data_dir=str(config.folder / "store"), split="train", judges=name)
            check(f"pairs of {name}", len(rows), prompts * pairs - plan.ties(name))
        found |= {"pairs": prompts * pairs - plan.ties("judge-0"), "ties": plan.ties("judge-0")}
    return found


def content(path: Path) -> tuple[list[Any], dict[str, bytes]]:
    """What a run's ledger says of every request and query, without when and how often it was sent; and its files."""
    from coig_p.annotate.asking.ledger.bodies import unpacked
    from coig_p.annotate.config import load_config

    folder = load_config(path).folder
    about = "key, endpoint, kind, domain, query_id, author, ask, state, reason, score, characters, cost, finish, body"
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger:
        rows = []
        for *row, body in ledger.execute(f"SELECT {about} FROM requests ORDER BY key"):
            rows.append([*row, json.loads(unpacked(body)) | {"id": None}])  # the server counts what it answers
        rows += ledger.execute("SELECT * FROM queries ORDER BY place").fetchall()
        rows += ledger.execute("SELECT * FROM dropped ORDER BY place").fetchall()
        rows += ledger.execute("SELECT * FROM meta WHERE name LIKE 'selected %' ORDER BY name").fetchall()
    files = [one for one in folder.rglob("*") if one.is_file() and not one.name.startswith((".", "ledger.sqlite"))]
    return rows, {str(one.relative_to(folder)): one.read_bytes() for one in files}


def killed(folder: Path, subjects: int, responders: int, judges: int, number: int, seed: int) -> dict[str, int]:
    """Runs that are killed at random moments, over and over, beside one that nobody disturbs."""
    rng, plan = random.Random(seed), Plan.of(subjects)
    counts = {"kills": 0, "rounds": 0, "lost": 0}
    with Server(subjects, responders) as base_url:
        quiet = run_file(folder / "quiet", base_url, plan, responders, judges)
        took = in_own_process("run", quiet, "all")["seconds"]
        wanted = content(quiet)
        turned = run_file(folder / "turned", base_url, plan, responders, judges, concurrency=3)
        in_own_process("run", turned, "all")
        check("a second run, fewer requests at a time", content(turned) == wanted, True)
        while counts["kills"] < number:
            progress(f"{counts['kills']} of {number} kills")
            hurt = run_file(folder / f"hurt-{counts['rounds']}", base_url, plan, responders, judges)
            while counts["kills"] < number:
                command = [sys.executable, "-c", RUN, "-q", "annotate", "run", str(hurt)]
                run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                try:
                    _, errors = run.communicate(timeout=1 + rng.uniform(0, took / 6))
                except subprocess.TimeoutExpired:
                    run.kill()
                    run.communicate()
                    counts["kills"] += 1
                    continue
                check("a run that ended by itself", (run.returncode, errors), (0, b""))
                break
            in_own_process("run", hurt, "all")
            counts["rounds"] += 1
            check("the ledger and the store after kills", content(hurt) == wanted, True)
            with closing(sqlite3.connect(hurt.parent / "annotation" / "ledger.sqlite")) as ledger:
                lost = "SELECT COUNT(*) FROM attempts WHERE outcome = 'lost'"
                counts["lost"] += int(ledger.execute(lost).fetchone()[0])
            shutil.rmtree(hurt.parent)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("subjects", 724), ("responders", 65), ("judges", 6), ("kills", 50), ("kill-subjects", 12)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--seed", type=int, default=1, help="of the moments of kills")
    parser.add_argument("--folder", type=Path, help="keep the run here, a new folder")
    given = parser.parse_args()
    plan = Plan.of(given.subjects)
    with tempfile.TemporaryDirectory(prefix="coigp-tap-") as temporary:
        folder = given.folder or Path(temporary)
        with Server(given.subjects, given.responders) as base_url:
            path = run_file(folder / "whole", base_url, plan, given.responders, given.judges)
            rows, took = whole(path, plan, given.responders, given.judges)
        progress("counts")
        found = counted(path, plan, given.responders, given.judges)
        for name, what in REPEATS.items():
            progress(name)
            took[name] = in_own_process("run", path, what)
            check("sent", took[name]["sent"], 0)
        size = sum(one.stat().st_size for one in (folder / "whole" / "annotation").glob("ledger.sqlite*"))
        kills = killed(folder / "kills", given.kill_subjects, given.responders, given.judges, given.kills, given.seed)
    times = []
    for name, one in took.items():
        spent = f"{one['seconds']:.0f} s | {one['processor']:.1f} s | {one['mebibytes']:.0f} MiB"
        times.append(f"| {name} | {one['sent']:,.0f} | {spent} |")
    told = ", ".join(f"{number:,} {name}" for name, number in found.items())
    publish(
        "tap.md",
        f"""{given.subjects} subjects, {given.responders} responders, {given.judges} judges, scripted, on loopback:
{told}, as the plan has them; every judge's pairs are 10 a prompt but for its ties.
{where("aiohttp", "scikit-learn")}
The ledger has {size / 2**20:,.0f} MiB.

Estimates, each made when the stage before was done, beside what was sent. What was asked again is left out.

| stage | requests told | sent | asked again | tokens in, told | taken | | out, told | taken | told at most |
|---|---|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

| | sent | time | of the processor | memory |
|---|---|---|---|---|
{chr(10).join(times)}

{kills["kills"]} kills of runs of {given.kill_subjects} subjects, {kills["rounds"]} rounds, each ended by itself: the
ledger (every request and answer, selections, queries) and the store equal an undisturbed run's, and so do those of a
run with other concurrency; {kills["lost"]} attempts were in flight when a kill came.
""",
    )


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(*map(int, sys.argv[2:4]))
    elif "--measure" in sys.argv:
        print(json.dumps(measure_run(Path(sys.argv[3]), sys.argv[4])))
    else:
        main()
