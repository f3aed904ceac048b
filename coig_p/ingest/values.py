"""Single values of an upstream row: the string, the number or the comparison that must be there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from coig_p.schema import OVERALL, on_grid


class Rejected(Exception):
    """Leaves the unit at hand: the value at `field` is wrong, for a reason with a short fixed name."""

    def __init__(self, field: str, reason: str, message: str) -> None:
        self.field, self.reason, self.message = field, reason, message


def text_at(value: Mapping[str, Any], name: str, where: str = "") -> str:
    """The string at `name`: not blank, and storable as UTF-8."""
    path = f"{where}.{name}" if where else name
    if name not in value:
        raise Rejected(path, "missing", "missing")
    text = value[name]
    if not isinstance(text, str):
        raise Rejected(path, "not-a-string", f"{shown(text)} is not a string")
    if not text.strip():
        raise Rejected(path, "blank", f"{shown(text)} is blank")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = ord(text[error.start])
        what = "a lone surrogate" if not 0xDC80 <= found <= 0xDCFF else "a lone surrogate or a byte that is not UTF-8"
        raise Rejected(path, "lone-surrogate", f"character {error.start + 1} is {what}") from None
    return text


def number_at(value: Mapping[str, Any], name: str, where: str) -> float:
    """The number at `name`: finite and on the grid. JSON's true is no number."""
    path = f"{where}.{name}"
    if name not in value:
        raise Rejected(path, "missing", "missing")
    given = value[name]
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        raise Rejected(path, "not-a-number", f"{shown(given)} is not a number")
    try:
        number = float(given)
    except OverflowError:
        raise Rejected(path, "out-of-range", f"{shown(given)} is too large") from None
    if not math.isfinite(number):
        raise Rejected(path, "not-a-number", f"{number} is not a number")
    if not on_grid(number):
        raise Rejected(path, "off-grid", f"{shown(given)} has more than 4 decimals")
    return number


def is_missing(value: Any) -> bool:
    """Whether a score is not there: null, a blank text, or the NaN that tables have for null."""
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


def comparison_at(value: Any, where: str, responses: int, kept_as: Mapping[int, int]) -> dict[str, Any]:
    """A comparison of two kept responses of a row, given by their old places."""
    if not isinstance(value, dict):
        raise Rejected(where, "not-an-object", f"{shown(value)} is not an object")
    places = []
    for name in ("first", "second"):
        place = value.get(name)
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < responses:
            raise Rejected(
                f"{where}.{name}", "bad-comparison", f"{shown(place)} is not the place of one of {responses} responses"
            )
        if place not in kept_as:
            raise Rejected(f"{where}.{name}", "response-rejected", f"response {place} was left out")
        places.append(kept_as[place])
    if places[0] == places[1]:
        raise Rejected(f"{where}.second", "bad-comparison", "a response is compared with itself")
    return {
        "first": places[0],
        "second": places[1],
        "judge": text_at(value, "judge", where),
        "dimension": OVERALL if value.get("dimension") is None else text_at(value, "dimension", where),
        "first_score": number_at(value, "first_score", where),
        "second_score": number_at(value, "second_score", where),
    }


def shown(value: Any) -> str:
    """A value in an error message: short, on one line, without control characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
