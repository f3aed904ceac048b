"""Killed runs, lost workers, a full disk: the same bytes in the end, or one clear error, and nothing half."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jobs
import killed_jobs
import pytest

from coig_p.core.text import printable
from coig_p.engine.journal import JOURNAL, Done, Journal
from coig_p.errors import WorkersLost
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.publish import pairing
from coig_p.store import writing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is taken up without POSIX signals and locks")
# Of all calls after the first that writes. More moments, and all other jobs: benchmarks/faults.py
MOMENTS = (0.2, 0.5, 0.8)
IMPORTED = (0.5, 0.9, 0.97)  # it looks at all rows before it writes a shard
WRITING = ("export with labels", "clean", "import", "release")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("stores")
    return jobs.many(place / "many"), jobs.clean(place / "clean")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = writing.ROWS_PER_SHARD, pairing.ROWS_PER_SHARD
    killed_jobs.write_small_shards()
    yield
    writing.ROWS_PER_SHARD, pairing.ROWS_PER_SHARD = before


def finished(out: Path) -> int:
    """Tasks that a stopped run left."""
    return sum(len(path.read_bytes().splitlines()) - 1 for path in out.parent.glob(f"**/.*/{JOURNAL}"))


@pytest.mark.parametrize("name", WRITING)
def test_a_killed_run_is_taken_up_where_it_was(name: str, stores: tuple[Path, Path], tmp_path: Path) -> None:
    job, store = killed_jobs.job_of(name), stores[name == "release"]
    wanted = job(store, tmp_path / "whole")
    calls = killed_jobs.count_calls(name, store, tmp_path / "counted" / "out")
    left_to_do = calls.number - calls.before
    moments = IMPORTED if name == "import" else MOMENTS
    runs = {tmp_path / str(at) / "out": calls.before + int(left_to_do * at) for at in moments}
    assert killed_jobs.kill_drivers(name, store, runs) == [None] * len(MOMENTS)
    assert any(finished(out) for out in runs)
    for out in runs:
        assert job(store, out) == wanted
        assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(("name", "call"), [("export", 3000), ("clean", 4000)])
def test_a_lost_worker_is_one_error_and_one_process_goes_on(
    name: str,
    call: int,
    stores: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job, store, out = killed_jobs.job_of(name), stores[0], tmp_path / "run" / "out"
    wanted = job(store, tmp_path / "whole")
    monkeypatch.setattr("coig_p.engine.local._begin", killed_jobs.killing_begin(tmp_path / "killed", call))
    with pytest.raises(WorkersLost, match="one of 2 processes that shared the work ended before it was done"):
        job(store, out, num_proc=2)
    there = finished(out)
    caplog.clear()
    assert job(store, out) == wanted
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert ("where a run was stopped" in caplog.text) == bool(there)


FULL = """
import json, resource, sys
from pathlib import Path
import jobs, killed_jobs
killed_jobs.write_small_shards()
many, clean, place = map(Path, sys.argv[1:])
said = {}
for name in ("export", "export as JSON Lines", "clean", "dedup by files", "release"):
    out = place / name / "out"
    out.parent.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1200, resource.RLIM_INFINITY))
    try:
        killed_jobs.job_of(name)(clean if name == "release" else many, out)
        told = "done"
    except OSError as error:
        told = f"{error.filename}: {error.strerror}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    said[name] = told, [path.name for path in out.parent.iterdir()]
print(json.dumps(said))
"""


def test_a_full_disk_is_one_error_that_names_the_place(stores: tuple[Path, Path], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, *map(str, stores), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said) == 5
    for name, (told, left) in said.items():
        place = tmp_path if name == "dedup by files" else tmp_path / name / "out"
        assert told.startswith(str(place)), name
        assert "File too large" in told, name
        assert left == [], name
    assert f"{tmp_path}: File too large" in said["dedup by files"][0]
    assert said["dedup by files"][0].endswith("name a larger folder with TMPDIR")


STOPPED = """
import os, signal, sys
from coig_p.engine import journal
number, add, done = int(sys.argv.pop(1)), journal.Journal.add, []
def stop(*told):
    found = add(*told)
    done.append(found)
    if len(done) == 3:
        os.kill(os.getpid(), number)
    return found
journal.Journal.add = stop
from coig_p import __main__
__main__.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_finished_outlives_an_interrupt(
    number: signal.Signals, stores: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run" / "out"
    words = ["export", str(stores[0]), "--for", "trl-dpo", "--test-size", "0.2", "--world-size", "2", "--out", str(out)]
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(number)), *words, "--num-proc", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    (left,) = out.parent.iterdir()
    if number == signal.SIGINT:
        assert stopped.returncode == 130
        note, last = stopped.stderr.splitlines()
        assert printable(f"{out} is not finished: the same command goes on") in note
        assert str(left) in note
        assert last == "interrupted"
    else:
        assert (stopped.returncode, stopped.stderr) == (-number, "")
    assert finished(out) == 3
    with caplog.at_level(logging.WARNING):
        made = jobs.JOBS["export"](stores[0], out)
    assert "going on where a run was stopped: up to 3 of its steps are done" in caplog.text
    assert made == jobs.JOBS["export"](stores[0], tmp_path / "whole")
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_a_run_of_other_options_finished_is_in_no_release(
    stores: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, add = tmp_path / "run" / "out", Journal.add
    wanted = jobs.RELEASE(stores[1], tmp_path / "whole", rows_per_shard=9)

    def stop(journal: Journal, task: str, *told: Any) -> Done:
        done = add(journal, task, *told)
        if task.startswith("pairs"):
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Journal, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        jobs.RELEASE(stores[1], out)
    monkeypatch.undo()
    assert finished(out)
    assert jobs.RELEASE(stores[1], out, rows_per_shard=9) == wanted


def test_an_import_goes_on_with_shards_of_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows, other, out, add = *(tmp_path / name for name in ("rows.jsonl", "other.jsonl", "run/out")), Journal.add
    text = "".join(
        json.dumps({"query_id": f"{at}", "query": f"问题{at}", "responses": [{"model": "m", "text": f"答{at}"}]}) + "\n"
        for at in range(40)
    )
    other.write_text(text.replace("m", "n"), encoding="utf-8")
    config = ImportConfig(domain="chat")

    def made(rows: Path, out: Path) -> jobs.Made:
        import_files([rows], out, config)
        return jobs.files(out)

    def stop(journal: Journal, task: str, *told: Any) -> Done:
        done = add(journal, task, *told)
        if finished(out) == 3:
            raise KeyboardInterrupt
        return done

    for changed in (False, True):
        rows.write_text(text, encoding="utf-8")
        monkeypatch.setattr(Journal, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            made(rows, out)
        monkeypatch.setattr(Journal, "add", add)
        (left,) = out.parent.iterdir()
        assert not (left / "spool").exists()
        written: list[str] = []
        monkeypatch.setattr(writing, "_write_held", partial(_noted, writing._write_held, written))
        if changed:
            rows.write_bytes(other.read_bytes())
        wanted = made(rows, tmp_path / "whole")
        assert len(written) == 8
        assert made(rows, out) == wanted
        assert len(written) == 8 + (8 if changed else 5)
        monkeypatch.undo()
        shutil.rmtree(out)
        shutil.rmtree(tmp_path / "whole")


def _noted(write: Any, written: list[str], root: Path, held: Any) -> Any:
    written.append(held[0].name)
    return write(root, held)
