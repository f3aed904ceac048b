"""Findings as data and the report of them; rules as a table."""

from __future__ import annotations

import inspect
import json
import pickle
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import Rows, make_store, twin
from strategies import examples

import coig_p.validation
from coig_p.engine import sorting as engine_sorting
from coig_p.errors import StoreError
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.batch import Observed
from coig_p.store.manifest import Manifest
from coig_p.validation import FINDINGS, RULES, Counts, Report, Rule, check, load_rules
from coig_p.validation.checks import CHECKS
from coig_p.validation.checks.rows import BatchView, Spot
from coig_p.validation.findings import from_spots, make_findings, ordered, redacted, redacted_beginning
from coig_p.validation.report import write_report

RULE = Rule("<b>", "error", ("response",), "<script>alert(1)</script>", "rows", {})


def test_every_rule_has_its_function_and_the_function_its_options() -> None:
    assert list(CHECKS) == list(RULES)
    for id, rule in RULES.items():
        _, *options = inspect.signature(CHECKS[id]).parameters
        assert options == list(rule.options), id
        assert pickle.loads(pickle.dumps(rule)) == rule
        assert inspect.getdoc(CHECKS[id])


def test_public_names_say_what_they_are() -> None:
    for name in coig_p.validation.__all__:
        value = getattr(coig_p.validation, name)
        if callable(value):
            assert inspect.getdoc(value), name


def busy() -> Rows:
    """A store with findings of every kind of place."""
    rows = twin()
    good = {"first": 0, "second": 1, "judge": "h", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
    rows[1]["query"] = "\ufffd"
    rows[2]["responses"][1]["text"] += "</s>"
    rows[3]["responses"][2]["scores"][1]["score"] = 99.0
    rows[4]["comparisons"] = [good, good | {"second": 9}]
    rows[5]["responses"][3]["model"] = " "
    rows[6]["responses"] = rows[6]["responses"][:1]
    return rows


def path_of(place: str | None) -> dict[str, int | None]:
    """The slow way: a path for people, read back."""
    found = re.fullmatch(r"responses\[(\d+)\](?:\.text|\.scores\[(\d+)\]\.score)?|comparisons\[(\d+)\]", place or "")
    names = ("response", "score", "comparison")
    return {name: None if found is None or found[at] is None else int(found[at]) for at, name in enumerate(names, 1)}


def test_places_are_numbers_and_the_path_says_the_same(tmp_path: Path) -> None:
    rows = sorted(busy(), key=lambda row: row["domain"])
    by_id = {row["query_id"]: row for row in rows}
    findings = check(make_store(tmp_path / "store", rows)).findings
    assert findings.schema.equals(FINDINGS)
    kinds = set()
    for finding in findings.to_pylist():
        place = path_of(finding["field"])
        assert place == {name: finding[name] for name in place}
        kinds.add(re.sub(r"\d+", "", str(finding["field"])))
        if finding["response"] is not None:
            response = by_id[finding["query_id"]]["responses"][finding["response"]]
            assert finding["model"] == response["model"]
            if finding["score"] is not None:
                assert finding["judge"] == response["scores"][finding["score"]]["judge"]
        if finding["comparison"] is not None:
            assert finding["judge"] == by_id[finding["query_id"]]["comparisons"][finding["comparison"]]["judge"]
    assert kinds == {
        "None", "query", "comparisons[]", "responses[]", "responses[].text", "responses[].scores[].score"
    }  # fmt: skip


@st.composite
def spotted(draw: st.DrawFn) -> tuple[pa.RecordBatch, list[Spot]]:
    """A batch, cut out of a larger one, and places in it."""
    rows = []
    for at in range(draw(st.integers(1, 5))):
        responses = [
            {
                "model": draw(st.sampled_from(["m", "n", None])),
                "text": "文",
                "scores": [
                    {"judge": draw(st.sampled_from(["j", "k", None])), "dimension": "overall", "score": 1.0}
                    for _ in range(draw(st.integers(0, 2)))
                ],
            }
            for _ in range(draw(st.integers(0, 3)))
        ]
        comparisons = draw(st.sampled_from([None, [], ["h"], ["h", None]]))
        row: dict[str, Any] = {"query_id": f"q{at}", "domain": "math", "query": "问", "responses": responses}
        row["comparisons"] = comparisons and [{"first": 0, "second": 1, "judge": judge} for judge in comparisons]
        rows.append(row)
    low = draw(st.integers(0, len(rows) - 1))
    rows, batch = rows[low:], pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA).slice(low)
    places = [Spot(at, "w") for at in range(len(rows))]
    for at, row in enumerate(rows):
        places += [Spot(at, "w", comparison=nth) for nth in range(len(row["comparisons"] or ()))]
        for nth, response in enumerate(row["responses"]):
            places += [Spot(at, "w", response=nth)]
            places += [Spot(at, "w", response=nth, score=score) for score in range(len(response["scores"]))]
    return batch, draw(st.lists(st.sampled_from(places), max_size=8))


@examples(100)
@given(spotted())
def test_spots_become_findings_as_row_by_row(case: tuple[pa.RecordBatch, list[Spot]]) -> None:
    batch, spots = case
    rows = batch.to_pylist()
    wanted = []
    for spot in spots:
        row = rows[spot.row]
        finding: dict[str, Any] = dict.fromkeys(FINDINGS.names)
        finding |= {"rule": "<b>", "severity": "error", "excerpt": "w"}
        finding |= {"domain": "math", "query_id": row["query_id"]}
        if spot.comparison >= 0:
            judge = row["comparisons"][spot.comparison]["judge"]
            finding |= {"comparison": spot.comparison, "judge": judge, "field": f"comparisons[{spot.comparison}]"}
        if spot.response >= 0:
            response = row["responses"][spot.response]
            finding |= {"response": spot.response, "model": response["model"], "field": f"responses[{spot.response}]"}
            if spot.score >= 0:
                finding |= {"score": spot.score, "judge": response["scores"][spot.score]["judge"]}
                finding["field"] += f".scores[{spot.score}].score"
        wanted.append(finding)
    view = BatchView(Observed(batch), Manifest(score_range=(1, 10), default_threshold=2, tool="test"))
    assert from_spots(RULE, spots, view).to_pylist() == wanted


def test_the_order_is_that_of_the_places_whatever_order_they_come_in() -> None:
    columns = {"query_id": ["q"] * 4, "response": [10, 2, None, 2], "offset": [0, 5, 0, 4]}
    table = make_findings(RULE, ["a", "b", "c", "d"], columns, of_text=True)
    found = ordered([table])
    assert found.column("field").to_pylist() == [
        "query",
        "responses[2].text",
        "responses[2].text",
        "responses[10].text",
    ]
    assert found.column("offset").to_pylist() == [0, 4, 5, 0]
    assert ordered([table.take([3, 1]), table.take([0, 2])]).equals(found)


def test_a_report_is_plain_data_a_table_and_a_page(tmp_path: Path) -> None:
    report = check(make_store(tmp_path / "store", sorted(busy(), key=lambda row: row["domain"])))
    assert report.counts == Counts(*(report.count(severity) for severity in ("error", "warning", "metric")))
    assert report.counts.error >= 5
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["passed"] is report.passed is False
    assert {id: one["findings"] for id, one in plain["rules"].items()} == report.by_rule()
    assert sum(one["findings"] for one in plain["rules"].values()) == sum(report.counts.to_dict().values())
    frame = report.to_pandas()
    assert list(frame.columns) == FINDINGS.names
    assert str(frame["response"].dtype) == "Int32"
    assert len(frame) == report.findings.num_rows
    more = report.with_findings(RULE, make_findings(RULE, ["x"], {}))
    assert more.counts.error == report.counts.error + 1
    assert more.by_rule() == report.by_rule() | {"<b>": 1}
    page = more._repr_html_()
    assert "<b>not to be released</b>" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    nothing = Report(FINDINGS.empty_table(), RULES, 0, 0)
    assert "<b>passed</b>: 0 errors" in nothing._repr_html_()
    assert repr(nothing) == "Report(passed: 0 errors, 0 warnings, 0 metrics in 0 queries and 0 responses)"
    assert repr(more).startswith(f"Report(not to be released: {more.counts.error} errors, ")
    assert len(repr(more)) < 150


def test_a_shard_that_breaks_in_another_process_is_named(tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", sorted(twin(), key=lambda row: row["domain"]))
    shard = sorted(path.glob("data/*/*.parquet"))[-1]
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(StoreError, match=rf"{shard.name} cannot be read.*Run: coigp verify") as failed:
        check(path, num_proc=2)
    assert failed.value.store == str(path)


def test_rules_are_read_and_not_registered() -> None:
    with patch.dict("coig_p.validation.rules.RULES", clear=True):
        assert load_rules() == {}


@examples(200)
@given(st.text(st.sampled_from("甲a1 -@.+，X＠\n"), max_size=40), st.integers(0, 12))
def test_the_beginning_is_redacted_as_the_whole_text_is(text: str, size: int) -> None:
    assert redacted_beginning(text, size) == redacted(text)[:size]


def test_findings_that_are_sorted_by_files_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path / "store", twin(), rows_per_shard=5)
    whole = check(store)
    written = []
    for at, in_memory in enumerate((1 << 25, 1 << 8)):
        monkeypatch.setattr(engine_sorting, "IN_MEMORY", in_memory)
        found = check(store)
        assert found.findings.equals(whole.findings)
        assert bool(found.findings.nbytes > in_memory) == bool(at)  # so that there were files
        write_report(found, tmp_path / str(at))
        written.append([path.read_bytes() for path in sorted((tmp_path / str(at)).iterdir())])
    assert written[0] == written[1]
