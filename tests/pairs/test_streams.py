"""Streams: one order everywhere, every row once on any ranks and workers, and the rest after any stop."""

from __future__ import annotations

import json
import logging
from collections import Counter
from copy import deepcopy
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import datasets
import pytest
from commands import run_code
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
from make import make_store
from oracle import oracle_pairs
from streaming import Row, key, load, math_of, needs_shards

from coig_p.builder import CoigP
from coig_p.core import arrays
from coig_p.errors import DataError, StoreError, UsageError
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.stream import Shard, shard_tables


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


def test_what_is_for_other_configs(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="load the config 'all'"):
        load(store, "math", weights={"math": 2})
    for option in ({"shuffle_seed": 1}, {"weights": {"math": 2}}):
        with pytest.raises(UsageError, match="no effect"):
            load(store, "all-raw", **option)
    (tmp_path / "x.parquet").write_text("")
    with pytest.raises(DataError, match="coigp dedup"):
        load(store, "math", test_size=0.1, clusters=str(tmp_path / "x.parquet"))


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
    done = run_code(LOADER, store, json.dumps(shared))
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


OVERALL: Row = {"judge": "judge-a", "dimension": "overall", "rationale": None}


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
