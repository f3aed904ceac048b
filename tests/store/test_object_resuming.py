"""Runs that write to an object store, killed at any moment: the same command goes on, and sends no file twice."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs", reason="no client for S3 is installed: pip install 'coig-p[s3]'")
pytest.importorskip("moto.server", reason="no server that plays S3 is installed: pip install 'moto[server]'")
if sys.platform == "win32":
    pytest.skip("nothing is taken up without POSIX signals and locks", allow_module_level=True)

import jobs
import killed_jobs
import s3_server
from killed_uploads import job_of, kill_uploads
from s3_server import BUCKET, Faults

from coig_p.core import atomic, upload
from coig_p.core.objects import Found, object_path
from coig_p.engine.journal import JOURNAL, Journal, described, resumable
from coig_p.engine.local import Processes
from coig_p.errors import RemoteError, UsageError
from coig_p.export.write import ExportConfig, export_store
from coig_p.publish import pairing
from coig_p.store import writing
from coig_p.store.manifest import MANIFEST
from coig_p.store.places import check_target

FAULTS = Faults()
KEY = {"command": "tried"}


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch, s3_server.serving(FAULTS) as options:
        patch.setenv("AWS_ACCESS_KEY_ID", options["key"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
        patch.setenv("AWS_ENDPOINT_URL", options["endpoint_url"])
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield options


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jobs.many(tmp_path_factory.mktemp("resuming") / "many")


@pytest.fixture(autouse=True)
def staging(server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files of this test lie. Shards are small, so that there are many."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = writing.ROWS_PER_SHARD, pairing.ROWS_PER_SHARD
    killed_jobs.write_small_shards()
    yield folder
    writing.ROWS_PER_SHARD, pairing.ROWS_PER_SHARD = before
    FAULTS.plan = lambda method, key: None
    client = s3_server.files(server)
    for name in client.ls(BUCKET):
        client.rm(name, recursive=True)


def place(name: str) -> Any:
    return object_path(f"s3://{BUCKET}/{name}")


class Elsewhere(Executor):
    """Workers of other machines, which cannot write to a folder of this one."""

    def submit(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("asked to write here")


def test_workers_elsewhere_write_nothing_of_an_export(store: Path) -> None:
    export_store(store, place("here"), ExportConfig(trainer="trl-dpo"), num_proc=1)
    export_store(store, place("elsewhere"), ExportConfig(trainer="trl-dpo"), num_proc=1, engine=Elsewhere())
    assert bytes_at(place("here")) == bytes_at(place("elsewhere"))


def bytes_at(out: Any) -> dict[str, bytes]:
    """All files of a place. The README of an export tells where it lies."""
    found = {name: (out / name).read_bytes() for name in out.files()}
    return {name: one.replace(str(out).encode(), b"OUT") if name == "README.md" else one for name, one in found.items()}


def sent(out: Any) -> list[str]:
    """Which of its files the server was given since the last call, notes left out."""
    names = [key.partition(f"/{out.key}/")[2] for method, key in FAULTS.asked if method == "PUT"]
    FAULTS.asked.clear()
    return sorted(name for name in names if name and not name.endswith(upload.NOTE))


def staged(folder: Path) -> list[Path]:
    return sorted(folder.glob(".coigp-*"))


# After a finished step; before the second note, which is sent when all is made; in the middle of the files, which go at
# the same time; at the one that marks all as whole; and when the note is to go.
AT_ANY = ("step:4", "request:2", "request:11", "request:18", "request:19")


@pytest.mark.parametrize(
    ("name", "folder", "marker", "moments"),
    [
        ("rewrite", "", MANIFEST, AT_ANY),
        ("export", "", "shards.json", ("request:8",)),
        ("import", "store", MANIFEST, ("request:18",)),
    ],
)
def test_a_killed_run_goes_on_and_sends_only_what_is_not_there(
    name: str,
    folder: str,
    marker: str,
    moments: tuple[str, ...],
    store: Path,
    staging: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = job_of(name)
    job(store, place("whole"))
    wanted = bytes_at(place("whole") / folder)
    runs = {place(moment.replace(":", "-")): moment for moment in moments}
    kill_uploads(name, store, runs)
    steps: list[str] = []
    add = Journal.add

    def added(self: Journal, task: str, *told: Any) -> Any:
        steps.append(task)
        return add(self, task, *told)

    monkeypatch.setattr(Journal, "add", added)
    spared = []
    for at, (run, moment) in enumerate(runs.items()):
        out = run / folder
        assert len(staged(staging)) == len(runs) - at
        there = bytes_at(out)
        same = {name for name, content in there.items() if content == wanted.get(name)}
        steps.clear()
        sent(out)
        if marker in there:
            assert same == wanted.keys()
            with pytest.raises(UsageError, match="exists, and an object store cannot"):
                job(store, run)
        else:
            job(store, run)
            assert bytes_at(out) == wanted
        assert sent(out) == sorted(wanted.keys() - same)
        assert bool(steps) == moment.startswith("step")
        spared.append(len(same))
    assert staged(staging) == []
    if moments == AT_ANY:
        assert (spared[:2], spared[-2:]) == ([0, 0], [len(wanted) - 1, len(wanted)])
        assert 0 < spared[2] < len(wanted) - 1
    else:
        assert spared == [len(wanted) - 1]


def written(
    server: dict[str, Any], out: Any, key: dict[str, Any] = KEY, error: BaseException | None = None
) -> set[str]:
    """A folder of three finished files and a last one; which of them were made, not taken up."""
    made = set()
    with resumable(out, "last", key) as journal:
        for name in ("a", "b", "c"):
            if journal.whole([name], Processes(1)):
                continue
            (journal.root / name).write_text(name * 9)
            journal.add(name, described(journal.root, [name]))
            made.add(name)
        (journal.root / ".work").mkdir(exist_ok=True)
        (journal.root / ".work" / "rows").touch()
        journal.remove(journal.root / ".work")
        (journal.root / "last").write_text("whole")
        if error is not None:
            raise error
    assert bytes_at(out) == {"a": b"a" * 9, "b": b"b" * 9, "c": b"c" * 9, "last": b"whole"}
    return made


@pytest.mark.parametrize("error", [KeyboardInterrupt("here"), SystemExit("here"), RemoteError("here")])
def test_what_was_made_is_found_again(error: BaseException, server: dict[str, Any], staging: Path, caplog: Any) -> None:
    with pytest.raises(type(error), match="here"):
        written(server, place("out"), error=error)
    (left,) = staged(staging)
    assert (
        f"s3://bucket/out is not finished: the same command goes on from what is done. Else delete {left}"
        in caplog.text
    )
    assert left.stat().st_mode & 0o777 == 0o700
    assert written(server, place("other")) == {"a", "b", "c"}
    assert written(server, place("out")) == set()
    assert staged(staging) == []


def test_an_object_store_that_fails_meanwhile_costs_no_work(server: dict[str, Any], staging: Path) -> None:
    FAULTS.plan = lambda method, key: "AccessDenied" if method == "PUT" and key.endswith("/b") else None
    with pytest.raises(RemoteError, match="access was refused"):
        written(server, place("out"))
    FAULTS.plan = lambda method, key: None
    there = {name for name in bytes_at(place("out")) if name != upload.NOTE}
    sent(place("out"))
    assert written(server, place("out")) == set()
    assert sent(place("out")) == sorted({"a", "b", "c", "last"} - there)


def test_errors_leave_nothing_and_other_runs_take_nothing(server: dict[str, Any], staging: Path, caplog: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        written(server, place("out"), error=ZeroDivisionError())
    assert staged(staging) == []
    with pytest.raises(KeyboardInterrupt):
        written(server, place("out"), error=KeyboardInterrupt())
    assert written(server, place("out"), {"command": "another"}) == {"a", "b", "c"}
    assert "had done is removed, since it was of another command" in caplog.text
    assert staged(staging) == []


def test_two_runs_on_one_machine_do_not_write_one_place(server: dict[str, Any], staging: Path) -> None:
    with resumable(place("out"), "last", KEY) as journal:
        with pytest.raises(UsageError, match="another run is writing s3://bucket/out: wait for its end"):
            written(server, place("out"))
        other = object_path(f"s3://{BUCKET}/out", {"endpoint_url": "http://127.0.0.1:9"})
        assert atomic._lasting_name(place("out")) == journal.root != atomic._lasting_name(other)
        (journal.root / "last").touch()
    assert bytes_at(place("out")) == {"last": b""}


@pytest.mark.parametrize("whose", ["anybody may write in it", "somebody else's", "a link"])
def test_a_folder_that_others_may_have_filled_is_not_believed(
    whose: str, server: dict[str, Any], staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        written(server, place("out"), error=KeyboardInterrupt())
    (left,) = staged(staging)
    if whose == "anybody may write in it":
        left.chmod(0o777)
    elif whose == "a link":
        left.rename(staging / "elsewhere")
        left.symlink_to(staging / "elsewhere")
    else:
        monkeypatch.setattr(atomic, "_lasting_name", lambda target: left)
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert written(server, place("out")) == {"a", "b", "c"}
    assert staged(staging) == [left]
    assert sorted(path.name for path in left.iterdir()) == [".work", "a", "b", "c", JOURNAL, "last"]


def test_what_is_left_where_nothing_may_be_written_any_more_goes(server: dict[str, Any], staging: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        written(server, place("out"), error=KeyboardInterrupt())
    s3_server.files(server).pipe_file(f"{BUCKET}/out/{MANIFEST}", b"of somebody else")
    with pytest.raises(UsageError, match="exists, and an object store cannot put a store in its place"):
        check_target(place("out"), overwrite=True)
    assert staged(staging) == []


@pytest.mark.parametrize("size", [0, 9, (5 << 20) - 1, 11 << 20])
def test_the_same_bytes_are_told_by_their_etag(
    size: int, server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_PART", 5 << 20)  # S3 takes no smaller ones
    path, there = tmp_path / "file", place("file")
    path.write_bytes(os.urandom(size))
    upload.upload_file(path, there)

    def listed() -> Found:
        return there.parent.files()["file"]  # type: ignore[no-any-return]

    assert ("-3" in listed().version) == (size > 10 << 20)
    assert upload.holds(there, listed(), path)
    if size:
        with path.open("r+b") as stream:
            stream.seek(size - 1)
            last = stream.read()[0]
            stream.seek(size - 1)
            stream.write(bytes([last ^ 1]))
        assert not upload.holds(there, listed(), path)
        upload.upload_file(path, there)
    assert upload.holds(there, listed(), path)
    assert not upload.holds(there, listed()._replace(st_size=size + 1), path)
    assert not upload.holds(object_path("memory://file"), listed(), path)  # type: ignore[arg-type]
    for version in ("", "-", "-1", f'"{"0" * 32}"', f'"{"0" * 32}-3"', listed().version.upper() + "x"):
        assert not upload.holds(there, Found(size, version), path)
    if size > 10 << 20:  # cut by somebody else
        s3_server.files(server).put_file(str(path), f"{BUCKET}/file", chunksize=(5 << 20) + 1)
        assert not upload.holds(there, listed(), path)


def test_what_was_not_sent_and_is_replaced_meanwhile_is_an_error(
    server: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        written(server, place("out"), error=KeyboardInterrupt())
    client, holds = s3_server.files(server), upload.holds
    client.pipe_file(f"{BUCKET}/out/{upload.NOTE}", json.dumps({"tool": "coig-p upload", "files": ["a"]}).encode())
    client.pipe_file(f"{BUCKET}/out/a", b"a" * 9)

    def replaced(*told: Any) -> bool:
        found = holds(*told)
        client.pipe_file(f"{BUCKET}/out/a", b"z" * 9)
        return found

    monkeypatch.setattr(upload, "holds", replaced)
    with pytest.raises(RemoteError, match="a is not there as it was sent"):
        written(server, place("out"))
    assert "last" not in bytes_at(place("out"))
    monkeypatch.undo()
