"""A sweep against the pairs that loading at each threshold gives, and against plain Python."""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store, twin
from oracle import (
    exact,
    judges_of,
    oracle_pairs,
    verdicts_of,
)
from strategies import examples, extreme_rows, pair_options, raw_rows

import coig_p
from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.stats.agreement import VERDICTS
from coig_p.stats.distribution import nice_step
from coig_p.stats.intervals import Share
from coig_p.stats.results import SecondJudge
from coig_p.stats.sweep import Sweep, SweepRow, default_thresholds, sweep
from coig_p.store.locate import BUNDLED

STEPS = [0, 0.0001, 0.3333, 0.5, 1, 1.5, 2, 3]


def run(rows: list[dict[str, Any]], steps: list[float], **options: Any) -> Sweep:
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", rows, rows_per_shard=2, rows_per_group=1)
        return sweep(store, PairConfig(**options), steps)


def check_pairs(row: SweepRow, pairs: list[dict[str, Any]], queries: int) -> None:
    """One row of a sweep against the pairs at its threshold."""
    assert row.pairs == len(pairs)
    kept = {pair["query_id"] for pair in pairs}
    assert row.queries == len(kept)
    assert row.queries_kept == (pytest.approx(len(kept) / queries) if queries else None)
    assert row.pairs_per_query == (pytest.approx(len(pairs) / len(kept)) if pairs else None)
    longer = [
        len(pair["chosen"]) > len(pair["rejected"]) for pair in pairs if len(pair["chosen"]) != len(pair["rejected"])
    ]
    assert row.chosen_longer.n == len(longer)
    assert row.chosen_longer.share == (pytest.approx(sum(longer) / len(longer)) if longer else None)
    wins = Counter(pair["chosen_model"] for pair in pairs)
    assert row.most_chosen_share == (pytest.approx(max(wins.values()) / len(pairs)) if pairs else None)
    assert row.most_chosen is None if not pairs else wins[row.most_chosen] == max(wins.values())


@examples(60)
@given(rows=raw_rows() | extreme_rows(), options=pair_options())
def test_every_threshold_is_what_plain_python_gives(rows: list[dict[str, Any]], options: dict[str, Any]) -> None:
    options.pop("threshold")
    # A judge that gave nothing is an error, which test_what_cannot_be_is_said covers.
    options["judges"] = tuple(sorted(judges_of(rows) & set(options["judges"] or ()))) or None
    found = run(rows, STEPS, **options)
    assert found.queries == len(rows)
    for row in found.thresholds:
        check_pairs(row, oracle_pairs(rows, threshold=row.threshold, **options), len(rows))
        said = verdicts_of(rows, row.threshold, options)
        for verdict in VERDICTS:
            share = getattr(row.second_judge, verdict)
            assert share.n == said.total()
            assert share.share == (pytest.approx(said[verdict] / said.total()) if said.total() else None)


@pytest.mark.parametrize(
    "options",
    [{}, {"strict": True}, {"aggregation": "min"}, {"strategy": "best_worst"}, {"strategy": "best_random", "seed": 3},
     {"max_pairs_per_query": 2}, {"judges": ("judge-a",)}],
    ids=str,
)  # fmt: skip
def test_every_threshold_is_what_loading_gives(store: Path, cache: str, options: dict[str, Any]) -> None:
    steps = [0, 0.5, 1, 2, 2.25, 4, 8.5]
    found = sweep(store, PairConfig(**options), steps)
    for row in found.thresholds:
        pairs = coig_p.load_dataset(
            "all", data_dir=str(store), split="train", cache_dir=cache, threshold=row.threshold, **options
        )
        check_pairs(row, pairs.to_list(), found.queries)


def test_balance_is_the_entropy_over_all_models(store: Path, rows: list[dict[str, Any]]) -> None:
    (row,) = sweep(store, thresholds=[2]).thresholds
    wins = Counter(pair["chosen_model"] for pair in oracle_pairs(rows, threshold=2))
    models = {response["model"] for one in rows for response in one["responses"]}
    total = wins.total()
    assert row.model_balance == pytest.approx(
        -sum(n / total * math.log(n / total) for n in wins.values()) / math.log(len(models))
    )
    with tempfile.TemporaryDirectory() as folder:
        (even,) = sweep(make_store(Path(folder) / "store", twin()), thresholds=[2]).thresholds
    assert even.model_balance == pytest.approx(1)
    assert even.second_judge.agrees.share == 1


def test_shards_batches_domains_and_order_do_not_matter(tmp_path: Path) -> None:
    rows = make_rows({"math": 40, "chat": 30}, seed=5)
    whole = sweep(make_store(tmp_path / "a", rows, rows_per_shard=70, rows_per_group=70), thresholds=STEPS)
    cut = sweep(make_store(tmp_path / "b", rows[::-1], rows_per_shard=7, rows_per_group=3), thresholds=STEPS)
    assert whole.to_json() == cut.to_json()
    math_only = sweep(tmp_path / "a", thresholds=STEPS, domains=["math"])
    assert math_only.queries == 40
    alone = sweep(make_store(tmp_path / "c", rows[:40]), thresholds=STEPS)
    assert math_only.to_json() == alone.to_json()


def test_one_judge_a_response_leaves_agreement_open(tmp_path: Path) -> None:
    rows = make_rows({"math": 20})
    for row in rows:
        for response in row["responses"]:
            response["scores"] = response["scores"][:1]
    found = sweep(make_store(tmp_path / "store", rows), thresholds=[1])
    assert found.thresholds[0].second_judge == SecondJudge(Share(0), Share(0), Share(0))


@given(st.integers(1, 10**8), st.integers(2, 50))
def test_steps_are_round_and_the_smallest_that_do(span: int, most: int) -> None:
    step = nice_step(span / 10_000, most)
    assert f"{step:e}"[0] in "125"
    assert exact(step) * most >= exact(span / 10_000)
    smaller = {"1": step / 2, "2": step / 2, "5": step / 2.5}[f"{step:e}"[0]]
    assert step == 0.0001 or exact(round(smaller, 4)) * most < exact(span / 10_000)


def test_default_thresholds_cover_the_range_and_hold_the_default() -> None:
    found = sweep(BUNDLED)
    steps = [row.threshold for row in found.thresholds]
    assert steps[0] == 0
    assert steps[-1] == 9
    assert {found.default_threshold, found.paper_optimum} == {2} <= set(steps)
    assert len(steps) <= 22
    assert json.loads(found.to_json())["queries"] == 60


def test_other_score_ranges_have_other_steps_and_no_paper_optimum(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", twin(), default_threshold=0.25)
    path = store / "manifest.json"
    fields = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(fields | {"score_range": [0, 1]}), encoding="utf-8")
    found = sweep(store)
    assert found.paper_optimum is None
    assert len(found.thresholds) == 21
    from coig_p.store.store import Store

    assert default_thresholds(Store.open(store).manifest)[:3] == [0, 0.05, 0.1]


def test_what_cannot_be_is_said(store: Path) -> None:
    with pytest.raises(UsageError, match="0 thresholds"):
        sweep(store, thresholds=[])
    with pytest.raises(UsageError, match="at most 4 decimals"):
        sweep(store, thresholds=[0.00001])
    with pytest.raises(UnknownNameError, match="math"):
        sweep(store, domains=["maths"])
    with pytest.raises(UnknownNameError, match="judge-a"):
        sweep(store, PairConfig(judges=("judge-z",)))
    with pytest.raises(UnknownNameError, match="train"):
        sweep(store, split="test")


def test_a_sweep_is_plain_data(store: Path) -> None:
    found = sweep(store, thresholds=[1, 2])
    assert json.loads(found.to_json())["thresholds"][1]["pairs"] == asdict(found)["thresholds"][1]["pairs"]
    assert found.to_json() == sweep(store, thresholds=[2, 1, 1]).to_json()


def test_a_judge_that_compares_is_asked_of_pairs_that_scores_make(tmp_path: Path) -> None:
    rows = make_rows({"math": 8})
    for row in rows:
        for at, response in enumerate(row["responses"]):
            scores = {"judge-a": 9.0 - 2 * at} | ({"乙": 5.0} if at == 0 else {})
            response["scores"] = [{"judge": name, "dimension": "overall", "score": s} for name, s in scores.items()]
        row["comparisons"] = [
            {"first": 1, "second": 0, "judge": "乙", "dimension": "overall", "first_score": 0.0, "second_score": 1.0}
        ]
    (found,) = sweep(make_store(tmp_path / "store", rows), thresholds=[2]).thresholds
    options = {**asdict(PairConfig()), "threshold": 2}
    said = verdicts_of(rows, 2, options)
    assert said["agrees"] == 8
    assert {name: getattr(found.second_judge, name).n for name in VERDICTS} == dict.fromkeys(VERDICTS, said.total())
    assert found.second_judge.agrees.share == 1


@pytest.mark.parametrize(("low", "high", "last"), [(0.0, 1.0, 1.0), (-30.0, 10.0, 40.0)])
def test_thresholds_of_comparisons_alone_reach_as_far_as_their_margins(
    low: float, high: float, last: float, tmp_path: Path
) -> None:
    rows = make_rows({"math": 6})
    for row in rows:
        for answer in row["responses"]:
            answer["scores"] = None
        told = {"first": 0, "second": 1, "judge": "j", "dimension": "overall", "rationale": None}
        row["comparisons"] = [{**told, "first_score": low, "second_score": high}]
    store = make_store(tmp_path / "store", rows, default_threshold=1)
    found = sweep(store)
    assert found.thresholds[-1].threshold == last
    assert 10 <= len(found.thresholds) <= 22
    assert [row.pairs for row in found.thresholds] == [6] * len(found.thresholds)
