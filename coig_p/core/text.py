"""Text for terminals. What models and files say is hostile until it went through `printable`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str) -> str:
    """`text` with every character that could move the cursor or reorder text written as an escape.

    Line breaks and tabs stay; other control, format, surrogate and private-use characters, and
    the two Unicode line separators, do not.
    """
    return text.translate({ord(one): f"\\u{ord(one):04x}" for one in _harmful(text)})


def escaped_json(text: str) -> str:
    """JSON that holds the same values, and nothing that `printable` would not let through."""
    return text.translate({ord(one): json_escape(one) for one in _harmful(text)})


def json_escape(character: str) -> str:
    """A character as JSON writes it in ASCII: a pair of escapes where it is beyond the first 65,536."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _harmful(text: str) -> list[str]:
    if text.isprintable():
        return []
    return [one for one in set(text) if one not in "\n\t" and unicodedata.category(one) in _HARMFUL]


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


def wrapped(text: str, columns: int, before: str = "") -> Iterator[str]:
    """The lines of a text, each of at most so many columns with `before` in front of it.

    Broken between words where one ends in the last third of a line, else anywhere, as Chinese is. At least one line.
    """
    room = max(columns - width(before), 2)
    for line in text.expandtabs(4).split("\n"):
        begin = taken = 0
        space = -1  # of this line, behind which it can be broken
        at = 0
        while at < len(line):
            size = width(line[at])
            if taken + size > room:
                cut = space + 1 if space >= 0 and width(line[begin : space + 1]) * 3 > room * 2 else at
                yield f"{before}{line[begin:cut].rstrip(' ')}"
                begin, space = cut, -1
                taken = width(line[cut:at])
            if line[at] == " ":
                space = at
            taken += size
            at += 1
        yield f"{before}{line[begin:]}".rstrip(" ")
