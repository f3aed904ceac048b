"""One call for threads, processes and none: the same results in the same order, no item taken long before its turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from coig_p.engine.local import WORKERS, in_order
from coig_p.errors import CoigPError


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_results_come_in_the_order_of_their_items(processes: int | None) -> None:
    assert list(in_order(abs, range(-9, 3), processes)) == [(at, abs(at)) for at in range(-9, 3)]


@pytest.mark.parametrize(("processes", "ahead"), [(None, WORKERS + 1), (1, 1)])
def test_few_items_are_taken_before_their_turn(processes: int | None, ahead: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for at in range(20):
            taken.append(at)
            yield at

    for given, _ in in_order(abs, items(), processes):
        assert len(taken) <= given + ahead


@pytest.mark.parametrize("processes", [None, 1, 2])
def test_an_error_is_raised_where_its_item_is_due(processes: int | None) -> None:
    items: list[Any] = ["a", "bc", 3, "d"]
    results = in_order(len, items, processes)
    assert [next(results), next(results)] == [("a", 1), ("bc", 2)]
    with pytest.raises(TypeError, match="len"):
        next(results)


SCRIPT = """
import os, signal, sys
from coig_p.engine.local import in_order
def work(item):
    os.write(1, b"at work\\n")  # in one piece, beside the other process
    if sys.argv[1] == "stay":
        signal.pause()
    return item
if __name__ == "__mp_main__":
    signal.raise_signal(signal.SIGINT)  # Ctrl-C while a process is starting
if __name__ == "__main__":
    list(in_order(work, [1, 2], 2))
"""


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return [sys.executable, str(path)]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_process_that_is_starting_leaves_interrupts_to_its_parent(script: list[str]) -> None:
    done = subprocess.run([*script, "go"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "at work\n" * 2)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_parent_whatever_they_are_at(number: signal.Signals, script: list[str]) -> None:
    with subprocess.Popen([*script, "stay"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert [started.stdout.readline(), started.stdout.readline()] == ["at work\n"] * 2
            started.send_signal(number)
            started.communicate(timeout=300)  # until nobody holds its output any more
        finally:
            started.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_an_interrupt_while_a_process_is_started_comes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    class Pool:
        def submit(self, function: Any, item: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            done.append(item)

    monkeypatch.setattr("coig_p.engine.local._pool", lambda processes: nullcontext(Pool()))
    with pytest.raises(KeyboardInterrupt):
        list(in_order(abs, [1, 2], 2))
    assert done == [1]


def end_at_once(_: object) -> None:
    os._exit(9)


def test_a_process_that_is_killed_is_one_clear_error() -> None:
    with pytest.raises(CoigPError, match="one of 2 processes that shared the work ended before it was done"):
        list(in_order(end_at_once, [1, 2], 2))
