"""Shards at load time: even in queries, in weight, in domains, and never empty."""

from __future__ import annotations

import json
import logging
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from datasets.distributed import split_dataset_by_node
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from strategies import examples
from streaming import Row, key, load

from coig_p.errors import UsageError
from coig_p.pairs.plan import Group, ShardConfig, make_plan
from coig_p.pairs.weights import Pass


@pytest.mark.parametrize("prepared", [False, True])
def test_more_shards_than_queries_change_no_row_map_style(store: Path, prepared: bool, tmp_path: Path) -> None:
    """Whether the rows lie in the cache already or not."""
    rows = load(store, "all", streaming=False, cache_dir=str(tmp_path / ("cache" if prepared else "other")))
    for order in ({"shards": 1000}, {"world_size": 1000}):
        found = load(store, "all", streaming=False, cache_dir=str(tmp_path / "cache"), **order)
        assert list(found) == list(rows)


@examples(100)
@given(
    st.lists(st.integers(0, 9) | st.integers(0, 300), min_size=1, max_size=30).filter(any),
    st.integers(1, 12),
    st.none() | st.integers(0, 5),
)
def test_a_plan_has_every_query_once_in_even_shards(sizes: list[int], shards: int, seed: int | None) -> None:
    shards = min(shards, sum(sizes))
    groups = [Group("f", at, rows, 10 << 20, Pass(0, 10_000)) for at, rows in enumerate(sizes)]
    plan = make_plan(groups, ShardConfig(shuffle_seed=seed, shards=shards), 1)
    pieces = [[piece for block in shard for piece in block] for shard in plan]
    taken = [(piece.group.number, at) for piece in chain(*pieces) for at in range(piece.begin, piece.end)]
    everything = [(at, row) for at, rows in enumerate(sizes) for row in range(rows)]
    assert (taken if seed is None else sorted(taken)) == everything
    held = [sum(piece.end - piece.begin for piece in shard) for shard in pieces]
    assert max(held) - min(held) <= 1
    assert all(sum(piece.group.bytes for piece in block) <= 64 << 20 for shard in plan for block in shard)


@examples(100)
@given(
    st.lists(st.tuples(st.integers(0, 90), st.sampled_from([1, 50, 5_000, 10_000])), min_size=1, max_size=20),
    st.integers(1, 12),
    st.none() | st.integers(0, 5),
)
def test_shards_weigh_the_same_and_none_is_empty(sizes: list[tuple[int, int]], shards: int, seed: int | None) -> None:
    total = sum(rows for rows, _ in sizes)
    groups = [Group("f", at, rows, 1, Pass(1, fraction)) for at, (rows, fraction) in enumerate(sizes)]
    config = ShardConfig(shuffle_seed=seed, shards=shards)
    if total < shards:
        with pytest.raises(UsageError, match=f"^{total} queries cannot fill {shards} shards"):
            make_plan(groups, config, 1)
        assert len(make_plan(groups, config, 1, may_be_few=True)) == 1
        return
    pieces = [[piece for block in shard for piece in block] for shard in make_plan(groups, config, 1)]
    taken = [(piece.group.number, at) for piece in chain(*pieces) for at in range(piece.begin, piece.end)]
    assert sorted(taken) == [(at, row) for at, (rows, _) in enumerate(sizes) for row in range(rows)]
    assert all(sum(piece.end - piece.begin for piece in shard) for shard in pieces)
    held = [sum((piece.end - piece.begin) * piece.group.shown.fraction for piece in shard) for shard in pieces]
    even = sum(held) / shards
    if even >= 20_000:  # no query spans a shard, so that each can be as near as its queries allow
        assert max(abs(one - even) for one in held) <= 10_000 + 1


def test_few_row_groups_are_cut_finer_and_many_are_not() -> None:
    def plan(number: int, shards: int) -> list[list[Any]]:
        groups = [Group("f", at, 256, 1 << 20, Pass(0, 10_000)) for at in range(number)]
        made = make_plan(groups, ShardConfig(shuffle_seed=3, shards=shards), 1)
        return [[piece for block in shard for piece in block] for shard in made]

    for shard in plan(4, 4):
        assert len({piece.group.number for piece in shard}) > 1
    assert min(piece.end - piece.begin for shard in plan(4, 8) for piece in shard) == 32
    assert all(piece.end - piece.begin == 256 for shard in plan(16, 4) + plan(3, 1) for piece in shard)


FOUR = ("math", "chat", "novel", "role")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 4 domains with 75 queries each, every domain one row group."""
    rows = make_rows(dict.fromkeys(FOUR, 75), seed=1)
    for row in rows:  # each query has pairs
        row["responses"] = [
            {
                "model": f"m{at}",
                "text": f"答{at}",
                "scores": [{"judge": "j", "dimension": "overall", "score": 3 * at + 1}],
            }
            for at in range(3)
        ]
    return make_store(tmp_path_factory.mktemp("mixed") / "store", rows, rows_per_shard=1000, rows_per_group=256)


def per_rank(stream: Any, ranks: int) -> list[list[Row]]:
    return [list(split_dataset_by_node(stream, rank, ranks)) for rank in range(ranks)]


@pytest.mark.parametrize("seed", [None, 0, 7])
@pytest.mark.parametrize("split", ["train", "test"])
def test_shards_of_a_split_are_even_in_its_queries(mixed: Path, cache: str, split: str, seed: int | None) -> None:
    options = {"split": split, "test_size": 0.1, "shuffle_seed": seed}
    queries = {row["query_id"] for row in load(mixed, "all", split=split, test_size=0.1)}
    stream = load(mixed, "all", world_size=8, **options)
    found = per_rank(stream, 8)
    sizes = [len({row["query_id"] for row in own}) for own in found]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == len(queries)
    rows = list(stream)
    assert Counter(map(key, rows)) == Counter(map(key, load(mixed, "all", split=split, test_size=0.1)))
    for processes in (None, 2):
        again = load(mixed, "all", world_size=8, streaming=False, cache_dir=cache, num_proc=processes, **options)
        assert again.to_list() == rows
    iterator = iter(stream)
    seen = [next(iterator) for _ in range(len(rows) // 2)]
    again = load(mixed, "all", world_size=8, **options)
    again.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    assert seen + list(again) == rows


def test_shards_of_weighted_domains_are_even(mixed: Path) -> None:
    for weights in ({"math": 0.01}, {"math": 0.01, "chat": 2.5, "role": 0.3}):
        stream = load(mixed, "all", weights=weights, shuffle_seed=0, world_size=4)
        sizes = list(map(len, per_rank(stream, 4)))
        assert max(sizes) - min(sizes) <= 6  # a query is three rows
        assert Counter(map(key, stream)) == Counter(map(key, load(mixed, "all", weights=weights)))


def test_ranks_of_a_small_store_see_a_mixture(tmp_path: Path) -> None:
    few = make_store(tmp_path / "few", make_rows(dict.fromkeys(FOUR, 128)), rows_per_shard=1000, rows_per_group=256)
    for own in per_rank(load(few, "all", shuffle_seed=0, world_size=4), 4):
        assert len({row["domain"] for row in own}) > 1


def test_a_test_split_smaller_than_the_ranks_is_one_shard_and_train_an_error(mixed: Path, caplog: Any) -> None:
    options = {"test_size": 0.02, "shuffle_seed": 0, "world_size": 8}
    with caplog.at_level(logging.WARNING, logger="coig_p"):
        stream = load(mixed, "all", split="test", **options)
    assert "pass world_size=" not in caplog.text.lower()
    assert len({row["query_id"] for row in stream}) < 8
    found = per_rank(stream, 8)
    assert Counter(map(key, chain(*found))) == Counter(map(key, stream))
    assert max(map(len, found)) - min(map(len, found)) <= 1
    kept = len({row["query_id"] for row in load(mixed, "all", test_size=0.95)})
    with pytest.raises(UsageError, match=f"{kept} queries cannot fill 40 shards"):
        load(mixed, "all", test_size=0.95, shuffle_seed=0, shards=40)
    assert len(list(load(mixed, "all", test_size=0.95, shuffle_seed=0, world_size=5))) == 3 * kept
