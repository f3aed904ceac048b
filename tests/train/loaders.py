"""Ranks x workers with real DataLoader and StatefulDataLoader processes: every row once, and exact resume.

Run by `make test-train` in an environment of its own; `make test` does not collect this file.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
from make import make_rows, make_store
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import coig_p  # noqa: F401
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.plan import ShardConfig

NAMES = ("query_id", "chosen", "rejected")
BATCH = 5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("stores") / "store", make_rows({"math": 90}))


def stream_of(way: str, store: Path, ranks: int, workers: int, work: Path) -> Any:
    if way == "export":
        config = ExportConfig("trl-dpo", order=ShardConfig(world_size=ranks, workers=workers))
        export_store(store, work / f"{ranks}-{workers}", config)
        return load_dataset(str(work / f"{ranks}-{workers}"), split="train", streaming=True)
    seed = 3 if way == "shuffled" else None
    return load_dataset(
        "coig-p",
        "math",
        data_dir=str(store),
        split="train",
        streaming=True,
        shuffle_seed=seed,
        world_size=ranks,
        workers=workers,
    )


def keys(batches: Any) -> list[tuple[str, ...]]:
    return [key for batch in batches for key in zip(*(batch[name] for name in NAMES), strict=True)]


@pytest.fixture(scope="module")
def whole(store: Path) -> Counter[tuple[str, ...]]:
    rows = load_dataset("coig-p", "math", data_dir=str(store), split="train", streaming=True)
    return Counter(tuple(row[name] for name in NAMES) for row in rows)


@pytest.mark.parametrize("way", ["plain", "shuffled", "export"])
@pytest.mark.parametrize("ranks", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("workers", [0, 1, 2, 4])
def test_every_row_once(way: str, ranks: int, workers: int, store: Path, whole: Counter[Any], tmp_path: Path) -> None:
    stream = stream_of(way, store, ranks, workers, tmp_path)
    found: Counter[Any] = Counter()
    # Every rank where workers are threads of this process, else the first and last: processes take long.
    some = range(ranks) if workers == 0 else (0, ranks - 1)
    shares = [split_dataset_by_node(stream, rank, ranks) for rank in range(ranks)]
    batches = []
    for rank in range(ranks):
        if rank in some:
            loaded = keys(DataLoader(shares[rank], batch_size=BATCH, num_workers=workers))
            assert Counter(loaded) == Counter(tuple(row[name] for name in NAMES) for row in shares[rank])
            batches.append(len(loaded))
            found.update(loaded)
        else:
            found.update(tuple(row[name] for name in NAMES) for row in shares[rank])
    assert found == whole
    if way == "export":
        told = json.loads((tmp_path / f"{ranks}-{workers}" / "shards.json").read_text())["splits"]["train"]
        assert told["rows_per_rank"]["least"] <= min(batches) <= max(batches) <= told["rows_per_rank"]["most"]


@pytest.mark.parametrize("way", ["plain", "shuffled", "export"])
@pytest.mark.parametrize(("ranks", "workers"), [(2, 0), (2, 1), (2, 2), (3, 4), (8, 2)])
def test_stopped_anywhere_the_rest_comes(way: str, ranks: int, workers: int, store: Path, tmp_path: Path) -> None:
    stream = stream_of(way, store, ranks, workers, tmp_path)

    def loader() -> StatefulDataLoader:
        return StatefulDataLoader(
            split_dataset_by_node(stream, ranks - 1, ranks), batch_size=BATCH, num_workers=workers
        )

    batches = [keys([batch]) for batch in loader()]
    for stop in {0, 1, len(batches) // 2, len(batches) - 1}:
        first = loader()
        iterator = iter(first)
        seen = [keys([next(iterator)]) for _ in range(stop)]
        state = first.state_dict()
        del iterator
        again = loader()
        again.load_state_dict(state)
        assert seen + [keys([batch]) for batch in again] == batches


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_epochs_and_passes_after_a_resumed_one(workers: int, persistent: bool, mapped: bool, store: Path) -> None:
    def stream() -> Any:
        made = stream_of("shuffled", store, 1, workers, Path())
        return made.map(lambda row: {"length": len(row["chosen"])}) if mapped else made

    def loader(rows: Any) -> StatefulDataLoader:
        return StatefulDataLoader(rows, batch_size=BATCH, num_workers=workers, persistent_workers=persistent)

    whole = {}
    for epoch in (0, 1, 2):
        rows = stream()
        rows.set_epoch(epoch)
        whole[epoch] = [keys([batch]) for batch in loader(rows)]
    assert all(Counter(chain(*batches)) == Counter(chain(*whole[0])) for batches in whole.values())
    assert len({str(batches) for batches in whole.values()}) == 3
    rows = stream()
    once = loader(rows)
    for epoch in (0, 2, 1):
        rows.set_epoch(epoch)
        assert [keys([batch]) for batch in once] == whole[epoch]
    for epoch in (0, 1):
        rows = stream()
        rows.set_epoch(epoch)
        first = loader(rows)
        iterator = iter(first)
        seen = [keys([next(iterator)]) for _ in range(7)]
        state = first.state_dict()
        del iterator
        rows = stream()  # in epoch 0: the state says which it is of
        again = loader(rows)
        again.load_state_dict(state)
        assert seen + [keys([batch]) for batch in again] == whole[epoch]
        rows.set_epoch(2)
        assert [keys([batch]) for batch in again] == whole[2]
        assert [keys([batch]) for batch in again] == whole[2]


def test_a_pass_after_a_resumed_one_is_whole_in_workers_that_stay(store: Path) -> None:
    def loader() -> StatefulDataLoader:
        stream = stream_of("shuffled", store, 1, 2, Path())
        return StatefulDataLoader(stream, batch_size=BATCH, num_workers=2, persistent_workers=True)

    first = loader()
    whole = [keys([batch]) for batch in first]
    iterator = iter(first)
    seen = [keys([next(iterator)]) for _ in range(7)]
    again = loader()
    again.load_state_dict(first.state_dict())
    assert seen + [keys([batch]) for batch in again] == whole
    assert [keys([batch]) for batch in again] == whole  # nobody set an epoch


def test_the_stock_way_loses_rows_on_the_same_files(store: Path, whole: Counter[Any], tmp_path: Path) -> None:
    stream = stream_of("export", store, 1, 2, tmp_path)

    def loader() -> StatefulDataLoader:
        return StatefulDataLoader(stream.shuffle(seed=0, buffer_size=50), batch_size=BATCH, num_workers=2)

    first = loader()
    iterator = iter(first)
    seen = [keys([next(iterator)]) for _ in range(12)]
    again = loader()
    again.load_state_dict(first.state_dict())
    try:
        rest = [keys([batch]) for batch in again]
    except IndexError:  # what torchdata and datasets make of it in some versions
        return
    assert Counter(key for batch in seen + rest for key in batch) != whole
