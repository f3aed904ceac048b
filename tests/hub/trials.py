"""One release against a Hub that fails once, then the same command again, and what must hold after each.

main is always the old release or the new; the next run completes; nothing whose upload was
acknowledged is sent again; nobody else's branch, tag or file is touched; no commit happens twice.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults import Fault, FaultyHandler, FaultyHub
from making import make_release

from coig_p.publish.local_hub import Account, Repository
from coig_p.publish.local_hub.repository import MAIN
from coig_p.publish.upload import read_release
from make import make_rows, make_store

REPO, TOKEN, OLD, NEW = "org/name", "hf_" + "T0ken" * 6, "1.0.0", "1.1.0"
TIMEOUT = 3.0  # seconds; a fault of kind "time-out" lasts longer
_SLEEP = 0.05  # of the seconds that clients want to wait
ACCOUNTS = {TOKEN: Account("me", ("org",))}
# Processes that start with everything imported, forked from a server without threads.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["datasets", "huggingface_hub", "coig_p.publish.hub", "coig_p.publish.verify"])


@dataclass
class Trial:
    """What one fault did. `first` and `second` are exit codes; a killed run has -9."""

    kind: str
    at: int
    hit: str = ""
    first: int = 0
    second: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scene:
    """Two releases, and a Hub where the first is published and other people have things of their own."""

    folder: Path
    repository: Repository

    @property
    def release(self) -> Path:
        return self.folder / "new"


def make_scene(folder: Path) -> Scene:
    """The old release has two shards, the new one and another card: files to add, replace and delete."""
    rows = make_rows({"math": 12})
    old = make_release(make_store(folder / "old-store", rows, rows_per_shard=6), folder / "old")
    make_release(make_store(folder / "new-store", rows[:11], rows_per_shard=20), folder / "new", "第二版")
    hub = FaultyHub(folder / "hub", ACCOUNTS, handler=FaultyHandler)
    with hub.serving():
        hub.create(REPO)
        code = _run(hub.endpoint, old, OLD)
        assert code == 0, f"the first release failed with {code}"
    repository = hub.repositories[REPO]
    repository.add_ref("refs/heads/theirs", "main")
    repository.commit("theirs", {"their.txt": repository.objects.regular(b"theirs")}, [], "their work")
    repository.add_ref("refs/tags/their-tag", "theirs")
    return Scene(folder, repository)


@contextmanager
def fresh_hub(scene: Scene) -> Iterator[FaultyHub]:
    """A Hub that starts from the scene; content is shared, since it is kept by its hash."""
    hub = FaultyHub(scene.folder / "hub", ACCOUNTS, handler=FaultyHandler)
    before = scene.repository
    hub.repositories[REPO] = Repository(
        REPO,
        before.objects,
        refs=dict(before.refs),
        commits=dict(before.commits),
        large=set(before.large),
        pulls=copy.copy(before.pulls),
    )
    with hub.serving():
        try:
            yield hub
        finally:
            hub.let_go.set()


def count_requests(scene: Scene) -> int:
    """How many requests the new release makes when nothing fails."""
    with fresh_hub(scene) as hub:
        assert _run(hub.endpoint, scene.release, NEW) == 0
        assert _wrong(scene, hub, finished=True) == []
        return len(hub.requests)


def run_trial(scene: Scene, kind: str, at: int) -> Trial:
    trial = Trial(kind, at)
    with fresh_hub(scene) as hub:
        fault = Fault(kind, at)
        hub.arm(fault)
        trial.first = _run(hub.endpoint, scene.release, NEW, fault)
        hub.let_go.set()
        hub.arm(None)
        trial.hit = fault.hit or ""
        if not trial.hit:
            trial.wrong.append("the fault was never met")
        if trial.first not in (0, 3, -signal.SIGKILL):
            trial.wrong.append(f"the first run ended with {trial.first}")
        trial.wrong += _wrong(scene, hub, finished=trial.first == 0)
        trial.second = _run(hub.endpoint, scene.release, NEW)
        if trial.second != 0:
            trial.wrong.append(f"the next run ended with {trial.second}")
        trial.wrong += _wrong(scene, hub, finished=True)
    return trial


def what(hit: str) -> str:
    """A request's kind: its method, and its path without what varies."""
    method, path = hit.split(" ", 1)
    path = re.sub(rf"/(?:api/)?(?:datasets/)?{REPO}", "", path)
    for pattern, name in (
        (r"[0-9a-f]{40,64}", "*"),
        (r"(tag|revision|tree|paths-info)/[^/]+", r"\1/*"),
        (r"resolve/.*", "resolve/*"),
    ):
        path = re.sub(pattern, name, path)
    return f"{method} {path or '/'}"


def _wrong(scene: Scene, hub: FaultyHub, *, finished: bool) -> list[str]:
    """Which of the promises do not hold."""
    wrong = []
    repository = hub.repositories[REPO]
    before = scene.repository
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
    for ref, commit in before.refs.items():
        if ref != MAIN and repository.refs.get(ref) != commit:
            wrong.append(f"{ref}, which is not ours, was touched")
    allowed = {*before.refs, f"refs/tags/v{NEW}", f"refs/heads/release/{NEW}"}
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
        if acknowledged[put.path]:
            wrong.append(f"{put.path} was sent again")
        acknowledged[put.path] += put.answered and put.status == 200
    return wrong


def _run(endpoint: str, folder: Path, version: str, fault: Fault | None = None) -> int:
    """Exit code of the publisher in a process of its own, which the fault may kill."""
    process = _PROCESSES.Process(target=_publish, args=(endpoint, folder, version))
    if fault is not None:
        started = threading.Event()

        def kill() -> None:
            started.wait()
            os.kill(process.pid, signal.SIGKILL)

        fault.kill = kill
        process.start()
        started.set()
    else:
        process.start()
    process.join(300)
    if process.exitcode is None:
        process.kill()
        process.join()
        return -1
    return process.exitcode


def _publish(endpoint: str, folder: Path, version: str) -> None:
    """Runs in the process: `coigp-publish`, with waits made short."""
    import coig_p.publish.cli as command
    from huggingface_hub import constants

    slept = time.sleep
    time.sleep = lambda seconds: slept(seconds * _SLEEP)
    constants.HF_HUB_OFFLINE = False
    os.environ["HF_ENDPOINT"] = endpoint
    os.environ["HF_TOKEN"] = TOKEN
    quiet = os.open(os.devnull, os.O_WRONLY)
    log = os.environ.get("COIGP_TRIAL_LOG")
    target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if log else quiet
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


