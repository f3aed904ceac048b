"""load_dataset in every way people call it: the same rows in the same order each time."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import get_dataset_config_names, load_dataset
from datasets.distributed import split_dataset_by_node
from make import make_rows, make_store
from oracle import oracle_pairs

import coig_p
from coig_p.errors import StoreError, UnknownNameError, UsageError
from coig_p.schema import PAIR_SCHEMAS, RAW_SCHEMA
from coig_p.store.store import Store
from coig_p.store.writing import describe_file


def expected(rows: list[dict[str, Any]], domain: str | None = "math", **options: Any) -> list[dict[str, Any]]:
    chosen = [row for row in rows if domain in (None, row["domain"])]
    return oracle_pairs(chosen, **{"threshold": 2, **options})


def test_the_literal_call_gives_the_oracles_pairs(load: Any, rows: Any) -> None:
    found = load(threshold=2)
    assert found.column_names == PAIR_SCHEMAS["dpo"].names
    assert found.to_list() == expected(rows)
    assert found.num_rows > 100


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0},
        {"threshold": 1.5, "strict": True},
        {"aggregation": "median", "threshold": 1},
        {"aggregation": "max", "judges": ["judge-b"], "threshold": 1},
        {"include_self_judged": True},
        {"strategy": "best_worst"},
        {"strategy": "adjacent", "threshold": 0.5},
        {"labels": "scores"},
        {"min_judges": 2},
        {"same_judges": True, "threshold": 1},
        {"min_judges": 2, "same_judges": True, "strategy": "best_worst", "threshold": 0.5},
        {"comparison_threshold": 1},
    ],
)
def test_every_option_is_a_keyword(load: Any, rows: Any, options: dict[str, Any]) -> None:
    assert load(**options).to_list() == expected(rows, **options)
    assert list(load(streaming=True, **options)) == expected(rows, **options)


@pytest.mark.parametrize("form", list(PAIR_SCHEMAS))
def test_every_format_streams_what_it_stores(load: Any, form: str) -> None:
    found = load(format=form)
    assert found.column_names == PAIR_SCHEMAS[form].names
    assert found.features.arrow_schema.equals(PAIR_SCHEMAS[form])
    assert list(load(format=form, streaming=True)) == found.to_list()


def test_all_is_every_domain_in_the_stores_order(load: Any, rows: Any) -> None:
    assert load("all").to_list() == expected(rows, "math") + expected(rows, "chat")
    assert list(load("all", streaming=True)) == load("all").to_list()


def test_raw_rows_come_back_as_stored(load: Any, rows: Any) -> None:
    math = [row for row in rows if row["domain"] == "math"]
    assert load("math", raw=True).to_list() == math
    assert load("math-raw").to_list() == math
    assert list(load("math-raw", streaming=True)) == math
    assert load("all-raw").to_list() == rows
    assert load("math-raw").features.arrow_schema.equals(RAW_SCHEMA)


def test_the_stock_library_reads_the_raw_configs(store: Path, rows: Any, cache: str) -> None:
    for domain in ("math", "chat"):
        found = load_dataset(str(store), f"{domain}-raw", split="train", cache_dir=cache)
        assert found.to_list() == [row for row in rows if row["domain"] == domain]


def test_a_package_function_needs_no_registry(store: Path, rows: Any, cache: str) -> None:
    where: dict[str, Any] = {"data_dir": str(store), "split": "train"}
    assert coig_p.load_dataset("math", cache_dir=cache, **where).to_list() == expected(rows)
    assert coig_p.load_dataset("coig-p", "math", cache_dir=cache, **where).to_list() == expected(rows)
    assert list(coig_p.load_dataset("math", streaming=True, **where)) == expected(rows)
    found = coig_p.load_dataset("math", data_dir=str(store), threshold=3, cache_dir=cache)
    assert found["train"].to_list() == expected(rows, threshold=3)
    assert coig_p.load_dataset("math", cache_dir=cache, num_proc=2, **where).to_list() == expected(rows)


@pytest.mark.parametrize("workers", [2, 3])
def test_processes_give_the_same_rows_in_the_same_order(load: Any, rows: Any, workers: int) -> None:
    assert load(num_proc=workers).to_list() == expected(rows)


def test_slices_and_sums_of_splits(load: Any, rows: Any) -> None:
    pairs = expected(rows)
    assert load(split="train[:10]").to_list() == pairs[:10]
    assert load(split="train[50%:]").to_list() == pairs[round(len(pairs) / 2) :]
    assert load(split=None)["train"].to_list() == pairs
    assert load(split="all").to_list() == pairs


def test_a_threshold_without_pairs_gives_an_empty_dataset(load: Any) -> None:
    for split in ("train", "train[:10]", "train[50%:]"):
        found = load(threshold=9, split=split)
        assert found.num_rows == 0
        assert found.column_names == PAIR_SCHEMAS["dpo"].names
        assert found.features.arrow_schema.equals(PAIR_SCHEMAS["dpo"])
    assert load(threshold=9, split=None)["train"].num_rows == 0
    assert list(load(threshold=9, streaming=True)) == []
    assert load(threshold=9, num_proc=2).num_rows == 0


def test_a_threshold_that_no_two_scores_meet_is_refused(load: Any) -> None:
    """An empty dataset would be found out by the training alone."""
    for options in ({"threshold": 9.5}, {"threshold": 20, "streaming": True}, {"threshold": 9, "strict": True}):
        with pytest.raises(ValueError, match=r"no two scores from 1 to 10 are .* apart, the largest margin is 9"):
            load(**options)


def test_thresholds_do_not_share_a_cache_but_equal_ones_do(load: Any) -> None:
    def files(**options: Any) -> set[str]:
        return {entry["filename"] for entry in load(**options).cache_files}

    default, two, three = files(), files(threshold=2), files(threshold=3)
    assert default == two == files(threshold=2.0)
    assert not two & three
    assert not files(judges=["judge-a"]) & files(judges=["judge-b"])
    assert files(judges=["judge-a", "judge-b"]) == files(judges=["judge-b", "judge-a"])
    assert not files(seed=1, max_pairs_per_query=1) & files(seed=2, max_pairs_per_query=1)


def test_another_store_and_a_changed_shard_are_noticed(tmp_path: Path, rows: Any, cache: str) -> None:
    here = make_store(tmp_path / "a", rows)

    def pairs() -> Any:
        return load_dataset("coig-p", "math", data_dir=str(here), split="train", cache_dir=cache).to_list()

    assert pairs() == expected(rows)
    other = make_rows({"math": 90}, seed=1)
    shutil.rmtree(here)
    make_store(here, other)
    assert pairs() == expected(other)
    shard = sorted((here / "data/math").glob("*.parquet"))[0]
    pq.write_table(pq.read_table(shard).slice(1), shard)
    with pytest.raises(StoreError, match=rf"{shard.name} is not the file that manifest.json lists: .*coigp verify"):
        pairs()


@pytest.mark.parametrize("streaming", [False, True])
def test_shards_under_each_others_names_are_refused(streaming: bool, tmp_path: Path, rows: Any, cache: str) -> None:
    store = make_store(tmp_path / "a", rows)
    one, other = sorted((store / "data/math").glob("*.parquet"))[:2]
    assert one.stat().st_size != other.stat().st_size
    aside = one.rename(tmp_path / "aside")
    other.rename(one)
    aside.rename(other)
    with pytest.raises(StoreError, match=rf"^{store}: data/math/{one.name} is not the file .*coigp verify {store}$"):
        load_dataset("coig-p", "math", data_dir=str(store), split="train", cache_dir=cache, streaming=streaming)
    chat = load_dataset("coig-p", "chat", data_dir=str(store), split="train", cache_dir=cache, streaming=streaming)
    assert list(chat) == expected(rows, "chat")  # nothing of it is damaged


def test_options_that_raw_rows_do_not_take_are_named(load: Any) -> None:
    said = "raw rows come as they are stored: {} would have no effect on them. Leave out what is of pairs and their "
    for name, options, how in (
        ("math-raw", {"shuffle_seed": 1}, "the config 'math'"),
        ("math", {"raw": True, "threshold": 2, "shards": 3}, "raw=True left out"),
    ):
        with pytest.raises(UsageError) as raised:
            load(name, **options)
        named = ", ".join(option for option in options if option != "raw")
        assert str(raised.value).startswith(
            said.format(named) + f"order, or load pairs: {how}. Raw rows take test_size"
        )


def test_a_changed_default_threshold_is_noticed(tmp_path: Path, rows: Any, cache: str) -> None:
    for default in (2, 3):
        make_store(tmp_path / "store", rows, default_threshold=default)
        found = load_dataset("coig-p", "math", data_dir=str(tmp_path / "store"), split="train", cache_dir=cache)
        assert found.to_list() == expected(rows, threshold=default)


def write_clusters(path: Path, ids: list[str]) -> None:
    """All of `ids` near-duplicates of each other."""
    pq.write_table(pa.table({"cluster": [0] * len(ids), "query_id": ids}), path)


def test_clusters_with_other_content_do_not_share_a_cache(load: Any, rows: Any, tmp_path: Path) -> None:
    ids = [row["query_id"] for row in rows if row["domain"] == "math"]
    path = tmp_path / "clusters.parquet"
    seen = []
    for own in (ids[:40], ids[40:80]):
        write_clusters(path, own)
        cut = {"test_size": 0.3, "clusters": str(path)}
        found = load(**cut)
        assert found.to_list() == list(load(streaming=True, **cut)), "a stream is not cached"
        seen.append((found.cache_files[0]["filename"], set(found["query_id"])))
    (one, before), (other, after) = seen
    assert one != other
    assert before != after
    copy = tmp_path / "copy.parquet"
    shutil.copy(path, copy)
    assert load(test_size=0.3, clusters=str(copy)).cache_files[0]["filename"] == other, (
        "the same content has two caches"
    )


def test_a_stores_own_clusters_are_in_the_cache_id(tmp_path: Path, rows: Any, cache: str) -> None:
    here = make_store(tmp_path / "store", rows)
    opened = Store.open(here)
    ids = [row["query_id"] for row in rows if row["domain"] == "math"]
    seen = []
    for own in ([], ids[:40], ids[40:80]):
        files = opened.manifest.files
        if own:
            write_clusters(here / "duplicates.parquet", own)
            files = (*files, describe_file(here, "duplicates.parquet", "duplicates"))
        (here / "manifest.json").write_text(replace(opened.manifest, files=files).to_json(), encoding="utf-8")
        options = {"data_dir": str(here), "split": "train", "test_size": 0.3}
        found = load_dataset("coig-p", "math", cache_dir=cache, **options)
        assert found.to_list() == list(load_dataset("coig-p", "math", streaming=True, **options))
        seen.append(set(found["query_id"]))
    assert seen[0] != seen[1] != seen[2] != seen[0]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_nodes_share_the_rows_without_loss_or_repeat(load: Any, rows: Any, world_size: int) -> None:
    stream = load(streaming=True)
    assert getattr(stream, "num_shards", None) in (9, None)  # its name in datasets 3
    shares = [list(split_dataset_by_node(stream, rank, world_size)) for rank in range(world_size)]
    assert sorted(map(repr, chain.from_iterable(shares))) == sorted(map(repr, expected(rows)))


@pytest.mark.skipif(not hasattr(datasets.IterableDataset, "shard"), reason="this datasets has no IterableDataset.shard")
@pytest.mark.parametrize("shards", [2, 4, 9])
def test_shards_of_a_stream_are_the_rows_in_order(load: Any, rows: Any, shards: int) -> None:
    stream = load(streaming=True)
    parts = [list(stream.shard(shards, index, contiguous=True)) for index in range(shards)]
    assert list(chain.from_iterable(parts)) == expected(rows)


@pytest.mark.skipif(not hasattr(datasets.IterableDataset, "reshard"), reason="this datasets has no reshard")
def test_reshard_goes_down_to_row_groups(load: Any, rows: Any) -> None:
    stream = load(streaming=True).reshard()
    assert stream.num_shards == 27
    assert list(stream) == expected(rows)


@pytest.mark.parametrize("stop", [0, 1, 7, 40, 150])
def test_resume_is_exact(load: Any, rows: Any, stop: int) -> None:
    stream = load(streaming=True)
    iterator = iter(stream)
    seen = [next(iterator) for _ in range(stop)]
    state = stream.state_dict()
    iterator.close()
    again = load(streaming=True)
    again.load_state_dict(state)
    assert seen + list(again) == expected(rows)


def test_an_abandoned_stream_ends_its_threads(load: Any) -> None:
    import threading

    iterator = iter(load(streaming=True))
    next(iterator)
    iterator.close()
    del iterator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("coig_p")]


def test_streams_and_datasets_pickle(load: Any, rows: Any) -> None:
    for found in (load(streaming=True), load()):
        assert list(pickle.loads(pickle.dumps(found))) == expected(rows)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_data_loader_with_workers_sees_every_row_once(load: Any, rows: Any, context: str) -> None:
    torch_data = pytest.importorskip("torch.utils.data", reason="needs torch")
    loader = torch_data.DataLoader(
        load(streaming=True), batch_size=None, num_workers=2, multiprocessing_context=context
    )
    assert sorted(row["query_id"] + row["chosen"] for row in loader) == sorted(
        row["query_id"] + row["chosen"] for row in expected(rows)
    )


def test_order_of_shards_and_rows_does_not_change_what_is_drawn(tmp_path: Path, rows: Any, cache: str) -> None:
    def drawn(own: list[dict[str, Any]], name: str, **options: Any) -> list[str]:
        here = make_store(tmp_path / name, own, rows_per_shard=len(own) // len(name))
        found = load_dataset(
            "coig-p", "math", data_dir=str(here), split="train", cache_dir=cache, max_pairs_per_query=2, **options
        )
        return sorted(f"{row['query_id']} {row['chosen_model']} {row['rejected_model']}" for row in found)

    math = [row for row in rows if row["domain"] == "math"]
    assert drawn(math, "a") == drawn(math[::-1], "bb") == drawn(math[30:] + math[:30], "ccc")
    assert drawn(math, "a") != drawn(math, "d", seed=1)


def test_config_names_are_listed(store: Path) -> None:
    names = get_dataset_config_names("coig-p", data_dir=str(store))
    assert names == ["math", "chat", "all", "math-raw", "chat-raw", "all-raw"]


@pytest.mark.parametrize(
    ("name", "options", "listed"),
    [
        ("maths", {}, ["'math'?", "chat, chat-raw"]),
        (None, {}, ["math, chat, all"]),
        (None, {"threshold": 2}, ["math, chat, all"]),
        ("default", {}, ["chat"]),
        ("math", {"treshold": 2}, ["threshold", "max_pairs_per_query"]),
        ("math", {"strategy": "random"}, ["best_random", "best_worst"]),
        ("math", {"format": "alpaca"}, ["conversational", "kto"]),
        ("math", {"aggregation": "sum"}, ["median"]),
        ("math", {"labels": "human"}, ["comparisons"]),
        ("math", {"judges": ["judge-c"]}, ["judge-a, judge-b"]),
        ("math", {"threshold": "2"}, ["finite number of 0 or more"]),
        ("math", {"threshold": -1}, ["finite number of 0 or more"]),
        ("math", {"threshold": float("nan")}, ["finite number of 0 or more"]),
        ("math", {"raw": True, "threshold": 2}, ["no effect"]),
        ("math-raw", {"threshold": 2}, ["no effect"]),
        ("math-raw", {"raw": False}, ["raw=False"]),
        ("math", {"raw": "yes"}, ["True or False"]),
        ("math", {"data_files": "x.parquet"}, ["data_dir="]),
    ],
)
def test_what_is_unknown_is_an_error_that_lists_what_is_valid(
    load: Any, name: str | None, options: dict[str, Any], listed: list[str]
) -> None:
    for streaming in (False, True):
        with pytest.raises(UsageError) as caught:
            load(name, streaming=streaming, **options)
        for part in listed:
            assert part in str(caught.value)


def test_an_unknown_split_lists_the_splits(load: Any) -> None:
    for streaming in (False, True):
        with pytest.raises(ValueError, match="train"):
            load(split="dev", streaming=streaming)


def test_a_directory_that_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no manifest\.json"):
        load_dataset("coig-p", "math", data_dir=str(tmp_path))
    with pytest.raises(StoreError, match="a file, not the directory of a store"):
        coig_p.load_dataset("math", data_dir=__file__)
    with pytest.raises(StoreError, match="no such directory"):
        load_dataset("coig-p", "math", data_dir=str(tmp_path / "absent"))


def test_the_variable_names_a_store_and_data_dir_wins(
    store: Path, rows: Any, tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COIGP_STORE", str(store))
    assert load_dataset("coig-p", "math", split="train", cache_dir=cache).to_list() == expected(rows)
    other = make_rows({"math": 20}, seed=2)
    here = make_store(tmp_path / "other", other)
    found = load_dataset("coig-p", "math", data_dir=str(here), split="train", cache_dir=cache)
    assert found.to_list() == expected(other)


def test_an_existing_directory_wins_over_a_repo_id(
    rows: Any, tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "org" / "name", rows)
    assert load_dataset("coig-p", "math", data_dir="org/name", split="train", cache_dir=cache).to_list() == expected(
        rows
    )


def test_without_a_name_the_bundled_store_with_one_warning(cache: str, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, logger="coig_p"):
        found = load_dataset("coig-p", "math", threshold=2, split="train", cache_dir=cache)
    assert found.num_rows > 0
    assert [record.name for record in caplog.records if "bundled" in record.message] == ["coig_p"]


def test_two_datasets_of_one_store_concatenate(load: Any) -> None:
    both = datasets.concatenate_datasets([load(), load("chat")])
    assert both.num_rows == load().num_rows + load("chat").num_rows


def test_other_names_still_go_to_the_stock_library(tmp_path: Path, cache: str) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "x.parquet")
    found = load_dataset("parquet", data_files=str(tmp_path / "x.parquet"), split="train", cache_dir=cache)
    assert found.to_list() == [{"a": 1}, {"a": 2}]


def test_import_adds_little_beyond_datasets() -> None:
    """Nothing is imported with the package that `import datasets` does not import already."""
    code = (
        "import sys, datasets; top = lambda: {name.split('.')[0] for name in sys.modules};"
        "before = top(); import coig_p; print(*sorted(top() - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    ours = set(done.stdout.split()) - set(sys.stdlib_module_names)
    assert ours == {"coig_p"}


def test_a_load_imports_little_beyond_datasets(store: Path, cache: str) -> None:
    """Where a builder's module is made to read remote files, datasets imports scipy.io, a while of every first load."""
    code = (
        "import sys, datasets, coig_p.builder; before = set(sys.modules);"
        "rows = datasets.load_dataset('coig-p', 'math', split='train', data_dir=sys.argv[1], cache_dir=sys.argv[2]);"
        "assert len(rows); print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    command = [sys.executable, "-c", code, str(store), cache]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert set(done.stdout.split()) <= {"coig_p", "fsspec", "pyarrow", *sys.stdlib_module_names}


def test_spawned_children_can_load_after_unpickling(store: Path) -> None:
    code = (
        "import pickle, sys; stream = pickle.load(open(sys.argv[1], 'rb'));"
        "assert 'coig_p' in sys.modules; print(sum(1 for _ in stream))"
    )
    stream = load_dataset("coig-p", "math", data_dir=str(store), streaming=True, split="train")
    pickled = store.parent / "stream.pickle"
    pickled.write_bytes(pickle.dumps(stream))
    done = subprocess.run([sys.executable, "-c", code, str(pickled)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == sum(1 for _ in stream)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'best_worst'"):
        coig_p.PairConfig(strategy="best_wors")
