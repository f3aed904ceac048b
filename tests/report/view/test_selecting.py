"""Which queries are listed, beside a look at each of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows
from strategies import examples

from coig_p.core.normalize import comparison_form
from coig_p.report.view.selecting import PAGE, Look, found_places, listed
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.queries import query_rows
from coig_p.validation.findings import FINDINGS

ROWS = make_rows({"math": 90, "chat": 40})
for number, one in enumerate(ROWS):
    one["source"] = (None, "甲", "乙")[number % 3]
BATCH = pa.RecordBatch.from_pylist(ROWS, schema=RAW_SCHEMA)
TABLE = pa.concat_tables(
    [pa.Table.from_batches([query_rows(BATCH.slice(at, 30), 0, at, "train")]) for at in range(0, len(ROWS), 30)]
)
QUERIES: list[dict[str, Any]] = TABLE.to_pylist()
FOUND = pa.Table.from_pylist(
    [{"rule": "email", "severity": "error", "domain": "math", "query_id": f"math-{at:04d}"} for at in (3, 5, 5, 70)]
    + [{"rule": "files", "severity": "error"}],
    schema=FINDINGS,
)


def is_looked_for(row: dict[str, Any], look: Look) -> bool:
    def least(value: float | None, bound: float | None) -> bool:
        return bound is None or (value is not None and value >= bound)

    found_by = {one["query_id"] for one in FOUND.to_pylist() if one["rule"] == look.rule}
    form = comparison_form(look.q)
    return (
        (not look.q or look.q in row["query_id"] or (form != "" and form in row["form"]))
        and look.domain in ("", row["domain"])
        and look.source in ("", row["source"])
        and (not look.model or look.model in row["models"])
        and (not look.judge or look.judge in row["judges"])
        and (not look.model_too or look.model_too in row["models"])
        and (not look.judge_too or look.judge_too in row["judges"])
        and (not look.rule or row["query_id"] in found_by)
        and least(row["margin"], look.margin)
        and least(row["disagreement"], look.disagreement)
        and least(row["length_difference"], look.length)
        and least(row["responses"], look.responses)
    )


KEYS = {"margin": "margin", "disagreement": "disagreement", "length": "length_difference", "responses": "responses"}
LOOKS = st.builds(
    Look,
    q=st.sampled_from(["", "", "问题1", "MATH", "math-001", "！", "没有的"]),
    domain=st.sampled_from(["", "math", "chat", "poems"]),
    source=st.sampled_from(["", "甲", "丙"]),
    model=st.sampled_from(["", "model-1", "nobody"]),
    judge=st.sampled_from(["", "judge-a", "nobody"]),
    model_too=st.sampled_from(["", "model-4"]),
    judge_too=st.sampled_from(["", "judge-b"]),
    rule=st.sampled_from(["", "", "email", "files"]),
    margin=st.sampled_from([None, 2.0, 4.5]),
    disagreement=st.sampled_from([None, 0.0, 1.5]),
    length=st.sampled_from([None, 20.0]),
    responses=st.sampled_from([None, 4.0]),
    sort=st.sampled_from(["", *KEYS]),
    page=st.integers(1, 4),
)


@examples(300)
@given(LOOKS)
def test_equals_a_look_at_each_query(look: Look) -> None:
    wanted = [at for at, row in enumerate(QUERIES) if is_looked_for(row, look)]
    if look.sort:
        value = {at: QUERIES[at][KEYS[look.sort]] for at in wanted}
        wanted.sort(key=lambda at: (value[at] is None, -(value[at] or 0), at))
    assert found_places(TABLE, look, FOUND).tolist() == wanted
    found = listed(TABLE, look, FOUND)
    page = min(look.page, max(1, -(-len(wanted) // PAGE)))
    assert (found.total, found.page) == (len(wanted), page)
    assert [row["query_id"] for row in found.rows] == [
        QUERIES[at]["query_id"] for at in wanted[(page - 1) * PAGE : page * PAGE]
    ]


def test_without_a_check_no_rule_finds_anything() -> None:
    assert listed(TABLE, Look(rule="email")).total == 0


@pytest.mark.parametrize(
    ("address", "look"),
    [
        ({}, Look()),
        ({"q": " 湖 ", "domain": "math", "page": "3"}, Look(q="湖", domain="math", page=3)),
        ({"margin": "2", "responses": "4"}, Look(margin=2, responses=4)),
        ({"margin": "two", "length": "inf", "page": "-1", "sort": "name"}, Look()),
        ({"page": "1e99"}, Look()),
        ({"sort": "disagreement", "file": "3"}, Look(sort="disagreement")),
    ],
)
def test_an_address_is_a_look(address: dict[str, str], look: Look) -> None:
    assert Look.of(address) == look
