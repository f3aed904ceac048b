"""Several answers in one row, in lists: with annotations per aspect, ratings, or ranks."""

from __future__ import annotations

from typing import Any

from coig_p.ingest.fields import Fields, Shaped, number
from coig_p.ingest.forms.flat import put_query


def ultrafeedback(row: Fields) -> Shaped:
    """Completions, each with annotations per aspect."""
    value = row.common()
    put_query(row, value)
    completions = row.get("completions")
    row.names["responses"] = "completions"
    judge = row.judge()
    if not isinstance(completions, list):
        return row.shaped(value | {"responses": completions})
    value["responses"] = []
    for at, completion in enumerate(completions):
        if not isinstance(completion, dict):
            value["responses"].append(completion)
            continue
        annotations = completion.get("annotations")
        scores: list[dict[str, Any]] = []
        for aspect, given in (annotations if isinstance(annotations, dict) else {}).items():
            rating = given.get("Rating", given.get("rating")) if isinstance(given, dict) else given
            where = f"completions[{at}].annotations.{aspect}.Rating"
            row.names[f"responses[{at}].scores[{len(scores)}].score"] = where
            # Ratings are published as text; "N/A" stays what it is and is refused as a number.
            scores.append({"judge": judge, "dimension": aspect, "score": number(rating)})
        response = {"model": completion.get("model"), "scores": scores}
        text = "response" if "response" in completion else "text"
        row.names[f"responses[{at}].text"] = f"completions[{at}].{text}"
        if text in completion:
            response["text"] = completion[text]
        value["responses"].append(response)
    # Longer paths first: a name must not hide that of a value inside it.
    row.names = dict(sorted(row.names.items(), key=lambda item: -len(item[0])))
    return row.shaped(value)
