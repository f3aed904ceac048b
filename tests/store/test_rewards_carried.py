"""Rewards in a store that is written anew: each response that is left has its own, and counts are of what is left."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from make import completed, make_rows, make_store
from rewarding import with_given
from rewriting import Changes, rewriting
from strategies import examples

from coig_p.errors import DataError, StoreError
from coig_p.ingest.config import ImportConfig
from coig_p.ingest.files import import_files
from coig_p.store import writing
from coig_p.store.changes import Change
from coig_p.store.reward_files import OF_SHARD
from coig_p.store.rewards import reward_files
from coig_p.store.rewrite import rewrite_store
from coig_p.store.store import Store

Known = dict[tuple[str, str], float | None]


def reward_of(query: str, model: str, sample: int, text: str) -> float | None:
    number = sum(map(ord, text)) + len(query)
    return None if number % 5 == 0 else number / 16


def told(store: Store, name: str) -> list[dict[str, Any]]:
    files = reward_files(store.manifest, name, store.data_files(), store.path)
    return [row for file in files for row in pq.read_table(store.path / file.path).to_pylist()]


def slowly(store: Store, known: dict[tuple[str, str], float | None]) -> list[tuple[Any, ...]]:
    found = []
    for batch in store.batches():
        for row in batch.to_pylist():
            for one in row["responses"] or ():
                key = (row["query"], one["text"])
                reward = known.get(key)
                reason = "not-scored" if key not in known else "too-long" if reward is None else None
                found.append((row["query_id"], one["model"], one["sample"], reward, reason))
    return found


@examples(60)
@given(rewriting())
def test_what_is_left_has_the_rewards_that_it_had(given_rows: tuple[list[dict[str, Any]], Changes]) -> None:
    rows, changes = given_rows
    known = {
        (row["query"], one["text"]): reward_of(row["query_id"], one["model"], 0, one["text"])
        for row in rows
        for one in row["responses"]
    }
    with TemporaryDirectory() as folder, mock.patch.object(writing, "ROWS_PER_SHARD", 2):
        old = Store.open(with_given(make_store(Path(folder, "old"), rows, rows_per_shard=3), "crm", reward_of))
        with_given(old.path, "other", lambda *_: 0.5)
        old = Store.open(old.path)
        out = Path(folder, "new")
        try:
            new = rewrite_store(
                old, out, lambda *key: changes.get(key), step="tests", record=lambda _: {"dropped": {}}
            ).store
        except DataError:
            return
        assert new.verify() == []
        found = [
            tuple(row[name] for name in ("query_id", "model", "sample", "reward", "reason")) for row in told(new, "crm")
        ]
        assert found == slowly(new, known)
        about = new.manifest.rewards["crm"]
        assert about["model"] == "tests"
        assert about["responses"] == len(found) == sum(file.responses or 0 for file in new.data_files())
        assert about["scored"] == sum(one[3] is not None for one in found)
        assert about["without"] == dict(Counter(one[4] for one in found if one[3] is None))
        assert {row["reward"] for row in told(new, "other")} <= {0.5, None}


def test_files_say_which_shard_they_are_of(tmp_path: Path) -> None:
    old = Store.open(with_given(make_store(tmp_path / "old", make_rows({"math": 25})), "crm", reward_of))
    gone = {("math", "math-0003"): Change(row="bad")}
    new = rewrite_store(old, tmp_path / "new", lambda *key: gone.get(key), step="tests", record=lambda _: {}).store
    for store in (old, new):
        shards = store.data_files()
        for shard, file in zip(shards, reward_files(store.manifest, "crm", shards, store.path), strict=True):
            footer = pq.read_metadata(store.path / file.path).metadata
            assert footer[OF_SHARD.encode()].decode() == shard.sha256


def test_a_response_that_answers_another_prompt_has_no_reward_there(tmp_path: Path) -> None:
    from coig_p.store.changes import TakenIn

    rows = completed(
        [
            {
                "query_id": name,
                "domain": "math",
                "query": query,
                "source": None,
                "responses": [{"model": "m" + name, "text": "答" + name, "scores": None}],
                "comparisons": None,
            }
            for name, query in (("a", "问题"), ("b", "问题？"), ("c", "问题"))
        ]
    )
    old = Store.open(with_given(make_store(tmp_path / "old", rows), "crm", lambda *_: 2.0))
    into = Change(taken_in=[TakenIn("b", "alike"), TakenIn("c", "alike")])
    changes = {"a": into, "b": Change(row="alike", moved=True), "c": Change(row="alike", moved=True)}
    new = rewrite_store(
        old, tmp_path / "new", lambda _, query: changes.get(query), step="tests", record=lambda _: {}
    ).store
    found = [(row["model"], row["reward"], row["reason"]) for row in told(new, "crm")]
    assert found == [("ma", 2.0, None), ("mb", None, "not-scored"), ("mc", 2.0, None)]


def test_rewards_that_cannot_be_read_stop_it_and_nothing_is_written(tmp_path: Path) -> None:
    old = Store.open(with_given(make_store(tmp_path / "old", make_rows({"math": 5})), "crm", reward_of))
    file = next(file for file in old.manifest.files if file.role == "rewards")
    data = bytearray((old.path / file.path).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (old.path / file.path).write_bytes(data)
    with pytest.raises(
        StoreError,
        match=r"rewards/crm/math/train-00000-of-00001\.parquet is not what manifest\.json says\. Score it again",
    ):
        rewrite_store(old, tmp_path / "new", lambda *_: None, step="tests", record=lambda _: {})
    assert not (tmp_path / "new").exists()


def test_a_store_without_rewards_is_written_as_ever(tmp_path: Path) -> None:
    old = Store.open(make_store(tmp_path / "old", make_rows({"math": 5})))
    new = rewrite_store(old, tmp_path / "new", lambda *_: None, step="tests", record=lambda _: {}).store
    assert new.manifest.rewards == {}
    assert not (new.path / "rewards").exists()
    assert pa.concat_tables([pq.read_table(new.path / file.path) for file in new.data_files()]).num_rows == 5


def rows_file(path: Path, rows: list[dict[str, Any]]) -> Path:
    plain = [
        {
            "query_id": row["query_id"],
            "query": row["query"],
            "responses": [{name: one[name] for name in ("model", "text", "scores")} for one in row["responses"]],
        }
        for row in rows
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plain), encoding="utf-8")
    return path


def test_an_import_over_a_store_keeps_the_rewards_of_what_is_in_both(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = make_rows({"math": 12})
    config = ImportConfig(domain="math")
    out = tmp_path / "store"
    import_files([rows_file(tmp_path / "one.jsonl", rows[:8])], out, config)
    with_given(out, "crm", reward_of)
    rows[0]["responses"][0]["text"] = "改过的回答"
    store, _ = import_files([rows_file(tmp_path / "two.jsonl", rows)], out, config, overwrite=True)
    assert store.verify() == []
    found = {(row["query_id"], row["model"]): (row["reward"], row["reason"]) for row in told(store, "crm")}
    for at, row in enumerate(rows):
        for nth, one in enumerate(row["responses"]):
            reward = reward_of(row["query_id"], one["model"], 0, one["text"])
            known = (reward, None if reward is not None else "too-long")
            new = at >= 8 or (at, nth) == (0, 0)
            assert found[row["query_id"], one["model"]] == ((None, "not-scored") if new else known)
    assert caplog.messages == []
    other = [row | {"query": f"另一个{row['query']}"} for row in rows]
    store, _ = import_files([rows_file(tmp_path / "three.jsonl", other)], out, config, overwrite=True)
    assert store.manifest.rewards == {}
    assert store.verify() == []
    assert caplog.messages == ["the rewards crm went with the store that is replaced: none of its responses is left"]


def test_an_import_over_a_store_with_damaged_rewards_says_that_they_went(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = make_rows({"math": 5})
    out = tmp_path / "store"
    import_files([rows_file(tmp_path / "one.jsonl", rows)], out, ImportConfig(domain="math"))
    with_given(out, "crm", reward_of)
    file = next((out / "rewards").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    store, _ = import_files([tmp_path / "one.jsonl"], out, ImportConfig(domain="math"), overwrite=True)
    assert store.manifest.rewards == {}
    assert store.verify() == []
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the rewards crm of the store that is replaced went with it: ")
