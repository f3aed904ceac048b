"""agree_with= and min_reward_margin= where pairs are counted, compared, shown and released."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from agreeing import Row, of_math, rewards_for, wanted_of
from cards import CARD
from commands import run
from datasets import load_dataset
from oracle import oracle_pairs
from rewarding import with_given

from coig_p.errors import UsageError
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
