"""Rows of cells in an answer, however they are written, as rows of a table in Markdown."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator

from coig_p.annotate.tap.lines import is_fence

_HTML_TABLE = re.compile(r"<table\b[^>]*>.{0,20000}?</table>", re.IGNORECASE | re.DOTALL)
_HTML_ROW = re.compile(r"<tr\b[^>]*>(.*?)</tr>", re.IGNORECASE | re.DOTALL)
_HTML_CELL = re.compile(r"<t([dh])\b[^>]*>(.*?)</t\1>", re.IGNORECASE | re.DOTALL)
_LATEX_TABLE = re.compile(r"\\begin\{tabular\}(?:\{[^{}\n]*\})?(.{0,20000}?)\\end\{tabular\}", re.DOTALL)
_SQL_STRING = r"'(?:[^'\n]|'')*'"
_INSERT = re.compile(
    rf"INSERT\s+INTO\s+[\w.`\"]{{1,60}}\s*\((?P<columns>[^()]{{1,400}})\)\s*VALUES\s*"
    rf"(?P<rows>\((?:{_SQL_STRING}|[^()'])*\)(?:\s*,\s*\((?:{_SQL_STRING}|[^()'])*\))*)\s*;?",
    re.IGNORECASE,
)
_SQL_ROW = re.compile(rf"\((?:{_SQL_STRING}|[^()'])*\)")
_SQL_CELL = re.compile(r"'((?:[^'\n]|'')*)'|([^\s(),']+)")
_RULE = re.compile(r"[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)+")


def with_bars(text: str, is_header: Callable[[list[str]], bool]) -> str:
    """A text whose tables of HTML, and rows with commas, tabs or bars between their cells, stand between bars.

    Args:
        is_header: whether cells are a first row; rows without bars at their ends are a table only below such a one.
    """
    text = _HTML_TABLE.sub(lambda found: "\n" + _rows([*_html(found[0])]) + "\n", text)
    text = _LATEX_TABLE.sub(lambda found: "\n" + _rows([*_latex(found[1])]) + "\n", text)
    text = _INSERT.sub(lambda found: "\n" + _rows([*_inserted(found)]) + "\n", text)
    lines, kept = text.split("\n"), list[str]()
    at = 0
    while at < len(lines):
        rows = _run(lines, at, is_header)
        if rows is None:
            kept.append(lines[at])
            at += 1
        else:
            kept.append(_rows([row for row in rows if row]))
            at += len(rows)
    return "\n".join(kept)


def _html(table: str) -> Iterator[list[str]]:
    for row in _HTML_ROW.findall(table):
        yield [re.sub(r"\s*\n\s*", " ", cell).strip() for _, cell in _HTML_CELL.findall(row)]


def _latex(table: str) -> Iterator[list[str]]:
    for row in table.split("\\\\"):
        cells = [cell.strip() for cell in row.replace("\\hline", "").split("&")]
        if len(cells) > 1:
            yield cells


def _inserted(found: re.Match[str]) -> Iterator[list[str]]:
    """The columns that a statement of SQL names, and its rows; none where one has not as many cells."""
    header = [cell.strip(' `"\n\t') for cell in found["columns"].split(",")]
    rows = [
        [text.replace("''", "'") or number for text, number in _SQL_CELL.findall(row)]
        for row in _SQL_ROW.findall(found["rows"])
    ]
    if all(len(row) == len(header) for row in rows):
        yield header
        yield from rows


def _run(lines: list[str], at: int, is_header: Callable[[list[str]], bool]) -> list[list[str]] | None:
    """The cells of the lines from here on that are rows below a header; an empty list for a rule."""
    if lines[at].lstrip().startswith("|"):
        return None
    below = lines[at + 1] if at + 1 < len(lines) else ""
    for mark in ("\t", ",", "，", "|"):
        if mark not in lines[at] or mark not in below:
            continue
        header = _cells(lines[at], mark)
        if len(header) < 2 or not is_header(header):
            continue
        rows = [header]
        for line in lines[at + 1 :]:
            if not line.strip() or is_fence(line):
                break
            rows.append([] if _RULE.fullmatch(line) else _cells(line, mark))
        fits = all(len(row) in (0, len(header)) for row in rows) and "|" not in "".join(map("".join, rows))
        if fits and len(rows) > 1:
            return rows
    return None


def _cells(line: str, mark: str) -> list[str]:
    if mark == "，" or mark == "|":
        return [cell.strip() for cell in line.split(mark)]
    try:
        return [
            cell.strip()
            for cell in next(csv.reader([line.strip(" ")], delimiter=mark, strict=True, skipinitialspace=True))
        ]
    except (csv.Error, StopIteration):
        return [line]


def _rows(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines[:1], f"|{'---|' * len(rows[0])}" if rows else "", *lines[1:]])
