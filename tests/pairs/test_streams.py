"""Splits, weights, shuffles and shards at load time: exact, stable, and every row once on any ranks and workers."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from oracle import oracle_pairs
from strategies import examples

from coig_p.builder import CoigP
from coig_p.core import arrays
from coig_p.dedup.clusters import DUPLICATES
from coig_p.errors import DataError, StoreError, UsageError
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import Group, ShardConfig, make_plan
from coig_p.pairs.splits import SplitConfig, Splits, read_clusters
from coig_p.pairs.stream import Shard, shard_tables
from coig_p.pairs.weights import Pass, parse_weights, passes, rows_shown

Row = dict[str, Any]
SIZES: dict[str, Any] = {"test_size": 0.2, "validation_size": 0.1}
OVERALL: Row = {"judge": "judge-a", "dimension": "overall", "rationale": None}
NAMES = ("query_id", "chosen_model", "rejected_model")

needs_shards = pytest.mark.skipif(
    not hasattr(datasets.IterableDataset, "shard"), reason="this datasets has no IterableDataset.shard"
)


def load(store: Path, name: str = "math", **options: Any) -> Any:
    keywords = {"data_dir": str(store), "split": "train", "streaming": True, **options}
    return load_dataset("coig-p", name, **keywords)


def key(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in NAMES)


@pytest.fixture(scope="module")
def pairs(rows: list[Row]) -> list[Row]:
    return oracle_pairs(rows, threshold=2)


def math_of(pairs: list[Row]) -> list[Row]:
    return [pair for pair in pairs if pair["domain"] == "math"]


# sft


def test_sft_rows_are_the_chosen_responses_once(store: Path, pairs: list[Row], cache: str) -> None:
    found = load(store, "all", format="sft", streaming=False, cache_dir=cache).to_list()
    wanted = {(pair["query_id"], pair["chosen_model"]): pair for pair in pairs}
    assert {(row["query_id"], row["model"]) for row in found} == set(wanted)
    assert len(found) == len(wanted)
    for row in found:
        pair = wanted[row["query_id"], row["model"]]
        assert (row["prompt"], row["completion"], row["score"]) == (
            pair["prompt"],
            pair["chosen"],
            pair["chosen_score"],
        )


# Splits


def test_splits_are_whole_queries_the_same_map_style_and_streaming(store: Path, pairs: list[Row], cache: str) -> None:
    found = load(store, "all", split=None, streaming=False, cache_dir=cache, **SIZES)
    assert list(found) == ["train", "validation", "test"]
    split = Splits(SplitConfig(**SIZES), {})
    for name, part in found.items():
        assert part.to_list() == [pair for pair in pairs if split.of(pair["query_id"]) == name]
        assert list(load(store, "all", split=name, **SIZES)) == part.to_list()
        assert part.num_rows > 0


def test_raw_rows_are_split_alike(store: Path, rows: list[Row]) -> None:
    split = Splits(SplitConfig(test_size=0.3), {})
    for name in ("train", "test"):
        wanted = [row for row in rows if split.of(row["query_id"]) == name]
        assert list(load(store, "all-raw", split=name, test_size=0.3)) == wanted


@examples(50)
@given(st.floats(0.01, 0.6), st.floats(0.01, 0.35), st.integers(0, 9))
def test_shares_are_those_asked_for_in_every_domain(test: float, validation: float, seed: int) -> None:
    split = Splits(SplitConfig(test, validation, seed), {})
    for domain in ("math", "chat", "novel"):
        found = Counter(split.of(f"{domain}-{at}") for at in range(2000))
        for name, share in (("test", test), ("validation", validation)):
            # Five standard deviations of a binomial draw.
            assert abs(found[name] / 2000 - share) < 5 * (share * (1 - share) / 2000) ** 0.5


def test_growth_moves_no_query(tmp_path: Path) -> None:
    rows = make_rows({"math": 60, "chat": 40}, seed=3)
    few = make_store(tmp_path / "few", [row for at, row in enumerate(rows) if at % 3])
    many = make_store(tmp_path / "many", rows[::-1], rows_per_shard=17)
    sides = [
        {name: {row["query_id"] for row in load(store, "all", split=name, **SIZES)} for name in ("train", "test")}
        for store in (few, many)
    ]
    for name, other in (("train", "test"), ("test", "train")):
        assert sides[0][name] <= sides[1][name]
        assert not sides[0][name] & sides[1][other]


def clusters_file(path: Path, clusters: list[list[str]], methods: list[str] | None = None) -> Path:
    rows: list[Row] = [
        {"cluster": at, "query_id": one, "survivor": cluster[0], "similarity": 1.0}
        for at, cluster in enumerate(clusters)
        for one in cluster
    ]
    for row in rows:
        row["method"] = methods[row["cluster"]] if methods else "minhash"
    pq.write_table(pa.Table.from_pylist(rows, schema=DUPLICATES), path)
    return path


def test_near_duplicates_stay_on_one_side(store: Path, rows: list[Row], tmp_path: Path) -> None:
    ids = [row["query_id"] for row in rows]
    clusters = [ids[at : at + 5] for at in range(0, 100, 5)]
    path = clusters_file(tmp_path / "duplicates.parquet", clusters)
    where = {}
    for name in ("train", "test", "validation"):
        for row in load(store, "all-raw", split=name, clusters=str(path), **SIZES):
            where[row["query_id"]] = name
    assert len(where) == len(ids)
    assert all(len({where[one] for one in cluster}) == 1 for cluster in clusters)
    alone = Splits(SplitConfig(**SIZES), {})
    assert any(len({alone.of(one) for one in cluster}) > 1 for cluster in clusters)
    assert all(where[one] == alone.of(one) for one in ids[100:])


def test_clusters_of_several_methods_that_share_a_query_are_one(tmp_path: Path) -> None:
    path = clusters_file(
        tmp_path / "c.parquet", [["b", "c"], ["c", "a"], ["x", "y"]], ["minhash", "semantic", "minhash"]
    )
    assert read_clusters(path) == {"a": "a", "b": "a", "c": "a", "x": "x", "y": "x"}
    rows = [{"cluster": 0, "query_id": q, "method": m} for q, m in (("a", "one"), ("b", "one"), ("c", "other"))]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert read_clusters(path) == {"a": "a", "b": "a", "c": "c"}


@pytest.mark.parametrize("column", ["query_id", "cluster"])
def test_a_null_in_a_clusters_file_is_an_error(tmp_path: Path, column: str) -> None:
    rows: list[Row] = [
        {"cluster": 0, "query_id": "a"},
        {"cluster": 0, "query_id": "b"},
        {"cluster": 1, "query_id": "c"},
    ]
    rows[1][column] = None
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    with pytest.raises(DataError, match=f"c.parquet: row 2: its {column} is null"):
        read_clusters(tmp_path / "c.parquet")


def test_a_stores_own_clusters_are_found(tmp_path: Path) -> None:
    from dataclasses import replace

    from coig_p.store.manifest import MANIFEST
    from coig_p.store.store import Store
    from coig_p.store.writing import describe_file

    here = make_store(tmp_path / "store", make_rows({"math": 40}))
    ids = [f"math-{at:04d}" for at in range(40)]
    clusters_file(here / "duplicates.parquet", [ids[:20], ids[20:]])
    manifest = Store.open(here).manifest
    own = describe_file(here, "duplicates.parquet", "duplicates", rows=40)
    (here / MANIFEST).write_text(replace(manifest, files=(*manifest.files, own)).to_json(), "utf-8")
    configs = (SplitConfig(test_size=0.5, split_seed=seed) for seed in range(100))
    splits = next(
        found for found in (Splits(config, {}) for config in configs) if found.of(ids[0]) != found.of(ids[20])
    )
    seed = splits.config.split_seed
    for name, half in (("train", ids[:20]), ("test", ids[20:])):
        side = {row["query_id"] for row in load(here, "math-raw", split=name, test_size=0.5, split_seed=seed)}
        assert side in ({*ids[:20]}, {*ids[20:]})
        assert (side == {*half}) == (splits.of(half[0]) == name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"test_size": 100}, "a share between 0 and 1"),
        ({"test_size": 0.0}, "a share between 0 and 1"),
        ({"test_size": True}, "a share between 0 and 1"),
        ({"validation_size": float("nan")}, "a share between 0 and 1"),
        ({"test_size": 0.5, "validation_size": 0.5}, "nothing to train on"),
        ({"split_seed": 3}, "name one"),
        ({"test_size": 0.1, "split_seed": 1.5}, "whole number"),
        ({"test_size": 0.1, "clusters": "absent.parquet"}, "No such file"),
        ({"weights": {"maths": 2}}, "Did you mean 'math'"),
        ({"weights": {"math": -1}}, "0 or more"),
        ({"weights": {"math": float("inf")}}, "0 or more"),
        ({"weights": {"math": 1e8}}, "math=100000000.0: use 1,000 or less"),
        ({"weights": "math=1000.5"}, "use 1,000 or less"),
        ({"test_size": 0.1, "clusters": 5}, "clusters=5: use the path"),
        ({"weights": {"math": 0, "chat": 0}}, "nothing is left"),
        ({"weights": "math"}, "not of the form"),
        ({"weights": [2, 1]}, "use a dict"),
        ({"shuffle_seed": "1"}, "whole number"),
        ({"shards": 0}, "whole number of 1 or more"),
        ({"shards": 10, "world_size": 4}, "use 8"),
        ({"shards": 151}, "cannot fill 151 shards"),
        ({"shards": 151, "shuffle_seed": 0, "streaming": False}, "cannot fill 151 shards"),
    ],
)
def test_options_that_cannot_be_right(store: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(store, "all", **options)
    assert words in str(caught.value)


@pytest.mark.parametrize("prepared", [False, True])
def test_more_shards_than_queries_change_no_row_map_style(store: Path, prepared: bool, tmp_path: Path) -> None:
    """Whether the rows lie in the cache already or not."""
    rows = load(store, "all", streaming=False, cache_dir=str(tmp_path / ("cache" if prepared else "other")))
    for order in ({"shards": 1000}, {"world_size": 1000}):
        found = load(store, "all", streaming=False, cache_dir=str(tmp_path / "cache"), **order)
        assert list(found) == list(rows)


def test_what_is_for_other_configs(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="load the config 'all'"):
        load(store, "math", weights={"math": 2})
    for option in ({"shuffle_seed": 1}, {"weights": {"math": 2}}):
        with pytest.raises(UsageError, match="no effect"):
            load(store, "all-raw", **option)
    (tmp_path / "x.parquet").write_text("")
    with pytest.raises(DataError, match="coigp dedup"):
        load(store, "math", test_size=0.1, clusters=str(tmp_path / "x.parquet"))


# Mixtures


WEIGHTS = [{"math": 2}, {"math": 2, "chat": 0.5}, {"math": 0.37, "chat": 0}, {"chat": 2.5}, {"math": 0.0001}]


@pytest.mark.parametrize(
    ("weights", "form"), [*((weights, "dpo") for weights in WEIGHTS), (WEIGHTS[1], "kto"), (WEIGHTS[2], "kto")], ids=str
)
def test_weights_give_exact_counts_map_style_and_streaming(
    store: Path, cache: str, weights: dict[str, float], form: str
) -> None:
    names = NAMES if form == "dpo" else ("query_id", "model", "label")
    natural: dict[str, Counter[Any]] = {"math": Counter(), "chat": Counter()}
    for row in load(store, "all", format=form):
        natural[row["domain"]][tuple(row[name] for name in names)] += 1
    found = list(load(store, "all", weights=weights, format=form))
    assert load(store, "all", weights=weights, format=form, streaming=False, cache_dir=cache).to_list() == found
    shown: dict[str, Counter[Any]] = {"math": Counter(), "chat": Counter()}
    for row in found:
        shown[row["domain"]][tuple(row[name] for name in names)] += 1
    for domain, once in natural.items():
        weight = weights.get(domain, 1)
        assert shown[domain].total() == int(once.total() * weight + 0.5) == rows_shown(once.total(), weight)
        assert all(int(weight) <= shown[domain][row] <= -(-weight // 1) for row in once)


def test_a_share_is_dealt_evenly_over_queries(store: Path) -> None:
    natural = Counter(row["query_id"] for row in load(store, "all"))
    shown = Counter(row["query_id"] for row in load(store, "all", weights={"math": 0.5, "chat": 0.5}))
    assert all(abs(shown[query] - number / 2) < 1 for query, number in natural.items())


def test_weights_as_text_and_shuffled_are_the_same_rows(store: Path) -> None:
    weights = {"math": 1.5, "chat": 0.25}
    plain = Counter(map(key, load(store, "all", weights=weights)))
    assert parse_weights("math=1.5, chat=.25") == weights
    mixed = list(load(store, "all", weights="math=1.5,chat=.25", shuffle_seed=5, world_size=3))
    assert Counter(map(key, mixed)) == plain
    assert passes(2.5) == (Pass(0, 10_000), Pass(1, 10_000), Pass(2, 5_000))


# Order and shards


def test_shuffled_rows_are_all_rows_in_one_order_everywhere(store: Path, pairs: list[Row], cache: str) -> None:
    found = list(load(store, shuffle_seed=1))
    assert Counter(map(key, found)) == Counter(map(key, math_of(pairs)))
    assert found != math_of(pairs)
    assert load(store, shuffle_seed=1, streaming=False, cache_dir=cache).to_list() == found
    assert load(store, shuffle_seed=1, streaming=False, cache_dir=cache, num_proc=2).to_list() == found
    assert list(load(store, shuffle_seed=2)) != found
    together = sum(one["query_id"] == other["query_id"] for one, other in pairwise(found))
    assert together < 0.35 * sum(one["query_id"] == other["query_id"] for one, other in pairwise(math_of(pairs)))


def test_shards_cut_the_same_order(store: Path, pairs: list[Row]) -> None:
    for number in (1, 5, 32, 90):
        stream = load(store, shards=number)
        assert getattr(stream, "num_shards", number) == number
        assert list(stream) == math_of(pairs)


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


@needs_shards
@pytest.mark.parametrize(
    "options", [{}, {"shuffle_seed": 3}, {"shuffle_seed": 3, "world_size": 8, "workers": 4}], ids=str
)
def test_reshard_keeps_the_rows(store: Path, pairs: list[Row], options: dict[str, Any]) -> None:
    if not hasattr(datasets.IterableDataset, "reshard"):
        pytest.skip("this datasets has no reshard")
    stream = load(store, **options)
    assert list(stream.reshard()) == list(stream)


@pytest.mark.parametrize("shuffle_seed", [None, 7])
@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("workers", [0, 1, 4])
def test_ranks_and_workers_share_every_row_once(
    store: Path, pairs: list[Row], ranks: int, workers: int, shuffle_seed: int | None
) -> None:
    """Workers as DataLoader makes them, without the processes: each has a shard of its rank's shards."""
    stream = load(store, world_size=ranks, workers=workers, shuffle_seed=shuffle_seed)
    found = []
    for rank in range(ranks):
        own = split_dataset_by_node(stream, rank, ranks)
        rows = list(own)
        if workers and hasattr(own, "shard"):
            apart = [
                row for worker in range(workers) for row in stream.shard(ranks * workers, worker * ranks + rank, False)
            ]
            assert Counter(map(key, apart)) == Counter(map(key, rows))
        found += rows
    assert Counter(map(key, found)) == Counter(map(key, math_of(pairs)))


@pytest.mark.parametrize(
    "options", [{"shuffle_seed": 7}, {"shards": 4}, {"shuffle_seed": 7, "weights": {"math": 1.5}}], ids=str
)
def test_stopped_anywhere_a_stream_goes_on_with_the_rest(store: Path, options: dict[str, Any]) -> None:
    name = "all" if "weights" in options else "math"
    whole = list(load(store, name, **options))
    for stop in (0, 1, 63, len(whole) // 2, len(whole) - 1, len(whole)):
        stream = load(store, name, **options)
        iterator = iter(stream)
        seen = [next(iterator) for _ in range(stop)]
        state = json.loads(json.dumps(stream.state_dict()))  # as a checkpoint keeps it
        again = load(store, name, **options)
        again.load_state_dict(state)
        assert seen + list(again) == whole


def exported(store: Path, out: Path, shards: int) -> Any:
    """The shards of an export, streamed by the stock library."""
    if not out.exists():
        export_store(store, out, ExportConfig("trl-dpo", order=ShardConfig(shards=shards)))
    files = sorted(map(str, (out / "train").iterdir()))
    return load_dataset("parquet", data_files=files, split="train", streaming=True)


def rest_after(stop: int, stream: Any, again: Any) -> tuple[list[Row], list[Row]]:
    """The rows before a stop, and those of another stream that goes on from its state."""
    iterator = iter(stream)
    seen = [next(iterator) for _ in range(stop)]
    again.load_state_dict(json.loads(json.dumps(stream.state_dict())))
    return seen, list(again)


def test_resumed_exports_are_exact_and_a_buffer_on_the_same_files_is_not(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long datasets sleeps, twice here, when a buffer is done.
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)

    def stream() -> Any:
        return exported(store, tmp_path / "out", 4)

    whole = list(stream())
    for stop in (1, len(whole) // 2, len(whole)):
        seen, rest = rest_after(stop, stream(), stream())
        assert seen + rest == whole
    buffered = [stream().shuffle(seed=0, buffer_size=50) for _ in range(2)]
    seen, rest = rest_after(60, *buffered)
    texts = [json.dumps(row, sort_keys=True) for row in seen + rest]
    assert {json.dumps(row, sort_keys=True) for row in whole} - set(texts)  # lost for good


@needs_shards
def test_an_exports_ranks_are_equal_and_three_shards_on_two_ranks_are_not(store: Path, tmp_path: Path) -> None:
    for shards, fair in ((3, False), (4, True)):
        stream = exported(store, tmp_path / str(shards), shards)
        assert stream.num_shards == shards
        ranks = [sum(1 for _ in stream.shard(2, rank)) for rank in range(2)]  # as accelerate does
        # With three, one rank has half of the other's rows, and waits or repeats them.
        assert (max(ranks) - min(ranks) <= 2) == fair


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("workers", [0, 4])
def test_every_row_of_an_export_once_on_any_ranks(store: Path, tmp_path: Path, ranks: int, workers: int) -> None:
    stream = exported(store, tmp_path / "out", ranks * max(1, workers))
    shares = [list(split_dataset_by_node(stream, rank, ranks)) for rank in range(ranks)]
    assert Counter(map(repr, chain(*shares))) == Counter(map(repr, stream))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("size", "warned"), [("2", True), ("16", True), ("3", False), ("9", False), ("", False)])
def test_uneven_shards_are_said(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, size: str, warned: bool
) -> None:
    monkeypatch.setenv("WORLD_SIZE", size)
    with caplog.at_level(logging.WARNING, logger="coig_p"):
        load(store)  # nine shards
    assert ("pass world_size=" in caplog.text.lower()) == warned
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="coig_p"):
        load(store, world_size=int(size or 1), workers=2)
    assert caplog.text == ""


LOADER = """
import json, sys
import torch.utils.data
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
import coig_p

def shown(store, ranks, workers):
    stream = load_dataset("coig-p", "math", data_dir=store, split="train", streaming=True,
                          shuffle_seed=7, world_size=ranks, workers=workers)
    keys = []
    for rank in range(ranks):
        own = split_dataset_by_node(stream, rank, ranks)
        loader = torch.utils.data.DataLoader(own, batch_size=4, num_workers=workers)
        for batch in loader:
            keys += zip(batch["query_id"], batch["chosen_model"], batch["rejected_model"])
    return keys

if __name__ == "__main__":
    for ranks, workers in json.loads(sys.argv[2]):
        print(json.dumps(shown(sys.argv[1], ranks, workers)))
"""


def test_a_real_data_loader_with_workers(store: Path, pairs: list[Row]) -> None:
    """As many ranks and workers of each as there are shards, or fewer; one process, since torch takes long to come."""
    shared = [(2, 2), (3, 1)]
    pytest.importorskip("torch", reason="needs torch")
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(store), json.dumps(shared)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    found = [Counter(map(tuple, json.loads(line))) for line in done.stdout.splitlines()]
    assert found == [Counter(map(key, math_of(pairs)))] * len(shared)


def test_shards_of_one_query_give_the_rows_of_one_file(rows: list[Row], tmp_path: Path, cache: str) -> None:
    some = [row for row in rows if row["domain"] == "math"][:40]
    store = make_store(tmp_path / "store", some, rows_per_shard=1)
    wanted = oracle_pairs(some, threshold=2)
    assert load(store, streaming=False, cache_dir=cache).to_list() == wanted
    assert list(load(store)) == wanted
    assert list(load(store, "math-raw", streaming=False, cache_dir=cache)) == some


def test_shards_without_pairs_leave_no_gap_in_what_datasets_counts(rows: list[Row], tmp_path: Path) -> None:
    some = deepcopy([row for row in rows if row["domain"] == "math"][:6])
    for row in some[:2] + some[3:5]:
        row["responses"] = row["responses"][:1]
    store = make_store(tmp_path / "store", some, rows_per_shard=1)
    builder = CoigP(config_name="math", data_dir=str(store), threshold=0.5)
    part = builder._split_generators(datasets.DownloadManager())[0]
    keys = [key for key, _ in builder._generate_tables(**part.gen_kwargs)]
    shards = [key[0] if isinstance(key, tuple) else key.original_shard_id for key in keys]
    assert sorted(set(shards)) == list(range(len(set(shards))))


@pytest.mark.parametrize("per_shard", [1, 7, 20])
def test_streams_of_many_shards_go_on_from_every_row(per_shard: int, rows: list[Row], tmp_path: Path) -> None:
    some = [row for row in rows if row["domain"] == "math"][:40]
    store = make_store(tmp_path / "store", some, rows_per_shard=per_shard, rows_per_group=18)
    wanted = oracle_pairs(some, threshold=2)
    stream = load(store)
    seen: list[Row] = []
    states = [stream.state_dict()]
    for row in stream:
        seen.append(row)
        states.append(json.loads(json.dumps(stream.state_dict())))
    assert seen == wanted
    for stop in range(0, len(states), 7):
        again = load(store)
        again.load_state_dict(states[stop])
        assert list(again) == wanted[stop:], stop


@pytest.mark.parametrize("bytes_of_a_table", [4 << 20, 300, 1])
@pytest.mark.parametrize("per_shard", [1, 3, 20])
def test_a_shard_has_the_tables_of_a_stream_that_it_has_alone(
    per_shard: int, bytes_of_a_table: int, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_TEXT_BYTES", bytes_of_a_table)
    store = make_store(
        tmp_path / "store", [row for row in rows if row["domain"] == "math"][:70], rows_per_shard=per_shard
    )
    shards = [Shard(partial(path.open, "rb")) for path in sorted(store.glob("data/*/*.parquet"))]
    config = PairConfig(threshold=2)
    alone = [
        (number, table.to_pylist())
        for number, shard in enumerate(shards)
        for _, table in shard_tables([shard], config, streaming=True)
    ]
    found = [(number, table.to_pylist()) for number, table in shard_tables(shards, config, streaming=True)]
    assert found == alone
    assert [row for _, table in found for row in table] == oracle_pairs(
        [row for row in rows if row["domain"] == "math"][:70], threshold=2
    )


@pytest.mark.parametrize("at", [0, 1, 2, 12, 29])
@pytest.mark.parametrize("broken", ["a null", "a damaged shard"])
def test_rows_before_an_error_come_before_it(broken: str, at: int, rows: list[Row], tmp_path: Path) -> None:
    some = deepcopy([row for row in rows if row["domain"] == "math"][:30])
    wanted = oracle_pairs(some[:at], threshold=2)
    if broken == "a null":
        some[at]["responses"] = [
            {"model": name, "sample": 0, "text": text, "extra": None, "scores": [OVERALL | {"score": score}]}
            for name, text, score in (("a", None, 9.0), ("b", "x", 1.0))
        ]
    store = make_store(tmp_path / "store", some, rows_per_shard=1)
    if broken != "a null":
        shard = sorted(store.glob("data/math/*.parquet"))[at]
        shard.write_bytes(b"PAR1" + bytes(shard.stat().st_size - 4))
    seen = []
    with pytest.raises((DataError, StoreError), match=some[at]["query_id"] if broken == "a null" else f"{at:05d}-of"):
        for row in load(store):
            seen.append(row)
    assert seen == wanted


def test_the_first_row_of_a_stream_waits_for_one_shard(rows: list[Row], tmp_path: Path) -> None:
    some = [row for row in rows if row["domain"] == "math"][:20]
    store = make_store(tmp_path / "store", some, rows_per_shard=1)
    opened: list[str] = []

    def shard(path: Path) -> Any:
        opened.append(path.name)
        return path.open("rb")

    shards = (Shard(partial(shard, path)) for path in sorted(store.glob("data/math/*.parquet")))
    number, _ = next(iter(shard_tables(shards, PairConfig(threshold=0.5), streaming=True)))
    assert len(opened) == number + 1 <= 3
