"""Stores in a dataset on ModelScope, by the unmodified SDK against a server on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import run
from make import make_rows, make_store

import coig_p
from coig_p.errors import RemoteError, StoreError, UsageError
from coig_p.publish.local_hub import Account
from coig_p.store.locate import locate, open_located
from coig_p.store.store import Store

pytest.importorskip("modelscope_hub", reason="ModelScope's SDK is not installed: pip install 'coig-p[modelscope]'")

from modelscope_server import ModelScope, ModelScopeHandler

URL, TOKEN = "modelscope://org/name", "ms-" + "t0ken" * 6


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelScope]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    with ModelScope(tmp_path / "hub", {TOKEN: Account("me", ("org",))}, handler=ModelScopeHandler).serving() as hub:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.endpoint)
        yield hub  # type: ignore[misc]


def publish(hub: ModelScope, store: Path, tag: str) -> None:
    """The files of a store as the newest commit of the repository, with a tag."""
    if "org/name" not in hub.repositories:
        hub.create("org/name", private=False)
    found = hub.repositories["org/name"]
    paths = [path for path in store.rglob("*") if path.is_file()]
    added = {path.relative_to(store).as_posix(): found.objects.regular(path.read_bytes()) for path in paths}
    found.commit("main", added, [], tag)
    found.add_ref(f"refs/tags/{tag}", "main")


def test_it_is_loaded_by_revision_and_fetched_once(hub: ModelScope, tmp_path: Path) -> None:
    first = make_store(tmp_path / "first", make_rows({"math": 8, "chat": 5}))
    second = make_store(tmp_path / "second", make_rows({"math": 8, "chat": 5}, seed=3))
    publish(hub, first, "v1")
    publish(hub, second, "v2")
    cache: dict[str, Any] = {"cache_dir": str(tmp_path / "rows"), "split": "train"}
    for name, store in ((f"{URL}@v1", first), (URL, second), (f"{URL}@v2", second)):
        loaded = coig_p.load_dataset("math", data_dir=name, **cache)
        assert list(loaded) == list(coig_p.load_dataset("math", data_dir=str(store), **cache))
        streamed = coig_p.load_dataset("math", data_dir=name, streaming=True, split="train")
        assert list(streamed) == list(loaded)
    fetched = [path.name for path in (tmp_path / "cache").rglob("*.parquet")]
    assert len(fetched) == 2  # of each manifest its one shard of math, and nothing of chat
    assert run("info", f"{URL}@v1").stdout == run("info", str(first)).stdout
    found, same = (json.loads(run("check", one, "--json", code=1).stdout) for one in (f"{URL}@v1", first))
    assert found["rules"] == same["rules"]
    opened = open_located(locate(f"{URL}@v1"))
    assert list(opened.batches()) == list(Store.open(first).batches())


def test_what_is_not_there_or_another_is_said(hub: ModelScope, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="no such dataset or revision"):
        locate(URL)
    store = make_store(tmp_path / "store", make_rows({"math": 8}))
    publish(hub, store, "v1")
    with pytest.raises(RemoteError, match="no such dataset or revision"):
        locate(f"{URL}@v9")
    with pytest.raises(UsageError, match="modelscope://org/name"):
        locate("modelscope://name")
    location = locate(URL)
    shard = next(store.rglob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"X")
    publish(hub, store, "v2")
    with pytest.raises(StoreError, match="is not the file that"):
        open_located(location)
    assert not list((tmp_path / "cache").rglob("*.parquet"))


def test_a_server_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    with pytest.raises(RemoteError, match="did not come from ModelScope") as caught:
        locate(URL)
    assert TOKEN not in str(caught.value)
