"""Resumed streams: the rest after any stop, what datasets gets wrong by version, and states of other streams.

`make test-matrix` runs this with the oldest, an older and the newest datasets, as it does `test_epochs.py`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pytest
from commands import run_code
from datasets import iterable_dataset, load_dataset
from datasets.distributed import split_dataset_by_node
from epochs import ENDS_BELOW_TAKE, WAYS, Row, at, keeps, load, mapped, takes, text, with_length
from make import make_rows, make_store

from coig_p import streams
from coig_p.errors import UsageError
from coig_p.streams import COUNTS_TABLES, FORGETS_PLACE, VERSION, Resumed, Tables, with_epochs

# Resume


def through_json(state: Any) -> Any:
    return json.loads(json.dumps(state))


@pytest.mark.parametrize(("way", "epoch"), [*((way, 2) for way in WAYS), ("plain", 0), ("map", 0), ("skip", 0)])
def test_stopped_anywhere_the_rest_comes_and_nobody_names_the_epoch(store: Path, way: str, epoch: int) -> None:
    if takes(way) and epoch and ENDS_BELOW_TAKE:
        pytest.skip("datasets 5.0 has no later epoch below take and skip: see the test of what follows the epochs")
    make, _ = WAYS[way]
    whole = text(at(epoch, make(load(store))))
    for stop in (1, len(whole) // 3):
        stream = at(epoch, make(load(store)))
        iterator = iter(stream)
        seen = text(islice(iterator, stop))
        again = make(load(store))
        again.load_state_dict(through_json(stream.state_dict()))
        assert seen + text(again) == whole
        assert again.epoch == epoch


@pytest.mark.parametrize("way", ["plain", "map", "filter", "rank 1 of 3"])
def test_stopped_twice(store: Path, way: str) -> None:
    if FORGETS_PLACE:
        pytest.skip("datasets 5.0.0 forgets where a resumed stream is, and says so: see the test of what is warned of")
    make, _ = WAYS[way]
    whole = text(at(1, make(load(store))))
    stream, seen = at(1, make(load(store))), []
    for rows in (9, 0, 13, 1):  # 0: a state is saved right after one was loaded
        seen += text(islice(iter(stream), rows))
        again = make(load(store))
        again.load_state_dict(through_json(stream.state_dict()))
        stream = again
    assert seen + text(stream) == whole


@pytest.mark.parametrize("before", [0, 1])
def test_a_state_from_before_the_first_row_is_of_the_epoch_that_was_set(
    store: Path, orders: dict[int, list[Row]], before: int
) -> None:
    stream = load(store)
    for _ in islice(stream, before):  # of epoch 0
        pass
    stream.set_epoch(2)
    state = through_json(stream.state_dict())
    other = load(store)
    other.load_state_dict(state)
    assert list(other) == orders[2]
    assert list(stream) == orders[2]


def test_a_pass_after_a_resumed_one_is_whole(store: Path, orders: dict[int, list[Row]]) -> None:
    stream = at(1, load(store))
    next(iter(stream))
    state = stream.state_dict()
    again = load(store)
    again.load_state_dict(state)
    assert list(again) == orders[1][1:]
    assert list(again) == orders[1]
    assert list(at(2, again)) == orders[2]
    stream = at(1, load(store))
    next(iter(stream.iter(7)))
    again.load_state_dict(stream.state_dict())
    for begin in (7, 0):
        ids = [one for batch in again.iter(7) for one in batch["query_id"]]
        assert ids == [row["query_id"] for row in orders[1][begin:]]
    again.load_state_dict(state)
    assert list(at(7, again)) == orders[7]  # the place was in another epoch


def test_streams_of_others_are_as_datasets_has_them() -> None:
    stream = datasets.Dataset.from_dict({"a": list(range(9))}).to_iterable_dataset(num_shards=3)
    assert list(islice(iter(stream), 4))[-1] == {"a": 3}
    again = datasets.Dataset.from_dict({"a": list(range(9))}).to_iterable_dataset(num_shards=3)
    again.load_state_dict(stream.state_dict())
    assert type(again) is datasets.IterableDataset
    assert [row["a"] for row in again] == [4, 5, 6, 7, 8]


FRESH = """
import json, sys
from datasets import load_dataset
import coig_p
stream = load_dataset("coig-p", "math", data_dir=sys.argv[1], split="train", streaming=True, shuffle_seed=3, shards=4)
stream = stream.map(lambda row: {"length": len(row["chosen"])})
stream.load_state_dict(json.loads(sys.argv[2]))
print(json.dumps(list(stream)))
"""


def test_a_fresh_process_goes_on(store: Path, orders: dict[int, list[Row]]) -> None:
    stream = at(2, load(store).map(mapped))
    seen = list(islice(iter(stream), 40))
    done = run_code(FRESH, store, json.dumps(stream.state_dict()), USE_TORCH="0")
    assert seen + json.loads(done.stdout) == with_length(orders[2])


# What datasets gets wrong, by version


@pytest.fixture(scope="module")
def files(store: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same rows as plain Parquet."""
    rows = datasets.Dataset.from_list(list(load(store)))
    folder = tmp_path_factory.mktemp("files")
    paths = [str(folder / f"{part}.parquet") for part in range(4)]
    for part, path in enumerate(paths):
        rows.shard(4, part).to_parquet(path)
    return paths


def is_exact(make: Callable[[], Any], epoch: int = 0) -> bool:
    whole = text(at(epoch, make()))
    stream = at(epoch, make())
    seen = text(islice(iter(stream), 9))
    again = make()
    again.load_state_dict(through_json(stream.state_dict()))
    return seen + text(again) == whole


def test_rows_below_a_map_or_filter_are_lost_by_the_stock_stream_alone(store: Path, files: list[str]) -> None:
    def stock() -> Any:
        return load_dataset("parquet", data_files=files, split="train", streaming=True)

    assert is_exact(stock)
    assert is_exact(lambda: stock().map(mapped)) == (VERSION < (3, 4) or VERSION >= (4, 8, 5))
    assert is_exact(lambda: stock().filter(keeps)) != COUNTS_TABLES
    assert is_exact(stock, epoch=1) == (VERSION < (3, 4))  # later a state of an epoch that nobody named is dropped
    for make in (lambda: load(store).map(mapped), lambda: load(store).filter(keeps), lambda: load(store)):
        assert is_exact(make, epoch=1)


@pytest.fixture
def unwarned(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    streams.warn_once.cache_clear()
    caplog.set_level(logging.INFO, logger="coig_p")
    return caplog


def resumed(stream: Any) -> Any:
    stream.load_state_dict(through_json(stream.state_dict()))
    return stream


def test_who_resumes_without_a_fault_is_told_nothing(store: Path, unwarned: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(streams, "FORGETS_PLACE", False)
    assert isinstance(resumed(at(1, load(store).map(mapped).take(9))), Resumed)
    assert list(load(store).shuffle(seed=1, buffer_size=3))  # and who does not resume, neither
    assert unwarned.text == ""


def test_what_cannot_be_mended_is_said_once(store: Path, unwarned: Any, monkeypatch: Any) -> None:
    for _ in range(2):
        resumed(load(store).shuffle(seed=1, buffer_size=3).map(mapped))
    assert unwarned.text.count("the buffer of .shuffle() are not in the state") == 1
    monkeypatch.setattr(streams, "FORGETS_PLACE", True)
    for _ in range(2):
        resumed(load(store))
    assert unwarned.text.count("datasets 5.0.0 forgets where a resumed stream is") == 1


def test_a_datasets_without_a_known_place_for_epochs_is_said(monkeypatch: Any, unwarned: Any) -> None:
    stream = datasets.Dataset.from_dict({"a": [1]}).to_iterable_dataset()
    monkeypatch.delattr(iterable_dataset, "shift_ex_examples_rngs", raising=False)
    monkeypatch.delattr(stream, "_shuffling", raising=False)
    assert with_epochs(stream) is stream
    assert f"datasets {datasets.__version__} keeps epochs in another place" in unwarned.text
    assert "set_epoch changes no order" in unwarned.text


def test_a_datasets_with_another_iterable_is_said_and_streams_all_the_same(
    store: Path, monkeypatch: Any, unwarned: Any
) -> None:
    assert any(isinstance(one, Tables) for one in streams.parts(load(store).map(mapped)._ex_iterable))
    rows = list(load(store))
    assert unwarned.text == ""
    monkeypatch.setattr(streams.Tables, "of", classmethod(lambda cls, stock, plan, told=None: stock))
    stream = load(store)
    assert "keeps epochs in another place" in unwarned.text
    assert list(stream) == rows
    monkeypatch.undo()
    assert streams.Tables.of(other := object(), None) is other


# States of other streams


OTHERS: dict[str, dict[str, Any]] = {
    "seed": {"shuffle_seed": 4},
    "threshold": {"threshold": 3},
    "shards": {"shards": 2},
    "format": {"format": "kto"},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_state_of_another_stream_is_refused(what: str, store: Path) -> None:
    stream = load(store)
    next(iter(stream))
    state = through_json(stream.state_dict())
    ((name, value),) = OTHERS[what].items()
    other = load(store, **OTHERS[what])
    with pytest.raises(UsageError, match=rf"the state is of another stream \(.*{name}=.*, here {value!r}"):
        other.load_state_dict(state)
    with pytest.raises(UsageError, match="of another stream"):
        load(store, **OTHERS[what]).map(lambda row: row).load_state_dict(through_json(mapped_state(stream)))


def mapped_state(stream: Any) -> Any:
    mapped = stream.map(lambda row: row)
    next(iter(mapped))
    return mapped.state_dict()


def test_a_state_of_another_config_split_or_store_is_refused(store: Path, tmp_path: Path) -> None:
    plain = {"data_dir": str(store), "split": "train", "streaming": True}
    stream = load_dataset("coig-p", "math", **plain)
    next(iter(stream))
    state = through_json(stream.state_dict())
    with pytest.raises(UsageError, match="config='math', here 'math-raw'"):
        load_dataset("coig-p", "math-raw", **plain).load_state_dict(state)
    with pytest.raises(UsageError, match=r"split='train', here 'test'; test_size=None, here 0\.5"):
        load_dataset("coig-p", "math", **plain | {"split": "test", "test_size": 0.5}).load_state_dict(state)
    another = make_store(tmp_path / "another", make_rows({"math": 30}, seed=9))
    with pytest.raises(UsageError, match="its store holds other files"):
        load_dataset("coig-p", "math", **plain | {"data_dir": str(another)}).load_state_dict(state)
    moved = Path(shutil.copytree(store, tmp_path / "moved"))
    again = load_dataset("coig-p", "math", **plain | {"data_dir": str(moved)})
    again.load_state_dict(state)
    assert list(again) == list(stream)[1:]


def test_a_state_that_does_not_say_of_what_it_is_loads(store: Path) -> None:
    def without(state: Any) -> Any:
        if isinstance(state, dict):
            return {name: without(value) for name, value in state.items() if name != streams.OF}
        return state

    stream = load(store)
    rows = list(islice(stream, 5))
    state = through_json(stream.state_dict())
    assert state != without(state)
    again = load(store)
    again.load_state_dict(without(state))
    assert rows + list(again) == list(load(store))


@pytest.mark.parametrize("options", [{"shuffle_seed": 0, "world_size": 2}, {"world_size": 2}])
def test_a_state_of_one_rank_is_not_taken_by_another(store: Path, options: dict[str, Any]) -> None:
    def rank(number: int) -> Any:
        return split_dataset_by_node(load(store, **options), rank=number, world_size=2)

    first = rank(0)
    rows = list(islice(first, 5))
    state = first.state_dict()
    again = rank(0)
    again.load_state_dict(state)
    assert rows + list(again) == list(rank(0))
    others = [rank(1), load(store, **options)]
    if hasattr(others[1], "shard"):  # since datasets 3.1
        others.append(load(store, **options).shard(2, 1))
    for other in others:
        with pytest.raises(UsageError, match="another part of the stream"):
            other.load_state_dict(state)
    nothings: tuple[Any, ...] = ({}, None, [], "x")
    for nothing in nothings:
        with pytest.raises(UsageError, match="no state of a stream"):
            rank(0).load_state_dict(nothing)
