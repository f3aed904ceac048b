"""Jobs that are killed (SIGKILL) at a chosen moment: the n-th call of a function of the package, in whatever process.

    python killing.py NAME STORE OUT NUMBER [NUM_PROC]     the job of that name in `jobs`, killed at that call

tells how many calls there were, where there were fewer. So a test need not know what the code does at a moment, and
moments are the same in every run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import coig_p
from coig_p.engine import local

_PACKAGE = str(Path(coig_p.__file__).parent)
_begin = local._begin
counted = 0


def kill_at(number: int) -> None:
    """End this process with its n-th call from here on, of a function of the package in any thread."""

    def see(frame: FrameType, event: str, _argument: object) -> None:
        global counted  # noqa: PLW0603
        if event == "call" and frame.f_code.co_filename.startswith(_PACKAGE):
            counted += 1
            if counted == number:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(see)
    sys.setprofile(see)


def begin(marker: Path, number: int, line: Connection, function: Callable[[Any], Any] | None) -> None:
    """A process that shares the work begins; the first one to say so is to die."""
    _begin(line, function)
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


def _is_first(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def kill_driver(name: str, store: Path, out: Path, number: int, num_proc: int = 1) -> int | None:
    """Run a job in a process that is killed at its n-th call; how many calls there were, where they were fewer."""
    words = [name, str(store), str(out), str(number), str(num_proc)]
    done = subprocess.run(
        [sys.executable, __file__, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


def main() -> None:
    """See above."""
    from jobs import JOBS, RELEASE, THREADS

    name, store, out, number, num_proc = sys.argv[1:]
    job = {**JOBS, **THREADS, "release": RELEASE}[name]
    kill_at(int(number))
    job(Path(store), Path(out), num_proc=int(num_proc))
    sys.setprofile(None)
    print(counted)


if __name__ == "__main__":
    main()
