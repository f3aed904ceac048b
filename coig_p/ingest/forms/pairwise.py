"""Two responses side by side, scored or with a winner (TaP, section 3.3)."""

from __future__ import annotations

from typing import Any

from coig_p.ingest.fields import Fields, Shaped, number
from coig_p.ingest.forms.flat import put_query
from coig_p.schema import OVERALL

SIDES = (("a", "b"), ("1", "2"))
_WINS = {"a": 1.0, "1": 1.0, "b": 0.0, "2": 0.0, "tie": 0.5, "draw": 0.5}


def pairwise(row: Fields) -> Shaped:
    """Two responses side by side."""
    value = row.common()
    put_query(row, value)
    sides = next((pair for pair in SIDES if row.has(f"response_{pair[0]}")), SIDES[0])
    value["responses"] = []
    for at, side in enumerate(sides):
        response: dict[str, Any] = {}
        row.put(response, "text", f"response_{side}", f"responses[{at}].text")
        row.put(response, "model", f"model_{side}", f"responses[{at}].model")
        value["responses"].append(response)
    judge = row.judge()
    scores = [row.get(name) for name in (_score_field(row, side) for side in sides)]
    dimensions: dict[str, tuple[Any, Any]] = {}
    if all(isinstance(side, dict) for side in scores):
        dimensions = {name: (scores[0].get(name), scores[1].get(name)) for name in {**scores[0], **scores[1]}}
    elif any(side is not None for side in scores):
        dimensions = {OVERALL: (scores[0], scores[1])}
    elif row.has("winner"):
        won = _WINS.get(str(row.get("winner")).strip().lower().removeprefix("response_").removeprefix("model_"))
        dimensions = {OVERALL: (won, None if won is None else 1 - won)}
    value["comparisons"] = []
    for name, (first, second) in dimensions.items():
        place = f"comparisons[{len(value['comparisons'])}]"
        for key, side in (("first_score", sides[0]), ("second_score", sides[1])):
            named = _score_field(row, side) if row.has(_score_field(row, side)) else "winner"
            row.names[f"{place}.{key}"] = named if name == OVERALL else f"{named}.{name}"
        value["comparisons"].append(
            {
                "first": 0,
                "second": 1,
                "judge": judge,
                "dimension": name,
                "first_score": number(first) if row.textual else first,
                "second_score": number(second) if row.textual else second,
            }
        )
    return row.shaped(value)


def _score_field(row: Fields, side: str) -> str:
    return f"scores_{side}" if row.has(f"scores_{side}") else f"score_{side}"
