"""Texts are the same bytes however their shards are read ahead, and damage is found in its turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pytest
import xxhash
from make import listed, make_rows, make_store

from coig_p.core import in_pieces
from coig_p.engine import local
from coig_p.errors import StoreError
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import open_shard, read_batches
from coig_p.views import keeping


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    store = make_store(tmp_path_factory.mktemp("keeping") / "store", make_rows({"math": 41}), rows_per_shard=6)
    return sorted((store / "data" / "math").iterdir())


def kept(shards: list[Path], folder: Path, listed: Callable[[Path], StoreFile] = listed) -> Path:
    def in_turn() -> Iterator[tuple[StoreFile, str, keeping.Opened]]:
        for path in shards:
            yield listed(path), str(path), partial(path.open, "rb")

    return Path(keeping.keep(folder, in_turn, anew=False).folder)


@pytest.mark.parametrize("room", [0, 3_000, 1 << 40])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_texts_are_the_rows_in_order_however_they_are_read(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, threads: int
) -> None:
    monkeypatch.setattr(keeping, "_ROOM", room)
    monkeypatch.setattr(in_pieces, "PIECE", 100)
    monkeypatch.setattr(keeping, "BATCH_SIZE", 3)
    monkeypatch.setattr(keeping, "ROWS", 4)
    monkeypatch.setattr(keeping, "Threads", lambda only_read: local.Threads(threads, only_read))
    folder = kept(shards, tmp_path / "texts")
    content = (folder / "texts.arrow").read_bytes()
    rows = []
    for path in shards:
        with open_shard(path) as shard:
            rows += [row for batch in read_batches(shard, 100, None, PAIRING_SCHEMA) for row in batch.to_pylist()]
    assert pa.ipc.open_file(content).read_all().to_pylist() == rows
    assert json.loads((folder / "facts.json").read_text("utf-8"))["xxh3"] == xxhash.xxh3_128_hexdigest(content)


@pytest.mark.parametrize("at", [0, 3, -1])
def test_a_damaged_shard_is_named_and_nothing_is_left(shards: list[Path], tmp_path: Path, at: int) -> None:
    broken = tmp_path / "data" / "math" / shards[at].name
    broken.parent.mkdir(parents=True)
    broken.write_bytes(shards[at].read_bytes()[:-30])
    changed = list(shards)
    changed[at] = broken
    with pytest.raises(StoreError, match=broken.name):
        kept(changed, tmp_path / "texts")
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "texts.lock"}


@pytest.mark.parametrize("small", [0, 1 << 20])
@pytest.mark.parametrize("room", [0, 1 << 40])
def test_texts_are_of_the_shards_that_are_listed(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int, room: int
) -> None:
    """One of the same size and with whole pages in the place of another: texts are for all who load it later."""
    monkeypatch.setattr(keeping, "_SMALL", small)
    monkeypatch.setattr(keeping, "_ROOM", room)
    other = listed(shards[1])
    with pytest.raises(StoreError, match=f"{shards[0].name} cannot be read: its SHA-256 is another"):
        kept(shards, tmp_path / "texts", lambda path: replace(other, bytes=path.stat().st_size))
    assert not (tmp_path / "texts").exists()


@pytest.mark.parametrize("call", range(1, 4))
@pytest.mark.parametrize("room", [0, 1 << 40])
def test_a_shard_that_changes_while_it_is_read(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, room: int
) -> None:
    """It is exchanged after it was looked at for the n-th time, and the other one is whole."""
    monkeypatch.setattr(keeping, "_SMALL", 0)
    monkeypatch.setattr(keeping, "_ROOM", room)
    monkeypatch.setattr(keeping, "Threads", lambda only_read: local.Threads(1, only_read))
    own = tmp_path / shards[0].name
    own.write_bytes(shards[0].read_bytes())
    calls, stamp = [], keeping._stamp

    def exchanging(stream: Any) -> tuple[int, ...] | None:
        calls.append(stream)
        found = stamp(stream)
        if len(calls) == call:
            (tmp_path / "other").write_bytes(shards[1].read_bytes())
            (tmp_path / "other").replace(own)
        return found

    monkeypatch.setattr(keeping, "_stamp", exchanging)
    told = listed(own)
    with pytest.raises(StoreError, match="it was changed while it was read"):
        kept([own], tmp_path / "texts", lambda _: told)
    assert not (tmp_path / "texts").exists()


@pytest.mark.parametrize("change", ["empty", "batches", "most"])
def test_facts_that_were_changed(shards: list[Path], tmp_path: Path, change: str) -> None:
    folder = kept(shards, tmp_path / "texts")
    facts = json.loads((folder / "facts.json").read_text("utf-8"))
    facts[change] = facts[change][1:] if change != "most" else {"query": 1, "response": 1}
    (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
    with pytest.raises(StoreError, match="they were changed since they were written"):
        kept(shards, folder)
