"""Stores and releases of schema version 1: read, checked, counted and published as before, rewritten as version 2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import huggingface_hub
import huggingface_hub.constants
import pytest
from datasets import load_dataset
from faults import REPO
from make import completed, make_old_store, make_store, twin
from making import CARD, count_footers
from trials import ACCOUNTS, TOKEN

import coig_p
from coig_p.dedup.queries import DedupConfig, dedup_store, find_duplicates, read_queries
from coig_p.publish.client import HubConfig
from coig_p.publish.hub import publish
from coig_p.publish.local_hub import LocalHub
from coig_p.publish.plan import read_release
from coig_p.publish.release import ReleaseConfig, older_schema_note, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.schema import RAW_SCHEMAS
from coig_p.stats.counts import statistics
from coig_p.stats.info import store_info
from coig_p.store.conversations import transcript
from coig_p.store.store import Store
from coig_p.validation import check

ROWS = sorted(twin(), key=lambda row: row["domain"])


def rows_of(store: Store) -> list[dict[str, Any]]:
    return [row for batch in store.batches() for row in batch.to_pylist()]


def as_of_version_1(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the columns of version 1 alone."""
    columns = RAW_SCHEMAS[1].names
    found = []
    for row in rows:
        answers = [
            {"model": one["model"], "text": one["text"]}
            | {"scores": [{name: score[name] for name in ("judge", "dimension", "score")} for score in one["scores"]]}
            for one in row["responses"]
        ]
        found.append({name: row[name] for name in columns} | {"responses": answers})
    return found


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = make_old_store(tmp_path_factory.mktemp("old") / "store", ROWS)
    (path / CARD_TOML).write_text(CARD, encoding="utf-8")
    return Store.open(path)


@pytest.fixture(scope="module")
def released(old: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_release(old, tmp_path_factory.mktemp("released") / "out", ReleaseConfig("1.0.0"))


def test_a_store_of_version_1_is_read_as_before(old: Store, tmp_path: Path) -> None:
    """And as a store of today's version with the same rows."""
    new = Store.open(make_store(tmp_path / "new", ROWS))
    assert old.manifest.schema_version == 1
    assert old.verify() == []
    assert rows_of(old) == rows_of(new) == completed(ROWS)
    assert old.to_pandas().equals(new.to_pandas())
    assert old.comparisons_to_pandas().equals(new.comparisons_to_pandas())
    assert check(old).findings.equals(check(new).findings)
    assert statistics(old) == statistics(new)
    assert store_info(old.path).total == store_info(new.path).total
    assert "conversations" not in old.manifest.summary()
    loaded = coig_p.load_dataset("math", data_dir=str(old.path), raw=True, split="train", cache_dir=str(tmp_path / "c"))
    assert loaded.to_list() == as_of_version_1([row for row in ROWS if row["domain"] == "math"])


def test_what_is_made_of_a_store_of_version_1_is_version_2(old: Store, tmp_path: Path) -> None:
    config = DedupConfig(threshold=1)
    made = dedup_store(old, tmp_path / "unique", config, find_duplicates(read_queries(old), config)).store
    assert made.manifest.schema_version == 2
    assert made.verify() == []
    assert rows_of(made) == completed(ROWS)
    assert older_schema_note(made.manifest) is None


def test_a_release_of_a_store_of_version_1_is_as_before(old: Store, released: Store, tmp_path: Path) -> None:
    assert released.manifest.schema_version == 1
    assert released.verify() == []
    for file in old.data_files():
        assert (released.path / file.path).read_bytes() == (old.path / file.path).read_bytes()
    card = (released.path / "README.md").read_text("utf-8")
    assert "`messages`" not in card
    assert "rationale" not in card
    for name in ("chat", "math"):
        raw = load_dataset(str(released.path), f"{name}-raw", split="train", cache_dir=str(tmp_path / "cache"))
        assert raw.to_list() == as_of_version_1([row for row in ROWS if row["domain"] == name])
        pairs = load_dataset(str(released.path), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert len(pairs) == statistics(old).domains[name].pairs > 0


def test_publishing_says_what_the_new_schema_adds(old: Store, released: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = commands.run("publish", old.path, "--version", "1.0.0", "--target", f"dir:{out}")
    assert "schema version is 1" in done.stderr
    assert all(word in done.stderr for word in ("messages", "sample", "rationale", "coigp clean"))
    assert Store.open(out).manifest == released.manifest
    done = commands.run("publish", out, "--version", "1.0.0", "--rehearse", "--json")
    assert "schema version is 1" in done.stderr
    assert json.loads(done.stdout)["rows"]["math-raw"] == {"train": 12}
    new = make_store(tmp_path / "new", ROWS)
    (new / CARD_TOML).write_text(CARD, encoding="utf-8")
    done = commands.run("publish", new, "--version", "1.0.0", "--target", f"dir:{tmp_path / 'today'}")
    assert "schema version" not in done.stderr
    assert "`messages`" in (tmp_path / "today" / "README.md").read_text("utf-8")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("coig_p.publish.verify.load_in_process", count_footers)
    with LocalHub(tmp_path / "hub", ACCOUNTS).serving() as hub:
        yield hub


def test_a_release_of_one_version_takes_the_place_of_one_of_the_other(
    hub: LocalHub, released: Store, tmp_path: Path
) -> None:
    new = make_store(tmp_path / "new", ROWS)
    (new / CARD_TOML).write_text(CARD, encoding="utf-8")
    later = write_release(Store.open(new), tmp_path / "later", ReleaseConfig("2.0.0"))
    config = HubConfig(token=TOKEN, endpoint=hub.endpoint)
    for release, version in ((released, "1.0.0"), (later, "2.0.0")):
        publish(read_release(release.path, version), REPO, config)
        tree = hub.repositories[REPO].find("main").tree
        shown = {path: blob.sha256 for path, blob in tree.items()}
        assert {file.path: file.sha256 for file in release.manifest.files}.items() <= shown.items()
    assert hub.repositories[REPO].find("v1.0.0").tree != hub.repositories[REPO].find("main").tree


def test_a_release_with_conversations_shows_them_and_loads(tmp_path: Path) -> None:
    rows = twin()
    for row in rows[:12]:
        messages = [
            {"role": "system", "content": "你是老师。", "extra": None},
            {"role": "user", "content": row["query"], "extra": None},
        ]
        row.update(messages=messages, query=transcript(messages))
    rows[3]["tools"] = '[{"type":"function"}]'
    for row in rows:
        for answer in row["responses"]:
            for score in answer["scores"]:
                score["rationale"] = "说得对。"
    rows.sort(key=lambda row: row["domain"])
    store = make_store(tmp_path / "store", rows)
    (store / CARD_TOML).write_text(CARD, encoding="utf-8")
    assert Store.open(store).manifest.summary().endswith("12 conversations; schema 2")
    released = write_release(Store.open(store), tmp_path / "out", ReleaseConfig("1.0.0", pairs=None))
    english, chinese = ((released.path / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))
    assert "12 of the queries are conversations, 24 turns in all; 1 has tools, or more than text." in english
    assert "12 个问题是对话，共 24 轮" in chinese
    for name in ("chat", "math"):
        found = load_dataset(str(released.path), f"{name}-raw", split="train", cache_dir=str(tmp_path / "cache"))
        assert found.to_list() == [row for row in rows if row["domain"] == name]
    # What it says of its memory is what the stock library counts.
    counted = statistics(Store.open(store))
    assert (counted.total.conversations, counted.total.turns, counted.total.with_tools) == (12, 24, 1)
    assert counted.total.lengths.query.mean == pytest.approx(
        sum(
            sum(len(one["content"]) for one in row["messages"]) if row["messages"] else len(row["query"])
            for row in rows
        )
        / len(rows)
    )
    frame = counted.to_pandas()
    assert frame.loc["all", "turns"] == 24
    info = store_info(store)
    assert info.shown()[-2:] == ["conversations", "with_tools"]
    assert info.to_dict()["domains"]["math"]["with_tools"] == 1
    shown = commands.run("info", store).stdout
    assert "with tools" in shown
    shown = commands.run("stats", store).stdout
    assert "12 queries are more than one user's text, with 24 turns before their answers; 1 of them hold tools" in shown
