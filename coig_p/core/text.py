"""Text for terminals. What models and files say is hostile until it went through `printable`."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """`text` with every character that could move the cursor or reorder text written as an escape.

    Line breaks and tabs stay; other control, format, surrogate and private-use characters, and
    the two Unicode line separators, do not.
    """
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        else f"\\u{ord(character):04x}"
        for character in text
    )


def counted(number: int, one: str, more: str | None = None) -> str:
    """A number with what it counts: 1 cluster, 2 clusters."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


_SINGULAR = {"queries": "query"}


def counted_as(number: int, many: str) -> str:
    """The same from the word for many: 1 query of "queries"."""
    return counted(number, _SINGULAR.get(many, many.removesuffix("s")), many)


def width(text: str) -> int:
    """Columns that `text` takes on a terminal: two for a Chinese character."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
