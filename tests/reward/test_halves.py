"""Halves of a store: by query, near-duplicates on one side, the same whatever else the store has."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from commands import run
from make import Rows, make_rows, make_store

from coig_p.dedup.queries import DedupConfig, find_duplicates, read_queries
from coig_p.errors import DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import Exclusion
from coig_p.reward.bench.from_store import select_items
from coig_p.reward.halves import FILES, half_of, query_groups, write_halves
from coig_p.reward.training_pairs import read_training_pairs
from coig_p.store.store import Store

ASKED = "请写一首关于春天的诗，要有花有鸟有月亮，不要太长，大约四句话就可以了"


def rows(number: int, copies: int = 3, seed: int = 0) -> Rows:
    """Queries of which every fourth has near-duplicates."""
    drawn = random.Random(seed)
    found = make_rows({"chat": number * copies, "math": number}, seed)
    hanzi = [chr(0x4E00 + at) for at in range(0, 3000, 7)]
    for at, row in enumerate(found):
        row["query"] = "".join(drawn.choices(hanzi, k=30))
        if at % 4 == 0 and at:
            row["query"] = found[at - 1]["query"] + "？"
        if at % 12 == 0:
            row["query"] = ASKED + "！" * (at % 5)
    return found


def read(folder: Path) -> list[list[str]]:
    return [(folder / name).read_text("utf-8").split("\n")[:-1] for name in FILES]


def test_halves_are_the_store_and_no_near_duplicate_is_in_both(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", rows(60)))
    assert write_halves(store, tmp_path / "halves") == [len(one) for one in read(tmp_path / "halves")]
    first, second = map(set, read(tmp_path / "halves"))
    ids = {one for batch in store.batches() for one in batch.column("query_id").to_pylist()}
    assert first | second == ids
    assert not first & second
    assert 80 < len(first) < 160  # of 240, where a group of twenty lies in one
    alike = find_duplicates(read_queries(store), DedupConfig())
    assert alike.num_rows > 60
    for one, other in zip(alike.column("query_id").to_pylist(), alike.column("survivor").to_pylist(), strict=True):
        assert (one in first) == (other in first)


def test_order_shards_and_added_queries_move_none(tmp_path: Path) -> None:
    some = rows(40)
    more = make_rows({"novel": 30}, seed=5)
    for at, row in enumerate(more):
        row["query"] = f"完全不同的问题{at}" + "".join(chr(0x5000 + 40 * at + k) for k in range(20))
    write_halves(Store.open(make_store(tmp_path / "a", some)), tmp_path / "ha")
    write_halves(Store.open(make_store(tmp_path / "b", [*more, *some[::-1]], rows_per_shard=3)), tmp_path / "hb")
    before, after = ([set(one) for one in read(tmp_path / name)] for name in ("ha", "hb"))
    assert before[0] < after[0]
    assert before[1] < after[1]


def test_training_on_a_half_reads_that_half(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", rows(30)))
    write_halves(store, tmp_path / "halves")
    selection, split = select_items(store, PairConfig(), (), None)
    every = {item.id for item in read_training_pairs(store, selection, split).items}
    for half, ids in enumerate(read(tmp_path / "halves"), 1):
        found = {item.id for item in read_training_pairs(store, selection, split, half=half).items}
        assert found == every & set(ids)
        assert found
        other = tmp_path / "halves" / FILES[2 - half]
        without, _ = select_items(store, PairConfig(exclude=Exclusion.of(other)), (), None)
        assert {item.id for item in read_training_pairs(store, without, split).items} == found


def test_an_empty_half_is_one_error_and_nothing_is_written(tmp_path: Path) -> None:
    alike = make_rows({"chat": 3})
    for at, row in enumerate(alike):
        row["query"] = ASKED + "！" * at
    make_store(tmp_path / "store", alike)
    said = run("reward", "halves", tmp_path / "store", "--out", tmp_path / "halves", code=1).stderr
    assert "has no query, and the other is the whole store" in said
    assert "3 of them lie together, as near-duplicates" in said
    assert not (tmp_path / "halves").exists()
    make_store(tmp_path / "one", alike[:1])
    with pytest.raises(DataError, match="it has 1 query, and a query's half is its hash's"):
        write_halves(Store.open(tmp_path / "one"), tmp_path / "halves")


def test_the_half_is_the_groups_whoever_is_asked(tmp_path: Path) -> None:
    groups = query_groups(Store.open(make_store(tmp_path / "store", rows(20))))
    assert len(set(groups.values())) < len(groups)
    for one, group in groups.items():
        assert half_of(one, groups) == half_of(group, groups) == half_of(group, {})


def test_the_command_writes_two_files_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    make_store(tmp_path / "store", rows(10))
    words = ("reward", "halves", tmp_path / "store", "--out", tmp_path / "halves")
    run(*words)
    assert "--overwrite" in run(*words, code=2).stderr
    told = json.loads(run(*words, "--overwrite", "--json").stdout)
    assert told == {"halves": str(tmp_path / "halves"), "queries": [len(one) for one in read(tmp_path / "halves")]}
    with pytest.raises(UsageError, match="inside the store"):
        write_halves(Store.open(tmp_path / "store"), tmp_path / "store" / "halves")
