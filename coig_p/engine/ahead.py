"""Reading ahead by a thread: Arrow, zstd and SHA-256 release the interpreter's lock, so cores share it.

The order of items is kept, a bounded number of them is held, and the thread ends with the generator, also
when its reader stops early.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections.abc import Generator
from contextlib import suppress
from enum import Enum, auto
from typing import Any, TypeVar

from coig_p.errors import UsageError

Item = TypeVar("Item")


def ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The same items, a few made ahead by a thread, which ends with this generator or before the interpreter does.

    Once the program is at its end no thread is left: whoever still asks for items then makes them itself.

    Raises:
        UsageError: the process was forked since the first item was asked for, and this is the copy.
    """
    worker = _Worker(items)
    if not worker.begin():
        yield from _made_here(items)
        return
    wait = True
    try:
        for _ in range(_AHEAD):
            worker.orders.put(None)
        while not worker.lost:
            outcome, value = worker.made.get()
            if outcome is _Outcome.ITEM:
                worker.orders.put(None)
                yield value
            elif outcome is _Outcome.ERROR:
                raise value
            elif outcome is _Outcome.YOURS:
                yield from _made_here(items)
                return
            else:
                return
        raise _forked()
    except KeyboardInterrupt:
        wait = False  # what the thread is at may be a server that does not answer
        raise
    finally:
        # Attributes alone: in an interpreter that is nearly gone the names of modules are gone, too.
        if not worker.over:
            worker.unwanted = True
            worker.orders.put(None)
            # Whatever thread collects garbage comes here, also one that the worker waits for, and the worker itself.
            if wait and worker.starter is threading.current_thread():
                worker.join()


def check_not_forked(process: int) -> None:
    """Raise UsageError in a copy of the process of that number: files would be read from where the other one is."""
    if os.getpid() != process:
        raise _forked()


def _forked() -> UsageError:
    return UsageError("this stream was being read when the process was forked: begin a new one in each process")


class _Outcome(Enum):
    ITEM = auto()
    ERROR = auto()
    END = auto()
    YOURS = auto()  # the thread has ended, and what is left is made by whoever wants it


class _Worker(threading.Thread):
    """Makes an item for each order.

    Its queues may be used by a finaliser at any moment, which Condition and queue.Queue do not promise.

    Attributes:
        unwanted: nobody takes items any more.
        ending: the interpreter ends.
        over: the thread has ended.
        lost: it stayed in the process that this one was forked from.
    """

    def __init__(self, items: Generator[Any, None, None]) -> None:
        super().__init__(name="coig_p-ahead", daemon=True)
        self.items = items
        self.starter = threading.current_thread()
        self.orders: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.made: queue.SimpleQueue[tuple[_Outcome, Any]] = queue.SimpleQueue()
        self.unwanted = self.ending = self.over = self.lost = False

    def begin(self) -> bool:
        """Start; False where no thread can be started any more."""
        if not threading.main_thread().is_alive():
            return False
        _workers.add(self)
        try:
            self.start()
        except RuntimeError:  # the program came to its end meanwhile, or has all the threads that it may have
            _workers.discard(self)
            return False
        return True

    def run(self) -> None:
        """Until all items are made, nobody wants them, or the interpreter ends."""
        outcome = _Outcome.ITEM
        while outcome is _Outcome.ITEM:
            self.orders.get()
            if self.unwanted or self.ending:
                break
            outcome = self._make()
        if self.unwanted:
            with suppress(Exception):  # nobody is left to hear of it
                self.items.close()
        elif outcome is _Outcome.ITEM:
            self.made.put((_Outcome.YOURS, None))
        self.over = True
        _workers.discard(self)

    def _make(self) -> _Outcome:
        outcome, value = _Outcome.ITEM, None
        try:
            value = next(self.items)
        except StopIteration:
            outcome = _Outcome.END
        except BaseException as error:
            outcome, value = _Outcome.ERROR, error
        self.made.put((outcome, value))
        return outcome


_AHEAD = 2  # items: one that waits, one in the making
_workers: set[_Worker] = set()  # those at work


def _made_here(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The items, made by the thread that takes them, while the program ends."""
    here = threading.current_thread()
    if here.daemon and not isinstance(here, _Worker):
        # The interpreter is about to stop this thread wherever it is. Inside Arrow that would abort the process.
        threading.Event().wait()
    yield from items


def _end_workers() -> None:
    """Let every thread finish the item that it is at.

    A daemon thread that comes back to Python once the interpreter is gone is stopped on the spot: whoever waits for
    it waits for ever, and Arrow, through which it may have come, aborts the process.
    """
    workers = list(_workers)
    for worker in workers:
        worker.ending = True
        worker.orders.put(None)
    for worker in workers:
        worker.join()


def _forget_workers() -> None:
    for worker in _workers:
        worker.over = worker.lost = True
    _workers.clear()


atexit.register(_end_workers)  # after all threads have ended that are no daemons: they may be reading still
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_workers)
