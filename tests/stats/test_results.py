"""Results as types: what they are as JSON, as frames and in a notebook."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, asdict, fields
from html import unescape
from math import isnan
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from make import make_rows, make_store

from coig_p.core.html import html_table
from coig_p.dedup.queries import read_queries
from coig_p.dedup.responses import ResponseConfig, find_similar_responses
from coig_p.pairs.config import PairConfig
from coig_p.stats.counts import COUNTS, statistics
from coig_p.stats.info import store_info
from coig_p.stats.results import Counts, Statistics
from coig_p.stats.sweep import sweep
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store
from coig_p.validation.gate import check

SHARE = {"n", "share", "low", "high"}
DISTRIBUTION = {"n", "mean", "min", "p10", "p25", "p50", "p75", "p90", "p99", "max", "bins"}
SUMMARY = [
    *COUNTS, "pairs_per_query", "splits", "combinations", "ties_share", "lengths", "margins", "chosen_longer",
    "equal_length", "models", "judges", "second_judge", "conversations", "turns", "with_tools",
]  # fmt: skip


def test_statistics_as_json_have_the_shape_that_docs_describe() -> None:
    found = statistics(BUNDLED)
    assert found.to_dict() == json.loads(json.dumps(found.to_dict()))
    shown = json.loads(found.to_json())
    assert list(shown) == ["config", "default_threshold", "score_range", "domains", "total"]
    assert shown["config"]["threshold"] == 2
    assert "format" not in shown["config"]
    total = shown["total"]
    assert list(total) == SUMMARY
    assert set(total["splits"]["train"]) == set(COUNTS)
    assert set(total["combinations"]) == {"labelled", "same_text", "ties", "below_threshold", "left_out", "pairs"}
    assert list(total["lengths"]) == ["query", "response", "chosen", "rejected"]
    assert set(total["margins"]) == set(total["lengths"]["query"]) == DISTRIBUTION
    assert set(total["margins"]["bins"]) == {"edges", "counts"}
    model, judge = next(iter(total["models"].values())), next(iter(total["judges"].values()))
    assert list(model) == ["responses", "chosen", "rejected", "win_rate"]
    assert list(judge) == ["scores", "comparisons", "responses", "mean_score", "offset", "agrees", "ties", "opposes"]
    assert set(judge["offset"]) == {"n", "mean", "low", "high"}
    assert set(total["second_judge"]) == {"agrees", "ties", "opposes"}
    assert set(model["win_rate"]) == set(judge["agrees"]) == set(total["chosen_longer"]) == SHARE


def test_statistics_come_back_from_what_they_are_as_json() -> None:
    found = statistics(BUNDLED, PairConfig(strategy="best_worst", judges=tuple(store_info(BUNDLED).judges)))
    assert Statistics.from_dict(found.to_dict()) == found
    assert Statistics.from_json(found.to_json()).to_json() == found.to_json()
    # Of a release that was made before there were conversations.
    told = found.to_dict()
    for part in (told["total"], *told["domains"].values()):
        for name in ("conversations", "turns", "with_tools"):
            del part[name]
    assert Statistics.from_dict(told) == found


def test_what_judges_said_is_decoded_by_nobody_who_counts_or_compares(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be longer than the responses; only what shows it reads it."""
    decode, read = pq.ParquetFile.iter_batches, set()

    def decoding(shard: Any, size: int, groups: Any, columns: list[str] | None, **options: Any) -> Any:
        read.update(columns if columns is not None else ["all of them, with rationale"])
        return decode(shard, size, groups, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", decoding)
    opened = Store.open(store)
    statistics(opened)
    sweep(opened)
    store_info(store)
    read_queries(opened)
    find_similar_responses(opened, ResponseConfig())
    assert "responses.list.element.text" in read
    assert not [name for name in read if "rationale" in name]
    assert len(opened.to_pandas())
    assert "responses.list.element.scores.list.element.rationale" in read


def test_a_sweep_as_json_has_the_shape_that_docs_describe() -> None:
    found = sweep(BUNDLED, PairConfig(threshold=3))
    assert found.to_dict() == json.loads(json.dumps(found.to_dict()))
    shown = json.loads(found.to_json())
    assert list(shown) == ["queries", "models", "default_threshold", "paper_optimum", "config", "thresholds"]
    assert {"threshold", "format"}.isdisjoint(shown["config"])
    assert list(shown["thresholds"][0]) == [
        "threshold", "pairs", "queries", "queries_kept", "pairs_per_query", "chosen_longer", "most_chosen",
        "most_chosen_share", "model_balance", "second_judge",
    ]  # fmt: skip


def test_results_are_shown_in_one_short_line() -> None:
    found, info = statistics(BUNDLED), store_info(BUNDLED)
    assert repr(found) == ("Statistics(6 domains, 60 queries, 243 responses, 534 scores, 269 pairs at threshold 2)")
    assert repr(found.total) == "DomainStatistics(60 queries, 243 responses, 534 scores, 269 pairs)"
    assert repr(info) == f"StoreInfo({info.store!r}, 6 domains, 60 queries, 243 responses, 534 scores, 269 pairs)"
    shown = repr(sweep(BUNDLED, thresholds=[0, 2.5, 4]))
    assert shown == "Sweep(3 thresholds, 0 to 4, of 60 queries and 6 models)"


def test_results_cannot_be_changed() -> None:
    found = statistics(BUNDLED)
    for one in (
        found,
        found.total,
        found.total.lengths.query.bins,
        found.total.second_judge.agrees,
        store_info(BUNDLED),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(one, fields(one)[0].name, None)


def test_frames_hold_the_same_numbers() -> None:
    found = statistics(BUNDLED)
    frame = found.to_pandas()
    assert list(frame.index) == [*found.domains, "all"]
    for domain, part in {**found.domains, "all": found.total}.items():
        row = frame.loc[domain]
        assert {name: row[name] for name in COUNTS} == {one.name: getattr(part, one.name) for one in fields(Counts)}
        assert row["margins_p50"] == part.margins.p50
        assert row["lengths_chosen_mean"] == part.lengths.chosen.mean
        assert row["chosen_longer_low"] == part.chosen_longer.low
        assert row["combinations_ties"] == part.combinations.ties
    assert not [name for name in frame.columns if isinstance(frame[name].iloc[0], (dict, list))]
    swept = sweep(BUNDLED)
    frame = swept.to_pandas()
    assert list(frame.index) == [row.threshold for row in swept.thresholds]
    assert frame["pairs"].tolist() == [row.pairs for row in swept.thresholds]
    shares = [row.second_judge.agrees.share for row in swept.thresholds]
    assert [None if isnan(one) else one for one in frame["second_judge_agrees_share"]] == shares
    info = store_info(BUNDLED)
    frame = info.to_pandas()
    assert frame.loc["all"].to_dict() == asdict(info.total)
    assert list(frame.index) == [*info.domains, "all"]


def test_info_is_what_the_statistics_count() -> None:
    info, found = store_info(BUNDLED), statistics(BUNDLED)
    assert info.to_dict() == json.loads(json.dumps(info.to_dict()))
    for domain, counts in info.domains.items():
        assert asdict(counts).items() <= asdict(found.domains[domain]).items()
    assert asdict(info.total).items() <= asdict(found.total).items()


def test_names_in_a_notebook_are_text(tmp_path: Path) -> None:
    rows = make_rows({"math": 9})
    for row in rows:
        for response in row["responses"]:
            response["model"] = f"<script>alert('{response['model']}')</script>"
    store = make_store(tmp_path / "<b>store", rows)
    for found in (statistics(store), sweep(store), store_info(store)):
        html = found._repr_html_()
        assert "<script" not in html
        assert "<b>" not in html
        assert html.count("<td") == html.count("</td>") > 0
    assert "&lt;script&gt;" in sweep(store)._repr_html_()
    assert "&lt;b&gt;store" in store_info(store)._repr_html_()


def test_a_notebook_shows_the_numbers_of_each(tmp_path: Path) -> None:
    store = Store.open(make_store(tmp_path / "store", make_rows({"math": 30, "chat": 20})))

    def cells(html: str) -> list[list[str]]:
        rows = re.findall(r"<tr>(.*?)</tr>", html)
        return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]

    counted, swept = statistics(store), sweep(store)
    shown = cells(counted._repr_html_())
    for name, one in {**counted.domains, "all": counted.total}.items():
        assert [name, *(f"{n}" for n in (one.queries, one.responses, one.scores, one.comparisons, one.pairs))] in [
            row[:6] for row in shown
        ]
    for model, of in counted.total.models.items():
        rate = "–" if of.win_rate.share is None else f"{of.win_rate.share:.1%}"
        assert [model, f"{of.responses}", f"{of.chosen}", f"{of.rejected}", rate] in shown
    assert [row[:3] for row in cells(swept._repr_html_())[1:]] == [
        [f"{row.threshold:g}", f"{row.pairs}", f"{row.queries}"] for row in swept.thresholds
    ]
    for row in cells(store._repr_html_())[1:]:
        one = counted.domains[row[0]]
        assert row[1:] == [f"{n}" for n in (one.queries, one.responses, one.scores, one.comparisons)]
    report = check(store)
    assert {row[1]: row[2] for row in cells(report._repr_html_())[1:]} == {
        id: f"{number:,}" for id, number in report.by_rule().items() if number
    }
    assert html_table("t\u202e", ["a"], [[12345.678], [True], ["\x1b<b>"]]) == (
        "<table><caption>t\\u202e</caption><tr><th>a</th></tr>"
        '<tr><td style="text-align:right">12,345.678</td></tr><tr><td>True</td></tr><tr><td>\\u001b&lt;b&gt;</td></tr>'
        "</table>"
    )
