"""Findings as data: one row for each thing that a rule found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.validation.checks.rows import Rows, Spot
from coig_p.validation.checks.texts import Hits, Texts
from coig_p.validation.checks.totals import Remark
from coig_p.validation.rules import SEVERITIES, Rule

FINDINGS = pa.schema(
    [
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("domain", pa.string()),
        ("query_id", pa.string()),
        ("model", pa.string()),
        ("judge", pa.string()),
        ("field", pa.string()),
        ("offset", pa.int64()),
        ("excerpt", pa.string()),
    ]
)
"""What is null does not apply: a finding about a store has no query_id, one about a score no offset.

`field` is a path inside the row, for instance responses[2].text; `offset` counts characters in it.
"""

_AROUND = 20  # characters shown on either side of an offset
_LONGEST_SECRET = 64
_SECRET = re.compile(r"\d(?:[ -]?\d){5,}[Xx]?|[\w.%+-]+[@＠][\w.-]+")


def redacted(text: str) -> str:
    """`text` without the numbers and addresses that might be somebody's."""
    return _SECRET.sub(lambda found: "*" * len(found[0]), text)


def from_hits(rule: Rule, hits: Hits, texts: Texts) -> pa.Table:
    """The findings of a text rule in one batch."""
    in_scope = np.array(["response" in rule.scope, "query" in rule.scope])[texts.is_query[hits.text].astype(int)]
    text, offset = hits.text[in_scope], hits.offset[in_scope]
    if not len(text):
        return FINDINGS.empty_table()
    batch, queries = texts.batch, texts.queries
    fields = ["query" if at < queries else f"responses[{texts.response[at]}].text" for at in text]
    model = np.where(text < queries, -1, text - queries)
    rows = pa.array(texts.row[text])
    excerpts = []
    for at, place in zip(text.tolist(), offset.tolist(), strict=True):
        excerpts.append(_excerpt(texts.letters[texts.starts[at] : texts.starts[at + 1]], place))
    return pa.table(
        [
            *_names(rule, len(text)),
            batch.column("domain").take(rows),
            batch.column("query_id").take(rows),
            texts.models.take(pa.array(model, mask=model < 0)),
            pa.nulls(len(text), pa.string()),
            pa.array(fields, pa.string()),
            pa.array(offset),
            pa.array(excerpts, pa.string()),
        ],
        schema=FINDINGS,
    )


def _excerpt(letters: npt.NDArray[np.uint32], offset: int) -> str:
    """What stands around an offset, redacted before it is cut: half a number is still one."""
    first = max(0, offset - _AROUND)
    begin = max(0, first - _LONGEST_SECRET)
    text = letters[begin : offset + _AROUND + _LONGEST_SECRET].tobytes().decode("utf-32-le")
    return redacted(text)[first - begin : offset + _AROUND - begin]


def from_spots(rule: Rule, spots: Iterable[Spot], rows: Rows) -> pa.Table:
    """The findings of a row rule in one batch."""
    batch, found = rows.batch, []
    for row, response, score, words, comparison in spots:
        finding: dict[str, Any] = {"rule": rule.id, "severity": rule.severity, "excerpt": words}
        for name in ("domain", "query_id"):
            finding[name] = batch.column(name)[row].as_py()
        if comparison >= 0:
            judge = batch.column("comparisons")[row][comparison].as_py()["judge"]
            finding |= {"judge": judge, "field": f"comparisons[{comparison}]"}
        if response >= 0:
            answer = batch.column("responses")[row][response].as_py()
            finding |= {"model": answer["model"], "field": f"responses[{response}]"}
            if score >= 0:
                finding |= {
                    "judge": answer["scores"][score]["judge"],
                    "field": f"responses[{response}].scores[{score}].score",
                }
        found.append(finding)
    return pa.Table.from_pylist(found, schema=FINDINGS)


def from_remarks(rule: Rule, remarks: Iterable[Remark]) -> pa.Table:
    """The findings of a total rule."""
    found = [
        {
            "rule": rule.id,
            "severity": rule.severity,
            "domain": domain or None,
            "model": model or None,
            "judge": judge or None,
            "excerpt": words,
        }
        for domain, model, judge, words in remarks
    ]
    return pa.Table.from_pylist(found, schema=FINDINGS)


def _names(rule: Rule, number: int) -> list[pa.Array]:
    return [pa.repeat(pa.scalar(name), number) for name in (rule.id, rule.severity)]


def ordered(tables: Iterable[pa.Table]) -> pa.Table:
    """All findings, worst first, in an order that depends on nothing but them."""
    table = pa.concat_tables([FINDINGS.empty_table(), *tables]).combine_chunks()
    worst = pc.index_in(table.column("severity"), pa.array(SEVERITIES))
    keys = [
        ("worst", "ascending"),
        *((name, "ascending") for name in ("rule", "domain", "query_id", "field", "offset")),
    ]
    keys += [(name, "ascending") for name in ("model", "judge", "excerpt")]
    return table.take(pc.sort_indices(table.append_column("worst", worst), sort_keys=keys))


def tally(findings: pa.Table, *names: str) -> Counter[tuple[str | None, ...]]:
    """How many findings there are by these columns."""
    grouped = findings.group_by(list(names), use_threads=False).aggregate([([], "count_all")])
    return Counter({tuple(row[name] for name in names): row["count_all"] for row in grouped.to_pylist()})
