"""Shards of an object store that come ahead: each by one request, few at a time, and errors in their turn."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs", reason="no client for S3 is installed: pip install 'coig-p[s3]'")
pytest.importorskip("moto.server", reason="no server that plays S3 is installed: pip install 'moto[server]'")

import s3_server
from make import make_rows, make_store
from s3_server import BUCKET

import coig_p
from coig_p.engine.local import Processes, Threads
from coig_p.errors import StoreError
from coig_p.stats.sweep import sweep
from coig_p.store.fetching import AT_ONCE, over_shards
from coig_p.store.manifest import StoreFile
from coig_p.store.store import Store, shard_batches


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    with s3_server.serving() as options:
        yield options


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("fetched") / "store", make_rows({"math": 50, "chat": 12}))


@pytest.fixture
def there(s3: dict[str, Any], local: Path) -> str:
    return s3_server.put(s3, local, "store")


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    return s3_server.requests(monkeypatch)


def test_a_shard_that_is_read_to_its_end_is_one_request(
    s3: dict[str, Any], there: str, local: Path, tmp_path: Path, requests: list[tuple[str, str, str]]
) -> None:
    store = Store.open(there, storage_options=dict(s3))
    each = [("get_object", f"store/{file.path}", f"bytes=0-{file.bytes - 1}") for file in store.data_files()]
    assert len(each) > 1
    options: Any = {"data_dir": there, "storage_options": dict(s3), "split": "train", "cache_dir": str(tmp_path)}
    for read in (lambda: list(store.batches()), lambda: coig_p.load_dataset("all", **options), lambda: sweep(store)):
        requests.clear()
        read()
        asked = [one for one in requests if one[1].endswith(".parquet")]
        assert sorted(asked, key=each.index) == each
    requests.clear()
    stream = coig_p.load_dataset("all", streaming=True, **options)
    first = next(iter(stream))
    in_place = {one[1] for one in requests if one[1].endswith(".parquet")}
    assert in_place == {each[0][1]}  # who stops in the first shard asked for no other
    requests.clear()
    rows = list(stream)
    assert rows[0] == first
    assert rows == list(coig_p.load_dataset("all", data_dir=str(local), split="train", streaming=True))
    assert [one for one in requests if one[1].endswith(".parquet") and one[1] not in in_place] == each[1:]


def test_shards_that_come_ahead_are_few_and_tell_of_damage_in_their_turn(
    s3: dict[str, Any], there: str, local: Path, requests: list[tuple[str, str, str]]
) -> None:
    store, same = Store.open(there, storage_options=dict(s3)), Store.open(local)
    shards = store.data_files()
    assert len(shards) > 1 + AT_ONCE
    requests.clear()
    counted = over_shards(rows_of, store.path, ("query_id",), shards, Processes(1))
    assert next(counted) == (shards[0], rows_of(same.path, "query_id", shards[0]))
    counted.close()
    asked = [one[1].removeprefix("store/") for one in requests]
    assert sorted(asked) == [file.path for file in shards[: len(asked)]]
    assert len(asked) <= 1 + AT_ONCE
    for workers in (Processes(1), Threads(), ThreadPoolExecutor(2)):
        ways = [over_shards(rows_of, one.path, ("query_id",), shards, workers) for one in (store, same)]
        assert list(ways[0]) == list(ways[1])
    s3_server.files(s3).rm_file(f"{BUCKET}/store/{shards[3].path}")
    for workers in (Processes(1), Threads()):
        seen = []
        with pytest.raises(StoreError, match=f"{shards[3].path} cannot be read"):
            for file, _ in over_shards(rows_of, store.path, ("query_id",), shards, workers):
                seen.append(file)
        assert seen == shards[:3]


def rows_of(root: Path, column: str, file: StoreFile) -> list[str]:
    return [text for batch in shard_batches(root, file, None) for text in batch.column(column).to_pylist()]
