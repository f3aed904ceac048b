"""Work ahead in threads: in order, bounded, and gone when its reader is."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator

import pytest

from coig_p.engine import local


class WatchedQueue(queue.Queue):
    """A queue that tells when somebody finds it full."""

    found_full: threading.Event
    lengths: list[int]

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        if self.full():
            self.lengths.append(self.qsize())
            self.found_full.set()
        super().put(item, block, timeout)


def test_no_more_is_made_ahead_than_one_item_that_waits_and_one_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    settled = threading.Event()  # the maker has met a full queue, or has come to the end without meeting one
    made: list[int] = []

    def source() -> Generator[int, None, None]:
        try:
            for item in range(100):
                made.append(item)
                yield item
        finally:
            settled.set()

    monkeypatch.setattr(WatchedQueue, "found_full", settled, raising=False)
    monkeypatch.setattr(WatchedQueue, "lengths", [], raising=False)
    monkeypatch.setattr(local.queue, "Queue", WatchedQueue)
    items = local.ahead(source())
    for taken in range(5):
        assert next(items) == taken
        settled.wait()
        assert made[-1] <= taken + 2
        settled.clear()
    items.close()
    assert made[-1] <= 4 + 2
    assert max(WatchedQueue.lengths) == 1


def test_items_come_in_order_and_an_error_after_those_before_it() -> None:
    def source() -> Generator[int, None, None]:
        yield from range(3)
        raise ZeroDivisionError

    items = local.ahead(source())
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(items)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 20])
def test_results_come_in_the_order_of_their_items(number: int) -> None:
    assert list(local.in_order(lambda item: item * item, range(number))) == [(at, at * at) for at in range(number)]


def test_no_more_items_are_drawn_than_workers_can_hold() -> None:
    drawn: list[int] = []

    def source() -> Generator[int, None, None]:
        for item in range(50):
            drawn.append(item)
            yield item

    for item, _ in local.in_order(lambda item: item, source()):
        assert len(drawn) - item <= local.WORKERS + 1
