"""The rows, shards and steps of a stream that are told before it is read equal those of the stream that is read."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from commands import run
from conversations import conversation_rows
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st
from make import make_old_store, make_rows, make_store
from oracle import oracle_pairs
from strategies import examples, pair_options, raw_rows

import coig_p
from coig_p.errors import UsageError
from coig_p.pairs.config import FORMATS
from coig_p.pairs.counting import PlannedSplit
from coig_p.schema import RANKED_FORMATS

Row = dict[str, Any]


def count(stream: Any, epoch: int) -> tuple[int, tuple[int, ...]]:
    """Its rows, and those of each shard; an older datasets gives no shard by itself."""
    stream.set_epoch(epoch)
    rows = sum(1 for _ in stream)
    if not hasattr(stream, "shard"):
        return rows, ()
    shards = [stream.shard(stream.num_shards, at) for at in range(stream.num_shards)]
    for shard in shards:
        shard.set_epoch(epoch)
    return rows, tuple(sum(1 for _ in shard) for shard in shards)


def check(store: Path, name: str, epochs: int = 1, **options: Any) -> coig_p.StreamPlan:
    """The plan, which must equal the stream."""
    plan = coig_p.plan(name, data_dir=str(store), epochs=epochs, **options)
    streams = load_dataset("coig-p", name, data_dir=str(store), streaming=True, **options)
    assert list(plan) == list(streams)
    for split, stream in streams.items():
        for epoch in range(epochs):
            rows, shards = count(stream, epoch)
            assert plan[split].rows == rows
            assert plan[split].num_shards == getattr(stream, "num_shards", plan[split].num_shards)
            assert not shards or plan[split].shards[epoch] == shards
            assert sum(plan[split].shards[epoch]) == rows
    return plan


SHUFFLED: dict[str, Any] = {"shuffle_seed": 2, "world_size": 2, "workers": 2}
SIZES: dict[str, Any] = {"test_size": 0.2, "validation_size": 0.1}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("math", {}),
        ("all", {"threshold": 1, "strategy": "adjacent"}),
        ("all", {"strategy": "best_worst", "strict": True}),
        ("all", {"strategy": "best_random", "seed": 3}),
        ("all", {"max_pairs_per_query": 2, "seed": 4, "shuffle_seed": 1}),
        ("all", {"aggregation": "median", "judges": ["judge-a"]}),
        ("all", {"threshold": 9}),
        ("all", {"format": "sft", "shards": 5}),
        ("all", {"format": "kto", **SHUFFLED}),
        ("all", {"format": "conversational", **SIZES}),
        ("all", {**SIZES, **SHUFFLED}),
        ("all", {"weights": {"math": 0.37, "chat": 2.5}, **SHUFFLED}),
        ("all", {"weights": {"math": 1.5, "chat": 0}}),
        ("all", {"weights": "math=.5", "test_size": 0.3, "shuffle_seed": 0}),
        ("all-raw", {}),
        ("math-raw", SIZES),
        ("all", {"raw": True, "test_size": 0.5}),
    ],
    ids=str,
)
def test_a_plan_is_the_stream(store: Path, rows: list[Row], name: str, options: dict[str, Any]) -> None:
    if "judges" in options:
        options = {**options, "judges": [rows[0]["responses"][0]["scores"][0]["judge"]]}
    check(store, name, 2 if "shuffle_seed" in options else 1, **options)


@examples(25)
@given(raw_rows(most_queries=4), pair_options(), st.sampled_from(FORMATS), st.none() | st.just(1))
def test_any_rows_and_options(rows: list[Row], options: dict[str, Any], form: str, seed: int | None) -> None:
    options |= {"judges": None, "format": form, "shuffle_seed": seed}
    if form in RANKED_FORMATS:  # a row a query: options of pairs have no place
        options = {name: value for name, value in options.items() if name not in ("strategy", "max_pairs_per_query")}
        options["labels"] = "scores"
    domains = {row["domain"] for row in rows}
    if not domains:
        return
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", rows, rows_per_shard=2, rows_per_group=1)
        pairs = {name: value for name, value in options.items() if name not in ("format", "shuffle_seed")}
        try:
            plan = check(store, "all", **options)
        except UsageError:  # asked for what the store cannot give
            assert form in RANKED_FORMATS or not oracle_pairs(rows, **pairs)
            return
        if form in ("dpo", "conversational", "reward"):
            assert plan.rows == len(oracle_pairs(rows, **pairs))


@examples(25)
@given(conversation_rows(), st.sampled_from(["dpo", "kto", "conversational"]))
def test_conversations_that_are_left_out_do_not_count(rows: list[Row], form: str) -> None:
    options: dict[str, Any] = {"format": form} if form == "conversational" else {"format": form, "multi_turn": "skip"}
    with tempfile.TemporaryDirectory() as folder:
        check(make_store(Path(folder) / "store", rows, rows_per_shard=2, rows_per_group=1), "all", **options)


def test_a_store_of_the_first_version(tmp_path: Path) -> None:
    store = make_old_store(tmp_path / "store", make_rows({"math": 25}))
    check(store, "math")
    check(store, "math-raw")


def test_texts_of_prompts_are_not_read(store: Path, monkeypatch: Any) -> None:
    from coig_p.pairs import counting

    seen: set[str] = set()
    stock = counting.read_group

    def read(group: Any, opened: Any, schema: Any, *more: Any) -> Any:
        seen.update(schema.names)
        return stock(group, opened, schema, *more)

    monkeypatch.setattr(counting, "read_group", read)
    assert coig_p.plan("math", data_dir=str(store)).rows
    assert seen == {"query_id", "domain", "responses", "comparisons"}


def test_raw_rows_are_told_by_the_manifest_alone(store: Path, monkeypatch: Any) -> None:
    from coig_p.builder import CoigP

    monkeypatch.setattr(CoigP, "opened", lambda _, file: pytest.fail(f"{file} was opened"))
    with pytest.raises(pytest.fail.Exception, match="was opened"):
        coig_p.plan("math", data_dir=str(store))
    assert coig_p.plan("math-raw", data_dir=str(store)).rows == 90


# Steps


def batches(rows: int, batch_size: int, drop_last: bool) -> int:
    """As a DataLoader cuts one worker's rows."""
    cut = [min(batch_size, rows - begin) for begin in range(0, rows, batch_size)]
    return len([size for size in cut if size == batch_size or not drop_last])


@examples(100)
@given(
    st.lists(st.lists(st.integers(0, 40), min_size=8, max_size=8), min_size=1, max_size=3),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 3),
    st.integers(1, 9),
    st.integers(1, 4),
    st.booleans(),
)
def test_steps_are_those_of_the_slowest_rank(
    epochs: list[list[int]], ranks: int, workers: int, batch: int, accumulated: int, drop_last: bool
) -> None:
    split = PlannedSplit("train", sum(epochs[0]), tuple(map(tuple, epochs)), ranks, workers)
    steps = 0
    for number, shards in enumerate(epochs):
        slowest = None
        for deal in ("every n-th", "neighbours"):
            for rank in range(ranks):
                own = [
                    rows
                    for at, rows in enumerate(shards)
                    if (at % ranks if deal == "every n-th" else at * ranks // len(shards)) == rank
                ]
                if deal == "every n-th":
                    assert split.ranks(number)[rank] == sum(own)
                loaders = [0] * max(1, workers)
                for at, rows in enumerate(own):
                    loaders[at % len(loaders)] += rows
                made = sum(batches(rows, batch, drop_last) for rows in loaders)
                slowest = made if slowest is None else min(slowest, made)
        assert slowest is not None
        steps += slowest // accumulated
    assert split.max_steps(batch, accumulated, drop_last=drop_last) == steps


def test_steps_of_a_stream(store: Path) -> None:
    plan = coig_p.plan("all", data_dir=str(store), split="train", epochs=3, **SHUFFLED)
    assert plan.max_steps(4) == plan["train"].max_steps(4) == plan.only.max_steps(4)
    assert plan["train"].epochs == 3
    assert sum(plan["train"].ranks(1)) == plan.rows
    assert len(set(plan["train"].shards)) == 3  # another order an epoch
    one = coig_p.plan("all", data_dir=str(store), split="train")
    assert one.max_steps(4) == -(-one.rows // 4)
    assert one.max_steps(4, 2, drop_last=True) == one.rows // 4 // 2


def test_what_a_plan_shows(store: Path) -> None:
    plan = coig_p.plan("math", data_dir=str(store), test_size=0.2)
    train, test = plan["train"], plan["test"]
    assert repr(plan) == f"StreamPlan(math: train {train.rows} rows in 9 shards, test {test.rows} rows in 9 shards)"
    told = json.loads(json.dumps(plan.to_dict()))
    assert told["config"] == "math"
    assert told["splits"]["test"]["rows"] == sum(told["splits"]["test"]["shards"][0]) == test.rows
    assert "<td>train</td>" in plan._repr_html_()
    assert len(plan) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"split": "train[:10]"}, "unknown split 'train[:10]'"),
        ({"epochs": 0}, "epochs=0: use a whole number from 1"),
        ({"epochs": True}, "epochs=True"),
        ({"name": "math", "path": "org/name"}, "pass it as data_dir: plan('coig-p', 'math'"),
        ({"revision": "v1", "data_dir": None}, "revision= is of a repository"),
        ({"treshold": 2}, "threshold"),
        ({"shards": 151}, "cannot fill 151 shards"),
    ],
    ids=str,
)
def test_what_cannot_be_planned(store: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        coig_p.plan(**{"name": "math", "data_dir": str(store), **options})
    assert words.lower() in str(caught.value).lower()


def test_steps_that_cannot_be_told(store: Path) -> None:
    plan = coig_p.plan("math", data_dir=str(store), **SIZES)
    with pytest.raises(UsageError, match="there are splits train, validation, test: name one"):
        plan.max_steps(4)
    for size in (0, True, 2.5):
        with pytest.raises(UsageError, match="batch_size="):
            plan["train"].max_steps(size)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="gradient_accumulation=0"):
        plan["train"].max_steps(1, 0)
    with pytest.raises(UsageError, match="epoch=1: 1 were planned"):
        plan["train"].ranks(1)
    with pytest.raises(UsageError, match="3 shards cannot be shared evenly by 2 ranks"):
        PlannedSplit("test", 6, ((1, 2, 3),), 2).max_steps(1)


def test_arguments_that_change_no_row_are_taken(store: Path, tmp_path: Path) -> None:
    plan = coig_p.plan("coig-p", "math", data_dir=str(store), streaming=True, cache_dir=str(tmp_path), split="train")
    assert plan.rows == coig_p.plan("math", data_dir=str(store)).rows


def test_the_command_tells_what_the_function_does(store: Path) -> None:
    words = ["--test-size", "0.1", "--threshold", "1", "--shuffle-seed", "0", "--world-size", "2", "--epochs", "2"]
    wanted = coig_p.plan("all", data_dir=str(store), epochs=2, test_size=0.1, threshold=1, shuffle_seed=0, world_size=2)
    steps = {name: wanted[name].max_steps(3, 2, drop_last=True) for name in wanted}
    counted = ["--batch-size", "3", "--gradient-accumulation", "2", "--drop-last"]
    assert json.loads(run("plan", store, *words, "--json").stdout) == wanted.to_dict()
    told = json.loads(run("plan", store, *words, *counted, "--json").stdout)
    assert told == wanted.to_dict() | {"max_steps": steps}
    assert f" {steps['train']:,}\n" in run("plan", store, *words, *counted).stdout
    raw = coig_p.plan("math", data_dir=str(store), raw=True)
    assert json.loads(run("plan", store, "--domain", "math", "--raw", "--json").stdout) == raw.to_dict()
    assert "unknown option" not in run("plan", store, "--raw", "--threshold", "1", code=2).stderr


def test_a_test_split_smaller_than_the_ranks_has_no_steps(store: Path) -> None:
    words = ("plan", store, "--domain", "math", "--test-size", "0.01", "--world-size", "16", "--batch-size", "1")
    told = json.loads(run(*words, "--json").stdout)
    assert len(told["splits"]["test"]["shards"][0]) == 1
    assert told["max_steps"]["test"] is None
    assert told["max_steps"]["train"] > 0
    assert run(*words, "--split", "test").stdout.startswith("split")
