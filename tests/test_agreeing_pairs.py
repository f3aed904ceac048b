"""agree_with= and min_reward_margin= where pairs are loaded and written."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from agreeing import Row, crm, of_math, rewards_for, wanted_of
from commands import run
from datasets import load_dataset
from make import make_store
from oracle import oracle_pairs
from rewarding import with_given

import coig_p
from coig_p.errors import StoreError, UsageError
from coig_p.export.one_file import write_pairs
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.report.view.index import load_index
from coig_p.report.view.pages import View, page
from coig_p.stats.counts import statistics
from coig_p.stats.filtering import filter_effect
from coig_p.stats.sweep import sweep
from coig_p.store.store import Store
from coig_p.views.table import ViewTable

TRIED: list[Row] = [
    {"agree_with": "crm"},
    {"agree_with": "crm", "min_reward_margin": 0.5, "threshold": 1},
    {"agree_with": "other", "threshold": 0, "strategy": "adjacent"},
    {"agree_with": "crm", "strategy": "best_worst", "min_judges": 2},
]


@pytest.fixture
def load(rewarded: Path, cache: str) -> Any:
    def call(name: str = "math", **options: Any) -> Any:
        where: Row = {"data_dir": str(rewarded), "split": "train"}
        if not options.get("streaming"):
            where["cache_dir"] = cache
        return load_dataset("coig-p", name, **where | options)

    return call


@pytest.mark.parametrize("options", TRIED, ids=str)
def test_every_way_to_load_gives_the_oracles_pairs(options: Row, load: Any, rows: Any, rewarded: Path) -> None:
    wanted = wanted_of(of_math(rows), **options)
    plain = {name: value for name, value in options.items() if name not in ("agree_with", "min_reward_margin")}
    assert 20 < len(wanted) < load(**plain).num_rows
    assert load(**options).to_list() == wanted
    assert list(load(streaming=True, **options)) == wanted
    assert load(num_proc=2, **options | {"seed": 1}).to_list() == wanted
    assert load(lazy=True, **options).to_list() == wanted
    assert isinstance(load(lazy=True, **options).data, ViewTable)
    assert list(load(streaming=True, shards=4, **options)) == wanted
    shuffled = list(load(streaming=True, shuffle_seed=3, shards=2, **options))
    assert shuffled == load(shuffle_seed=3, shards=2, **options).to_list()
    assert shuffled == load(shuffle_seed=3, shards=2, lazy=True, **options).to_list()
    assert sorted(map(repr, shuffled)) == sorted(map(repr, wanted))
    plan = coig_p.plan("math", data_dir=str(rewarded), shuffle_seed=3, shards=2, epochs=2, **options)
    assert plan.rows == len(wanted)
    assert [sum(epoch) for epoch in plan.only.shards] == [len(wanted)] * 2
    parts = load(split=None, test_size=0.2, **options)
    assert sorted(map(repr, [*parts["train"], *parts["test"]])) == sorted(map(repr, wanted))


def test_weights_and_workers(load: Any, rows: Any, rewarded: Path) -> None:
    options: Row = {"agree_with": "crm", "weights": {"math": 0.5, "chat": 2}, "streaming": True, "shards": 4}
    found = Counter(row["domain"] for row in load("all", **options))
    whole = Counter(row["domain"] for row in wanted_of(rows, agree_with="crm"))
    assert found["chat"] == 2 * whole["chat"]
    assert abs(found["math"] - whole["math"] / 2) < 1
    assert coig_p.plan("all", data_dir=str(rewarded), **options | {"streaming": None}).rows == found.total()
    torch = pytest.importorskip("torch.utils.data")
    loader = torch.DataLoader(load("all", **options), batch_size=None, num_workers=2)
    assert Counter(row["domain"] for row in loader) == found


def test_a_state_is_of_these_rewards(load: Any, rewarded: Path, tmp_path: Path) -> None:
    options: Row = {"agree_with": "crm", "streaming": True}
    stream = load(**options)
    whole = list(stream)
    iterator = iter(stream)
    seen = [next(iterator) for _ in range(10)]
    state = json.loads(json.dumps(stream.state_dict()))
    again = load(**options)
    again.load_state_dict(state)
    assert seen + list(again) == whole
    for changed in ({"agree_with": "other"}, {"agree_with": None}, {"min_reward_margin": 1}):
        name = next(iter(changed))
        with pytest.raises(UsageError, match=f"the state is of another stream .*{name}="):
            load(**options | changed).load_state_dict(state)
    anew = with_given(Path(shutil.copytree(rewarded, tmp_path / "anew")), "crm", lambda *of: 1.0)
    with pytest.raises(UsageError, match=r"the state is of another stream \(its store holds other files"):
        load(**options, data_dir=str(anew)).load_state_dict(state)


def test_the_cache_goes_by_what_the_rewards_are(load: Any, rewarded: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(rewarded, tmp_path / "own"))

    def files(**options: Any) -> list[str]:
        return [entry["filename"] for entry in load(data_dir=str(own), **options).cache_files]

    first, plain = files(agree_with="crm"), files()
    assert first == files(agree_with="crm", min_reward_margin=0)
    assert len({*first, *plain, *files(agree_with="other"), *files(agree_with="crm", min_reward_margin=0.25)}) == 4
    with_given(own, "crm", lambda *of: 1.0)
    assert files(agree_with="crm") != first
    assert files() == plain


def test_rewards_of_what_was_changed_are_none(rows: Any, tmp_path: Path, cache: str) -> None:
    rows = json.loads(json.dumps(of_math(rows)))[:20]
    first = with_given(make_store(tmp_path / "first", rows), "crm", crm)
    changed = [row | {"query": row["query"] + "？"} if at % 5 == 0 else row for at, row in enumerate(rows)]
    for at, row in enumerate(changed):
        if at % 5 == 1:
            row["responses"][0]["text"] += "又"
    second = make_store(tmp_path / "second", changed)
    shutil.copytree(first / "rewards", second / "rewards")
    told = json.loads((second / "manifest.json").read_text("utf-8"))
    given = json.loads((first / "manifest.json").read_text("utf-8"))
    told["files"] += [file for file in given["files"] if file["role"] == "rewards"]
    (second / "manifest.json").write_text(json.dumps(told | {"rewards": given["rewards"]}), encoding="utf-8")
    rewards = rewards_for(changed, "crm")
    for at, row in enumerate(changed):
        for place in range(len(row["responses"]) if at % 5 == 0 else at % 5 == 1):
            rewards[row["query_id"], place] = None
    wanted = oracle_pairs(changed, threshold=2, rewards=rewards)
    where: Row = {"data_dir": str(second), "split": "train", "agree_with": "crm"}
    assert load_dataset("coig-p", "math", cache_dir=cache, **where).to_list() == wanted
    assert list(load_dataset("coig-p", "math", streaming=True, **where)) == wanted
    assert coig_p.plan("math", data_dir=str(second), agree_with="crm").rows == len(wanted)
    effect = filter_effect(second, PairConfig(agree_with="crm"))
    assert effect.total.kept == len(wanted)
    assert {row.threshold: row.pairs for row in sweep(second, PairConfig(agree_with="crm")).thresholds}[2] == len(
        wanted
    )


def test_what_cannot_be_is_said_before_a_row_is_read(load: Any, store: Path, rewarded: Path) -> None:
    for streaming in (False, True):
        with pytest.raises(UsageError, match=r"unknown rewards 'crn'\. Did you mean 'crm'\? Valid: crm, other"):
            load(agree_with="crn", streaming=streaming)
        with pytest.raises(UsageError, match=r"this store has no rewards\. Let a reward model .* coigp score"):
            load(agree_with="crm", data_dir=str(store), streaming=streaming)
        with pytest.raises(UsageError, match="min_reward_margin=1: no effect without agree_with="):
            load(min_reward_margin=1, streaming=streaming)
        with pytest.raises(UsageError, match="coigp export STORE --for TRAINER --balance-length"):
            load(balance_length=True, streaming=streaming)
    with pytest.raises(UsageError, match="raw rows come as they are stored: agree_with"):
        load("math-raw", agree_with="crm")
    for call in (sweep, statistics, filter_effect):
        with pytest.raises(UsageError, match="unknown rewards 'crn'"):
            call(rewarded, PairConfig(agree_with="crn"))
    with pytest.raises(UsageError, match="unknown rewards 'crn'"):
        sweep(rewarded, second="crn")


def test_a_file_of_rewards_that_is_another_or_gone(rewarded: Path, tmp_path: Path, cache: str) -> None:
    own = Path(shutil.copytree(rewarded, tmp_path / "own"))
    one, two = sorted((own / "rewards" / "crm" / "math").iterdir())[:2]
    where: Row = {"data_dir": str(own), "split": "train", "agree_with": "crm", "cache_dir": cache}
    shutil.copy(two, one)
    with pytest.raises(StoreError, match=r"rewards/crm/math/\S+ is not the file that manifest\.json lists"):
        load_dataset("coig-p", "math", **where)
    one.unlink()
    with pytest.raises(StoreError, match=r"rewards/crm/math/train-00000\S+ is listed in manifest\.json but missing"):
        load_dataset("coig-p", "math", **where)
    # Other domains and plain pairs are read without.
    assert load_dataset("coig-p", "chat", data_dir=str(rewarded), split="train", cache_dir=cache).num_rows


def test_every_file_is_the_oracles(rewarded: Path, rows: Any, tmp_path: Path) -> None:
    config = PairConfig(agree_with="crm", threshold=1)
    wanted = wanted_of(sorted(rows, key=lambda row: row["domain"] != "math"), agree_with="crm", threshold=1)
    counts, used = write_pairs(rewarded, tmp_path / "pairs.jsonl", config, file_type="jsonl")
    found = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert found == wanted
    assert sum(counts.values()) == len(wanted)
    assert used.later == {"agree_with": "crm"}
    written = export_store(rewarded, tmp_path / "export", ExportConfig("trl-dpo", pairs=config)).to_dict()
    assert written["splits"]["train"]["rows"] == len(wanted)
    assert written["pairs"] == {"agree_with": "crm"}
    assert "agreeing with the rewards crm" in (tmp_path / "export" / "README.md").read_text("utf-8")
    kto = export_store(rewarded, tmp_path / "kto", ExportConfig("trl-kto", pairs=config)).to_dict()
    assert kto["splits"]["train"]["rows"] == len(
        {(row["query_id"], row[side]) for row in wanted for side in ("chosen_model", "rejected_model")}
    )


def test_responses_without_a_reward_are_told_once(load: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(agree_with="other", streaming=True)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        load(agree_with="crm", streaming=True)
    (record,) = caplog.records
    assert record.getMessage().startswith("by the manifest ")
    assert "have no reward crm (too-long " in record.getMessage()


def test_rewards_that_the_manifest_does_not_list_are_read_by_nobody(rewarded: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(rewarded, tmp_path / "store"))
    told = json.loads((store / "manifest.json").read_text("utf-8"))
    gone = next(file for file in told["files"] if file["path"].startswith("rewards/crm/"))
    told["files"].remove(gone)
    (store / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    said = f"{store}: manifest.json lists no {gone['path']}, though it has rewards called crm"
    query = next(iter(load_dataset("coig-p", "math", data_dir=str(store), split="train", streaming=True)))["query_id"]
    for command in (
        ["pairs", store, "--out", tmp_path / "pairs.jsonl"],
        ["stats", store],
        ["plan", store],
        ["sweep", store],
        ["export", store, "--for", "trl-dpo", "--out", tmp_path / "out"],
        ["show", store, query],
        ["diff", store, rewarded, "--a"],
        ["diff", rewarded, store, "--b"],
        ["bench", "convert", "--from", "pairs", store, "--out", tmp_path / "out"],
        ["reward", "judge-data", store, "--out", tmp_path / "out"],
        ["reward", "train", store, "--model", "builtin:ngram", "--out", tmp_path / "out"],
    ):
        of = ("agree_with=crm",) if command[0] == "diff" else ("--agree-with", "crm")
        done = run(*command, *of, code=None)
        assert (done.returncode, said in done.stderr) == (1, True), (command, done.stderr)
        assert not list(tmp_path.glob("out*")) + list(tmp_path.glob("pairs*"))
    for streaming in (False, True):
        with pytest.raises(StoreError) as error:
            load_dataset("coig-p", "all", data_dir=str(store), streaming=streaming, agree_with="crm")
        assert said in str(error.value)
    view = View(load_index(Store.open(store), cache=tmp_path / "index"))
    with pytest.raises(StoreError) as error:
        page(view, "compare", {"a_threshold": "2", "b_threshold": "2", "b_agree_with": "crm"})
    assert said in str(error.value)
    with pytest.raises(StoreError) as error:
        sweep(store, second="crm")
    assert said in str(error.value)
    with pytest.raises(StoreError) as error:
        list(Store.open(store).batches(gone["domain"], rewards=["crm"]))
    assert said in str(error.value)
    run("stats", store, "--agree-with", "other")


def test_a_kto_label_comes_of_pairs_that_stay_alone(rewarded: Path, rows: Any, load: Any) -> None:
    """Each response of a pair that the rewards agree with once, labelled; what a dropped pair says labels nothing."""
    dropped = 0
    for options in ({"agree_with": "crm"}, {"agree_with": "other", "threshold": 0, "strategy": "adjacent"}):
        kept = wanted_of(of_math(rows), **options)
        plain = {name: value for name, value in options.items() if name != "agree_with"}
        texts = {row["query_id"]: {one["text"] for one in row["responses"]} for row in rows}
        wins: Counter[tuple[str, str]] = Counter()
        for pair in kept:
            wins[pair["query_id"], pair["chosen"]] += 1
            wins[pair["query_id"], pair["rejected"]] -= 1
        found = load(format="kto", **options).to_list()
        assert all(row["completion"] in texts[row["query_id"]] for row in found)
        assert sorted((row["query_id"], row["completion"], row["label"]) for row in found) == sorted(
            (query, text, number > 0) for (query, text), number in wins.items()
        )
        assert list(load(format="kto", streaming=True, **options)) == found
        dropped += len(load(format="kto", **plain)) - len(found)
    assert dropped > 0
