"""Rewards of a model in a release: the same files, told of in its card, and in nobody's way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import load_dataset
from make import make_rows, make_store, twin
from making import CARD
from rewarding import with_given

from coig_p.publish.plan import read_release
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.publish.verify import expected_rows
from coig_p.store.store import Store
from coig_p.validation import check


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = make_store(tmp_path_factory.mktemp("rewards") / "store", twin())
    (path / "card.toml").write_text(CARD, encoding="utf-8")
    return Store.open(
        with_given(path, "crm", lambda _, model, *__: None if model == twin()[0]["responses"][0]["model"] else 1.5)
    )


@pytest.fixture(scope="module")
def released(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_release(store, tmp_path_factory.mktemp("released") / "out", ReleaseConfig("1.0.0"))


def of_rewards(store: Store) -> dict[str, bytes]:
    return {file.path: (store.path / file.path).read_bytes() for file in store.manifest.files if file.role == "rewards"}


def test_a_release_has_the_rewards_of_its_store(store: Store, released: Store) -> None:
    assert of_rewards(released) == of_rewards(store)
    assert len(of_rewards(released)) == len(store.data_files())
    assert released.manifest.rewards == store.manifest.rewards
    assert released.verify() == []


def test_the_card_says_who_gave_how_many(released: Store) -> None:
    told = released.manifest.rewards["crm"]
    english, chinese = ((released.path / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))
    assert "`crm`: rewards of tests, on its own scale" in english
    assert f"for {told['scored']:,} of {told['responses']:,} responses" in english
    assert f"without one, {told['without']['too-long']:,} too-long" in english
    assert f"{told['responses']:,} 个回答中 {told['scored']:,} 个有奖励" in chinese


def test_the_stock_library_loads_what_it_loaded_before(released: Store) -> None:
    assert set(expected_rows(read_release(released.path, "1.0.0"))) == {
        "default",
        "math",
        "chat",
        "math-raw",
        "chat-raw",
    }
    for config in ("default", "math", "chat-raw"):
        rows = load_dataset(str(released.path), config, split="train", streaming=True)
        assert len(list(rows)) == expected_rows(read_release(released.path, "1.0.0"))[config]["train"]


def test_a_store_with_rewards_passes_its_check(store: Store) -> None:
    report = check(store)
    assert report.by_rule()["files"] == 0


@pytest.mark.parametrize("wrong", ["of another shard", "not listed", "not named", "changed"])
def test_rewards_that_are_not_as_the_manifest_says_are_told(tmp_path: Path, wrong: str) -> None:
    path = with_given(make_store(tmp_path / "store", make_rows({"math": 25})), "crm", lambda *_: 1.0)
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    files = [file for file in manifest["files"] if file["role"] == "rewards"]
    said = "not listed in manifest.json, which names its rewards"
    if wrong == "of another shard":
        data = next(file for file in manifest["files"] if file["role"] == "data")
        other = make_store(tmp_path / "other", make_rows({"math": 25}, seed=1))
        (path / data["path"]).write_bytes((other / data["path"]).read_bytes())
        theirs = json.loads((other / "manifest.json").read_text("utf-8"))
        data.update(next(file for file in theirs["files"] if file["path"] == data["path"]))
        data["responses"] = next(file for file in files if file["path"].endswith(data["path"][5:]))["rows"]
        said = "it is of another data/math/train-00000-of-00002.parquet than manifest.json lists. Score it again"
    elif wrong == "not listed":
        manifest["files"].remove(files[0])
    elif wrong == "not named":
        del manifest["rewards"]
        said = "of no shard, or of rewards that manifest.json does not name"
    else:
        place = path / files[0]["path"]
        place.write_bytes(place.read_bytes()[:-1] + b"x")
        said = "sha256"
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    problems = Store.open(path).verify()
    assert problems
    assert any(problem.startswith("rewards/crm/math/") and said in problem for problem in problems)
    assert check(path).by_rule()["files"] == len(problems)
