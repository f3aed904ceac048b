"""Which queries are listed, beside a look at each of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows
from strategies import examples, raw_rows

from coig_p.core.normalize import comparison_form
from coig_p.errors import UsageError
from coig_p.report.view.selecting import PAGE, Look, found_places, listed
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.queries import QUERIES as QUERY_COLUMNS
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


def is_looked_for(row: dict[str, Any], look: Look, findings: pa.Table = FOUND) -> bool:
    def least(value: float | None, bound: float | None) -> bool:
        return bound is None or (value is not None and value >= bound)

    found_by = {one["query_id"] for one in findings.to_pylist() if one["rule"] == look.rule}
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


@examples(100)
@given(raw_rows(), st.data())
def test_every_filter_and_order_of_any_store(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
    parts = [query_rows(batch.slice(at, 2), 0, at, "train") for at in range(0, len(rows), 2)]
    table = pa.Table.from_batches(parts, QUERY_COLUMNS)
    every = table.to_pylist()
    findings = pa.Table.from_pylist(
        [
            {"rule": rule, "severity": "warning", "domain": row["domain"], "query_id": row["query_id"]}
            for row in every
            for rule in data.draw(st.sets(st.sampled_from(["email", "ties"])))
        ],
        schema=FINDINGS,
    )

    def one_of(values: Any) -> Any:
        return data.draw(st.sampled_from(["", *values]))

    def least(name: str) -> Any:
        return data.draw(st.sampled_from([None, *(row[name] for row in every if row[name] is not None)]))

    models, judges = ([name for row in every for name in row[kind]] for kind in ("models", "judges"))
    number = data.draw(st.integers(0, 3))
    filters = {
        "q": one_of(row["said"][:3].strip() for row in every),
        "domain": one_of(row["domain"] for row in every),
        "source": one_of(row["source"] for row in every if row["source"]),
        "model": one_of(models),
        "model_too": one_of(models),
        "judge": one_of(judges),
        "judge_too": one_of(judges),
        "rule": one_of(["email", "ties"]),
        "margin": least("margin"),
        "disagreement": least("disagreement"),
        "length": least("length_difference"),
        "responses": least("responses"),
    }
    chosen = data.draw(st.permutations(list(filters)))[:number]
    for sort in ("", *KEYS):
        look = Look(**{name: filters[name] for name in chosen}, sort=sort)
        wanted = [at for at, row in enumerate(every) if is_looked_for(row, look, findings)]
        if sort:
            value = {at: every[at][KEYS[sort]] for at in wanted}
            wanted.sort(key=lambda at: (value[at] is None, -(value[at] or 0), at))
        assert found_places(table, look, findings).tolist() == wanted


def test_without_a_check_no_rule_finds_anything() -> None:
    assert listed(TABLE, Look(rule="email")).total == 0


@pytest.mark.parametrize(
    ("address", "look"),
    [
        ({}, Look()),
        ({"q": " 湖 ", "domain": "math", "page": "3"}, Look(q="湖", domain="math", page=3)),
        ({"margin": "2", "responses": "4"}, Look(margin=2, responses=4)),
        ({"page": "-1"}, Look()),
        ({"page": "1e99"}, Look(page=10**9)),
        ({"sort": "disagreement", "file": "3"}, Look(sort="disagreement")),
    ],
)
def test_an_address_is_a_look(address: dict[str, str], look: Look) -> None:
    assert Look.of(address) == look


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"margin": "two"}, "margin='two': use a number of 0 or more"),
        ({"margin": "-3"}, "margin='-3': use"),
        ({"disagreement": "nan"}, "disagreement='nan': use"),
        ({"length": "inf"}, "length='inf': use"),
        ({"page": "x"}, "page='x': use a number"),
        ({"sort": "name"}, "unknown sort 'name'. Valid: disagreement, length, margin, responses"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(address: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Look.of(address)
