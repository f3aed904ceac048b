"""Work ahead in threads or processes: Arrow, zstd and SHA-256 release the interpreter's lock, so cores share it.

Both helpers keep the order of their items and hold a bounded number of them, and their threads
and processes end with the generator, also when its reader stops early.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
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
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > workers:
                first, result = waiting.popleft()
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()


def _pool(processes: int | None) -> Executor:
    if processes is None:
        return ThreadPoolExecutor(WORKERS, thread_name_prefix="coig_p")
    # Not fork: Arrow has threads of its own, which a fork would leave behind with their locks held.
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_leave_interrupts)


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal: the one that started this one answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
