"""Epochs of shuffled streams: another order each, all rows once, whatever is made of the stream.

`make test-matrix` runs this and `test_resuming.py` with the oldest, an older and the newest datasets: each row of the
table in docs/trainers.md is a test of theirs, what a version of datasets gets wrong included.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import pytest
from commands import run_code
from datasets import iterable_dataset, load_dataset
from datasets.distributed import split_dataset_by_node
from epochs import ENDS_BELOW_TAKE, EPOCHS, WAYS, Row, at, load, mapped, takes, text
from streaming import key, needs_shards

from coig_p.streams import VERSION


def test_every_epoch_has_all_rows_in_an_order_of_its_own(store: Path, orders: dict[int, list[Row]], cache: str) -> None:
    whole = Counter(map(key, load(store, shuffle_seed=None, shards=None)))
    assert all(Counter(map(key, rows)) == whole for rows in orders.values())
    assert len({tuple(map(key, rows)) for rows in orders.values()}) == len(EPOCHS)
    for processes in (None, 2):  # map-style has the order of epoch 0
        mapped = load_dataset(
            "coig-p", "math", data_dir=str(store), split="train", shuffle_seed=3, shards=4, cache_dir=cache,
            num_proc=processes,
        )  # fmt: skip
        assert mapped.to_list() == orders[0]


def test_an_order_is_the_same_in_every_version_and_for_ever(orders: dict[int, list[Row]]) -> None:
    """A run that goes on after an upgrade must not meet other rows. Epoch 0 is what it was before there were epochs."""
    seen = {
        epoch: hashlib.sha256("\n".join("\t".join(key(row)) for row in rows).encode()).hexdigest()[:12]
        for epoch, rows in orders.items()
    }
    assert seen == PINNED


PINNED = {0: "017b8354ef8f", 1: "005cd5651c76", 2: "7b04a31ad989", 7: "ba128e7340c2"}


def test_one_stream_goes_from_epoch_to_epoch_and_back(store: Path, orders: dict[int, list[Row]]) -> None:
    stream = load(store)
    for epoch in (1, 2, 2, 0, 7, 1):
        assert list(at(epoch, stream)) == orders[epoch]
    again = pickle.loads(pickle.dumps(at(2, load(store))))
    assert list(again) == orders[2]


@pytest.mark.parametrize("ranks", [3, 4])
def test_ranks_share_the_order_of_an_epoch(store: Path, orders: dict[int, list[Row]], ranks: int) -> None:
    for epoch in (0, 2):
        found = [list(at(epoch, split_dataset_by_node(load(store), rank, ranks))) for rank in range(ranks)]
        assert Counter(map(key, chain(*found))) == Counter(map(key, orders[epoch]))
        if 4 % ranks:  # then rows in turn
            assert all(own == orders[epoch][rank::ranks] for rank, own in enumerate(found))


@needs_shards
def test_shards_and_shards_of_shards_follow_the_epoch(store: Path, orders: dict[int, list[Row]]) -> None:
    """As accelerate deals neighbours, and a worker takes of its rank's shards."""
    for epoch in (0, 2):
        found = [at(epoch, load(store).shard(2, half).shard(2, part)) for half in range(2) for part in range(2)]
        assert list(chain(*found)) == orders[epoch]
    if hasattr(datasets.IterableDataset, "reshard"):
        whole = list(at(2, load(store, shards=1)))
        parts = [at(2, load(store, shards=1).reshard().shard(3, third)) for third in range(3)]
        assert list(chain(*parts)) == whole
        assert all(map(list, parts))  # each has a block


def test_without_a_seed_an_epoch_changes_nothing(store: Path) -> None:
    for shards in (None, 4):
        stream = load(store, shuffle_seed=None, shards=shards)
        rows = list(stream)
        assert list(at(3, stream)) == rows
        ids = [row["query_id"] for row in at(3, split_dataset_by_node(stream, 0, 1).select_columns(["query_id"]))]
        assert ids == [row["query_id"] for row in rows]


@pytest.mark.skipif(VERSION < (4, 6), reason="before datasets 4.6 streams made of several hear of no epoch")
def test_streams_made_of_several_follow_the_epoch(store: Path, orders: dict[int, list[Row]]) -> None:
    def streams_of() -> list[Any]:
        return [load(store).map(mapped), load(store, shuffle_seed=4)]

    woven = list(map(key, at(2, datasets.interleave_datasets(streams_of()))))
    alone = list(map(key, orders[2]))
    assert woven[::2] == alone[: len(woven[::2])]  # it ends with the first that ends
    assert len(woven) >= 2 * len(alone) - 1
    joined = datasets.concatenate_datasets(streams_of())
    found = [list(map(key, at(epoch, joined))) for epoch in (0, 2)]
    assert all(Counter(one) == Counter(alone) + Counter(alone) for one in found)
    assert found[0] != found[1]


@pytest.mark.parametrize("seed", [None, 3])
def test_a_shuffle_on_top_shuffles_in_every_epoch(store: Path, seed: int | None) -> None:
    rows = Counter(map(key, load(store)))
    made = load(store, shuffle_seed=seed).shuffle(seed=1, buffer_size=5)
    found = [list(map(key, at(epoch, made))) for epoch in (0, 1, 2)]
    assert all(Counter(one) == rows for one in found)
    assert len(set(map(tuple, found))) == 3
    assert list(map(key, at(1, load(store, shuffle_seed=seed).shuffle(seed=1, buffer_size=5)))) == found[1]


SKIPS_WRONG = (4, 8) <= VERSION < (5, 0)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "rank 1 of 2"])
def test_what_is_made_of_a_stream_follows_its_epochs(store: Path, orders: dict[int, list[Row]], way: str) -> None:
    make, oracle = WAYS[way]
    stream = make(load(store))
    # Take and skip keep the order of epoch 0, so that what one leaves to the other stays apart; before 4.6
    # datasets lets every epoch's own order pass through them.
    if takes(way) and ENDS_BELOW_TAKE:
        with pytest.raises(iterable_dataset.DataSourcesShufflingDisallowed):
            list(at(2, stream))
        return
    if way == "skip" and SKIPS_WRONG:
        assert len(list(at(2, stream))) > len(orders[0]) - 50
        return
    frozen = takes(way) and VERSION >= (4, 6)
    found, wanted = list(at(2, stream)), oracle(orders[0 if frozen else 2])
    if way == "with_format":  # which makes floats of 32 bits in some versions
        assert list(map(key, found)) == list(map(key, wanted))
    else:
        assert text(found) == text(wanted)


WORKERS = """
import json, sys
import torch.utils.data
from datasets import load_dataset
import coig_p

def keys(loader):
    return [key for batch in loader for key in zip(batch["query_id"], batch["chosen_model"], batch["rejected_model"])]

if __name__ == "__main__":
    options = {"split": "train", "streaming": True, "shuffle_seed": 3, "shards": 4}
    stream = load_dataset("coig-p", "math", data_dir=sys.argv[1], **options)
    found = {}
    for persistent in (False, True):
        loader = torch.utils.data.DataLoader(stream, batch_size=4, num_workers=2, persistent_workers=persistent)
        for epoch in (0, 2, 1):
            stream.set_epoch(epoch)
            found[f"{persistent} {epoch}"] = keys(loader)
        del loader
    print(json.dumps(found))
"""


def test_worker_processes_follow_the_epochs(store: Path, orders: dict[int, list[Row]]) -> None:
    pytest.importorskip("torch", reason="needs torch")
    done = run_code(WORKERS, store)
    found = json.loads(done.stdout)
    for persistent in (False, True):
        seen = {epoch: list(map(tuple, found[f"{persistent} {epoch}"])) for epoch in (0, 1, 2)}
        assert all(Counter(seen[epoch]) == Counter(map(key, orders[epoch])) for epoch in seen)
        assert len(set(map(tuple, seen.values()))) == 3
        assert {epoch: found[f"True {epoch}"] for epoch in (0, 1, 2)} == {
            epoch: found[f"False {epoch}"] for epoch in (0, 1, 2)
        }


@pytest.mark.skipif(VERSION < (5, 0), reason="this datasets adds no splits of a stream by name")
def test_the_same_split_twice(store: Path, orders: dict[int, list[Row]]) -> None:
    both = load_dataset(
        "coig-p", "math", data_dir=str(store), split="train+train", streaming=True, shuffle_seed=3, shards=4
    )
    assert list(both) == orders[0] * 2
