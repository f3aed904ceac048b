"""An experiment that is killed, again and again: each cell is trained once, and the end is that of one left alone."""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from commands import run
from experimenting import asked, kill, start, wait_for, write_experiment

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups")
MOMENTS = (1, 2, 5, 6, 9, 11, 14, 17, 20, 23)
"""So many lines the trainer has written when a run is killed: odd ones in a training, even ones behind one."""


def has_said(folder: Path, lines: int) -> bool:
    return asked(folder).total() >= lines


def processes_of(folder: Path) -> list[str]:
    """Commands that still work on a folder, whoever's children they are now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if any(str(folder).encode() in word for word in words):
            found.append(b" ".join(words).decode(errors="replace"))
    return found


def test_killed_at_ten_moments_each_cell_is_trained_once(tmp_path: Path) -> None:
    quiet = write_experiment(tmp_path / "quiet")
    run("experiment", quiet, "--trust")
    path = write_experiment(tmp_path / "killed", pause=0.9)
    for at, lines in enumerate(MOMENTS):
        process = start(path)
        assert wait_for(partial(has_said, path.parent, lines), process)
        kill(process, group=at % 2 == 0)
        if sys.platform == "linux":
            wait_for(lambda: not processes_of(path.parent))  # else the test runs out of time
    run("experiment", path)
    done = asked(path.parent)
    ends = {line: number for line, number in done.items() if line.startswith("end")}
    assert len(ends) == 12
    assert set(ends.values()) == {1}
    begun = sum(number for line, number in done.items() if line.startswith("begin"))
    assert 12 < begun <= 12 + len(MOMENTS)
    left = [made(one.parent) for one in (quiet, path)]
    assert len(left[0]) > 12
    assert left[0] == left[1]
    assert run("experiment", path, "--json").stdout
    assert asked(path.parent) == done


def made(folder: Path) -> dict[str, bytes]:
    """All that an experiment made, but how long it took."""
    return {
        one.relative_to(folder).as_posix(): one.read_bytes()
        for one in sorted((folder / "grid").rglob("*"))
        if one.is_file() and (one.name == "result.json" or "out" in one.parts)
    }


def test_a_training_that_had_ended_well_is_taken_over(tmp_path: Path) -> None:
    """Killed between the end of a command and the rename: nothing is run again."""
    path = write_experiment(tmp_path / "run")
    run("experiment", path, "--trust")
    folder = path.parent / "grid"
    made = next((folder / "made").glob("train-*"))
    work = folder / "work" / made.name
    made.rename(work)
    (work / "step.json").unlink()
    (work / "ended").write_text("0\n")
    (work / "lock").write_text("1")
    before = asked(path.parent)
    assert json.loads(run("experiment", path, "--json").stdout)["made"] == {"train": 1}
    assert asked(path.parent) == before


def test_interrupted_it_ends_its_command_and_says_so(tmp_path: Path) -> None:
    path = write_experiment(tmp_path / "run", pause=60)
    process = start(path)
    assert wait_for(lambda: asked(path.parent).total() == 1, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.decode().splitlines()[-1].startswith("interrupted")
    if sys.platform == "linux":
        assert processes_of(path.parent) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a command outlives its guard")
def test_a_guard_that_is_killed_alone_takes_its_command_along(tmp_path: Path) -> None:
    path = write_experiment(tmp_path / "run", pause=60)
    process = start(path)
    assert wait_for(lambda: asked(path.parent).total() == 1, process)
    (lock,) = (path.parent / "grid" / "work").glob("train-*/lock")
    os.kill(int(lock.read_text()), signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 1
    assert "failed with signal 9" in said.decode()
    assert processes_of(path.parent) == []


def test_two_runs_in_one_folder_are_one_error(tmp_path: Path) -> None:
    path = write_experiment(tmp_path / "run", pause=60)
    process = start(path)
    try:
        assert wait_for(lambda: asked(path.parent).total() == 1, process)
        done = run("experiment", path, code=2)
        assert (
            done.stderr
            == f"error: {path.parent / 'grid'}: another run is working here. Wait for it, or stop it first\n"
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
