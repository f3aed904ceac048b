"""agree_with= and min_reward_margin=, wherever a pair option goes."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from commands import run
from datasets import load_dataset
from make import make_store
from oracle import Rewards, oracle_pairs
from rewarding import with_given

import coig_p
from coig_p.errors import StoreError, UsageError
from coig_p.export.one_file import write_pairs
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.report.view.index import load_index
from coig_p.report.view.pages import View, page
from coig_p.stats.counts import statistics
from coig_p.stats.diff import compare_stores
from coig_p.stats.filtering import filter_effect
from coig_p.stats.results import Statistics
from coig_p.stats.sweep import sweep
from coig_p.store.store import Store
from coig_p.validation import load_rules
from coig_p.views.table import ViewTable

Row = dict[str, Any]
TRIED: list[Row] = [
    {"agree_with": "crm"},
    {"agree_with": "crm", "min_reward_margin": 0.5, "threshold": 1},
    {"agree_with": "other", "threshold": 0, "strategy": "adjacent"},
    {"agree_with": "crm", "strategy": "best_worst", "min_judges": 2},
]


def crm(query_id: str, model: str, sample: int, text: str) -> float | None:
    """Mostly as the models are strong, in halves, so that many are equal or exactly so far apart."""
    number = sum(map(ord, query_id + model))
    return None if number % 11 == 0 else int(model[-1]) + (number * number % 7) / 2 - 2


def other(query_id: str, model: str, sample: int, text: str) -> float | None:
    return -float(len(text))


GIVEN = {"crm": crm, "other": other}


def rewards_for(rows: list[Row], name: str) -> Rewards:
    return {
        (row["query_id"], at): GIVEN[name](row["query_id"], one["model"], one["sample"], one["text"])
        for row in rows
        for at, one in enumerate(row["responses"])
    }


def wanted_of(rows: list[Row], *, agree_with: str, threshold: float = 2, **options: Any) -> list[Row]:
    return oracle_pairs(rows, threshold=threshold, rewards=rewards_for(rows, agree_with), **options)


@pytest.fixture(scope="module")
def rewarded(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copytree(store, tmp_path_factory.mktemp("rewarded") / "store"))
    for name, given in GIVEN.items():
        with_given(path, name, given)
    return path


@pytest.fixture
def load(rewarded: Path, cache: str) -> Any:
    def call(name: str = "math", **options: Any) -> Any:
        where: Row = {"data_dir": str(rewarded), "split": "train"}
        if not options.get("streaming"):
            where["cache_dir"] = cache
        return load_dataset("coig-p", name, **where | options)

    return call


def of_math(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["domain"] == "math"]


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


def effect_by_hand(rows: list[Row], name: str, least: float, threshold: float) -> dict[str, Counter[str]]:
    """Outcomes by domain, in plain Python."""
    rewards = rewards_for(rows, name)
    found: dict[str, Counter[str]] = {}
    for row in rows:
        places = {one["model"]: at for at, one in enumerate(row["responses"])}
        for pair in oracle_pairs([row], threshold=threshold):
            one, two = (rewards[row["query_id"], places[pair[f"{side}_model"]]] for side in ("chosen", "rejected"))
            if one is None or two is None:
                outcome = "without_reward"
            else:
                outcome = "opposed" if one < two else "kept" if one - two >= least else "too_close"
            own = found.setdefault(row["domain"], Counter())
            own[outcome] += 1
            longer = len(pair["chosen"]) - len(pair["rejected"])
            own.update({"longer": longer > 0, "differs": longer != 0})
            if outcome == "kept":
                own.update({"longer after": longer > 0, "differs after": longer != 0})
            own[f"{int(pair['margin'])} {outcome == 'kept'}"] += 1
    return found


@pytest.mark.parametrize(("name", "least"), [("crm", 0), ("crm", 0.75), ("other", 0)])
def test_what_a_filter_does_is_counted_as_by_hand(name: str, least: float, rewarded: Path, rows: Any) -> None:
    config = PairConfig(agree_with=name, min_reward_margin=least, threshold=1)
    effect = filter_effect(rewarded, config)
    by_hand = effect_by_hand(rows, name, least, 1)
    by_hand["all"] = sum(by_hand.values(), Counter())
    for domain, found in {**effect.domains, "all": effect.total}.items():
        wanted = by_hand[domain]
        assert {one: getattr(found, one) for one in ("kept", "opposed", "too_close", "without_reward")} == {
            one: wanted[one] for one in ("kept", "opposed", "too_close", "without_reward")
        }
        assert found.pairs == found.kept + found.opposed + found.too_close + found.without_reward
        assert (found.longer_before.n, found.longer_after.n) == (wanted["differs"], wanted["differs after"])
        assert found.longer_before.share == wanted["longer"] / wanted["differs"]
        assert found.longer_after.share == wanted["longer after"] / wanted["differs after"]
        by_margin: Counter[str] = Counter()
        for one in found.margins:
            by_margin[f"{int(one.low)} True"] += one.kept
            by_margin[f"{int(one.low)} False"] += one.dropped
        assert +by_margin == Counter({key: n for key, n in wanted.items() if key[0].isdigit() and n})
    assert sum(len(wanted_of([row], agree_with=name, min_reward_margin=least, threshold=1)) for row in rows) == (
        effect.total.kept
    )
    found_too = statistics(rewarded, config)
    assert found_too.total.filtered == effect.total
    assert {name: part.filtered for name, part in found_too.domains.items()} == effect.domains
    assert found_too.total.pairs == effect.total.kept
    plain = statistics(rewarded, PairConfig(threshold=1))
    assert found_too.total.combinations.left_out == plain.total.combinations.left_out == 0
    assert found_too.total.combinations.pairs == effect.total.kept
    assert Statistics.from_json(found_too.to_json()).to_json() == found_too.to_json()
    assert "filtered" not in plain.to_json()
    assert effect.to_dict()["total"]["kept"] == effect.total.kept
    assert list(effect.to_pandas().index) == [*effect.domains, "all"]
    assert effect.to_pandas().loc["all", "kept"] == effect.total.kept
    assert f"{effect.total.kept:,}" in effect._repr_html_()


def test_queries_that_are_left_out_are_in_no_count(rewarded: Path, rows: Any, tmp_path: Path) -> None:
    (tmp_path / "no.txt").write_text("".join(f"{row['query_id']}\n" for row in rows[::3]), encoding="utf-8")
    config = PairConfig(agree_with="crm", exclude=tmp_path / "no.txt")  # type: ignore[arg-type]
    left = [row for at, row in enumerate(rows) if at % 3]
    effect, swept = filter_effect(rewarded, config), sweep(rewarded, config, [2], second="crm")
    assert effect.total.pairs == len(oracle_pairs(left, threshold=2))
    assert effect.total.kept == swept.thresholds[0].pairs == len(wanted_of(left, agree_with="crm"))


def test_what_a_filter_does_is_printed(rewarded: Path, tmp_path: Path) -> None:
    effect = filter_effect(rewarded, PairConfig(agree_with="crm", threshold=1))
    first = f"the rewards crm keep {effect.total.kept:,} of {effect.total.pairs:,} pairs ("
    asked = ["--agree-with", "crm", "--threshold", 1]
    said = run("pairs", rewarded, "--out", tmp_path / "x.jsonl", *asked).stdout
    assert "at threshold 1, agreeing with the rewards crm (" in said
    for line in (said, run("stats", rewarded, *asked).stdout):
        assert first in line
        assert f"left out: {effect.total.opposed:,} opposed, {effect.total.without_reward:,} with a response" in line
    told = json.loads(run("pairs", rewarded, "--out", tmp_path / "y.jsonl", *asked, "--json").stdout)
    assert told["agree_with"] == "crm"
    assert told["filtered"]["total"]["kept"] == told["rows"] == effect.total.kept
    shown = run("export", rewarded, "--for", "trl-dpo", "--out", tmp_path / "x", *asked, "--domain", "math").stdout
    assert f"keep {effect.domains['math'].kept:,} of {effect.domains['math'].pairs:,} pairs" in shown
    cut = ["--for", "trl-dpo", "--out", tmp_path / "z", "--test-size", "0.2", "--json"]
    told = json.loads(run("export", rewarded, *asked, *cut).stdout)
    assert told["filtered"]["total"]["kept"] == sum(split["rows"] for split in told["splits"].values())
    close = run("stats", rewarded, *asked, "--min-reward-margin", "0.5").stdout
    assert "with rewards less than 0.5 apart" in close
    assert "filtered" not in json.loads(run("pairs", rewarded, "--out", tmp_path / "z.jsonl", "--json").stdout)
    planned = json.loads(run("plan", rewarded, *asked, "--json").stdout)
    assert planned["splits"]["train"]["rows"] == effect.total.kept
    refused = run("pairs", rewarded, "--out", tmp_path / "no.jsonl", "--min-reward-margin", "1", code=2).stderr
    assert "no effect without agree_with=" in refused


def second_by_hand(rows: list[Row], name: str, threshold: float) -> Counter[str]:
    rewards = rewards_for(rows, name)
    found: Counter[str] = Counter()
    for row in rows:
        places = {one["model"]: at for at, one in enumerate(row["responses"])}
        for pair in oracle_pairs([row], threshold=threshold):
            one, two = (rewards[row["query_id"], places[pair[f"{side}_model"]]] for side in ("chosen", "rejected"))
            if one is None or two is None:
                found["unknown"] += 1
            else:
                found["agrees" if one > two else "ties" if one == two else "opposes"] += 1
    return found


@pytest.mark.parametrize("strategy", ["all", "best_random"])
def test_rewards_are_the_second_judge_of_a_sweep(strategy: str, rewarded: Path, rows: Any, tmp_path: Path) -> None:
    found = sweep(rewarded, PairConfig(strategy=strategy), [0, 1, 2, 4], second="crm")
    for row in found.thresholds:
        judged = row.second_judge
        assert judged.agrees.n + row.without_reward == row.pairs
        if strategy == "all":
            wanted = second_by_hand(rows, "crm", row.threshold)
            assert row.without_reward == wanted["unknown"]
            for verdict in ("agrees", "ties", "opposes"):
                share = getattr(judged, verdict)
                assert round(share.share * share.n) == wanted[verdict]
                assert share.low <= share.share <= share.high
                assert wanted[verdict] or row.threshold > 1
        effect = filter_effect(rewarded, PairConfig(strategy=strategy, agree_with="crm", threshold=row.threshold))
        assert round((judged.agrees.share or 0) * judged.agrees.n + (judged.ties.share or 0) * judged.ties.n) == (
            effect.total.kept
        )
    assert found.second == "crm"
    assert "second" not in sweep(rewarded, thresholds=[2]).to_dict()
    told = json.loads(run("sweep", rewarded, "--second", "crm", "--thresholds", "1,2", "--json").stdout)
    assert told["second"] == "crm"
    assert told["thresholds"][0]["without_reward"] == second_by_hand(rows, "crm", 1)["unknown"]
    shown = run("sweep", rewarded, "--second", "crm", "--thresholds", "1,2", "--out", tmp_path / "out").stdout
    assert "the rewards crm say nothing: a response has none" in shown
    assert (tmp_path / "out" / "second-judge.svg").is_file()
    assert "unknown rewards 'crn'" in run("sweep", rewarded, "--second", "crn", code=2).stderr


def test_a_diff_of_two_ways_and_of_two_stores(rewarded: Path, rows: Any, tmp_path: Path) -> None:
    store = Store.open(rewarded)
    plain, agreed = PairConfig(), PairConfig(agree_with="crm", min_reward_margin=0.5)
    found = compare_stores(store, store, plain, agreed)
    kept = len(wanted_of(rows, agree_with="crm", min_reward_margin=0.5))
    assert (found.total.pairs.before, found.total.pairs.after) == (len(oracle_pairs(rows, threshold=2)), kept)
    assert (found.total.pairs.gained, found.total.pairs.flipped) == (0, 0)
    assert found.options == {"agree_with": (None, "crm"), "min_reward_margin": (None, 0.5)}
    both = compare_stores(store, store, agreed, PairConfig(agree_with="other"))
    assert (both.total.pairs.before, both.total.pairs.after) == (kept, len(wanted_of(rows, agree_with="other")))
    assert compare_stores(store, store, agreed, agreed).is_same
    # The same shards, other rewards: pairs differ.
    anew = with_given(Path(shutil.copytree(rewarded, tmp_path / "anew")), "crm", lambda *of: None)
    other = compare_stores(store, Store.open(anew), agreed, agreed)
    assert (other.total.pairs.before, other.total.pairs.after) == (kept, 0)
    asked = "threshold=2,agree-with=crm,min-reward-margin=0.5"
    shown = run("diff", rewarded, "--a", "threshold=2", "--b", asked).stdout
    assert "agree_with: none in A, crm in B" in shown


def test_queries_are_shown_with_what_rewards_left_out(rewarded: Path, rows: Any) -> None:
    row = next(row for row in of_math(rows) if effect_by_hand([row], "crm", 0, 1).get("math", Counter())["opposed"])
    wanted = effect_by_hand([row], "crm", 0, 1)["math"]
    told = json.loads(run("show", rewarded, row["query_id"], "--threshold", 1, "--agree-with", "crm", "--json").stdout)[
        0
    ]
    assert told["pairs_in_all"] == wanted["kept"]
    assert told["left_out"]["opposed by rewards"] == wanted["opposed"]
    assert told["left_out"]["with a response without a reward"] == wanted["without_reward"]
    assert told["left_out"]["left out by strategy or draw"] == 0
    shown = run("show", rewarded, row["query_id"], "--threshold", 1, "--agree-with", "crm").stdout
    assert "opposed by rewards" in shown
    assert run("show", rewarded, "--near", 2, "--agree-with", "crm").stdout


def test_the_browser_asks_for_them(rewarded: Path, store: Path, tmp_path: Path) -> None:
    view = View(load_index(Store.open(rewarded), cache=tmp_path / "index"))
    html = page(view, "query", {"agree_with": "crm", "min_reward_margin": "0.5"}) or ""
    assert '<option value="crm" selected>crm</option>' in html
    assert 'name="min_reward_margin" value="0.5"' in html
    html = page(view, "query", {"agree_with": "", "min_reward_margin": "1"}) or ""
    assert '<option value="crm">crm</option>' in html
    with pytest.raises(UsageError, match="unknown rewards 'crn'"):
        page(view, "query", {"agree_with": "crn"})
    html = page(view, "compare", {"a_threshold": "2", "b_threshold": "2", "b_agree_with": "crm", "lang": "zh"}) or ""
    assert "agree_with=crm" in html
    assert "与奖励一致" in html
    plain = View(load_index(Store.open(store), cache=tmp_path / "index"))
    assert "agree_with" not in (page(plain, "query", {}) or "")


CARD = """
pretty_name = "试验用偏好数据"
license = "cc-by-4.0"
authors = ["甲"]
citation = "@misc{trial, title={Trial}}"
intended_use = "Trying releases."
[[sources]]
name = "written for tests"
license = "CC0"
"""


def test_a_release_holds_the_pairs_that_agree_and_says_so(rewarded: Path, rows: Any, tmp_path: Path) -> None:
    path = Path(shutil.copytree(rewarded, tmp_path / "store"))
    (path / CARD_TOML).write_text(CARD, encoding="utf-8")
    rules = {name: rule for name, rule in load_rules().items() if rule.severity != "error"}
    config = PairConfig(agree_with="crm", min_reward_margin=0.5)
    first = write_release(Store.open(path), tmp_path / "one", ReleaseConfig("1.0.0", config, rules=rules))
    assert first.verify() == []
    wanted = wanted_of(rows, agree_with="crm", min_reward_margin=0.5)
    assert sum(one.rows or 0 for one in first.manifest.files if one.role == "pairs") == len(wanted)
    told = first.manifest.release["pairs"]
    assert (told["agree_with"], told["min_reward_margin"]) == ("crm", 0.5)
    effect = filter_effect(first, config)
    asked = 'agree_with="crm", min_reward_margin=0.5'
    kept = (f"{effect.total.kept:,} of {effect.total.pairs:,} pairs stay", f"留下 {effect.total.kept:,} 个")
    for name, words in zip(("README.md", "README.zh.md"), kept, strict=True):
        text = (first.path / name).read_text("utf-8")
        assert words in text
        lines = [line.partition(" = ")[2] for line in text.splitlines() if asked in line]
        assert lines
        for line in lines:
            line = line.replace("PATH/OR/REPO", str(first.path))
            assert next(iter(eval(line, {"load_dataset": load_dataset})), None), line
    # The next release is compared with it by the rewards that it was made with.
    with_given(path, "crm", lambda *of: 1.0)
    again = ReleaseConfig("1.1.0", PairConfig(), rules=rules, since=first)
    second = write_release(Store.open(path), tmp_path / "two", again)
    changes = second.manifest.release["changes"]
    assert changes["total"]["pairs"]["before"] == len(wanted)
    assert changes["total"]["pairs"]["after"] == len(oracle_pairs(rows, threshold=2))
    assert changes["options"]["agree_with"] == {"before": "crm", "after": None}
    assert "agree_with" not in (second.path / "statistics.json").read_text("utf-8")


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
