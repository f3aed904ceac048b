"""Jobs that are killed (SIGKILL) at a chosen moment: the n-th call of a function of the package, in whatever process.

    python killed_jobs.py NAME STORE NUM_PROC [NUMBER OUT]...     the job of that name in `jobs`, killed at each number

So a test need not know what the code does at a moment, and moments are the same in every run. The shards that these
jobs write are small, so that there are many.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import jobs

import coig_p
from coig_p.engine import local
from coig_p.publish import pairing
from coig_p.store import writing

NEVER = 1 << 62

_PACKAGE = str(Path(coig_p.__file__).parent)
_begin = local._begin


@dataclass
class Calls:
    """How many calls there were, and how many before the first thing was written."""

    number: int = 0
    before: int = 0


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(number: int, end: Callable[[], object] = _die) -> Calls:
    """End this process with its n-th call from here on, of a function of the package in any thread.

    Args:
        end: what is done in the place of that.
    """
    calls = Calls()

    def see(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_PACKAGE):
            calls.number += 1
            if calls.number == number:
                end()
            if not calls.before and frame.f_code.co_name == "atomic_directory":
                calls.before = calls.number

    threading.setprofile(see)
    sys.setprofile(see)
    return calls


def write_small_shards() -> None:
    """Let this process plan shards of a few rows."""
    writing.ROWS_PER_SHARD = 5
    pairing.ROWS_PER_SHARD = 20


def begin(marker: Path, number: int, line: Connection) -> None:
    """A process that shares the work begins; the first one to say so is to die."""
    _begin(line)
    if _is_first(marker):
        kill_at(number)


def killing_begin(marker: Path, number: int) -> Callable[..., None]:
    """In the place of `coig_p.engine.local._begin`: one process dies at its n-th call."""
    return partial(begin, marker, number)


class Killing(Executor):
    """Another executor, of whose tasks one is to die at its n-th call."""

    def __init__(self, other: Executor, marker: Path, number: int) -> None:
        self.other, self.marker, self.number = other, marker, number

    @property
    def window(self) -> int:
        return int(getattr(self.other, "window", 4))

    @property
    def scratch(self) -> Path | None:
        return getattr(self.other, "scratch", None)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.other.submit(_killed, str(self.marker), self.number, function, args, kwargs)


def _killed(marker: str, number: int, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    if not _is_first(Path(marker)):
        return function(*args, **kwargs)
    kill_at(number)
    try:
        return function(*args, **kwargs)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


class Losing(Killing):
    """An executor of Ray, of whose nodes one is to be lost: the first task there says so at its n-th call, or at its
    end, and goes no further.
    """

    def __init__(self, other: Executor, node: str, marker: Path, number: int) -> None:
        super().__init__(other, marker, number)
        self.node, self.over = node, False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.other.submit(_held_up, self.node, str(self.marker), self.number, function, args, kwargs)

    def wait(self) -> bool:
        """Until that task says so; False where all is over and none did."""
        while not (there := _said(self.marker).exists()) and not self.over:
            time.sleep(0.01)
        return there


def _said(marker: Path) -> Path:
    return marker.with_name(f"{marker.name}-said")


def _held_up(node: str, marker: str, number: int, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    from ray import get_runtime_context

    if get_runtime_context().get_node_id() != node or not _is_first(Path(marker)):
        return function(*args, **kwargs)
    hang = partial(_hang, Path(marker))
    kill_at(number, hang)
    found = function(*args, **kwargs)
    hang()
    return found


def _hang(marker: Path) -> None:
    _said(marker).touch()
    while True:
        time.sleep(1)


def _is_first(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def count_calls(name: str, store: Path, out: Path, num_proc: int = 1) -> Calls:
    """Of a job that is not killed."""
    (told,) = kill_drivers(name, store, {out: NEVER}, num_proc)
    assert told is not None
    return told


def kill_drivers(name: str, store: Path, moments: Mapping[Path, int], num_proc: int = 1) -> list[Calls | None]:
    """Run a job for each of these places, each time in a process that is killed at its n-th call.

    Returns:
        None for those that were killed, and of others the calls that there were.
    """
    words = [word for out, number in moments.items() for word in (str(number), str(out))]
    told = run_script(__file__, name, store, num_proc, *words)
    return [None if one is None else Calls(*one) for one in json.loads(told.splitlines()[-1])]


def run_script(path: str, *words: object) -> str:
    """What a module of tests prints that is run as a script, with what this process can import; it ends with 0."""
    done = subprocess.run(
        [sys.executable, path, *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def job_of(name: str) -> Any:
    """One of all in `jobs`."""
    return {**jobs.JOBS, **jobs.THREADS, "release": jobs.RELEASE}[name]


def main() -> None:
    """See above. Each run is a fork: all is imported once, and nothing begun."""
    name, store, num_proc, *moments = sys.argv[1:]
    write_small_shards()
    told: list[tuple[int, int] | None] = []
    for number, out in zip(moments[::2], moments[1::2], strict=True):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            calls = kill_at(int(number))
            job_of(name)(Path(store), Path(out), num_proc=int(num_proc))
            sys.setprofile(None)
            threading.setprofile(None)
            os.write(write, json.dumps([calls.number, calls.before]).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as stream:
            said = stream.read()
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended == (0 if said else -signal.SIGKILL), ended
        told.append(json.loads(said) if said else None)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
