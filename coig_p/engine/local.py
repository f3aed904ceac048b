"""Work ahead in threads or processes: Arrow, zstd and SHA-256 release the interpreter's lock, so cores share it.

Both helpers keep the order of their items and hold a bounded number of them, and their threads
and processes end with the generator, also when its reader stops early.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
WORKERS = 2  # each holds an item; more would be faster on more cores, and hold more


def ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The same items, one made ahead by a thread."""
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def offer(kind: bool, value: Any) -> None:
        while not stop.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                offer(True, item)
                if stop.is_set():
                    break
            else:
                offer(False, None)
        except BaseException as error:
            offer(False, error)
        finally:
            items.close()

    worker = threading.Thread(target=work, name="coig_p-ahead", daemon=True)
    worker.start()
    try:
        while True:
            more, value = ready.get()
            if more:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        stop.set()
        worker.join()


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int | None = None
) -> Iterator[tuple[Item, Result]]:
    """Each item with function(item), a bounded number of them at work or waiting to be taken.

    Args:
        processes: work in so many, where `function`, items and results can be pickled; 1 is the caller's
            thread, one item after the other. Default: WORKERS threads.
    """
    if processes == 1:
        for item in items:
            yield item, function(item)
        return
    workers = processes or WORKERS
    with _pool(processes) as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        for item in items:
            with _interrupts_wait() if processes else nullcontext():  # a process may be started for it
                future = pool.submit(function, item)
            waiting.append((item, future))
            if len(waiting) > workers:
                first, result = waiting.popleft()
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()


@contextmanager
def _pool(processes: int | None) -> Iterator[Executor]:
    if processes is None:
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="coig_p") as threads:
            yield threads
        return
    # Not fork: Arrow has threads of its own, which a fork would leave behind with their locks held.
    context = multiprocessing.get_context("spawn")
    line, held = context.Pipe(duplex=False)
    with line, held, ProcessPoolExecutor(processes, context, initializer=_answer_to, initargs=(line,)) as pool:
        try:
            yield pool
        except (GeneratorExit, KeyboardInterrupt):
            held.close()  # nobody waits for what they are at
            raise


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Processes that are started in the block never see Ctrl-C; this one sees it when the block ends.

    A new process imports for a while before it could say itself that it leaves Ctrl-C to its parent, and
    complains where the parent leaves before it has said what to do.
    """
    handler, came = signal.getsignal(signal.SIGINT), False

    def wait(*_: object) -> None:
        nonlocal came
        came = True

    ours = callable(handler) and threading.current_thread() is threading.main_thread()
    if ours:  # a mask is a thread's own: another one may take the signal, and this one would answer it
        signal.signal(signal.SIGINT, wait)
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


def _answer_to(line: Connection) -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the parent; end when it lets go of the line, or ends.

    Args:
        line: nothing is ever sent on it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(line,), name="coig_p-line", daemon=True).start()


def _end_with(line: Connection) -> None:
    line.poll(None)
    os._exit(1)
