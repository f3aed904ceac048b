"""Stores that are none, that are one, that have one name, that were damaged or change while they are read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from compared import imported, labelled, scored, verdicts
from make import completed, make_store

from coig_p.errors import StoreError, UnknownNameError, UsageError
from coig_p.evaluate.compare import CompareConfig, measuring, side_by_side
from coig_p.evaluate.compare.floor import NO_PAIR, split_of
from coig_p.evaluate.compare.opening import distinct, open_stores
from coig_p.evaluate.compare.tables import NONE, sections
from coig_p.pairs.config import PairConfig

QUICK = CompareConfig(floor=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return scored(tmp_path / "store", queries=6)


def shard(path: Path) -> Path:
    return min(path.rglob("*.parquet"))


def test_a_store_given_twice_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store)
    for other in (store, tmp_path / "link", tmp_path / "." / "store"):
        with pytest.raises(UsageError, match="the same store: name it once"):
            open_stores([store, other])
    with pytest.raises(UsageError, match="no store is named"):
        open_stores([])


def test_two_of_one_name_get_their_folders_in_front(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        scored(tmp_path / name / "store", queries=3)
    found = open_stores([tmp_path / "a" / "store", tmp_path / "b" / "store", scored(tmp_path / "own", queries=3)])
    assert [one.name for one in found] == ["a/store", "b/store", "own"]


def test_names_are_distinct_whatever_they_are() -> None:
    assert distinct(["s", "s", "t"], ["/x/a/s", "/y/a/s", "/t"]) == ["x/a/s", "y/a/s", "t"]
    assert distinct(["o/n", "o/n"], ["hf://datasets/o/n@1", "hf://datasets/o/n@2"]) == ["o/n@1", "o/n@2"]
    for names, roots in (
        (["o/n", "o/n"], ["hf://datasets/o/n@1", "hf://datasets/o/n@2"]),
        (["s", "s", "a/s"], ["/a/s", "/b/s", "/c/a/s"]),
        (["s", "s"], ["/s", "/a/s"]),
    ):
        assert len(set(distinct(names, roots))) == len(names)


@pytest.mark.parametrize("kind", ["nothing", "a file", "an empty folder", "a truncated shard", "no shard"])
def test_what_is_no_whole_store_is_refused_before_anything_is_read(store: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    if kind == "a file":
        other.write_text("{}")
    elif kind == "an empty folder":
        other.mkdir()
    elif kind != "nothing":
        shutil.copytree(store, other)
        place = shard(other)
        if kind == "no shard":
            place.unlink()
        else:
            place.write_bytes(place.read_bytes()[:-9])
    with (
        mock.patch.object(measuring, "statistics", side_effect=AssertionError),
        pytest.raises(StoreError, match="other"),
    ):
        side_by_side([store, other], QUICK)


def test_a_shard_of_the_same_size_with_other_bytes_is_refused(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(store, other)
    data = bytearray(shard(other).read_bytes())
    data[len(data) // 3] ^= 1
    shard(other).write_bytes(data)
    with pytest.raises(StoreError, match=rf"other: {shard(other).relative_to(other)}: sha256 .* coigp verify"):
        side_by_side([store, other], QUICK)


def test_a_file_that_the_manifest_does_not_list_is_refused_as_verify_tells_it(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(store, other)
    (other / "notes.txt").write_text("x")
    with pytest.raises(StoreError, match=r"other: notes\.txt: not listed in .* coigp verify"):
        side_by_side([store, other], QUICK)
    (other / "more.txt").write_text("x")
    with pytest.raises(StoreError, match="and 1 more problem"):
        side_by_side([store, other], QUICK)


@pytest.mark.parametrize("when", ["while it is measured", "after it was measured"])
def test_a_store_that_changes_is_refused(store: Path, tmp_path: Path, when: str) -> None:
    other = scored(tmp_path / "other", 1, 6)
    before, changed = shard(store), tmp_path / "copy"
    shutil.copyfile(before, changed)
    measured = measuring.written_in

    def change(read: Any) -> Any:
        if (read.path == store) == (when == "while it is measured"):
            os.replace(changed, before) if changed.exists() else None
        return measured(read)

    with (
        mock.patch.object(measuring, "written_in", change),
        pytest.raises(StoreError, match="changed while it was read"),
    ):
        side_by_side([store, other], QUICK)


def test_an_unknown_judge_is_an_error_that_names_the_store(store: Path, tmp_path: Path) -> None:
    other = verdicts(tmp_path / "other", ["问题一是什么？"])
    config = CompareConfig(pairs=PairConfig(judges=("judge-a",)), floor=False)
    with pytest.raises(UsageError, match=r"other: .*judge-a"):
        side_by_side([store, other], config)
    with pytest.raises(UsageError, match="agree_with"):
        CompareConfig(pairs=PairConfig(agree_with="x"))


def test_stores_without_pairs_rows_or_answers_have_empty_cells_with_reasons(store: Path, tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "query_id": "q",
        "domain": "chat",
        "query": "问题",
        "source": None,
        "responses": [],
        "comparisons": None,
    }
    without = {
        "labels": labelled(tmp_path / "labels"),
        "unanswered": make_store(tmp_path / "unanswered", completed([row])),
        "empty": make_store(tmp_path / "empty", []),
    }
    found = side_by_side([store, *without.values()], CompareConfig(max_responses=60))
    for one in found.stores[1:]:
        assert one.counts.pairs == 0
        assert one.empty["floor"] == one.empty["pairs"] == NO_PAIR
        assert one.floor is None
        assert one.chosen_longer.share is None
        assert one.characters.prompt_length.mean is None
        for beside in found.stores:
            if beside is not one:
                across = [found.between(one.name, beside.name), found.between(beside.name, one.name)]
                assert all(of is not None and of.floor is None and of.why for of in across)
    assert found.stores[3].findings.per_thousand(0) is None
    lengths = next(section for section in sections(found) if section.title == "Lengths")
    assert [row[1:] for row in lengths.rows[1:]] == [(NONE,) * 3] * 3
    assert json.loads(found.to_json())["stores"][1]["floor"] is None


def test_a_store_of_several_splits_without_train_has_no_floor(tmp_path: Path, store: Path) -> None:
    rows = [{"prompt": f"问题{at}？", "chosen": "好的答案。", "rejected": "差。"} for at in range(8)]
    imported(tmp_path / "dev", rows, split="dev")
    found = side_by_side([tmp_path / "dev", store], CompareConfig(max_responses=40))
    assert found.stores[0].floor is not None
    assert found.stores[0].floor.split == "dev"
    found = side_by_side([tmp_path / "dev", store], CompareConfig(max_responses=40, split="train"))
    assert found.stores[0].floor is None
    assert found.stores[0].empty["floor"] == "it has no split train: its splits are dev"
    assert found.stores[1].floor is not None
    assert "no split train" in (found.across[0].why or "")
    for config in (CompareConfig(split="nope"), CompareConfig(split="")):
        with pytest.raises(UnknownNameError, match="unknown split"):
            side_by_side([tmp_path / "dev", store], config)
    with pytest.raises(UsageError, match="split is of the floor"):
        CompareConfig(floor=False, split="dev")


def test_several_splits_without_train_ask_for_one() -> None:
    of_two = mock.Mock(**{"manifest.splits.return_value": ["dev", "extra"]})
    with pytest.raises(UsageError, match="its splits are dev,extra: name one with --split"):
        split_of(of_two, None)
    with pytest.raises(UsageError, match="it has no split x: its splits are dev,extra"):
        split_of(of_two, "x")
