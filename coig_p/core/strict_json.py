"""JSON of which nothing is read in two ways: keys stand once, numbers are finite, texts are UTF-8."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

_DEEPEST = 64
_DIGITS = 18  # of a whole number: what 64 bits hold


def strict_json(text: str, *, halves: bool = False) -> Any:
    """What a JSON text says.

    Args:
        halves: let texts through that hold half a character, for a caller that says where they stand.

    Raises:
        ValueError: it is no JSON, names a key twice, or holds what is no finite number or no text of UTF-8.
        RecursionError: objects stand in each other too deep.
    """
    found = _decoder.decode(text)
    _check_values(found, halves)
    return found


def whole_number(digits: str) -> int:
    """A whole number of JSON; raise ValueError, without Python's advice, where it has more digits than Python reads."""
    try:
        return int(digits)
    except ValueError:
        raise ValueError(f"a whole number of {len(digits.lstrip('-')):,} digits") from None


def _whole_number(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _real_number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_whole_number, parse_float=_real_number, parse_constant=_no_number
)


def _check_values(fields: Any, halves: bool) -> None:
    """Raise ValueError where a text is none that UTF-8 has, RecursionError where objects stand in each other too deep.

    Whoever copies or writes a manifest does so level by level.
    """
    waiting = [(fields, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise RecursionError
        if isinstance(value, dict):
            waiting += [(one, depth + 1) for pair in value.items() for one in pair]
        elif isinstance(value, list):
            waiting += [(one, depth + 1) for one in value]
        elif isinstance(value, str) and not (halves or value.isascii()):
            value.encode()  # of half a character: a ValueError
