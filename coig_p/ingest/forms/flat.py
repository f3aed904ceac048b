"""One response, or one score of a response, a row."""

from __future__ import annotations

from typing import Any

from coig_p.ingest.fields import Fields, Shaped
from coig_p.schema import OVERALL


def flat(row: Fields) -> Shaped:
    """One response, or one score of a response."""
    value = row.common()
    put_query(row, value)
    response: dict[str, Any] = {"scores": []}
    row.put(response, "text", "text", "responses[0].text")
    row.put(response, "model", "model", "responses[0].model")
    if row.has("score") and row.get("score") is not None:
        score: dict[str, Any] = {"judge": row.judge(), "dimension": OVERALL}
        row.put(score, "score", "score", "responses[0].scores[0].score")
        if row.has("dimension"):
            row.put(score, "dimension", "dimension", "responses[0].scores[0].dimension")
        row.names["responses[0].scores[0].judge"] = row.name("judge")
        response["scores"].append(score)
    else:
        row.judge()
    value["responses"] = [response]
    return row.shaped(value)


def put_query(row: Fields, value: dict[str, Any]) -> None:
    """The query; alpaca's optional `input` belongs to its instruction."""
    row.put(value, "query", "query", "query")
    extra = row.get("input") if row.has("input") else None
    if isinstance(extra, str) and extra.strip() and isinstance(value.get("query"), str):
        value["query"] = f"{value['query']}\n{extra}"
