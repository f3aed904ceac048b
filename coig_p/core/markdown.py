"""Text for Markdown. What models, files and rows say is hostile until it went through `cell` or `block`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from coig_p.core.text import printable


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a table; every cell is escaped, and every name of a column, which may be a model's."""
    told = [[cell(value) for value in row] for row in (header, *rows)]
    return ["| " + " | ".join(cells) + " |" for cells in (told[0], ["---"] * len(header), *told[1:])]


def cell(value: object) -> str:
    """Hostile text as part of a line: no break, no markup, no link, no control characters."""
    text = printable("" if value is None else str(value)).replace("\n", " ").replace("\t", " ")
    text = "".join(f"\\{letter}" if letter in _MARKUP else letter for letter in escape(text, quote=False))
    text = _COLON.sub(":", text)
    return _linked_by_itself(_BEGINS_A_BLOCK.sub(r"\g<0>\\", text))


def code(text: str) -> str:
    """Hostile text as a code span of a paragraph: no break, and its end is where it ends."""
    line = " ".join(printable(text).split())
    fence = "`" * (1 + max(map(len, _TICKS.findall(line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line or not line else f"{fence}{line}{fence}"


def fenced(text: str, language: str = "") -> str:
    """Hostile text as a block of code, which nothing in it ends."""
    fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
    return f"{fence}{language}\n{printable(text)}\n{fence}"


def markdown(text: str) -> str:
    """Somebody's Markdown, in which HTML is text, and nothing that could reorder what is around it."""
    return _TAG.sub("&lt;", printable(text))


def _linked_by_itself(text: str) -> str:
    """Escaped text without what readers make a link of though nothing marks it as one.

    GitHub's reader looks at a text once its escapes are gone, so that an empty comment has to part it; others make
    a link of any two words with a dot between them.
    """
    return _DOT.sub(r"\.", _ADDRESS.sub(r"\g<0><!-- -->", text))


_TICKS = re.compile("`+")
_TAG = re.compile(r"<(?=[A-Za-z/!?])(?!https?://[^\s<>]*>)")
# The ends of what begins an address: www.  http://  mailto:  name@
_ADDRESS = re.compile(r"(?i:www)(?=\.)|:(?=/)|(?i:mailto|xmpp)\\?:|@(?=.)|/(?=/)")
_DOT = re.compile(r"(?<!\\)\.(?=[^\W\d])")
# What begins a heading, a quotation or a list where it stands first in a line.
_BEGINS_A_BLOCK = re.compile(r"^\s*(?=[#+=-])|^\s*\d+(?=[.)](?:\s|$))")
_COLON = re.compile(r"(?<=\S)\\:(?= )")  # after a word and before a space it is nothing but a colon
_MARKUP = frozenset("\\`*_{}[]|~!:@$")


def block(text: str, most: int = 1200) -> str:
    """Hostile text as a quotation, its lines as they are, cut after `most` characters.

    Raw HTML, in which nothing is Markdown until a blank line; so there is none, and < and & are escaped.
    """
    lines = escape(printable(text if len(text) <= most else text[:most] + " …"), quote=False).split("\n")
    indented = [_INDENT.sub(lambda found: "&nbsp;" * len(found[0].expandtabs(4)), line) for line in lines]
    return "<blockquote>" + "<br>\n".join(indented) + "</blockquote>"


_INDENT = re.compile(r"^[ \t]+")
