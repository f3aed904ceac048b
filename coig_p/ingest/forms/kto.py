"""One answer with a label, good or bad, as KTO is trained on: a score of 1 or 0 on a range from 0 to 1."""

from __future__ import annotations

from typing import Any

from coig_p.ingest.fields import Fields, Shaped, number
from coig_p.ingest.forms.flat import put_answer
from coig_p.ingest.values import Rejected, shown
from coig_p.schema import OVERALL

RANGE = (0.0, 1.0)
_WORDS = {"true": 1.0, "false": 0.0}


def kto(row: Fields) -> Shaped:
    """A prompt, a completion and a label; or a conversation that ends in the answer, and a label."""
    value = row.common()
    response: dict[str, Any] = {}
    put_answer(row, value, response)
    row.put(response, "model", "model", "responses[0].model")
    name = row.name("label")
    row.read.add(name)
    row.names["responses[0].scores[0].score"] = name
    row.names["responses[0].scores[0].judge"] = row.name("judge")
    score = {"judge": row.judge(), "dimension": OVERALL, "score": label(row.row.get(name), name)}
    value["responses"] = [response | {"scores": [score]}]
    return row.shaped(value)


def label(given: Any, name: str) -> float | None:
    """1 of a good answer, 0 of a bad one, None where there is no label.

    Raises:
        Rejected: anything but true and false, 1 and 0, 1 and -1.
    """
    if given is None:
        return None
    value = number(given)
    found = _WORDS.get(value.strip().lower()) if isinstance(value, str) else value
    if isinstance(found, (bool, int, float)) and found in (-1, 0, 1):
        return 1.0 if found == 1 else 0.0
    raise Rejected(
        name,
        "not-a-label",
        f"{shown(given)} says neither good (true, 1) nor bad (false, 0, -1). If it is a score, pass "
        f"--format flat --map score={name}; if it says something else, --drop {name}",
    )
