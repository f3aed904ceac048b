"""What goes of a store, from a table of findings: as from a plain look at each of them, without an object for each."""

from __future__ import annotations

import tracemalloc
from collections import defaultdict
from collections.abc import Collection
from typing import Any
from unittest import mock

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.engine import sorting
from coig_p.store.changes import Change
from coig_p.validation.checks.notes import is_note
from coig_p.validation.condemned import Condemned
from coig_p.validation.findings import FINDINGS, Report
from coig_p.validation.rules import RULES

NUMBER = st.none() | st.integers(0, 2)
FIELDS = st.sampled_from([None, "query", "meta", "responses[0].text", "responses[1].scores[0].rationale"])
ROWS = st.lists(
    st.builds(
        lambda rule, severity, domain, query_id, response, score, comparison, field: {
            **{"rule": rule, "severity": severity, "domain": domain, "query_id": query_id, "response": response},
            **{"score": score if response is not None else None, "comparison": comparison, "field": field},
        },
        st.sampled_from(["mobile", "id-card", "score-range", "comparison"]),
        st.sampled_from(["error", "warning", "metric"]),
        st.sampled_from(["math", "code"]),
        st.none() | st.sampled_from("abc"),
        *(NUMBER, NUMBER, NUMBER, FIELDS),
    ),
    max_size=30,
)


def plain(report: Report, more: Collection[str]) -> dict[tuple[str, str], Change]:
    """What goes by domain and query_id, one finding after the other; the first that names a unit gives the reason."""
    found: dict[tuple[str, str], Change] = defaultdict(Change)
    for finding in report.findings.to_pylist():
        rule, response, score, comparison = (finding[name] for name in ("rule", "response", "score", "comparison"))
        if finding["query_id"] is None or (finding["severity"] != "error" and rule not in more):
            continue
        change = found[finding["domain"], finding["query_id"]]
        if is_note(finding["field"]) and report.rules[rule].over == "texts":
            change.notes.setdefault(finding["field"], rule)
        elif comparison is not None:
            change.comparisons.setdefault(comparison, rule)
        elif response is None:
            change.row = change.row or rule
        elif score is None:
            change.responses.setdefault(response, rule)
        else:
            change.scores.setdefault((response, score), rule)
    return found


def reasons(changes: Collection[Change]) -> set[str]:
    units = [unit for one in changes for unit in (one.responses, one.scores, one.comparisons, one.notes)]
    return {one.row for one in changes if one.row} | {rule for unit in units for rule in unit.values()}


def report_of(rows: list[dict[str, Any]]) -> Report:
    return Report(pa.Table.from_pylist(rows, FINDINGS), RULES, 0, 0)


@examples(100)
@given(ROWS, st.sets(st.sampled_from(["mobile", "comparison"])), st.integers(1, 4), st.permutations("abcde"))
def test_a_table_says_of_each_query_what_its_findings_say(
    rows: list[dict[str, Any]], more: set[str], at_once: int, ids: list[str]
) -> None:
    report = report_of(rows)
    with mock.patch.object(sorting, "IN_MEMORY", 100), mock.patch.object(sorting, "_ROWS_AT_ONCE", at_once):
        found = Condemned(report, more)
    wanted = plain(report, more)
    assert found.reasons == reasons(wanted.values())
    for domain in ("math", "code", "novel"):
        own = [wanted.get((domain, name)) for name in ids]
        changing = found.among(domain, pa.array(ids))
        assert changing.places.tolist() == [at for at, change in enumerate(own) if change is not None]
        assert changing.gone.tolist() == [change.row is not None for change in own if change is not None]
        assert not changing.moved.any()
        told = found.of(domain, pa.array(ids).take(pa.array(changing.places)))
        assert told == {name: change for name, change in zip(ids, own, strict=True) if change is not None}


def test_names_of_one_hash_are_told_apart() -> None:
    rows = [dict.fromkeys(FINDINGS.names) | {"rule": "mobile", "severity": "error", "domain": "math", "query_id": "a"}]
    found = Condemned(report_of(rows), ())
    with mock.patch.object(Condemned, "_hashed", lambda self, domains, ids: [int(found._sorted[0])] * len(ids)):
        assert found.among("math", pa.array(["b", "a"])).places.tolist() == [1]
        assert found.among("code", pa.array(["b", "a"])).places.tolist() == []


def test_a_few_numbers_are_held_for_each_query() -> None:
    size = 20_000
    table = pa.table(
        {
            "rule": pa.repeat("mobile", size),
            "severity": pa.repeat("error", size),
            "domain": pa.repeat("math", size),
            "query_id": [f"{at:08}" for at in range(size)],
            "response": pa.array([0] * size, pa.int32()),
        }
    )
    columns = [table[name] if name in table.column_names else pa.nulls(size, kind) for name, kind in pairs()]
    report = Report(pa.table(columns, schema=FINDINGS), RULES, size, size)
    tracemalloc.start()
    try:
        found = Condemned(report, ())
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 50 * size  # bytes; a Change alone takes ten times as many
    assert len(found.among("math", table["query_id"].combine_chunks()).places) == size


def pairs() -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in FINDINGS]
