"""Text for Markdown. What models, files and rows say is hostile until it went through `cell` or `block`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from coig_p.core.text import printable


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a table; every cell is escaped."""
    return [
        "| " + " | ".join(cells) + " |"
        for cells in (header, ["---"] * len(header), *([cell(value) for value in row] for row in rows))
    ]


def cell(value: object) -> str:
    """Hostile text as part of a line: no break, no markup, no link, no control characters."""
    text = printable("" if value is None else str(value)).replace("\n", " ").replace("\t", " ")
    text = "".join(f"\\{letter}" if letter in _MARKUP else letter for letter in escape(text, quote=False))
    return _BEGINS_A_BLOCK.sub(r"\g<0>\\", text).replace("www.", "www\\.")


# What begins a heading, a quotation or a list where it stands first in a line.
_BEGINS_A_BLOCK = re.compile(r"^\s*(?=[#+=-])|^\s*\d+(?=[.)])")
_MARKUP = frozenset("\\`*_{}[]|~!:@$")


def block(text: str, most: int = 1200) -> str:
    """Hostile text as a quotation, its lines as they are, cut after `most` characters.

    Raw HTML, in which nothing is Markdown until a blank line; so there is none, and < and & are escaped.
    """
    lines = escape(printable(text if len(text) <= most else text[:most] + " …"), quote=False).split("\n")
    indented = [_INDENT.sub(lambda found: "&nbsp;" * len(found[0].expandtabs(4)), line) for line in lines]
    return "<blockquote>" + "<br>\n".join(indented) + "</blockquote>"


_INDENT = re.compile(r"^[ \t]+")
