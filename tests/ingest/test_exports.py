"""Our own exports, imported again: the same pairs, and every rounding told."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from make import make_store

from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.ingest.means import mean_scores
from coig_p.ingest.values import Mean, Rejected
from coig_p.schema import on_grid
from coig_p.store.store import Store

Row = dict[str, Any]
JUDGES = ("j1", "j2", "j3")
SCORES = {"甲": (7, 7, 8), "乙": (5, 5, 6), "丙": (7, 7, 7.0001), "丁": (7, 7, 7), "戊": (1, 2, 2)}
"""Three judges each: means of thirds, 甲 exactly 2 above 乙, and 丙 less than a step of the grid above 丁."""


def observed(folder: Path) -> Path:
    """A store of one query whose means lie between steps of the grid."""
    responses = [
        {
            "model": f"m{at}",
            "text": text,
            "scores": [{"judge": judge, "score": score} for judge, score in zip(JUDGES, scores, strict=True)],
        }
        for at, (text, scores) in enumerate(SCORES.items())
    ]
    row = {"query_id": "q", "domain": "chat", "query": "问", "responses": responses}
    return make_store(folder / "observed", [row], rows_per_shard=1)


def imported(folder: Path, rows: list[Row], **form: Any) -> tuple[Store, ImportReport]:
    (folder / "in.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    config = ImportConfig(form=FormConfig(**form), score_range=(0, 10))
    return import_files([folder / "in.jsonl"], folder / "again", config, overwrite=True)


def pairs_of(store: Path, threshold: float, form: str = "dpo") -> list[Row]:
    return list(load_dataset("coig-p", "chat", data_dir=str(store), threshold=threshold, format=form, split="train"))


def texts(rows: list[Row]) -> set[tuple[str, str]]:
    return {(row["chosen"], row["rejected"]) for row in rows}


def right(threshold: float) -> set[tuple[str, str]]:
    """The pairs by exact means."""
    means = {text: sum(map(Fraction, map(str, scores)), Fraction(0)) / 3 for text, scores in SCORES.items()}
    both = (sorted(pair, key=lambda text: -means[text]) for pair in combinations(SCORES, 2))
    found = {(best, worst) for best, worst in both if means[best] - means[worst] >= Fraction(str(threshold))}
    return {pair for pair in found if means[pair[0]] > means[pair[1]]}


@pytest.mark.parametrize("form", ["dpo", "ranked", "ranked_conversational", "conversational"])
@pytest.mark.parametrize("threshold", [0, 2])
def test_means_come_back_to_the_same_pairs_and_are_told(form: str, threshold: float, tmp_path: Path) -> None:
    store = observed(tmp_path)
    assert texts(pairs_of(store, threshold)) == right(threshold)
    again, report = imported(tmp_path, pairs_of(store, threshold, form))
    assert texts(pairs_of(again.path, threshold)) == right(threshold)
    assert report.counts["comparisons"]["stored"] == (0 if "ranked" in form else len(right(threshold)))
    assert report.rounded > 0
    assert any(f"rounded to 4 decimals: {report.rounded:,}" in line for line in report.advice())


@pytest.mark.parametrize("form", ["kto", "sft"])
def test_means_of_one_response_a_row_are_told(form: str, tmp_path: Path) -> None:
    again, report = imported(tmp_path, pairs_of(observed(tmp_path), 2, form))
    assert report.rounded == len({text for pair in right(2) for text in pair[: 1 if form == "sft" else 2]} - {"丁"})
    if form == "kto":
        assert texts(pairs_of(again.path, 2)) == right(2)


def test_rounding_invents_no_comparison(tmp_path: Path) -> None:
    export = {"prompt": "问", "responses": ["甲", "乙", "丙"], "models": ["a", "b", "c"], "ranks": [1, 2, 3]}
    export |= {"scores": [7.0000333, 7.0, 1.0], "query_id": "q", "domain": "chat"}
    rated = {"prompt": "问二", "responses": ["甲", "乙"], "ratings": [7.1, 7.2], "domain": "chat"}
    for options in ({}, {"round_scores": True}):
        store, report = imported(tmp_path, [export, rated], **options)
        assert (report.counts["comparisons"]["read"], report.rounded) == (0, 1)
        assert texts([row for row in pairs_of(store.path, 0) if row["prompt"] == "问"]) == {
            ("甲", "乙"),
            ("甲", "丙"),
            ("乙", "丙"),
        }


def test_scores_too_close_for_the_grid_are_refused(tmp_path: Path) -> None:
    row = {"prompt": "问", "responses": ["甲", "乙", "丙"], "models": ["a", "b", "c"], "ranks": [1, 2, 3]}
    row |= {"scores": [7.00003, 7.00002, 7.00001], "query_id": "q", "domain": "chat"}
    with pytest.raises(ImportFailed) as error:
        imported(tmp_path, [row])
    assert "stand closer together than the 4 decimals" in str(error.value.report.problems[0])


@settings(max_examples=300)
@given(st.lists(st.integers(0, 60).map(lambda steps: 9.999 + steps / 60_000), min_size=1, max_size=5))
def test_rounded_means_keep_their_order(values: list[float]) -> None:
    try:
        found = mean_scores(values, [""] * len(values))
    except Rejected:
        distinct = sorted(set(values))
        assert any(b - a < 2e-4 for a, b in zip(distinct, distinct[2:], strict=False))
        return
    kept = [one.step if isinstance(one, Mean) else one for one in found]
    assert all(map(on_grid, kept))
    assert all(abs(one - value) < 1e-4 for one, value in zip(kept, values, strict=True))
    for one, other in combinations(range(len(values)), 2):
        assert (kept[one] > kept[other], kept[one] < kept[other]) == (
            values[one] > values[other],
            values[one] < values[other],
        )
    if max(values) <= 10:
        assert max(kept) <= 10
