"""Splits at load time: whole queries and near-duplicates, the shares asked for, the same however the store grows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from strategies import examples
from streaming import Row, load

from coig_p.dedup.clusters import DUPLICATES
from coig_p.errors import DataError
from coig_p.pairs.splits import SplitConfig, Splits, read_clusters

SIZES: dict[str, Any] = {"test_size": 0.2, "validation_size": 0.1}


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
