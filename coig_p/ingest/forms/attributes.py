"""One response a row with several scores of it, each in a column of its own (HelpSteer)."""

from __future__ import annotations

from typing import Any

from coig_p.ingest.fields import Fields, Shaped
from coig_p.ingest.forms.flat import put_answer
from coig_p.ingest.values import Rejected

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
"""HelpSteer's. Other columns of numbers are read where `--score-column` names them."""

RANGE = (0.0, 4.0)
"""Of HelpSteer's scores."""


def attributes(row: Fields) -> Shaped:
    """One response with its attributes, each a dimension of one judge."""
    value = row.common()
    response: dict[str, Any] = {}
    put_answer(row, value, response)
    row.put(response, "model", "model", "responses[0].model")
    judge = row.judge()
    scores: list[dict[str, Any]] = []
    for name in ATTRIBUTES:
        if name in row.given:
            row.read.add(name)
            row.names[f"responses[0].scores[{len(scores)}].score"] = name
            scores.append({"judge": judge, "dimension": name, "score": row.given[name]})
    if not scores:
        raise Rejected("helpfulness", "missing", f"none of {', '.join(ATTRIBUTES)} is there")
    value["responses"] = [response | {"scores": scores}]
    return row.shaped(value)
