"""Single values of an upstream row: the text, number, turn or comparison that must be there."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from coig_p.core.text import counted
from coig_p.schema import OVERALL, ROLES, SCORE_GRID, on_grid
from coig_p.store.conversations import ANSWER_FIELDS, CALLS, MESSAGE_FIELDS, transcript

OF_EQUAL_TEXTS = object()
"""Among comparisons: one of a text with itself, which says nothing."""


class OfScores(dict[str, Any]):
    """A comparison made of a score of each side, not of a verdict: scores have a range."""


class Mean(float):
    """A mean of scores that lies between two steps of the grid: `step` is the one that it goes on."""

    step: float

    def __new__(cls, value: float, step: float) -> Mean:
        """The mean, with its step."""
        made = super().__new__(cls, value)
        made.step = step
        return made


_LARGEST_SAMPLE = 2**31 - 1
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*")
_NO_NUMBER = re.compile("NaN|Infinity")  # Python reads them in JSON, which does not know them
_HALF_WIDTH = {0xFF01 + at: 0x21 + at for at in range(94)}  # ９ is 9; what else looks like a number is not one


def digest(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


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
    return storable(text, path)


def judge_at(value: Mapping[str, Any], where: str) -> str:
    """The judge's name; a whole number is one too."""
    given = value.get("judge")
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else text_at(value, "judge", where)


def storable(text: str, path: str) -> str:
    """The same text; what UTF-8 cannot hold is refused."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = ord(text[error.start])
        what = "a lone surrogate" if not 0xDC80 <= found <= 0xDCFF else "a lone surrogate or a byte that is not UTF-8"
        raise Rejected(path, "lone-surrogate", f"character {error.start + 1} is {what}") from None
    return text


def optional_text(value: Mapping[str, Any], name: str, where: str = "") -> str | None:
    """The string at `name`, None where there is none or a blank one."""
    given = value.get(name)
    return None if given is None or (isinstance(given, str) and not given.strip()) else text_at(value, name, where)


def number_at(value: Mapping[str, Any], name: str, where: str, *, rounding: bool = False) -> float:
    """The number at `name`: finite and on the grid, or rounded to it. Text that reads as one is; true is not."""
    path = f"{where}.{name}"
    if name not in value:
        raise Rejected(path, "missing", "missing")
    given = value[name]
    if isinstance(given, Mean):
        return given.step
    number = as_number(given) if isinstance(given, str) else given
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        hint = ": write the number alone" if isinstance(given, str) and any(map(str.isdigit, given)) else ""
        raise Rejected(path, "not-a-number", f"{shown(given)} is not a number{hint}")
    try:
        number = float(number)
    except OverflowError:
        raise Rejected(path, "out-of-range", f"{shown(given)} is too large") from None
    if not math.isfinite(number):
        raise Rejected(path, "not-a-number", f"{number} is not a number")
    if rounding:
        number = on_the_grid(number)
    if not on_grid(number):
        raise Rejected(path, "off-grid", f"{shown(given)} has more than 4 decimals: pass --round to round it")
    return number + 0.0  # not -0.0


def on_the_grid(number: float) -> float:
    """The nearest number of at most 4 decimals."""
    return round(number * SCORE_GRID) / SCORE_GRID if abs(number) < 2**53 / SCORE_GRID else number


def is_off_grid(given: Any) -> bool:
    """Whether a value is a number of more than 4 decimals, also as text."""
    number = as_number(given) if isinstance(given, str) else given
    return isinstance(number, float) and math.isfinite(number) and not on_grid(number)


def as_number(text: str) -> float | None:
    """The number that a text is, also in full-width digits; None where it is more than a number, or none."""
    plain = text.translate(_HALF_WIDTH)
    found = float(plain) if _NUMBER.fullmatch(plain) else math.nan
    return found if math.isfinite(found) else None


def is_missing(value: Any) -> bool:
    """Whether a score is not there: null, a blank text, or the NaN that tables have for null."""
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


def is_no_score(value: Any) -> bool:
    """Whether a score is not there, also as the text NaN, as which tables write the number."""
    return is_missing(value) or (isinstance(value, str) and value.strip().lower() == "nan")


def comparison_at(
    value: Any, where: str, responses: int, kept_as: Mapping[int, int], *, rounding: bool = False
) -> dict[str, Any]:
    """A comparison of two kept responses of a row, given by their old places."""
    if not isinstance(value, dict):
        raise Rejected(where, "not-an-object", f"{shown(value)} is not an object")
    places = []
    for name in ("first", "second"):
        place = value.get(name)
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < responses:
            raise Rejected(
                f"{where}.{name}",
                "bad-comparison",
                f"{shown(place)} is not the place of one of {counted(responses, 'response')}",
            )
        if place not in kept_as:
            raise Rejected(f"{where}.{name}", "response-rejected", f"response {place} was left out")
        places.append(kept_as[place])
    if places[0] == places[1]:
        raise Rejected(f"{where}.second", "bad-comparison", "a response is compared with itself")
    return {
        "first": places[0],
        "second": places[1],
        "judge": judge_at(value, where),
        "dimension": OVERALL if value.get("dimension") is None else text_at(value, "dimension", where),
        "first_score": number_at(value, "first_score", where, rounding=rounding),
        "second_score": number_at(value, "second_score", where, rounding=rounding),
        "rationale": optional_text(value, "rationale", where),
    }


def turns_at(value: Any, where: str) -> list[dict[str, Any]]:
    """The turns of a conversation before its responses, as a store has them.

    Raises:
        Rejected: not such a list, or it ends in an assistant's turn, which is a response.
    """
    if not isinstance(value, list) or not value:
        raise Rejected(where, "not-a-list", f"{shown(value)} is not a list of turns")
    turns = [_turn(turn, f"{where}[{at}]") for at, turn in enumerate(value)]
    if all(turn["role"] == "system" for turn in turns):
        raise Rejected(where, "no-user-turn", "nobody asks anything: there is a system prompt alone")
    if turns[-1]["role"] == "assistant":
        raise Rejected(
            f"{where}[{len(turns) - 1}]",
            "ends-in-assistant",
            "the conversation ends in an assistant turn, where the responses should answer a user or a tool",
        )
    return turns


def _turn(turn: Any, where: str) -> dict[str, Any]:
    if not isinstance(turn, dict):
        raise Rejected(where, "not-an-object", f"{shown(turn)} is not a turn with role and content")
    if turn.get("role") not in ROLES:
        raise Rejected(f"{where}.role", "unknown-role", f"{shown(turn.get('role'))} is none of {', '.join(ROLES)}")
    extra = extra_at(turn.get("extra"), f"{where}.extra", MESSAGE_FIELDS)
    return {
        "role": turn["role"],
        "content": answer_at(turn, "content", where, extra),
        "extra": json_at(extra, f"{where}.extra"),
    }


def answer_at(value: Mapping[str, Any], name: str, where: str, extra: Mapping[str, Any] | None) -> str:
    """The text at `name`; a tool call may stand for it."""
    given = value.get(name)
    if extra and CALLS in extra and (given is None or (isinstance(given, str) and not given.strip())):
        return ""
    return text_at(value, name, where)


def extra_at(value: Any, where: str, fields: Sequence[str] = ANSWER_FIELDS) -> dict[str, Any] | None:
    """What a turn or a response has beside its text: an object, or its JSON text. None where there is nothing.

    The arguments of a tool call are JSON text, as in OpenAI's messages, also where they were an object.

    Args:
        fields: those that messages have; all but the calls are text. Any other is what it is.
    """
    found = _parsed(value, where)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise Rejected(where, "not-an-object", f"{shown(value)} is not an object")
    extra = {str(name): part for name, part in found.items() if part is not None and (name != CALLS or part)}
    for name in fields:
        if name != CALLS and not isinstance(extra.get(name, ""), str):
            raise Rejected(f"{where}.{name}", "not-a-string", f"{shown(extra[name])} is not text")
    if CALLS in extra:
        if not isinstance(extra[CALLS], list):
            raise Rejected(f"{where}.{CALLS}", "not-a-list", f"{shown(extra[CALLS])} is not a list of calls")
        extra[CALLS] = [_call(call, f"{where}.{CALLS}[{at}]") for at, call in enumerate(extra[CALLS])]
    return extra or None


def _call(call: Any, where: str) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise Rejected(where, "not-an-object", f"{shown(call)} is not a call with a function")
    asked = call.get("function")
    if not isinstance(asked, dict) or "arguments" not in asked:
        return call
    given = asked["arguments"]
    arguments = None if given is None else arguments_at(given, f"{where}.function.arguments")
    return call | {"function": asked | {"arguments": arguments}}


def arguments_at(given: Any, where: str) -> str:
    """The arguments of a call as JSON text. Text that is no JSON stays, since models write such.

    Raises:
        Rejected: they hold what JSON does not know, such as NaN.
    """
    if not isinstance(given, str):
        return json_at(given, where) or "{}"
    if _NO_NUMBER.search(given):
        with suppress(ValueError, RecursionError):
            json_at(json.loads(given), where)
    return given


def tools_at(value: Any, where: str = "tools") -> str | None:
    """Definitions of tools as JSON text, None where there is none."""
    found = _parsed(value, where)
    if found in (None, [], {}):
        return None
    if not isinstance(found, list):
        raise Rejected(where, "not-a-list", f"{shown(value)} is not a list of tool definitions")
    return json_at(found, where)


def object_at(value: Any, where: str) -> dict[str, Any]:
    """An object, or its JSON text; empty where there is none."""
    found = _parsed(value, where)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Rejected(where, "not-an-object", f"{shown(value)} is not an object")
    return {str(name): part for name, part in found.items()}


def _parsed(value: Any, where: str) -> Any:
    """A value, or what its text says in JSON; None where it is empty."""
    if not isinstance(value, str):
        return None if value == {} else value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise Rejected(where, "broken-json", f"{shown(value)} is not JSON") from None


def json_at(value: Any, where: str) -> str | None:
    """A value as the one JSON text that stands for it, None for None.

    Raises:
        Rejected: it holds what JSON does not know.
    """
    if value is None:
        return None
    try:
        return storable(json_text(value), where)
    except (TypeError, ValueError, RecursionError) as error:
        raise Rejected(where, "not-json", f"{shown(value)} has no form in JSON: {error}") from None


def json_text(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, dates as text."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_as_text
    )


def _as_text(value: Any) -> str:
    if isinstance(value, (bytes, bytearray)):
        raise TypeError("bytes are no text")
    return str(value)


def said_at(value: dict[str, Any]) -> tuple[str, list[dict[str, Any]] | None, str | None]:
    """A query's text, its turns where it is more than one user's text, and its tools."""
    tools = tools_at(value.get("tools"))
    if value.get("messages") in (None, []):
        return text_at(value if value.get("query") is not None else {}, "query"), None, tools
    messages = turns_at(value["messages"], "messages")
    alone = len(messages) == 1 and messages[0]["role"] == "user" and messages[0]["extra"] is None
    text = messages[0]["content"] if alone else transcript(messages)
    if value.get("query") not in (None, "", text):
        raise Rejected("query", "ambiguous", f"{shown(value['query'])} and messages say different things: --drop one")
    if not text.strip():
        raise Rejected("messages", "blank", "the conversation says nothing")
    return text, None if alone else messages, tools


def identity_of(text: str, messages: list[dict[str, Any]] | None, tools: str | None) -> bytes:
    """16 bytes that stand for a query: text that looks like turns is not those turns."""
    if messages is None and tools is None:
        return digest(text)
    whole = json_text([text if messages is None else messages, tools])
    return hashlib.blake2b(whole.encode(), digest_size=16, person=b"conversation").digest()


def query_id_at(value: dict[str, Any]) -> str | None:
    """A row's query_id, None where it has none."""
    given = named(value.get("query_id"))
    return None if given is None or given == "" else text_at({"query_id": given}, "query_id")


def named(value: Any) -> Any:
    """A whole number as the text that a name or an id is; 1.0 is 1, since a column with nulls has it so in pandas."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def sample_at(value: dict[str, Any], where: str) -> int | None:
    """The number that a row gives a response, None where it gives none."""
    given = value.get("sample")
    if is_missing(given):
        return None
    number: Any = as_number(given) if isinstance(given, str) else given
    whole = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not whole or not 0 <= number <= _LARGEST_SAMPLE or number != int(number):
        raise Rejected(f"{where}.sample", "bad-sample", f"{shown(given)} is not a whole number of 0 or more")
    return int(number)


def shown(value: Any) -> str:
    """A value in an error message: short, on one line, without control characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def at_path(row: Mapping[str, Any], path: str) -> Any:
    """What a row has under a name, or at a path such as question.full_text; None where nothing is there."""
    return row[path] if path in row else next(iter(at_paths(row, path)), None)


def at_paths(row: Mapping[str, Any], path: str) -> list[Any]:
    """Everything that a path may mean: keys that give it, joined by dots. A key may have dots in it, too."""
    found = [row[path]] if path in row else []
    at = path.find(".")
    while at >= 0:
        inner = row.get(path[:at])
        if isinstance(inner, Mapping):
            found += at_paths(inner, path[at + 1 :])
        at = path.find(".", at + 1)
    return found
