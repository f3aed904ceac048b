"""Shards of an export: even, shuffled as one, sorted through files, and with the counts that weights and splits say."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from exporting import Row, export, pairs_of, rows_of
from make import make_store

from coig_p.export.shards import one_epoch
from coig_p.export.shuffle import Held, Parts, Shuffled, Spill, interleaved, read_run, spill_to, spilled
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig


@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 0), (3, 2), (8, 4)])
def test_shards_are_even_and_small_row_groups(store: Path, tmp_path: Path, world_size: int, workers: int) -> None:
    order = ShardConfig(world_size=world_size, workers=workers)
    found = export(store, tmp_path / "out", order=order)["splits"]["train"]
    sizes = [shard["rows"] for shard in found["shards"]]
    assert len(sizes) == world_size * max(1, workers)
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == found["rows"]
    for shard in found["shards"]:
        footer = pq.read_metadata(tmp_path / "out" / shard["path"])
        assert footer.num_rows == shard["rows"]
        assert max(footer.row_group(at).num_rows for at in range(footer.num_row_groups)) <= 256
    assert json.loads((tmp_path / "out" / "shards.json").read_text("utf-8"))["splits"]["train"] == found
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "shards.json", "train"]


def test_max_steps_is_what_every_rank_has(store: Path, tmp_path: Path) -> None:
    """Whether ranks take every third shard, as datasets deals them, or two neighbours, as accelerate does."""
    order = ShardConfig(world_size=3, workers=2)
    found = export(store, tmp_path / "out", order=order)["splits"]["train"]
    sizes = [shard["rows"] for shard in found["shards"]]
    for batch, told in found["max_steps"].items():
        ways = [(0, 3), (1, 4), (2, 5)], [(0, 1), (2, 3), (4, 5)]
        assert told == min(sum(sizes[shard] // int(batch) for shard in rank) for way in ways for rank in way)
    epoch = one_epoch([4, 4, 3, 3], 2, 2)
    assert (epoch.least, epoch.most) == (6, 8)


def test_the_shuffle_is_global_drawn_by_the_seed_and_blind_to_the_stores_shards(
    rows: list[Row], tmp_path: Path
) -> None:
    stores = [make_store(tmp_path / f"s{at}", rows, rows_per_shard=size) for at, size in enumerate((10, 75))]
    texts = []
    for at, (store, seed) in enumerate(((stores[0], 0), (stores[1], 0), (stores[0], 1))):
        export(store, tmp_path / f"o{at}", order=ShardConfig(shuffle_seed=seed, shards=4))
        texts.append([row["query_id"] for row in rows_of(tmp_path / f"o{at}")])
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert Counter(texts[0]) == Counter(texts[2])
    # Neighbours of one query are as rare as in a shuffle by another generator; the spread of that is small.
    together = sum(one == other for one, other in pairwise(texts[0]))
    by_chance = list(texts[0])
    random.Random(0).shuffle(by_chance)
    assert abs(together - sum(one == other for one, other in pairwise(by_chance))) < 15
    half = Counter(query.split("-")[0] for query in texts[0][: len(texts[0]) // 2])
    whole = Counter(query.split("-")[0] for query in texts[0])
    assert all(abs(half[domain] - whole[domain] / 2) < 0.1 * whole[domain] for domain in whole)


@pytest.mark.parametrize("parts", [Parts(7), Parts(3, 5)])
def test_runs_of_many_spilled_files_are_one_sorted_whole(tmp_path: Path, parts: Parts) -> None:
    import numpy as np

    keys = np.random.default_rng(0).integers(0, 2**64, 20_000, dtype=np.uint64)
    keys[:4] = [0, 2**64 - 1, 2**63, 2**64 - 1]
    keys[9000:9100] = keys[100:200]  # equal ones stay in the order of their files
    table = pa.table({"at": np.arange(20_000)})
    held: list[Held] = []
    for number, begin in enumerate(range(0, 20_000, 6000)):

        def make(spill: Spill, begin: int = begin) -> None:
            for at in range(begin, min(begin + 6000, 20_000), 600):
                spill.add(("train", 0), table.slice(at, 600), keys[at : at + 600])

        held += spill_to(spilled(tmp_path, number), number, parts, make)[1]
    found = Shuffled(tmp_path, held, parts)
    assert found.rows["train", 0] == 20_000
    whole = [batch.column("at").to_pylist() for batch in read_run(tmp_path, found.run(("train", 0), 0, 20_000))]
    order = np.argsort(keys, kind="stable").tolist()
    assert [at for batch in whole for at in batch] == order
    cuts = [0, 1, 4095, 4097, 11_111, 20_000]
    ends = set(np.cumsum([len(batch) for batch in whole]).tolist()) | set(cuts)
    pieces = []
    for begin, end in itertools.pairwise(cuts):
        pieces += [batch.num_rows for batch in read_run(tmp_path, found.run(("train", 0), begin, end))]
    assert set(np.cumsum(pieces).tolist()) == ends - {0}, "batches begin where those of the whole do"
    some = read_run(tmp_path, found.run(("train", 0), 4097, 11_111))
    assert [at for batch in some for at in batch.column("at").to_pylist()] == order[4097:11_111]


@pytest.mark.parametrize(("true", "false"), [(5, 5), (1, 9), (0, 4), (9000, 100)])
def test_interleaving_is_as_even_as_can_be(true: int, false: int) -> None:
    sides = {"true": true, "false": false}
    ones, others = (iter(pa.table({"label": [name] * number}).to_batches()) for name, number in sides.items())
    mixed = interleaved(ones, others, (true, false), 0, true + false)
    labels = [one for batch in mixed for one in batch.column("label").to_pylist()]
    seen = 0
    for at, label in enumerate(labels, 1):
        seen += label == "true"
        assert seen == at * true // (true + false)
    assert len(labels) == true + false


def test_splits_hold_whole_queries_and_the_rows_of_a_load(store: Path, tmp_path: Path, cache: str) -> None:
    sizes: dict[str, Any] = {"test_size": 0.2, "validation_size": 0.1}
    export(store, tmp_path / "out", splits=SplitConfig(**sizes))
    loaded = load_dataset("coig-p", "all", data_dir=str(store), cache_dir=cache, **sizes)
    queries = {}
    for name in ("train", "validation", "test"):
        found = rows_of(tmp_path / "out", name)
        assert Counter((r["query_id"], r["chosen"], r["rejected"]) for r in found) == Counter(
            (r["query_id"], r["chosen"], r["rejected"]) for r in loaded[name]
        )
        queries[name] = {row["query_id"] for row in found}
    assert not queries["train"] & queries["test"]
    assert not queries["train"] & queries["validation"]
    assert not queries["test"] & queries["validation"]


def test_weights_are_exact_and_the_rows_of_a_load(store: Path, rows: list[Row], tmp_path: Path) -> None:
    weights = {"math": 2.5, "chat": 0.3}
    found = export(store, tmp_path / "out", weights=weights)["splits"]["train"]
    natural = Counter(pair["domain"] for pair in pairs_of(rows))
    wanted = {domain: int(natural[domain] * weight + 0.5) for domain, weight in weights.items()}
    assert found["rows_by_domain"] == wanted
    loaded = load_dataset("coig-p", "all", data_dir=str(store), split="train", streaming=True, weights=weights)
    assert Counter((r["query_id"], r["chosen"], r["rejected"]) for r in rows_of(tmp_path / "out")) == Counter(
        (r["query_id"], r["chosen"], r["rejected"]) for r in loaded
    )


def test_a_validation_split_is_not_weighted(store: Path, tmp_path: Path) -> None:
    splits = SplitConfig(test_size=0.3)
    plain = export(store, tmp_path / "a", splits=splits)["splits"]
    mixed = export(store, tmp_path / "b", splits=splits, weights={"math": 2})["splits"]
    assert plain["test"]["rows_by_domain"] == mixed["test"]["rows_by_domain"]
    assert mixed["train"]["rows_by_domain"]["math"] == 2 * plain["train"]["rows_by_domain"]["math"]
