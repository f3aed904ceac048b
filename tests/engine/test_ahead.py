"""Work ahead in threads: in order, bounded, and gone when its reader is."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coig_p.engine.ahead import ahead


def test_no_more_is_made_ahead_than_one_item_that_waits_and_one_in_hand() -> None:
    made: list[int] = []
    waited_for = threading.Semaphore(0)

    def source() -> Generator[int, None, None]:
        for item in range(100):
            made.append(item)
            waited_for.release()
            yield item

    items = ahead(source())
    for taken in range(5):
        assert next(items) == taken
        waited_for.acquire()
        assert made[-1] <= taken + 2
    (worker,) = [thread for thread in threading.enumerate() if thread.name == "coig_p-ahead"]
    items.close()
    assert not worker.is_alive(), "whoever closes waits until the thread has ended"
    assert made[-1] <= 4 + 2


def test_items_come_in_order_and_an_error_after_those_before_it() -> None:
    def source() -> Generator[int, None, None]:
        yield from range(3)
        raise ZeroDivisionError

    items = ahead(source())
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_what_the_source_holds_is_let_go_of_when_the_reader_leaves() -> None:
    closed: list[str] = []

    def source(name: str) -> Generator[int, None, None]:
        try:
            yield from range(100)
        finally:
            closed.append(name)

    def inner() -> Generator[int, None, None]:
        yield from ahead(source("inner"))

    items = ahead(inner())
    assert next(items) == 0
    items.close()
    assert closed == ["inner"]


def test_garbage_may_be_collected_by_the_thread_itself() -> None:
    """A reader that only a cycle holds goes when the collector runs, and that may be in any thread."""
    taken, collected = threading.Event(), threading.Event()

    def source() -> Generator[int, None, None]:
        yield 0
        taken.wait()
        gc.collect()
        collected.set()
        yield 1

    class Holder:
        pass

    holder = Holder()
    holder.own, holder.items = holder, ahead(source())  # type: ignore[attr-defined]
    assert next(holder.items) == 0  # type: ignore[attr-defined]
    (worker,) = [thread for thread in threading.enumerate() if thread.name == "coig_p-ahead"]
    del holder
    taken.set()
    assert collected.wait(60)
    worker.join(60)
    assert not worker.is_alive()


def test_without_a_thread_to_be_had_the_reader_makes_its_items(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    items = ahead(item * item for item in range(50))
    assert list(items) == [item * item for item in range(50)]


# A thread is inside Arrow, and there inside a file object of Python, when the program comes to its end.
AT_THE_END = """
import sys, threading, time
import pyarrow as pa, pyarrow.parquet as pq
from coig_p.engine.ahead import ahead

class Slow:
    closed = False
    def __init__(self, path): self.file = open(path, "rb")
    def read(self, *size):
        if reading.is_set():
            threading.main_thread().join()  # the program is at its end
            time.sleep(0.5)  # and the interpreter would be gone by now
        return self.file.read(*size)
    def __getattr__(self, name): return getattr(self.file, name)

def batches():
    with pq.ParquetFile(Slow(sys.argv[1])) as shard:
        for number in range(shard.num_row_groups):
            for batch in shard.iter_batches(10, [number], use_threads=True):
                yield batch
                reading.set()

reading = threading.Event()
rows = ahead(batches())
next(rows)
reading.wait()
if sys.argv[2] == "read on":
    def read_on():
        threading.main_thread().join()
        print(sum(batch.num_rows for batch in rows))
    threading.Thread(target=read_on).start()
"""


@pytest.mark.parametrize(("then", "says"), [("end", ""), ("read on", "90\n")])
def test_threads_end_before_the_interpreter_whatever_they_are_at(then: str, says: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [f"text {at}" for at in range(100)]}), tmp_path / "rows", row_group_size=10)
    program = [sys.executable, "-c", AT_THE_END, str(tmp_path / "rows"), then]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, says, "")
