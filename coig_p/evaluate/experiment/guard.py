"""Runs one command of an experiment, and ends all that it started when it ends, or when the experiment does.

Run by its path, without the package: python -I guard.py PIPE ENDED LOCK COMMAND...

    PIPE   a descriptor, of which the experiment holds the other end: its end of file says that the experiment is gone
    ENDED  a file that gets the command's exit code, whole or not at all; none where the command did not end by itself
    LOCK   a file that is locked, and holds our process id, as long as we run

We lead a session, and so a group, of our own. What the command started and left behind is in that group, and the last
thing that we do is to end the group, ourselves with it. On Linux the command also ends where we are killed alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LAST = 0.5  # seconds in which a command that is nearly through may end by itself once the experiment is gone
_GRACE = 10.0  # seconds between a signal that a command can answer and one that it cannot
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Run the command, say how it ended, end its group."""
    pipe, ended, lock = int(arguments[0]), arguments[1], arguments[2]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)  # it lasts until we end
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    gone = threading.Event()
    code = 127
    try:
        before = _before(os.getpid())
        # No thread yet, so that a fork is safe. The command holds the lock, too: where we are killed alone, it still
        # says that somebody is here.
        with subprocess.Popen(
            arguments[3:],
            stdin=subprocess.DEVNULL,
            preexec_fn=before,  # noqa: PLW1509
            pass_fds=[descriptor],
        ) as process:
            threading.Thread(target=_watch, args=(pipe, gone, process), daemon=True).start()
            code = process.wait()
    except OSError as error:
        print(f"{arguments[3]} cannot be run: {error.strerror}", file=sys.stderr, flush=True)
    if not gone.is_set():
        try:
            _say(ended, code)
        except OSError as error:  # a full disk
            print(f"{ended}: {error.strerror}", file=sys.stderr, flush=True)
    os.killpg(0, signal.SIGKILL)


def _before(guard: int) -> Callable[[], None]:
    """What the command's process does before it is the command: what we ignore it does not, and it ends with us."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def act() -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != guard:
                os._exit(127)

    return act


def _watch(pipe: int, gone: threading.Event, process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.read(pipe, 1)  # nothing is ever written
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LAST)
        return  # nobody told it to: it is done, and said to be
    gone.set()
    os.killpg(0, signal.SIGTERM)  # which we ignore
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    os.killpg(0, signal.SIGKILL)


def _say(path: str, code: int) -> None:
    part = f"{path}.partial"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.write(descriptor, f"{code}\n".encode())
    os.fsync(descriptor)
    os.close(descriptor)
    os.replace(part, path)


if __name__ == "__main__":
    main(sys.argv[1:])
