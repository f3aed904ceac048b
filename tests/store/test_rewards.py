"""Rewards beside a store: found by query and place, and only for what was scored."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import make_rows, make_store
from rewarding import with_given

from coig_p.errors import StoreError, UnknownNameError
from coig_p.schema import PAIRING_SCHEMA, RAW_SCHEMA
from coig_p.store.manifest import MANIFEST, Manifest
from coig_p.store.rewards import OF_SHARD, REWARD_SCHEMA, read_rewards, reward_files
from coig_p.store.store import Store, shard_batches


def by_hand(query: str, model: str, sample: int, text: str) -> float | None:
    number = sum(map(ord, f"{query} {model} {sample}"))
    return None if number % 7 == 0 else (number % 101 - 50) / 8


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = make_store(tmp_path / "store", make_rows({"math": 25, "chat": 7}))
    return Store.open(with_given(path, "crm", by_hand))


def expected(rows: list[dict[str, Any]]) -> list[float | None]:
    return [
        by_hand(row["query_id"], one["model"], one["sample"], one["text"])
        for row in rows
        for one in row["responses"] or ()
    ]


def as_list(values: Any) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


@pytest.mark.parametrize("schema", [RAW_SCHEMA, PAIRING_SCHEMA], ids=["raw", "pairing"])
def test_every_response_has_the_reward_that_was_written_for_it(store: Store, schema: pa.Schema) -> None:
    shards = store.data_files()
    files = reward_files(store.manifest, "crm", shards, store.path)
    assert [file.path for file in files] == [shard.path.replace("data/", "rewards/crm/") for shard in shards]
    for shard, file in zip(shards, files, strict=True):
        rewards = read_rewards(store.path / file.path)
        for batch in shard_batches(store.path, shard, 3, schema):
            assert as_list(rewards.of(batch).reward) == expected(batch.to_pylist())
            assert not rewards.of(batch).changed.any()


def test_rows_are_found_in_any_order_and_number(store: Store) -> None:
    shard = store.data_files("math")[0]
    file = reward_files(store.manifest, "crm", [shard], store.path)[0]
    rewards = read_rewards(store.path / file.path)
    whole = next(shard_batches(store.path, shard, 1000, PAIRING_SCHEMA))
    for order in ([3], [5, 0, 2], list(range(whole.num_rows))[::-1], []):
        batch = whole.take(pa.array(order, pa.int64()))
        assert as_list(rewards.of(batch).reward) == expected(batch.to_pylist())
    sliced = whole.slice(4, 3)
    assert as_list(rewards.of(sliced).reward) == expected(sliced.to_pylist())


def test_rows_without_responses_have_no_rewards(tmp_path: Path) -> None:
    rows = make_rows({"math": 6})
    rows[0]["responses"], rows[3]["responses"] = [], None
    store = Store.open(with_given(make_store(tmp_path / "store", rows), "crm", by_hand))
    shard = store.data_files()[0]
    rewards = read_rewards(store.path / reward_files(store.manifest, "crm", [shard], store.path)[0].path)
    for batch in shard_batches(store.path, shard, 2, PAIRING_SCHEMA):
        assert as_list(rewards.of(batch).reward) == expected(batch.to_pylist())


def changed(batch: pa.RecordBatch, **values: Any) -> pa.RecordBatch:
    rows = batch.to_pylist()
    for name, value in values.items():
        if name in rows[0]:
            rows[0][name] = value
        else:
            rows[0]["responses"][0][name] = value
    return pa.RecordBatch.from_pylist(rows, schema=batch.schema)


@pytest.mark.parametrize(
    ("values", "gone"),
    [
        ({"text": "另一个"}, "one"),
        ({"extra": '{"tool_calls": []}'}, "one"),
        ({"query": "另一个"}, "all"),
        ({"tools": "[]"}, "all"),
        ({"messages": [{"role": "user", "content": "问题", "extra": None}]}, "all"),
    ],
)
def test_what_was_changed_since_has_no_reward(store: Store, values: dict[str, Any], gone: str) -> None:
    shard = store.data_files("math")[0]
    rewards = read_rewards(store.path / reward_files(store.manifest, "crm", [shard], store.path)[0].path)
    batch = next(shard_batches(store.path, shard, 5, PAIRING_SCHEMA))
    first = 1 if gone == "one" else len(batch.column("responses")[0])
    found = rewards.of(changed(batch, **values))
    assert found.changed.tolist() == [at < first for at in range(len(found.changed))]
    assert as_list(found.reward) == [None] * first + expected(batch.to_pylist())[first:]


def test_conversations_and_tools_are_known_by_all_of_their_turns(tmp_path: Path) -> None:
    rows = make_rows({"math": 4})
    rows[0]["messages"] = [{"role": role, "content": "问题0：math？", "extra": None} for role in ("system", "user")]
    rows[1]["tools"] = "[]"
    rows[2]["responses"][1]["extra"] = '{"tool_calls": []}'
    store = Store.open(with_given(make_store(tmp_path / "store", rows), "crm", lambda *_: 1.5))
    for shard in store.data_files():
        rewards = read_rewards(store.path / reward_files(store.manifest, "crm", [shard], store.path)[0].path)
        for batch in shard_batches(store.path, shard, 100, PAIRING_SCHEMA):
            assert not rewards.of(batch).changed.any()
            assert set(rewards.of(batch).reward.tolist()) <= {1.5}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"query_id": "nobody"}, "it has"),
        ({"model": "another"}, "its response 0 is of another model or sample"),
        ({"sample": 7}, "its response 0 is of another model or sample"),
        ({"responses": []}, "it has 0 responses, and rewards of"),
    ],
)
def test_a_file_of_another_shard_is_one_error_that_names_the_query(
    store: Store, values: dict[str, Any], said: str
) -> None:
    shard = store.data_files("math")[1]
    rewards = read_rewards(store.path / reward_files(store.manifest, "crm", [shard], store.path)[0].path)
    batch = next(shard_batches(store.path, shard, 5, PAIRING_SCHEMA))
    other = changed(batch, **values)
    with pytest.raises(StoreError) as error:
        rewards.of(other)
    query = other.column("query_id")[0].as_py()
    assert f"rewards/crm/math/train-00001-of-00002.parquet is not of this shard: query {query!r}: " in str(error.value)
    assert said in str(error.value)


def test_an_unknown_name_lists_those_that_exist(store: Store) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown rewards 'crn'\. Did you mean 'crm'"):
        reward_files(store.manifest, "crn", store.data_files(), store.path)


def test_rewards_that_are_listed_for_some_shards_alone_are_an_error(store: Store) -> None:
    fields = json.loads((store.path / MANIFEST).read_text("utf-8"))
    gone = next(file for file in fields["files"] if file["role"] == "rewards")
    fields["files"].remove(gone)
    manifest = Manifest.from_json(json.dumps(fields), store.path)
    with pytest.raises(StoreError, match=f"lists no {gone['path']}, though it has rewards called crm. Score it again"):
        reward_files(manifest, "crm", manifest.data_files(), store.path)


def test_rewards_of_fewer_rows_than_responses_are_an_error(store: Store) -> None:
    fields = json.loads((store.path / MANIFEST).read_text("utf-8"))
    next(file for file in fields["files"] if file["role"] == "rewards")["rows"] -= 1
    manifest = Manifest.from_json(json.dumps(fields), store.path)
    with pytest.raises(StoreError, match="responses in data/"):
        reward_files(manifest, "crm", manifest.data_files(), store.path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": "rewards/crm/train-0.parquet"}, "is not rewards/<name>/chat"),
        ({"path": "rewards/CRM/chat/train-0.parquet"}, "is not rewards/<name>/chat"),
        ({"path": "data/crm/chat/train-0.parquet"}, "is not rewards/<name>/chat"),
        ({"domain": "math"}, "is not rewards/<name>/math"),
        ({"rows": -1}, "not a number of 0 or more"),
        ({"rows": None}, "rows is missing"),
    ],
)
def test_a_manifest_with_files_of_rewards_elsewhere_is_refused(store: Store, change: dict[str, Any], said: str) -> None:
    fields = json.loads((store.path / MANIFEST).read_text("utf-8"))
    file = next(file for file in fields["files"] if file["role"] == "rewards" and file["domain"] == "chat")
    file.update(change)
    with pytest.raises(StoreError, match=said):
        Manifest.from_json(json.dumps(fields), store.path)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "rewards is missing or not an object"),
        ({"crm": 1}, "rewards.crm is missing or not an object"),
        ({"../crm": {"model": "m", "responses": 1, "scored": 1, "without": {}}}, "rewards '../crm': made of"),
        ({"crm": {"model": "m", "responses": 1, "scored": -1, "without": {}}}, "rewards.crm.scored"),
        ({"crm": {"model": "m", "responses": 1, "scored": 1, "without": {"x": "y"}}}, "rewards.crm.without.x"),
        ({"crm": {"model": "m", "revision": 3, "responses": 1, "scored": 1, "without": {}}}, "rewards.crm.revision"),
    ],
)
def test_what_a_manifest_tells_of_rewards_is_checked(store: Store, told: Any, said: str) -> None:
    fields = json.loads((store.path / MANIFEST).read_text("utf-8")) | {"rewards": told}
    with pytest.raises(StoreError, match=said):
        Manifest.from_json(json.dumps(fields), store.path)


def test_the_same_rewards_give_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        path = with_given(make_store(tmp_path / name, make_rows({"math": 25})), "crm", by_hand)
        contents.append({file.name: file.read_bytes() for file in sorted((path / "rewards").rglob("*.parquet"))})
    assert contents[0] == contents[1]


def test_a_manifest_without_rewards_says_nothing_of_them(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 3})))
    assert "rewards" not in json.loads(store.manifest.to_json())


@pytest.mark.parametrize("damage", ["cut", "flipped", "columns", "apart", "null"])
def test_a_damaged_file_is_one_error_that_names_it(store: Store, damage: str) -> None:
    path = sorted((store.path / "rewards" / "crm" / "math").iterdir())[0]
    data = bytearray(path.read_bytes())
    table = pq.read_table(path)
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[len(data) // 3] ^= 0xFF
        path.write_bytes(data)
    elif damage == "columns":
        pq.write_table(table.drop_columns(["reason"]), path)
    elif damage == "apart":
        pq.write_table(table.take(pa.array([*range(1, table.num_rows), 0])), path)
    else:
        rows = table.to_pylist()
        rows[0]["query_id"] = None
        pq.write_table(pa.Table.from_pylist(rows, REWARD_SCHEMA), path)
    with pytest.raises(StoreError) as error:
        read_rewards(path)
    assert f"{store.path}: rewards/crm/math/{path.name} cannot be read: " in str(error.value)


@pytest.mark.parametrize(
    ("reward", "reason", "said"),
    [
        (float("nan"), None, "nan is no finite number"),
        (float("inf"), None, "inf is no finite number"),
        (float("-inf"), "not-finite", "-inf is no finite number"),
        (None, None, "null, and no reason says why"),
        (None, "", "null, and no reason says why"),
        (1.5, "too-long", "1.5, and the reason 'too-long' says that there is none"),
    ],
)
def test_a_row_that_has_no_reward_and_does_not_say_why_is_one_located_error(
    store: Store, reward: float | None, reason: str | None, said: str
) -> None:
    path = sorted((store.path / "rewards" / "crm" / "math").iterdir())[0]
    rows = pq.read_table(path).to_pylist()
    rows[3] |= {"reward": reward, "reason": reason}
    table = pa.Table.from_pylist(rows, REWARD_SCHEMA)
    pq.write_table(table.replace_schema_metadata({OF_SHARD: store.data_files("math")[0].sha256}), path)
    relist(store.path)
    with pytest.raises(StoreError) as error:
        read_rewards(path)
    where = f"rewards/crm/math/{path.name} row 4 .reward (query {rows[3]['query_id']!r}, model {rows[3]['model']!r})"
    assert f"{store.path}: {where}: {said}. Score it again: coigp score STORE --as crm --overwrite" == str(error.value)
    (problem,) = Store.open(store.path).verify()
    assert problem.startswith(f"rewards/crm/math/{path.name}: row 4 .reward (query ")


def relist(path: Path) -> None:
    """Write the manifest anew with files of rewards as they are."""
    fields = json.loads((path / MANIFEST).read_text("utf-8"))
    for file in fields["files"]:
        if file["role"] == "rewards":
            data = (path / file["path"]).read_bytes()
            file |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (path / MANIFEST).write_text(json.dumps(fields), encoding="utf-8")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"scored": 3}, "rewards.crm.scored is 3, and its files have "),
        ({"without": {}}, "rewards.crm.without is none, and its files have too-long "),
        ({"without": {"empty": 1}}, "rewards.crm.without is empty 1, and its files have too-long "),
        ({"responses": 1}, "rewards.crm.responses is 1, and its files have "),
        ({"truncated": 5}, "rewards.crm.truncated is 5, and its files have 0"),
    ],
)
def test_verify_compares_what_a_manifest_counts_of_rewards_with_the_rows(
    store: Store, told: dict[str, Any], said: str
) -> None:
    assert store.verify() == []
    fields = json.loads((store.path / MANIFEST).read_text("utf-8"))
    fields["rewards"]["crm"] |= told
    (store.path / MANIFEST).write_text(json.dumps(fields), encoding="utf-8")
    (problem,) = Store.open(store.path).verify()
    assert problem.startswith(f"manifest.json: {said}")
    assert "Score it again: coigp score STORE --as crm --overwrite" in problem
