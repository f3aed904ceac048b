"""One call for threads, processes and none: the same results in the same order, no item taken long before its turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from commands import run_code

from coig_p.engine.local import WORKERS, Processes, Threads, Workers, in_order, processes, threads
from coig_p.errors import CoigPError, UsageError, WorkersLost


@pytest.mark.parametrize("workers", [None, Threads(1), Processes(1), Processes(2)])
def test_results_come_in_the_order_of_their_items(workers: Workers | None) -> None:
    assert list(in_order(abs, range(-9, 3), workers)) == [(at, abs(at)) for at in range(-9, 3)]


@pytest.mark.parametrize(("workers", "ahead"), [(None, WORKERS + 1), (Threads(3), 4), (Processes(1), 1)])
def test_few_items_are_taken_before_their_turn(workers: Workers | None, ahead: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for at in range(20):
            taken.append(at)
            yield at

    for given, _ in in_order(abs, items(), workers):
        assert len(taken) <= given + ahead


@pytest.mark.parametrize("workers", [None, Threads(1), Processes(1), Processes(2)])
def test_an_error_is_raised_where_its_item_is_due(workers: Workers | None) -> None:
    items: list[Any] = ["a", "bc", 3, "d"]
    results = in_order(len, items, workers)
    assert [next(results), next(results)] == [("a", 1), ("bc", 2)]
    with pytest.raises(TypeError, match="len"):
        next(results)


SCRIPT = """
import os, signal, sys
from coig_p.engine.local import Processes, in_order
def work(item):
    os.write(1, b"at work\\n")  # in one piece, beside the other process
    if sys.argv[1] == "stay":
        signal.pause()
    return item
if __name__ == "__mp_main__":
    signal.raise_signal(signal.SIGINT)  # Ctrl-C while a process is starting
if __name__ == "__main__":
    list(in_order(work, [1, 2], Processes(2)))
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
    done = list[int]()

    class Pool:
        def submit(self, _call: Any, _function: Any, given: tuple[int], _named: Any) -> Any:
            signal.raise_signal(signal.SIGINT)
            done.extend(given)

    monkeypatch.setattr("coig_p.engine.local._pool", lambda number: nullcontext(Pool()))
    with pytest.raises(KeyboardInterrupt):
        list(in_order(abs, [1, 2], Processes(2)))
    assert done == [1]


def end_at_once(_: object) -> None:
    os._exit(9)


def test_a_process_that_is_killed_is_one_clear_error() -> None:
    with pytest.raises(CoigPError, match="one of 2 processes that shared the work ended before it was done"):
        list(in_order(end_at_once, [1, 2], Processes(2)))


def test_a_script_from_standard_input_is_one_clear_error() -> None:
    script = "from coig_p.engine.local import Processes, in_order\nlist(in_order(abs, [1, 2], Processes(2)))"
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=False)
    assert done.stderr.count("Traceback") == 1
    assert "UsageError: a script from standard input cannot start processes: save it" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("pieces", "seconds", "asked", "given"),
    [
        (100, 3.9, None, 1),  # a process takes a second to start
        (100, 4.0, None, 2),
        (100, 1e6, None, 6),
        (3, 1e6, None, 3),
        (0, 0.0, None, 1),
        (100, 0.0, 4, 4),  # who says how many gets them
        (3, 0.0, 4, 3),
        (0, 0.0, 4, 1),
    ],
)
def test_as_many_processes_as_pay_or_were_asked_for(
    pieces: int, seconds: float, asked: int | None, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coig_p.engine.local.cores", lambda: 6)
    assert processes(pieces, seconds, asked) == given


@pytest.mark.parametrize(
    ("cores", "asked", "given"), [(1, None, 2), (6, None, 6), (64, None, 8), (64, 1, 2), (2, 9, 9)]
)
def test_threads(cores: int, asked: int | None, given: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coig_p.engine.local.cores", lambda: cores)
    assert threads(asked) == Threads(given)


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_number_of_processes_that_cannot_be(wrong: int) -> None:
    for say in (lambda: processes(1, 1.0, wrong), lambda: threads(wrong)):
        with pytest.raises(UsageError, match=f"num_proc={wrong}: use a whole number of 1 or more"):
            say()


def test_a_number_of_processes_that_no_machine_has() -> None:
    assert processes(2000, 1.0, 1024) == 1024
    for say in (lambda: processes(1, 1.0, 1025), lambda: threads(1025)):
        with pytest.raises(UsageError, match=r"num_proc=1025: use at most 1,024.*--engine ray"):
            say()


class Inline(Executor):
    """An executor that works at once, and counts."""

    window = 3

    def __init__(self) -> None:
        self.begun = 0

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.begun += 1
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


def test_any_executor_does_the_work_and_says_how_much_waits() -> None:
    engine = Inline()
    for taken, (item, result) in enumerate(in_order(abs, range(-20, 0), engine)):
        assert (item, result) == (taken - 20, 20 - taken)
        assert engine.begun <= taken + engine.window + 1


def test_a_process_that_dies_before_it_has_begun_is_an_error() -> None:
    """However much the function holds: what a process begins with must fit into a pipe that nobody reads."""
    code = (
        "import multiprocessing.util as util, os, signal\n"
        "from functools import partial\n"
        "from coig_p.engine.local import Processes, in_order\n"
        "from coig_p.errors import WorkersLost\n"
        "real = util.spawnv_passfds\n"
        "def start(path, args, passfds):\n"
        "    pid = real(path, args, passfds)\n"
        "    if any(b'spawn_main' in os.fsencode(word) for word in args): os.kill(pid, signal.SIGKILL)\n"
        "    return pid\n"
        "util.spawnv_passfds = start\n"
        "try: list(in_order(partial(max, 'x' * (1 << 20)), 'abc', Processes(2)))\n"
        "except WorkersLost: print('lost')\n"
    )
    assert run_code(code).stdout == "lost\n"


def test_tasks_of_a_broken_executor_are_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells each of them, by a thread that dies of one that was cancelled."""

    class Breaking(Executor):
        window = 3

        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            if not sent:
                future.set_exception(BrokenExecutor())
            sent.append(future)
            return future

    def told(waited: list[Future[Any]]) -> None:
        for future in waited:
            future.set_exception(BrokenExecutor())

    sent: list[Future[Any]] = []
    monkeypatch.setattr("coig_p.engine.local.wait", told)
    with pytest.raises(WorkersLost, match="Breaking that was given as engine"):
        list(in_order(str, range(5), Breaking()))
    assert len(sent) > 1
    assert all(isinstance(future.exception(timeout=0), BrokenExecutor) for future in sent)
