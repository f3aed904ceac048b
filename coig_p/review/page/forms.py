"""Fields of a form, as a browser sends them, made into an answer; what does not fit is refused in words of the page.

pair           preference=A|tie|B  correct=a  correct=b
accept         the same and query_ok=yes|no
triple         place_a=1..3  place_b=1..3  place_c=1..3; responses of one place are tied
query          feasible=yes|no
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from coig_p.review.answers import PREFERENCES
from coig_p.review.folder import sides_of

PLACES = ("1", "2", "3")
_SAID = {"yes": True, "no": False}
_LONGEST_COMMENT = 20_000  # characters
_LONGEST = 7 * 24 * 3600  # seconds that an answer may have taken: a page may lie open over a week's end

Fields = Mapping[str, Sequence[str]]


class Unfit(Exception):
    """Fields that are no answer.

    Attributes:
        word: the key of what to say, among the page's words.
        given: what stands in it.
    """

    def __init__(self, word: str, **given: str) -> None:
        super().__init__(word, given)
        self.word, self.given = word, given


def fields_of_form(form: str) -> tuple[str, ...]:
    """The names of the fields that make an answer."""
    if form == "query":
        return ("feasible",)
    if form == "triple":
        return tuple(f"place_{side}" for side in sides_of(form))
    return ("preference", "correct", *(("query_ok",) if form == "accept" else ()))


def answer_of(form: str, fields: Fields) -> dict[str, Any]:
    """The answer that fields give, in the form that `coig_p.review.answers` has.

    Raises:
        Unfit: one is missing, or has a value that is none of its own.
    """
    if form == "query":
        return {"feasible": _SAID[_one(fields, "feasible", tuple(_SAID), "say-feasible")]}
    if form == "triple":
        places = {side: _one(fields, f"place_{side}", PLACES, "say-places") for side in sides_of(form)}
        levels = [[side for side, place in places.items() if place == level] for level in PLACES]
        return {"ranking": [level for level in levels if level]}
    preference = _one(fields, "preference", PREFERENCES, "say-preference")
    sides = sides_of(form)
    correct = fields.get("correct", ())
    for side in correct:
        if side not in sides or correct.count(side) > 1:
            raise Unfit("no-value", field="correct", value=side, valid=", ".join(sides))
    query_ok = None
    if form == "accept":
        query_ok = _SAID[_one(fields, "query_ok", tuple(_SAID), "say-query-ok")]
    return {"preference": preference, "correct": [side for side in sides if side in correct], "query_ok": query_ok}


def _one(fields: Fields, name: str, valid: tuple[str, ...], word: str) -> str:
    """The only value of a field; `word` is said where there is none."""
    values = [value for value in fields.get(name, ()) if value]
    if not values:
        raise Unfit(word)
    if len(values) > 1:
        raise Unfit("twice", field=name)
    if values[0] not in valid:
        raise Unfit("no-value", field=name, value=values[0], valid=", ".join(valid))
    return values[0]


def check_known(form: str, fields: Fields) -> None:
    """Raise Unfit where a field is none of an answer's, or one that stands once stands twice."""
    known = (*fields_of_form(form), "action", "stamp", "shown", "seconds", "comment")
    for name, values in fields.items():
        if name not in known:
            raise Unfit("no-field", field=name)
        if len(values) > 1 and name != "correct":
            raise Unfit("twice", field=name)


def comment_of(fields: Fields) -> str | None:
    """What was written beside the answer, with line breaks as everywhere; None where nothing was.

    Raises:
        Unfit: it is too long.
    """
    text = "".join(fields.get("comment", ())).replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(text) > _LONGEST_COMMENT:
        raise Unfit("too-long-comment", number=f"{len(text):,}", most=f"{_LONGEST_COMMENT:,}")
    return text or None


def seconds_of(fields: Fields, now: float) -> float | None:
    """How long it took: as the script counted while the page was in view, else since it was shown; None if unknown.

    Args:
        now: the time in seconds of the clock that `shown` was read from.
    """
    counted = _number(fields, "seconds")
    if counted is None:
        shown = _number(fields, "shown")
        counted = None if shown is None else now - shown
    return round(counted, 1) if counted is not None and 0 <= counted <= _LONGEST else None


def _number(fields: Fields, name: str) -> float | None:
    try:
        found = float("".join(fields.get(name, ())))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def fields_from(answer: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """The fields that give an answer again, for the page of a task that has one."""
    if answer is None:
        return {}
    found: dict[str, list[str]] = {}
    for name in ("query_ok", "feasible"):
        if answer.get(name) is not None:
            found[name] = ["yes" if answer[name] else "no"]
    if "preference" in answer:
        found |= {"preference": [answer["preference"]], "correct": list(answer.get("correct") or ())}
    for place, level in enumerate(answer.get("ranking", ()), 1):
        found |= {f"place_{side}": [str(place)] for side in level}
    return found
