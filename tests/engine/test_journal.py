"""A run that was stopped goes on: what is whole is taken, all else is done again, and two do not write at a time."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from coig_p.core import atomic
from coig_p.core.atomic import atomic_directory
from coig_p.engine.journal import JOURNAL, Journal, resumable
from coig_p.engine.local import Processes, Threads, Workers
from coig_p.errors import DataError, UsageError, WorkersLost

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is taken up without POSIX locks")
KEY = {"command": "count", "to": 6}


def _write(root: Path, item: int) -> list[int]:
    (root / f"{item}.txt").write_text(str(item))
    (root / "log" / f"{item}.{os.getpid()}").touch()
    return [item * item]


def count(
    out: Path,
    *,
    stop: int | None = None,
    error: BaseException | None = None,
    key: Mapping[str, Any] = KEY,
    workers: Workers = Processes(1),  # noqa: B008
) -> set[int]:
    """A job of six tasks that is stopped before the given one; which of them were done, not taken up."""
    with resumable(out, "5.txt", key) as journal:
        log = journal.root / "log"
        log.mkdir(exist_ok=True)
        found = []

        def work(item: int) -> list[int]:
            if item == stop and error is not None:
                raise error
            return _write(journal.root, item)

        for item, made in journal.in_order(
            work, range(6), workers, task=lambda item: f"n/{item}", files=lambda item: [f"{item}.txt"]
        ):
            found.append((item, made))
        assert found == [(item, [item * item]) for item in range(6)]
        done = {int(path.stem) for path in log.iterdir()}
        for path in log.iterdir():
            path.unlink()
        log.rmdir()
    assert {path.name: path.read_text() for path in out.iterdir()} == {f"{item}.txt": str(item) for item in range(6)}
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    return done


def stopped(out: Path, at: int = 4, error: BaseException | None = None) -> Path:
    """Stop a job; what it leaves."""
    with pytest.raises(BaseException, match="here"):
        count(out, stop=at, error=error or KeyboardInterrupt("here"))
    (left,) = out.parent.iterdir()
    return left


@pytest.mark.parametrize("workers", [Processes(1), Threads(3)])
@pytest.mark.parametrize("error", [KeyboardInterrupt("here"), SystemExit("here"), WorkersLost("here")])
def test_what_is_finished_is_not_done_again(error: BaseException, workers: Workers, tmp_path: Path) -> None:
    stopped(tmp_path / "out", 4, error)
    assert count(tmp_path / "out", workers=workers) == {4, 5}


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    for error in (DataError("here"), OSError(errno.ENOSPC, "here"), UsageError("here"), MemoryError("here")):
        with pytest.raises(type(error), match=r"here|left"):
            count(tmp_path / "out", stop=4, error=error)
        assert list(tmp_path.iterdir()) == []


def _spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "again"),
    [
        ("2.txt", lambda content: b"3", {2, 4, 5}),
        ("2.txt", lambda content: b"", {2, 4, 5}),
        (JOURNAL, lambda content: content[:-9], {3, 4, 5}),
        (JOURNAL, lambda content: content.replace(b'"n/1"', b'"n/1'), {1, 2, 3, 4, 5}),
        (JOURNAL, lambda content: content.replace(b'"1.txt"', b'"../1.txt"'), {1, 2, 3, 4, 5}),
        (JOURNAL, lambda content: content + b"\xff\n", {4, 5}),
        (JOURNAL, lambda content: content.replace(b'"count"', b'"other"'), {0, 1, 2, 3, 4, 5}),
        (JOURNAL, lambda content: b"", {0, 1, 2, 3, 4, 5}),
        ("new.txt", None, {4, 5}),
        (".3.txt.0123abcd", None, {4, 5}),
    ],
)
def test_what_is_damaged_is_done_again(
    name: str, change: Callable[[bytes], bytes] | None, again: set[int], tmp_path: Path
) -> None:
    left = stopped(tmp_path / "out")
    if change is None:
        (left / name).write_text("of no task")
    else:
        _spoil(left / name, change)
    assert count(tmp_path / "out") == again


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.replace(b"\n", b"\xff\n", 1), "is damaged: 5 of its lines are not taken up"),
        (lambda content: content.replace(b'"n/1"', b'"n/1'), "is damaged: 3 of its lines are not taken up"),
        (lambda content: content[:-9], ""),  # as a kill leaves it
        (lambda content: content[:9], ""),
    ],
)
def test_work_that_a_damaged_journal_loses_is_told(
    change: Callable[[bytes], bytes], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _spoil(stopped(tmp_path / "out") / JOURNAL, change)
    caplog.clear()
    count(tmp_path / "out")
    assert (f"journal of the run that was stopped {said}" in caplog.text) == bool(said)


def test_a_file_that_is_gone_is_made_again(tmp_path: Path) -> None:
    (stopped(tmp_path / "out") / "1.txt").unlink()
    assert count(tmp_path / "out") == {1, 4, 5}


def _as_link(path: Path) -> None:
    elsewhere = path.parents[2] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "theirs").touch()


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [_as_link, _as_folder, _as_pipe])
@pytest.mark.parametrize(("name", "again"), [("1.txt", {1, 4, 5}), (JOURNAL, set(range(6)))])
def test_what_is_no_file_of_its_own_is_made_again(
    name: str, again: set[int], change: Callable[[Path], None], tmp_path: Path
) -> None:
    out = tmp_path / "place" / "out"
    path = stopped(out) / name
    content = path.read_bytes()
    change(path)
    assert count(out) == again
    assert not any(path.is_symlink() for path in out.iterdir())
    assert change is not _as_link or (tmp_path / "elsewhere").read_bytes() == content


def test_a_folder_of_finished_files_that_is_a_link_is_made_again(tmp_path: Path) -> None:
    def run(stop: bool) -> bool:
        done = []
        with resumable(tmp_path / "out", None, KEY) as journal:

            def write(name: str) -> None:
                (journal.root / name).parent.mkdir(exist_ok=True)
                (journal.root / name).write_text(name)
                done.append(name)

            list(journal.in_order(write, ["data/0"], Processes(1), task=str, files=lambda name: [name]))
            if stop:
                raise KeyboardInterrupt
        return bool(done)

    with pytest.raises(KeyboardInterrupt):
        run(stop=True)
    (left,) = tmp_path.iterdir()
    (left / "data").rename(tmp_path / "elsewhere")
    (left / "data").symlink_to(tmp_path / "elsewhere")
    assert run(stop=False)
    assert not (tmp_path / "out" / "data").is_symlink()
    assert (tmp_path / "elsewhere" / "0").read_text() == "data/0"


def test_twice_stopped(tmp_path: Path) -> None:
    stopped(tmp_path / "out", 2)
    stopped(tmp_path / "out", 4)
    assert count(tmp_path / "out") == {4, 5}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({"command": "count", "to": 7}, "other options or inputs"),
        ({"command": "count", "to": 6, "store": "x"}, "another store"),
        ({"command": "sum"}, "another command"),
    ],
)
def test_a_run_of_another_key_takes_nothing_and_says_so(
    key: dict[str, Any], said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopped(tmp_path / "out")
    caplog.clear()
    assert count(tmp_path / "out", key=key) == set(range(6))
    assert f"out: what a run that was stopped had done is removed, since it was of {said}" in caplog.messages[0]


def test_another_version_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stopped(tmp_path / "out")
    caplog.clear()
    monkeypatch.setattr("coig_p.engine.journal.code_hash", lambda package, names: "other")
    assert count(tmp_path / "out") == set(range(6))
    assert caplog.messages[0].endswith("since it was of another version, or other code")


def test_a_worker_that_outlives_its_run_leaves_nothing(tmp_path: Path) -> None:
    stopped(tmp_path / "out")
    with resumable(tmp_path / "out", "5.txt", KEY) as journal:
        (journal.root / ".4.txt.0123abcd").touch()
    assert not list((tmp_path / "out").glob(".*"))


def test_two_do_not_write_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match=r"another run is writing .*out: wait for its end"):  # noqa: SIM117
        with resumable(out, "last", KEY) as first:
            first.add("one", {})
            with resumable(out, "last", KEY):
                raise AssertionError("both")
    assert list(tmp_path.iterdir()) == []


def test_nor_from_machines_that_do_not_see_each_others_locks_of_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = stopped(tmp_path / "out")
    with (left / JOURNAL).open("ab") as theirs:
        import fcntl

        fcntl.flock(theirs, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another run is writing"), resumable(tmp_path / "out", "last", KEY):
            raise AssertionError("both")
        assert left.exists()


def test_the_next_other_write_of_the_target_removes_what_was_left(tmp_path: Path) -> None:
    stopped(tmp_path / "out")
    with atomic_directory(tmp_path / "out") as root:
        (root / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_somebody_else_put_there_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = stopped(tmp_path / "out")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with resumable(tmp_path / "out", "last", KEY) as journal:
        assert journal.taken_up == {}
        assert journal.root != left
    monkeypatch.undo()
    left.rename(tmp_path / "elsewhere")
    left.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out").rename(tmp_path / "first")
    with resumable(tmp_path / "out", "last", KEY) as journal:
        assert journal.taken_up == {}
    assert (tmp_path / "elsewhere" / JOURNAL).exists()


def test_where_there_are_no_locks_nothing_is_taken_up_or_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = stopped(tmp_path / "out")

    def refuse(descriptor: object, how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    with resumable(tmp_path / "out", "last", KEY) as journal:
        assert journal.taken_up == {}
    with atomic_directory(tmp_path / "other"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([left.name, "other", "out"])


def test_the_journal_is_read_by_people_too(tmp_path: Path) -> None:
    lines = (stopped(tmp_path / "out") / JOURNAL).read_text().splitlines()
    head = json.loads(lines[0])
    assert head["format"] == "coig_p.journal"
    assert {"coig-p", "code", "pyarrow", "numpy", "Python"} == set(head["key"].pop("made by"))
    assert head["key"] == KEY
    assert json.loads(lines[3]) == {
        "task": "n/2",
        "files": {"2.txt": [1, "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"]},
        "result": [4],
    }


def test_tasks_that_are_whole(tmp_path: Path) -> None:
    left = stopped(tmp_path / "out")
    (left / "1.txt").write_text("x")

    def whole(journal: Journal) -> set[str]:
        return journal.whole(["n/0", "n/1", "n/5"], Processes(1))

    with resumable(tmp_path / "out", "last", KEY) as journal:
        assert whole(journal) == {"n/0"}


def test_files_of_tasks_that_are_not_asked_for_again_go(tmp_path: Path) -> None:
    def run(*names: str, stop: bool = False) -> None:
        with resumable(tmp_path / "out", None, KEY) as journal:

            def write(name: str) -> None:
                (journal.root / name).parent.mkdir(exist_ok=True)
                (journal.root / name).write_text(name)

            list(journal.in_order(write, names, Processes(1), task=str, files=lambda name: [name]))
            if stop:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("of-2/0", "of-2/1", "both/0", "both/1", "top", stop=True)
    run("both/0", "of-3/0")
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")) == [
        "both",
        "both/0",
        "of-3",
        "of-3/0",
    ]
