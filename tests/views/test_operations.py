"""A lazy dataset is what the copied one is, whatever is done to it, and however it was asked for."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from operations import OPERATIONS, STEPS, rows_of

import coig_p
from coig_p.errors import CoigPError, UsageError
from coig_p.views.table import ViewTable

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of datasets' own calls of Arrow


@pytest.fixture(params=["dpo", "conversational", "reward", "kto"])
def both(load: Any, request: Any) -> tuple[Dataset, Dataset]:
    options = {"threshold": 1, "format": request.param}
    lazy = load(lazy=True, **options)
    assert isinstance(lazy.data, ViewTable)
    return lazy, load(**options)


def test_every_operation_gives_what_it_gives_on_copied_rows(both: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    lazy, copied = both
    assert len(copied) > 100
    for name, operation in OPERATIONS.items():
        assert rows_of(operation(lazy, tmp_path)) == rows_of(operation(copied, tmp_path)), name


@pytest.fixture(scope="module")
def pair(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    cache = str(tmp_path_factory.mktemp("cache"))
    lazy, copied = (
        coig_p.load_dataset("all", data_dir=str(store), split="train", cache_dir=cache, lazy=lazy)
        for lazy in (True, False)
    )
    return lazy, copied


@settings(max_examples=25)
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 40)), max_size=5))
def test_chains_of_operations(pair: tuple[Dataset, Dataset], steps: list[tuple[str, int]]) -> None:
    lazy, copied = pair
    for name, number in steps:
        lazy, copied = STEPS[name](lazy, number), STEPS[name](copied, number)
    assert rows_of(lazy) == rows_of(copied)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"threshold": 0},
        {"threshold": 9},
        {"strategy": "best_worst", "aggregation": "median"},
        {"max_pairs_per_query": 1, "seed": 3},
        {"columns": ["margin", "chosen"]},
        {"num_proc": 2},
        {"split": "train[10:50]"},
        {"split": "train[:20%]+train[-7:]"},
        {"test_size": 0.3, "validation_size": 0.2, "split": "test"},
        {"test_size": 0.3, "validation_size": 0.2, "split": "all"},
        {"keep_in_memory": True},
        {"name": "all", "num_proc": 3},
        {"shuffle_seed": 1},
        {"name": "all", "shuffle_seed": 2, "shards": 6, "num_proc": 2, "format": "kto"},
        {"name": "all", "weights": {"math": 2.5, "chat": 0.4}},
        {"name": "all", "weights": {"math": 0.3}, "shuffle_seed": 3, "test_size": 0.3, "split": "all"},
        {"shards": 4, "test_size": 0.2, "split": "test", "shuffle_seed": 0},
    ],
)
def test_options_are_alike(load: Any, options: dict[str, Any]) -> None:
    lazy, copied = load(lazy=True, **options), load(**options)
    assert options.get("keep_in_memory") or not len(lazy) or isinstance(lazy.data, ViewTable)
    assert rows_of(lazy) == rows_of(copied)
    assert lazy.features == copied.features
    assert str(lazy.split) == str(copied.split)


def test_contradictions_are_refused(load: Any) -> None:
    with pytest.raises(UsageError, match="lazy=True and streaming=True contradict"):
        load(lazy=True, streaming=True)
    with pytest.raises(UsageError, match="raw rows are copied once"):
        load("math-raw", lazy=True)
    with pytest.raises(UsageError, match="True or False"):
        load(lazy="yes")


def test_thresholds_share_their_texts(load: Any, cache: str) -> None:
    for threshold in (1, 2, 3):
        load(threshold=threshold, lazy=True)
    assert len(list(Path(cache, "coig-p").glob("texts-*/texts.arrow"))) == 1


def test_numbers_alone_are_never_spilled_and_texts_once(load: Any, caplog: Any) -> None:
    lazy = load(lazy=True)
    folder = Path(lazy.cache_files[0]["filename"]).parent
    with caplog.at_level(logging.WARNING, logger="coig_p"):
        assert lazy.unique("margin")
        lazy.sort("margin").filter(lambda one: one > 2, input_columns="margin")[:3]
        assert not list(folder.glob("cache-view-*"))
        assert not caplog.records
        assert lazy.data.table.num_rows == len(lazy) == copy.deepcopy(lazy).data.table.num_rows
        assert load(lazy=True).data.table.num_rows == len(lazy)
    assert len(caplog.records) == 1
    assert "MB are written to" in caplog.records[0].message
    assert len(list(folder.glob("cache-view-*.arrow"))) == 1
    assert lazy.cleanup_cache_files() >= 1
    assert not list(folder.glob("cache-view-*"))


def test_what_a_row_lacks_is_the_same_error(tmp_path: Path, rows: Any, cache: str) -> None:
    from make import make_store

    bad = copy.deepcopy([row for row in rows if row["domain"] == "math"])
    for row in bad[20:30]:
        row["query"] = None
    here = make_store(tmp_path / "bad", bad)
    said = []
    for lazy in (False, True):
        with pytest.raises(CoigPError) as raised:
            coig_p.load_dataset("math", data_dir=str(here), cache_dir=cache, lazy=lazy, threshold=0.5)
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert "its prompt is null" in said[0]
