"""A table as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from coig_p.core.text import printable


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A caption and a table, in one line; every text in it is escaped, None is a dash, numbers stand at the right."""
    cells = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    head = "".join(f"<th>{html_text(name)}</th>" for name in header)
    return f"<table><caption>{html_text(title)}</caption><tr>{head}</tr>{cells}</table>"


def html_text(text: str) -> str:
    """Hostile text as part of a page: no markup, and nothing that reorders what is around it."""
    return escape(printable(text))


def _cell(value: object) -> str:
    if value is None:
        return "<td>–</td>"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"<td>{html_text(str(value))}</td>"
    text = f"{value:,}" if isinstance(value, int) else f"{round(value, 3):,.15g}"
    return f'<td style="text-align:right">{text}</td>'
