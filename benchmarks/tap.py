"""A run from a taxonomy at a tenth of the paper's size, against scripted models: is all of it as arithmetic has it?

    python benchmarks/tap.py [--subjects 724] [--responders 65] [--judges 6] [--kills 50] [--kill-subjects 12]
                             [--folder KEPT]

What the models say stands in `tap_plan.py`; the server is a process of its own. Each stage is estimated when the one
before it is done, and `types` and `prompts` once more when a few subjects are through; behind it its requests are
counted. Then the same run is begun anew with nothing to do. A smaller run is killed at random moments, and must end
with the ledger and the store of one that nobody disturbed. Any number that is not what it should be ends the script.
At full size it takes an hour or two. With --folder it may be stopped and called again: what was measured so far stands
there in progress.json, and in tap.md for people.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from measuring import Measured, PeakMemory, in_own_process, progress, publish, where
from tap_plan import WAYS, Plan, Scripted, bias

STAGES = ("types", "refine", "prompts", "generate", "compare")
KINDS = {"prompts": ("prompt", "complete", "feasible")}  # of requests, where a stage's are not called as it is
FIRST = ("types", "prompts")  # whose requests hold answers that are still to come
NEAR = {"prompts": 0.05}  # to what share tokens of prompts are told, else to one in a hundred
FEW = 20  # subjects that are through before a second estimate of these
REPEATS = {"run once more": "all", "run with nothing to do": "all", "status": "status", "--estimate": "estimate"}
EVERY = 60.0  # seconds between two lines on how far a stage is
RUN = "from coig_p.cli.main import main; main()"


def serve(subjects: int, responders: int) -> None:
    from coig_p.annotate.scripted import ScriptedServer

    with ScriptedServer(Scripted(Plan.of(subjects), responders)) as server:
        print(server.base_url, flush=True)
        sys.stdin.read()


class Server:
    """Scripted models in a process of their own while the block runs.

    Attributes:
        base_url: where they are.
    """

    def __init__(self, subjects: int, responders: int) -> None:
        command = [sys.executable, sys.argv[0], "--serve", str(subjects), str(responders)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Server:
        assert self.process.stdout is not None
        self.base_url = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate("")

    def processor(self) -> float:
        """Seconds of the processor that it has taken, where /proc says so."""
        try:
            told = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


class Measurements:
    """What was measured so far, kept in a folder, so that a run that is stopped goes on where it was."""

    def __init__(self, folder: Path, size: dict[str, int]) -> None:
        self.folder, self.path = folder, folder / "progress.json"
        self.found: dict[str, Any] = {"size": size, "told": {}, "rows": {}, "took": {}, "begun": {}}
        if self.path.exists():
            self.found = json.loads(self.path.read_text(encoding="utf-8"))
            check("the size of the run in the folder", self.found["size"], size)

    def keep(self) -> None:
        """Write all of it down."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.found, indent=1), encoding="utf-8")
        part.replace(self.path)
        (self.folder / "tap.md").write_text(report(self.found), encoding="utf-8")

    def once(self, name: str, measure: Callable[[], Any]) -> Any:
        """A measurement, unless it was made before."""
        if name not in self.found:
            progress(name)
            self.found[name] = measure()
            self.keep()
        return self.found[name]

    def timed(self, name: str, path: Path, what: str, server: Server | None = None) -> Measured:
        """A part of a run in a process of its own, with a line on how far it is now and then."""
        took: dict[str, Measured] = self.found["took"]
        if name in took:
            return took[name]
        self.found["begun"][name] = self.found["begun"].get(name, 0) + 1
        self.keep()
        progress(f"{time.strftime('%H:%M:%S', time.gmtime())} {name}, load average {os.getloadavg()[0]:.1f}")
        before, load = (0.0 if server is None else server.processor()), os.getloadavg()[0]
        with Watching(path, name):
            took[name] = in_own_process("run", path, what)
        took[name]["load"] = (load + os.getloadavg()[0]) / 2
        if server is not None:
            took[name]["server"] = server.processor() - before
        self.keep()
        return took[name]


class Watching:
    """Says now and then how many attempts a run has made, while the block runs."""

    def __init__(self, path: Path, name: str) -> None:
        self.ledger, self.name = path.parent / "annotation" / "ledger.sqlite", name

    def __enter__(self) -> None:
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def watch(self) -> None:
        while not self.done.wait(EVERY):
            with suppress(sqlite3.Error), closing(sqlite3.connect(self.ledger)) as ledger:
                attempts = ledger.execute("SELECT MAX(id) FROM attempts").fetchone()[0]
                progress(f"{time.strftime('%H:%M:%S', time.gmtime())} {self.name}: {attempts or 0:,} attempts so far")


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


def whole(made: Measurements, path: Path, plan: Plan, server: Server) -> None:
    """A run stage by stage, each estimated before, and counted behind."""
    for stage in (*STAGES, "store"):
        if stage == "compare":
            made.timed("select", path, "select", server)
        if stage == "store":
            made.timed(stage, path, stage, server)
            continue
        told = [Told(*made.once(f"{stage} told", partial(estimated, path, stage)))]
        if stage in FIRST and len(plan.subjects) > FEW:
            told.append(Told(*made.once(f"{stage} told, {FEW} subjects through", partial(_told_later, path, stage))))
        made.timed(stage, path, stage, server)
        if stage not in made.found["rows"]:
            done, again = sent(path, stage)
            _check_requests(stage, path, plan, made.found["size"])
            _check_estimate(stage, told, done)
            made.found["rows"][stage] = [_row(stage, one, done, again, first=at == 0) for at, one in enumerate(told)]
            made.keep()


def _told_later(path: Path, stage: str) -> Told:
    """The estimate once a few subjects are through, with what was sent for these."""
    few(path, stage)
    before, _ = sent(path, stage)
    return Told(*(one + other for one, other in zip(estimated(path, stage), before, strict=True)))


def _check_requests(stage: str, path: Path, plan: Plan, size: dict[str, int]) -> None:
    """Whether a stage sent what arithmetic says, once each, and has an answer to all of it."""
    prompts, kept = len(plan.cases), min(WAYS, size["responders"])
    each = {"types": 3 * len(plan.subjects), "refine": sum(plan.types.values()), "prompts": prompts}
    each |= {"generate": prompts * size["responders"], "compare": prompts * kept * (kept - 1) * size["judges"]}
    with closing(sqlite3.connect(path.parent / "annotation" / "ledger.sqlite")) as ledger:
        for kind in KINDS.get(stage, (stage,)):
            asked = "SELECT COUNT(*) FROM requests WHERE kind = ?"
            check(f"requests: {kind}", ledger.execute(f"{asked} AND ask = 0", (kind,)).fetchone()[0], each[stage])
            without = "AND state NOT IN ('answered', 'invalid')"
            check(f"{kind} without an answer", ledger.execute(f"{asked} {without}", (kind,)).fetchone()[0], 0)


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
    last, near = told[-1], NEAR.get(stage, 0.01)
    if stage in FIRST and len(told) == 1:  # before anything was asked nobody knows how long answers are
        return
    if abs(last.input - done.input) > near * done.input:
        raise SystemExit(f"{stage}: prompts took {done.input:,} tokens, and {last.input:,} were told")


def counted(path: Path, plan: Plan, responders: int) -> dict[str, Any]:
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
    with Ledger.open(config.folder) as ledger:
        told = judged(config, ledger)
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
    shutil.rmtree(folder, ignore_errors=True)  # of a call before, which was stopped
    rng, plan = random.Random(seed), Plan.of(subjects)
    counts = {"kills": 0, "rounds": 0, "lost": 0}
    with Server(subjects, responders) as server:
        quiet = run_file(folder / "quiet", server.base_url, plan, responders, judges)
        took = in_own_process("run", quiet, "all")["seconds"]
        wanted = content(quiet)
        turned = run_file(folder / "turned", server.base_url, plan, responders, judges, concurrency=3)
        in_own_process("run", turned, "all")
        check("a second run, fewer requests at a time", content(turned) == wanted, True)
        while counts["kills"] < number:
            progress(f"{counts['kills']} of {number} kills")
            hurt = run_file(folder / f"hurt-{counts['rounds']}", server.base_url, plan, responders, judges)
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
    parser.add_argument("--folder", type=Path, help="keep the run here, and go on with one that is here")
    given = parser.parse_args()
    plan = Plan.of(given.subjects)
    size = {name: getattr(given, name) for name in ("subjects", "responders", "judges")}
    with tempfile.TemporaryDirectory(prefix="coigp-tap-") as temporary:
        made = Measurements(given.folder or Path(temporary), size)
        with Server(given.subjects, given.responders) as server:
            path = run_file(made.folder / "whole", server.base_url, plan, given.responders, given.judges)
            whole(made, path, plan, server)
        made.once("counts", partial(counted, path, plan, given.responders))
        for name, what in REPEATS.items():
            check("sent", made.timed(name, path, what)["sent"], 0)
        made.once("ledger", lambda: sum(one.stat().st_size for one in (path.parent / "annotation").glob("ledger.s*")))
        few_of = (given.kill_subjects, given.responders, given.judges, given.kills, given.seed)
        made.once("kills", lambda: killed(made.folder / "kills", *few_of) | {"subjects": given.kill_subjects})
        publish("tap.md", report(made.found))


def report(found: dict[str, Any]) -> str:
    """What was measured so far, for people."""
    size, times = found["size"], []
    for name, one in found["took"].items():
        begun = found["begun"][name]
        told = name if begun == 1 else f"{name}, the last of {begun} parts"
        server = f"{one['server']:.0f} s" if "server" in one else ""
        spent = f"{one['seconds']:.0f} s | {one['processor']:.1f} s | {server} | {one['mebibytes']:.0f} MiB"
        times.append(f"| {told} | {one['sent']:,.0f} | {spent} | {one['load']:.1f} |")
    lines = [f"{size['subjects']} subjects, {size['responders']} responders, {size['judges']} judges, on loopback."]
    lines.append(f"The models are scripted. {where('aiohttp', 'scikit-learn')}")
    if "counts" in found:
        told = ", ".join(f"{number:,} {name}" for name, number in found["counts"].items())
        lines.append(f"As the plan has them: {told}; every judge's pairs are 10 a prompt but for its ties.")
    else:
        lines.append("This run has not come to its end: what stands here was measured before.")
    if "ledger" in found:
        lines.append(f"The ledger has {found['ledger'] / 2**20:,.0f} MiB.")
    lines += [
        "",
        "Estimates, each made when the stage before was done, beside what was sent. Each stage sent as many",
    ]
    lines += ["requests as arithmetic says, and has an answer to each. What was asked again is left out.", ""]
    lines.append(
        "| stage | requests told | sent | asked again | tokens in, told | taken | | out, told | taken | told at most |"
    )
    lines.append(f"|{'---|' * 10}")
    lines += [row for rows in found["rows"].values() for row in rows]
    lines += ["", "| | sent | time | of the processor | of the server's | memory | load average |", f"|{'---|' * 7}"]
    lines += [*times, "", "The load average is the mean of those before and behind; of two cores all beyond 2 waits."]
    if "kills" in found:
        kills = found["kills"]
        lines += [
            "",
            f"{kills['kills']} kills of runs of {kills['subjects']} subjects, {kills['rounds']} rounds, each ended by "
            "itself: the",
            "ledger (every request and answer, selections, queries) and the store equal an undisturbed run's, and so "
            "do those of a",
            f"run with other concurrency; {kills['lost']} attempts were in flight when a kill came.",
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(*map(int, sys.argv[2:4]))
    elif "--measure" in sys.argv:
        print(json.dumps(measure_run(Path(sys.argv[3]), sys.argv[4])))
    else:
        main()
