"""One release against a Hub that fails once, then the same command again, and what must hold after each.

main is always the old release or the new; the next run completes; nothing whose upload was
acknowledged is sent again; nobody else's branch, tag or file is touched; no commit happens twice.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import REPO, Fault, FaultyHandler, FaultyHub, StaleHub
from make import make_rows, make_store
from making import change_card, count_footers, make_release

from coig_p.publish.local_hub import Account, Repository
from coig_p.publish.local_hub.repository import MAIN
from coig_p.publish.plan import read_release

TOKEN, OLD, NEW = "hf_" + "T0ken" * 6, "1.0.0", "1.1.0"
TIMEOUT = 3.0  # seconds; a fault of kind "time-out" lasts longer
_LONGEST = 1200  # seconds of a run; a machine that others use, too, took over 300 for what takes 15
_SLEEP = 0.05  # of the seconds that clients want to wait
ACCOUNTS = {TOKEN: Account("me", ("org",))}
# Processes that start with everything imported, forked from a server without threads.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["datasets", "huggingface_hub", "coig_p.publish.hub", "coig_p.cli.publish"])


@dataclass
class Trial:
    """What one fault did. `first` and `second` are exit codes; a killed run has -9."""

    kind: str
    at: int | str
    hit: str = ""
    first: int = 0
    second: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scene:
    """Two releases, and a Hub where the first is published and other people have things of their own."""

    folder: Path
    repository: Repository | None
    loads: bool

    @property
    def release(self) -> Path:
        return self.folder / "new"


def make_scene(folder: Path, *, published: bool = True, loads: bool = True) -> Scene:
    """The old release has two shards, the new one and another card: files to add, replace and delete.

    Args:
        published: whether the repository is there, with the old release in it.
        loads: whether a publisher loads back what it staged, which takes seconds; else it counts rows.
    """
    rows = make_rows({"math": 12})
    old = make_release(make_store(folder / "old-store", rows, rows_per_shard=6), folder / "old")
    make_release(make_store(folder / "new-store", rows[:11], rows_per_shard=20), folder / "new", "第二版")
    hub = FaultyHub(folder / "hub", ACCOUNTS, handler=FaultyHandler)
    if not published:
        hub.server_close()
        return Scene(folder, None, loads)
    with hub.serving():
        code = run(hub.endpoint, old, OLD, loads)
        assert code == 0, f"the first release failed with {code}"
    repository = hub.repositories[REPO]
    repository.add_ref("refs/heads/theirs", "main")
    repository.commit("theirs", {"their.txt": repository.objects.regular(b"theirs")}, [], "their work")
    repository.add_ref("refs/tags/their-tag", "theirs")
    return Scene(folder, repository, loads)


@contextmanager
def fresh_hub(scene: Scene) -> Iterator[FaultyHub]:
    """A Hub that starts from the scene; content is shared, since it is kept by its hash."""
    hub = StaleHub(scene.folder / "hub", ACCOUNTS, handler=FaultyHandler)
    before = scene.repository
    if before is not None:
        hub.repositories[REPO] = Repository(
            REPO, before.objects, refs=dict(before.refs), commits=dict(before.commits), large=set(before.large)
        )
    with hub.serving():
        try:
            yield hub
        finally:
            hub.let_go.set()


def requests_of(scene: Scene) -> list[str]:
    """What the new release asks of the Hub when nothing fails, in order."""
    with fresh_hub(scene) as hub:
        assert run(hub.endpoint, scene.release, NEW, scene.loads) == 0
        assert broken(scene, hub, finished=True) == []
        return [f"{request.method} {request.path}" for request in hub.requests]


def run_trial(scene: Scene, kind: str, at: int | str) -> Trial:
    trial = Trial(kind, at)
    with fresh_hub(scene) as hub:
        fault = Fault(kind, at)
        hub.arm(fault)
        trial.first = run(hub.endpoint, scene.release, NEW, scene.loads, fault)
        hub.let_go.set()
        hub.arm(None)
        trial.hit = fault.hit or ""
        if not trial.hit:
            trial.wrong.append("the fault was never met")
        if trial.first not in (0, 3, -signal.SIGKILL):
            trial.wrong.append(f"the first run ended with {trial.first}")
        trial.wrong += broken(scene, hub, finished=trial.first == 0)
        trial.second = run(hub.endpoint, scene.release, NEW, scene.loads)
        if trial.second != 0:
            trial.wrong.append(f"the next run ended with {trial.second}")
        trial.wrong += broken(scene, hub, finished=True)
    return trial


def broken(scene: Scene, hub: FaultyHub, *, finished: bool) -> list[str]:
    """Which of the promises do not hold."""
    if REPO not in hub.repositories:
        return ["done, but there is no repository"] if finished else []
    wrong = []
    repository = hub.repositories[REPO]
    before = scene.repository or Repository.create(REPO, repository.objects)
    new = {file.path: file.sha256 for file in read_release(scene.release, NEW).files}
    old_tree = before.commits[before.refs[MAIN]].tree
    states = list(repository.history(repository.find("main")))
    kept = len(list(before.history(before.find("main"))))
    for commit in states[: len(states) - kept]:
        shown = {path: blob.sha256 for path, blob in commit.tree.items() if path != ".gitattributes"}
        if shown != new:
            wrong.append("main was torn")
    if len(states) - kept > 1:
        wrong.append("the release was committed to main twice")
    if len(states) == kept and repository.find("main").tree != old_tree:
        wrong.append("main is neither the old release nor the new")
    theirs = {ref: commit for ref, commit in before.refs.items() if ref != MAIN}
    wrong += [f"{ref}, which is not ours, was touched" for ref in theirs if repository.refs.get(ref) != theirs[ref]]
    allowed = {MAIN, *theirs, f"refs/tags/v{NEW}", f"refs/heads/release/{NEW}"}
    wrong += [f"{ref} appeared" for ref in repository.refs if ref not in allowed]
    if finished:
        if len(states) - kept != 1:
            wrong.append("done, but main has not moved")
        if repository.refs.get(f"refs/tags/v{NEW}") != repository.refs[MAIN]:
            wrong.append("done, but the tag is not at main")
        if f"refs/heads/release/{NEW}" in repository.refs:
            wrong.append("done, but the branch is left")
    puts = [at for at in hub.requests if at.method == "PUT"]
    acknowledged: Counter[str] = Counter()
    for put in puts:
        if acknowledged[put.path] > hub.lied.count(put.path):
            wrong.append(f"{put.path} was sent again")
        acknowledged[put.path] += put.answered and put.status == 200
    return wrong


def run(endpoint: str, folder: Path, version: str, loads: bool, fault: Fault | None = None) -> int:
    """Exit code of the publisher in a process of its own, which the fault may kill."""
    process = start(endpoint, folder, version, loads)
    if fault is not None:
        fault.kill = process.kill
        fault.ready.set()
    return end(process)


def start(endpoint: str, folder: Path, version: str, loads: bool, log: Path | None = None) -> Any:
    """A publisher in a process of its own; what it says goes to `log`."""
    process = _PROCESSES.Process(target=_publish, args=(endpoint, folder, version, loads, log))
    process.start()
    return process


def end(process: Any) -> int:
    """Its exit code."""
    process.join(_LONGEST)
    if process.exitcode is None:
        process.kill()
        process.join()
        return -1
    return int(process.exitcode)


def rivals(scene: Scene, number: int, at: str | None = None) -> Counter[str]:
    """Two publishers of one version with different content: which promises hold, as a count of one.

    Args:
        at: the second runs from beginning to end before the first one's first request of this kind is
            carried out. None: they start together.
    """
    other = scene.folder / f"other-{number}"
    shutil.copytree(scene.release, other)
    change_card(other, f"another card {number}")
    logs = [scene.folder / f"log-{number}-{nth}" for nth in range(2)]
    with fresh_hub(scene) as hub:

        def begin(nth: int) -> Any:
            return start(hub.endpoint, (scene.release, other)[nth], NEW, scene.loads, logs[nth])

        if at is None:
            codes = [end(process) for process in [begin(0), begin(1)]]
        else:
            second: list[int] = []
            fault = Fault("meanwhile", at, meanwhile=lambda: second.append(end(begin(1))))
            hub.arm(fault)
            codes = [end(begin(0)), *second]
            assert fault.hit, f"{at} was never asked"
        repository = hub.repositories[REPO]
        states = list(repository.history(repository.find("main")))
    assert scene.repository is not None
    kept = len(list(scene.repository.history(scene.repository.find("main"))))
    wholes = [{file.path: file.sha256 for file in read_release(at, NEW).files} for at in (scene.release, other)]
    for commit in states[: len(states) - kept]:
        if {path: blob.sha256 for path, blob in commit.tree.items() if path != ".gitattributes"} not in wholes:
            return Counter({"torn": 1})
    if sorted(codes) == [0, 3]:
        words = logs[codes.index(3)].read_text("utf-8").splitlines()[-1]
        said = words.startswith("error: ") and ("somebody else" in words or "with other content" in words)
        tagged = repository.refs.get(f"refs/tags/v{NEW}") == repository.refs[MAIN]
        if said and tagged and len(states) - kept == 1:
            return Counter({"one won, the other said so": 1})
        return Counter({f"one won, the other said: {words}": 1})
    if codes == [3, 3] and len(states) == kept:
        return Counter({"both stood back and said so, main is the old release": 1})
    return Counter({f"exit codes {codes}, {len(states) - kept} commits": 1})


def run_measured(endpoint: str, folder: Path, scratch: Path) -> tuple[int, int]:
    """Exit code, and peak resident memory in bytes of the command or of a process it starts."""
    command = [sys.executable, "-c", "from coig_p.cli.publish import main; main()", str(folder), REPO, "--version", NEW]
    # HF_HUB_OFFLINE is that of the tests.
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
    process = subprocess.Popen(command, env=environment | {"TMPDIR": str(scratch)}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _publish(endpoint: str, folder: Path, version: str, loads: bool, log: Path | None) -> None:
    """Runs in the process: `coigp-publish`, with waits made short."""
    from huggingface_hub import constants

    import coig_p.cli.publish as command
    from coig_p.publish import verify

    if not loads:
        verify.load_in_process = count_footers
    slept = time.sleep
    time.sleep = lambda seconds: slept(float(seconds) * _SLEEP)
    constants.HF_HUB_OFFLINE = False
    os.environ["HF_ENDPOINT"] = endpoint
    os.environ["HF_TOKEN"] = TOKEN
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.environ["TMPDIR"] = str(folder.parent)
    tempfile.tempdir = None
    sys.argv = ["coigp-publish", str(folder), REPO, "--version", version, "--timeout", str(TIMEOUT), "-v"]
    command.main()


def summary(trials: list[Trial]) -> dict[str, Counter[str]]:
    """Counts by kind of fault."""
    found: dict[str, Counter[str]] = {}
    for trial in trials:
        counts = found.setdefault(trial.kind, Counter())
        counts["trials"] += 1
        counts["finished at once"] += trial.first == 0
        counts["finished by the next run"] += trial.first != 0 and trial.second == 0
        counts["broken promises"] += bool(trial.wrong)
    return found
