"""One response a row with several scores of it, each in a column of its own: HelpSteer, or a column a judge."""

from __future__ import annotations

from typing import Any

from coig_p.ingest.fields import Fields, Shaped, number
from coig_p.ingest.prompt import put_query
from coig_p.ingest.values import Rejected
from coig_p.schema import OVERALL

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
"""HelpSteer's, each from 0 to 4."""


def attributes(row: Fields) -> Shaped:
    """One response with its attributes, each a dimension of one judge."""
    value = row.common()
    put_query(row, value)
    response: dict[str, Any] = {}
    row.put(response, "text", "text", "responses[0].text")
    row.put(response, "model", "model", "responses[0].model")
    judge = row.judge()
    scores = []
    for name in ATTRIBUTES:
        if name in row.given:
            row.read.add(name)
            row.names[f"responses[0].scores[{len(scores)}].score"] = name
            scores.append({"judge": judge, "dimension": name, "score": number(row.given[name])})
    if not scores:
        raise Rejected("helpfulness", "missing", f"none of {', '.join(ATTRIBUTES)} is there")
    value["responses"] = [response | {"scores": scores}]
    return row.shaped(value)


def has_attributes(row: Fields) -> bool:
    """Whether a row has all five of HelpSteer's columns; one of them alone may mean anything."""
    return all(name in row.given for name in ATTRIBUTES)


def column_scores(row: Fields, at: int = 0) -> list[dict[str, Any]]:
    """Scores of a response from the columns that `--score-column JUDGE=COLUMN` names; a column that is not there is none.

    Args:
        at: the place of the response, for messages.
    """
    scores = []
    for judge, column in row.config.score_columns.items():
        if column in row.given:
            row.read.add(column)
            row.names[f"responses[{at}].scores[{len(scores)}].score"] = column
            scores.append({"judge": judge, "dimension": OVERALL, "score": number(row.given[column])})
    return scores
