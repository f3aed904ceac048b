"""One answer with a label, good or bad, as KTO is trained on: a score of 1 or 0 on a range from 0 to 1."""

from __future__ import annotations

from typing import Any

from coig_p.errors import UsageError
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


class Codings:
    """The numbers that stand for labels in each column of an import: what 0 means shows beside the others alone."""

    def __init__(self) -> None:
        self.found: dict[str, dict[float, str]] = {}  # column -> number -> the first row that has it

    def add(self, row: Fields, where: str) -> None:
        """Take note of a row's label where it is 1, 0 or -1; true and false say what they mean.

        Args:
            where: file and line of the row.
        """
        name = row.name("label")
        value = number(row.row.get(name))
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value in (-1, 0, 1):
            self.found.setdefault(name, {}).setdefault(value, where)

    def check(self) -> None:
        """Raise UsageError where a column holds both 0 and -1: then 0 is bad, or neither good nor bad."""
        for column, numbers in self.found.items():
            if 0 in numbers and -1 in numbers:
                name = shown(column)[1:-1]
                held = ", ".join(f"{value:g}" for value in sorted(numbers, reverse=True))
                raise UsageError(
                    f"{numbers[0]}: {name} is 0, and the column holds {held} (-1 first at {numbers[-1]}): 0 may be "
                    f"bad, or neither good nor bad. Make {name} empty where it is neither, and -1 where it is bad; "
                    f"import files of another coding apart; or leave the column out with --drop {name}"
                )
