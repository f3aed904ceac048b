"""An object store that fails: an upload stopped at every request, and answers that are late, cut or refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs", reason="no client for S3 is installed: pip install 'coig-p[s3]'")
pytest.importorskip("moto.server", reason="no server that plays S3 is installed: pip install 'moto[server]'")

import s3_server
from commands import run
from make import make_rows, make_store
from s3_server import BUCKET, SECRET, Faults

import coig_p
from coig_p.core import upload
from coig_p.core.objects import object_path
from coig_p.errors import CoigPError, RemoteError, StoreError
from coig_p.store.changes import Change
from coig_p.store.rewrite import rewrite_store
from coig_p.store.store import Store

FAULTS = Faults()


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, Any]]:
    from s3fs import S3FileSystem

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3FileSystem, "retries", 3)
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        with s3_server.serving(FAULTS) as options:
            patch.setenv("AWS_ACCESS_KEY_ID", options["key"])
            patch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
            patch.setenv("AWS_ENDPOINT_URL", options["endpoint_url"])
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            yield options


@pytest.fixture(autouse=True)
def _as_planned(server: dict[str, Any]) -> Iterator[None]:
    yield
    FAULTS.plan = lambda method, key: None


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("faults") / "store", make_rows({"math": 6, "chat": 3}))


@pytest.fixture
def there(server: dict[str, Any], local: Path) -> Iterator[str]:
    yield s3_server.put(server, local, "here")
    FAULTS.plan = lambda method, key: None
    if s3_server.files(server).exists(f"{BUCKET}/here"):
        s3_server.files(server).rm(f"{BUCKET}/here", recursive=True)


def names(server: dict[str, Any], folder: str) -> set[str]:
    return {name.removeprefix(f"{BUCKET}/{folder}/") for name in s3_server.files(server).find(f"{BUCKET}/{folder}")}


def _written(local: Path, server: dict[str, Any], name: str) -> Store:
    out = object_path(f"s3://{BUCKET}/{name}", server)
    keep: Any = lambda domain, query_id: Change(row="gone") if domain == "chat" else None  # noqa: E731
    return rewrite_store(Store.open(local), out, keep, step="tried", record=lambda dropped: {}).store


@pytest.mark.parametrize("first", ["InternalError", "InternalError done"])
def test_an_upload_that_is_stopped_at_any_request_is_whole_or_no_store_and_is_done_again(
    server: dict[str, Any], local: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process sends nothing more: from some request on all fail. The first may have been carried out."""
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "retries", 1)
    stopped, at = 0, 0
    while True:
        name, seen = f"stopped-{at}-{len(first)}", [0]

        def plan(method: str, key: str, at: int = at, seen: list[int] = seen) -> str | None:
            seen[0] += method in ("PUT", "DELETE")
            return None if seen[0] <= at else first if seen[0] == at + 1 else "InternalError"

        FAULTS.plan = plan
        try:
            _written(local, server, name)
        except RemoteError:
            stopped += 1
        FAULTS.plan = lambda method, key: None
        if "manifest.json" in names(server, name):
            assert Store.open(f"s3://{BUCKET}/{name}", storage_options=dict(server)).verify() == []
        else:
            with pytest.raises(StoreError, match="not a store"):
                Store.open(f"s3://{BUCKET}/{name}", storage_options=dict(server))
            made = _written(local, server, name)
            assert made.verify() == []
            assert names(server, name) == {file.path for file in made.manifest.files} | {"manifest.json"}
        s3_server.files(server).rm(f"{BUCKET}/{name}", recursive=True)
        if seen[0] <= at:
            break
        at += 1
    assert stopped > 4


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("SlowDown", "too busy"),
        ("InternalError", "InternalError"),
        ("AccessDenied", "access was refused"),
        ("XMinioStorageFull", "no room left"),
        ("cut", "did not answer to the end"),
    ],
)
def test_a_server_that_goes_on_failing_is_one_error(server: dict[str, Any], local: Path, kind: str, said: str) -> None:
    ways = [
        ("GET", ".parquet", ["check", f"s3://{BUCKET}/here"]),
        ("PUT", ".parquet", ["clean", str(local), "--out", f"s3://{BUCKET}/new"]),
        ("GET", "manifest.json", ["stats", f"s3://{BUCKET}/here"]),
        ("PUT", "manifest.json", ["dedup", str(local), "--out", f"s3://{BUCKET}/new"]),
        ("PUT", ".parquet", ["export", str(local), "--for", "trl-dpo", "--out", f"s3://{BUCKET}/new"]),
    ]
    for method, ending, words in {"cut": ways[:1], "AccessDenied": ways}.get(kind, ways[:2]):
        FAULTS.times(10_000, kind, method, ending)
        done = run(*words, code=3)
        FAULTS.plan = lambda method, key: None
        assert done.stdout == ""
        *before, error = done.stderr.splitlines()
        assert said in error
        assert ["the same command goes on" in line for line in before] == [True] * (method == "PUT")
        assert SECRET not in done.stderr
        assert not {"manifest.json", "shards.json"} & names(server, "new")
        if method == "PUT":
            run(*words)
            s3_server.files(server).rm(f"{BUCKET}/new", recursive=True)


def test_a_server_that_does_not_answer_is_one_error(
    server: dict[str, Any], local: Path, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "retries", 1)
    options = server | {"config_kwargs": {"read_timeout": 0.2, "retries": {"max_attempts": 0}}}
    FAULTS.plan = lambda method, key: "late"
    with pytest.raises(RemoteError, match=r"could not be reached.*ReadTimeoutError"):
        Store.open(there, storage_options=options)
    with pytest.raises(RemoteError, match=r"could not be reached.*ReadTimeoutError"):
        _written(local, options, "late")


@pytest.mark.parametrize("kind", ["SlowDown", "cut"])
def test_what_a_server_failed_at_once_is_asked_again(
    server: dict[str, Any], there: str, local: Path, tmp_path: Path, kind: str
) -> None:
    FAULTS.times(2, kind, "GET", ".parquet")
    options: Any = {"data_dir": there, "storage_options": dict(server), "split": "train", "cache_dir": str(tmp_path)}
    assert len(coig_p.load_dataset("all", **options)) > 0
    if kind != "cut":
        for ending in (upload.NOTE, "README.md", "manifest.json"):
            FAULTS.times(1, f"{kind} done", "PUT", ending)
            assert _written(local, server, "again").verify() == []
            s3_server.files(server).rm(f"{BUCKET}/again", recursive=True)


def test_a_note_that_cannot_be_deleted_does_no_harm(
    server: dict[str, Any], local: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FAULTS.times(100, "AccessDenied", "DELETE")
    made = _written(local, server, "noted")
    FAULTS.plan = lambda method, key: None
    assert upload.NOTE in caplog.text
    assert upload.NOTE in names(server, "noted")
    assert made.verify() == []
    assert made.leftovers() == [upload.NOTE]
    with pytest.raises(CoigPError, match="choose a new name"):
        _written(local, server, "noted")
    s3_server.files(server).rm(f"{BUCKET}/noted", recursive=True)
