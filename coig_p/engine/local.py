"""Work on many items in threads or processes of this machine, or wherever an executor takes it.

Results come in the order of their items, whoever makes them, so that what is folded from them is the same with any
number of workers. A bounded number of items is at work or waits to be taken, and threads and processes end with the
generator, also when its reader stops early.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

from coig_p.core.atomic import passing_directory
from coig_p.errors import UsageError, WorkersLost

Item = TypeVar("Item")
Result = TypeVar("Result")
WORKERS = 2  # each holds an item; more would be faster on more cores, and hold more
MOST_HERE = 1024  # processes or threads: more is a slip
MOST_THREADS = 8  # where nobody says how many: each holds a shard on its way to the disk
_SENT_WITH_EACH = 1 << 14  # bytes of a function that go with every item
SECONDS_EACH = 2.0
"""Of work, for which one more process pays: it takes about a second to start."""


@dataclass(frozen=True)
class Threads:
    """So many threads of this process.

    Attributes:
        only_read: they write nothing, so that nobody waits for what they are at after Ctrl-C.
    """

    number: int = WORKERS
    only_read: bool = False


@dataclass(frozen=True)
class Processes:
    """So many processes of this machine; 1 is the caller's thread, one item after the other."""

    number: int = 1


Workers = Threads | Processes | Executor
"""Who does the work. An executor may say by an attribute `window` how many items it takes at a time."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_num_proc(num_proc: int | None) -> None:
    """Raise UsageError where no number of processes can be meant."""
    whole = isinstance(num_proc, Integral) and not isinstance(num_proc, bool)
    if num_proc is not None and not (whole and num_proc >= 1):
        raise UsageError(f"num_proc={num_proc!r}: use a whole number of 1 or more")


def _check_here(num_proc: int | None) -> None:
    check_num_proc(num_proc)
    if num_proc is not None and num_proc > MOST_HERE:
        raise UsageError(
            f"num_proc={num_proc}: use at most {MOST_HERE:,}, since each takes memory of its own. This machine has "
            f"{cores():,} cores; those of several machines are Ray's: --engine ray"
        )


def processes(pieces: int, seconds: float, num_proc: int | None) -> int:
    """How many processes share work.

    Args:
        pieces: that it can be cut into.
        seconds: that one process would take, about.
        num_proc: as many as this, where there are pieces for them; None for as many as there are cores, where each
            has SECONDS_EACH to do.

    Raises:
        UsageError: a number below 1, or above MOST_HERE.
    """
    _check_here(num_proc)
    wanted = min(cores(), int(seconds / SECONDS_EACH)) if num_proc is None else num_proc
    return max(1, min(wanted, pieces))


def threads(num_proc: int | None) -> Threads:
    """Threads for work that leaves the interpreter's lock alone: compressing, hashing. At least WORKERS.

    Raises:
        UsageError: a number below 1, or above MOST_HERE.
    """
    _check_here(num_proc)
    return Threads(max(WORKERS, min(cores(), MOST_THREADS) if num_proc is None else num_proc))


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: Workers | None = None
) -> Iterator[tuple[Item, Result]]:
    """Each item with function(item), a bounded number of them at work or waiting to be taken.

    Args:
        workers: where they are not threads, `function`, items and results can be pickled. A process gets `function`
            once. Default: WORKERS threads. An executor stays open.

    Raises:
        WorkersLost: a process did not live to say how its work went.
    """
    workers = workers or Threads()
    if workers in (Processes(1), Threads(1), Threads(1, only_read=True)):
        for item in items:
            yield item, function(item)
        return
    with _opened(workers, function) as (submit, window):
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            waiting.append((item, submit(item)))
            if len(waiting) > window:
                first, result = waiting.popleft()
                yield first, result.result()
        while waiting:
            first, result = waiting.popleft()
            yield first, result.result()


_Opened = tuple[Callable[[Any], Future[Any]], int]


@contextmanager
def _opened(workers: Workers, function: Callable[[Any], Any]) -> Iterator[_Opened]:
    """What takes an item, and how many may wait there."""
    if isinstance(workers, Threads):
        own = ThreadPoolExecutor(workers.number, thread_name_prefix="coig_p")
        waits = True
        try:
            yield lambda item: own.submit(function, item), workers.number
        except (KeyboardInterrupt, GeneratorExit):
            waits = not workers.only_read
            raise
        finally:
            own.shutdown(waits, cancel_futures=True)
    elif isinstance(workers, Processes):
        with held(workers) as own_processes:
            yield partial(own_processes.submit, function), workers.number
    elif not hasattr(workers, "submit"):
        raise UsageError(f"engine={workers!r}: give an executor, as coig_p.engine.ray.RayExecutor()")
    else:
        sent: list[Future[Any]] = []

        def send(item: Any) -> Future[Any]:
            sent[:] = [one for one in sent if not one.done()]
            sent.append(workers.submit(function, item))
            return sent[-1]

        try:
            yield send, getattr(workers, "window", 4 * cores())
        except KeyboardInterrupt:
            raise  # nobody waits for what they are at
        except BaseException as error:  # what they write goes: nobody may write there any more
            # A broken executor tells each task that waits, and its thread for that dies of one that was cancelled.
            wait([one for one in sent if isinstance(error, BrokenExecutor) or not one.cancel()])
            if isinstance(error, BrokenExecutor) and not isinstance(workers, _Held):  # of which `_pool` says it
                raise WorkersLost(
                    f"a worker of the {type(workers).__name__} that was given as engine ended before its work was "
                    "done, and it takes no more: make another"
                ) from None
            raise


@contextmanager
def held(workers: Workers) -> Iterator[Any]:
    """The same workers for several calls of `in_order`: processes are started once, and end with the block.

    Raises:
        WorkersLost: a process did not live to say how its work went.
    """
    if not isinstance(workers, Processes) or workers.number == 1:
        yield workers
        return
    with ExitStack() as large, _pool(workers.number) as pool:
        yield _Held(pool, workers.number, large)


class _Held(Executor):
    """A pool of processes that outlives a call. Each unpickles a function once for all items that follow each other.

    Args:
        large: holds what functions lie in that hold much.
    """

    def __init__(self, pool: Executor, window: int, large: ExitStack) -> None:
        self.pool, self.window, self._large = pool, window, large
        self._last: tuple[Callable[..., Any], bytes | Path] | None = None

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._last is None or self._last[0] is not function:
            self._last = function, self._pickled(function)
        try:
            with _interrupts_wait():  # a process may be started for it
                return self.pool.submit(_call, self._last[1], args, kwargs)
        except OSError as error:
            if str(error) != "handle is closed":
                raise
            # The pool was found broken while the process was started, and closed what that is told by.
            raise BrokenProcessPool("a process was lost while another was started") from None

    def _pickled(self, function: Callable[..., Any]) -> bytes | Path:
        sent = pickle.dumps(function)
        if len(sent) <= _SENT_WITH_EACH:
            return sent
        path = self._large.enter_context(passing_directory("coigp-scratch-")) / "function"
        path.write_bytes(sent)
        return path


@contextmanager
def _pool(number: int) -> Iterator[Executor]:
    # Not fork: Arrow has threads of its own, which a fork would leave behind with their locks held.
    if str(getattr(sys.modules.get("__main__"), "__file__", None)) == "<stdin>":  # which nobody can read again
        raise UsageError(
            "a script from standard input cannot start processes: save it as a file, or let one do all: num_proc=1"
        )
    context = multiprocessing.get_context("spawn")
    line, held = context.Pipe(duplex=False)
    # What a process begins with must be little: where it dies before it has read all, the pipe is full for ever.
    with line, held, ProcessPoolExecutor(number, context, initializer=_begin, initargs=(line,)) as pool:
        try:
            yield pool
        except (GeneratorExit, KeyboardInterrupt):
            held.close()  # nobody waits for what they are at
            raise
        except BrokenProcessPool:
            held.close()  # a process that was started while the pool broke waits for items, and the pool for it
            raise WorkersLost(
                f"one of {number} processes that shared the work ended before it was done. Where memory ran out, or "
                "the system lets no more threads start (ulimit -u), let fewer share it; a script that starts them "
                'needs: if __name__ == "__main__"'
            ) from None


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Processes that are started in the block never see Ctrl-C; this one sees it when the block ends.

    A new process imports for a while before it could say itself that it leaves Ctrl-C to its parent, and
    complains where the parent leaves before it has said what to do.
    """
    handler, came = signal.getsignal(signal.SIGINT), False

    def remember(*_: object) -> None:
        nonlocal came
        came = True

    ours = callable(handler) and threading.current_thread() is threading.main_thread()
    if ours:  # a mask is a thread's own: another one may take the signal, and this one would answer it
        signal.signal(signal.SIGINT, remember)
    masks = hasattr(signal, "pthread_sigmask")  # not on Windows
    if masks:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if ours:
            signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


_called: tuple[bytes | Path, Callable[..., Any]] | None = None  # the last one, of a process that outlives a call


def _begin(line: Connection) -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the parent; end when it lets go of the line, or ends.

    Args:
        line: nothing is ever sent on it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        threading.Thread(target=_end_with, args=(line,), name="coig_p-line", daemon=True).start()
    except RuntimeError:  # no more threads: the parent says so, without a traceback of each process
        os._exit(1)


def _call(sent: bytes | Path, args: Any, kwargs: Any) -> Any:
    global _called  # noqa: PLW0603
    if _called is None or _called[0] != sent:
        _called = None  # what it held need not be there beside the next
        _called = sent, pickle.loads(sent.read_bytes() if isinstance(sent, Path) else sent)
    return _called[1](*args, **kwargs)


def _end_with(line: Connection) -> None:
    line.poll(None)
    os._exit(1)
