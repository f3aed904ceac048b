"""The tree of errors: drawn whole, and each comes out of another process as it went in."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
import pkgutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import make_store, twin

import coig_p
from coig_p import errors
from coig_p.errors import CoigPError, StoreError, UnknownNameError
from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.store.store import Store
from coig_p.validation import check


def every_error(kind: type[CoigPError] = CoigPError) -> Iterator[type[CoigPError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from every_error(below)


for module in pkgutil.walk_packages(coig_p.__path__, "coig_p."):
    try:
        importlib.import_module(module.name)
    except ImportError:  # an extra that is not installed
        continue
ERRORS = sorted(set(every_error()), key=lambda kind: kind.__qualname__)
MADE_WITH: dict[type[CoigPError], tuple[Any, ...]] = {
    UnknownNameError: ("split", "trian", ["train", "test"]),
    StoreError: ("some/store", "no manifest.json there"),
    ImportFailed: ("nothing was written", ImportReport()),
}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_each_is_the_same_after_pickling(kind: type[CoigPError]) -> None:
    error = kind(*MADE_WITH.get(kind, ("what was wrong",)))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.args == error.args
    assert vars(again) == vars(error)
    assert again.exit_code == error.exit_code


def raised(error: CoigPError) -> None:
    """What a process that shares the work does with an error."""
    error.add_note("said on the way")
    raise error


def test_each_is_the_same_out_of_a_process_that_shares_the_work() -> None:
    errors = [kind(*MADE_WITH.get(kind, ("what was wrong",))) for kind in ERRORS]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for error, there in [(error, pool.submit(raised, error)) for error in errors]:
            again = there.exception()
            assert type(again) is type(error)
            assert (str(again), again.args) == (str(error), error.args)
            assert vars(again) == {**vars(error), "__notes__": ["said on the way"]}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_shard_of_other_columns_is_one_error_however_many_share_the_work(processes: int, tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", twin(), rows_per_shard=5))
    shard = max(store.path.glob("data/math/*.parquet"))
    pq.write_table(pa.table({"query": ["一"]}), shard)
    with pytest.raises(StoreError, match="its columns are not those of a store") as alone:
        check(store, num_proc=processes)
    assert alone.value.store
    assert shard.name in str(alone.value)


def test_the_tree_is_drawn_whole() -> None:
    drawn = [line.split()[0] for line in str(errors.__doc__).splitlines() if line.startswith("    ")]
    assert sorted(drawn) == [kind.__name__ for kind in ERRORS if not kind.__name__.startswith("_")]


def test_an_unknown_name_comes_with_the_nearest_one() -> None:
    assert str(UnknownNameError("split", "trian", ["train", "test"])) == (
        "unknown split 'trian'. Did you mean 'train'? Valid: test, train"
    )


def test_of_very_many_names_some_are_shown() -> None:
    valid = [f"domain-{number:03}" for number in range(300)]
    said = str(UnknownNameError("domain", "domain-29x", valid))
    assert said.endswith(", domain-054 and 240 more")
    assert "Did you mean 'domain-29" in said
    assert said.count("domain-29") == 7  # the name, the hint and the nearest ones, which come first
