"""One selecting of rows: what was asked for and what the store says, resolved once, for all who read."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from calibrating import as_config, calibration
from commands import run
from datasets import load_dataset
from make import make_rows, make_store

import coig_p
from coig_p.errors import UnknownNameError, UsageError
from coig_p.export.one_file import write_pairs
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import Exclusion
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.selection import RawSelection, Selection, one_split, option_names, select, select_raw
from coig_p.pairs.splits import SplitConfig
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.rewards import REWARDS, reward_path
from coig_p.store.store import Store

# A value of every option, other than its default. A new option must be added: whatever changes rows changes the id.
OTHER: dict[str, Any] = {
    "threshold": 3.0,
    "strict": True,
    "aggregation": "median",
    "judges": ("judge-a",),
    "include_self_judged": True,
    "labels": "scores",
    "strategy": "adjacent",
    "max_pairs_per_query": 2,
    "seed": 1,
    "format": "kto",
    "multi_turn": "last",
    "comparison_threshold": 1.0,
    "calibrate": as_config(calibration({"judge-a": (5, 1), "judge-b": (4, 2)})),
    "min_judges": 2,
    "same_judges": True,
    "agree_with": "crm",
    "min_reward_margin": 0.5,
    "exclude": Exclusion.of_ids(["math-0001"]),
    "both_orders": True,
    "test_size": 0.25,
    "validation_size": 0.125,
    "split_seed": 1,
    "clusters": "duplicates.parquet",
    "shuffle_seed": 3,
    "shards": 4,
    "world_size": 2,
    "workers": 2,
}
NEEDS: dict[str, dict[str, Any]] = {
    "split_seed": {"test_size": 0.25},
    "clusters": {"test_size": 0.25},
    "min_reward_margin": {"agree_with": "crm"},
}
WITH_OTHERS = OTHER | {"labels": "auto", "judges": ("judge-a", "judge-b")}
"""All at once; labels="scores" would leave the threshold of comparisons without effect; two judges must be there."""
CONFIGS = (PairConfig, SplitConfig, ShardConfig)


def manifest(
    domains: tuple[str, ...] = ("math", "chat"), splits: tuple[str, ...] = ("train",), conversations: int | None = None
) -> Manifest:
    files = [
        StoreFile(
            f"data/{domain}/{split}-0.parquet",
            "data",
            "0" * 64,
            1,
            rows=1,
            responses=1,
            domain=domain,
            split=split,
            conversations=conversations,
        )
        for domain in domains
        for split in splits
    ]
    files += [StoreFile(reward_path("crm", file), REWARDS, "0" * 64, 1, rows=1) for file in files]
    judges = {"judge-a": 1, "judge-b": 2}
    rewards = {"crm": {"model": "m", "responses": 1, "scored": 1, "without": {}}}
    return Manifest((1.0, 10.0), 2.0, "test", domains=domains, files=tuple(files), judges=judges, rewards=rewards)


def selected(weights: Mapping[str, float] | None = None, **options: Any) -> Selection:
    pairs, cut, order = (
        {name: options[name] for name in option_names(config) if name in options} for config in CONFIGS
    )
    found = manifest(conversations=1 if "multi_turn" in options else None)
    return select(found, PairConfig(**pairs), cut=SplitConfig(**cut), order=ShardConfig(**order), weights=weights)


def nothing_is_none(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(nothing_is_none, value.values()))
    if isinstance(value, (tuple, list)):
        return all(map(nothing_is_none, value))
    return value is not None


def test_a_selection_holds_no_none() -> None:
    raw = select_raw(manifest(), cut=SplitConfig(test_size=0.1))
    for selection in (selected(), selected(**WITH_OTHERS, weights={"math": 2}), raw, RawSelection()):
        for field in dataclasses.fields(selection):
            assert nothing_is_none(getattr(selection, field.name)), field.name
            assert "None" not in str(get_type_hints(type(selection))[field.name])


def test_defaults_are_resolved_from_the_manifest() -> None:
    found = selected(weights={"chat": 0.5})
    assert found.domains == ("math", "chat")
    assert found.splits == ("train",)
    assert found.threshold == 2.0
    assert found.weights == {"math": 1.0, "chat": 0.5}
    assert (found.pairs, found.cut, found.order) == (PairConfig(threshold=2), SplitConfig(), ShardConfig())
    assert found.weight("train", "chat") == 0.5
    assert found.weight("test", "chat") == found.weight("validation", "chat") == 1.0
    assert found.is_planned("train")
    assert not found.is_planned("test")
    assert not selected(weights={"chat": 1}).is_planned("train")


def test_what_was_given_comes_back() -> None:
    found = selected(**WITH_OTHERS)
    for config, back in zip(CONFIGS, (found.pairs, found.cut, found.order), strict=True):
        assert back == config(**{name: WITH_OTHERS[name] for name in option_names(config)})


def test_the_parts_of_a_store_that_is_cut_and_of_one_that_is_not() -> None:
    whole = select(manifest(splits=("train", "dev")), PairConfig())
    assert [(part.name, part.source, part.only) for part in whole.parts({})] == [
        ("train", "train", None),
        ("dev", "dev", None),
    ]
    cut = select(manifest(splits=("train", "dev")), PairConfig(), cut=SplitConfig(test_size=0.5))
    parts = cut.parts({"b": "a"})
    assert [(part.name, part.source) for part in parts] == [("train", "train"), ("test", "train"), ("dev", "dev")]
    train, test = (part.only for part in parts[:2])
    assert train is not None
    assert test is not None
    assert train.splits is test.splits
    assert train.splits.of("b") == train.splits.of("a")
    assert parts[2].only is None


def test_what_the_store_does_not_have_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown domain 'maths'. Did you mean 'math'\? Valid: chat, math"):
        select(manifest(), PairConfig(), domains=["maths"])
    with pytest.raises(UnknownNameError, match="unknown judge 'judge-c'"):
        select(manifest(), PairConfig(judges=("judge-c",)))
    with pytest.raises(UnknownNameError, match="unknown split 'dev'"):
        select_raw(manifest(), splits=["dev"])
    with pytest.raises(UnknownNameError, match="unknown domain in weights 'code'"):
        select(manifest(), PairConfig(), weights={"code": 1})
    with pytest.raises(UsageError, match="name one with --split"):
        one_split(manifest(splits=("train", "dev")), None)
    assert one_split(manifest(splits=("train", "dev")), "dev") == "dev"
    assert one_split(manifest(splits=("train", "dev")), None, SplitConfig(test_size=0.1)) == "train"


def test_every_option_that_can_change_a_row_changes_the_identity() -> None:
    assert set(OTHER) == {name for config in CONFIGS for name in option_names(config)}
    for name, value in OTHER.items():
        if name in ("shards", "world_size", "workers"):
            assert selected(**{name: value}).identity() == selected().identity(), "it changes no row without a shuffle"
            shuffled = selected(shuffle_seed=3)
            assert selected(shuffle_seed=3, **{name: value}).identity() != shuffled.identity(), name
        elif name == "clusters":  # their content is in the id, not their name: see test_builder.py
            assert selected(clusters=value, test_size=0.25).identity() == selected(test_size=0.25).identity()
        else:
            needed = NEEDS.get(name, {})
            assert selected(**needed, **{name: value}).identity() != selected(**needed).identity(), name
    assert selected(weights={"math": 2}).identity() != selected().identity()
    assert select(manifest(), PairConfig(), domains=["math"]).identity() != selected().identity()
    assert select(manifest(), PairConfig(), domains=["chat", "math"]).identity() != selected().identity()
    assert select_raw(manifest()).identity() != selected().identity()


def test_a_default_and_the_same_value_spelled_out_share_an_identity() -> None:
    for spelled in (
        {"threshold": 2},
        {"strict": False},
        {"seed": 0},
        {"format": "dpo"},
        {"test_size": None},
        {"min_judges": 1},
        {"same_judges": False},
        {"calibrate": None},
        {"comparison_threshold": 2},
        {"agree_with": None},
        {"exclude": None},
        {"both_orders": None},
        {"both_orders": False},
    ):
        assert selected(**spelled).identity() == selected().identity()
    assert selected(agree_with="crm", min_reward_margin=0).identity() == selected(agree_with="crm").identity()
    assert selected(weights={"math": 1, "chat": 1.0}).identity() == selected().identity()
    assert selected(judges=["judge-b", "judge-a"]).identity() == selected(judges=("judge-a", "judge-b")).identity()


def test_a_selection_can_be_sent_to_another_process() -> None:
    for selection in (selected(**WITH_OTHERS), select_raw(manifest())):
        assert pickle.loads(pickle.dumps(selection)) == selection


# The manifest is read once a call.


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every reading of a manifest, in order."""
    found: list[object] = []
    stock = Manifest.from_json

    def from_json(text: str, store: object, *others: Any) -> Manifest:
        found.append(store)
        return stock(text, store, *others)

    monkeypatch.setattr(Manifest, "from_json", from_json)
    return found


def test_the_manifest_is_read_once_a_call(store: Path, tmp_path: Path, cache: str, reads: list[object]) -> None:
    where: dict[str, Any] = {"data_dir": str(store), "split": "train"}
    coig_p.load_dataset("math", cache_dir=cache, **where)
    coig_p.load_dataset("math", test_size=0.2, weights=None, streaming=True, **where)
    assert len(reads) == 2
    write_pairs(store, tmp_path / "pairs.parquet", PairConfig())
    export_store(store, tmp_path / "a", ExportConfig("trl-kto"))
    assert len(reads) == 4
    export_store(Store.open(store), tmp_path / "b", ExportConfig("trl-kto"))
    run("export", store, "--for", "trl-dpo", "--out", tmp_path / "c")
    assert len(reads) == 6
    load_dataset("coig-p", "math", streaming=True, **where)
    assert len(reads) == 7


def test_builder_export_and_one_file_select_the_same_rows(tmp_path: Path, cache: str) -> None:
    store = make_store(tmp_path / "store", make_rows({"math": 20, "chat": 20}, seed=5))
    options: dict[str, Any] = {
        "threshold": 1.5,
        "judges": ["judge-a"],
        "strategy": "adjacent",
        "max_pairs_per_query": 1,
    }
    loaded = load_dataset("coig-p", "math", data_dir=str(store), split="train", cache_dir=cache, **options)
    counts, _ = write_pairs(store, tmp_path / "pairs.jsonl", PairConfig(**options), domains=["math"])
    written = export_store(store, tmp_path / "out", ExportConfig("trl-dpo", PairConfig(**options), domains=["math"]))
    assert counts == {"math": loaded.num_rows} == dict(written.splits["train"].rows_by_domain)
    assert loaded.num_rows > 5
