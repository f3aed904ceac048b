"""The score in a Markdown table: in a row with several numbers, or below a label in a table of one row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from coig_p.annotate.labels import LABEL, OVERALL, OVERALL_WORD
from coig_p.annotate.values import Found, value

_TABLE = re.compile(
    r"^ {0,3}\|([^\n]{1,400})\n {0,3}\|[ :|-]{3,400}\n {0,3}\|([^\n]{1,400})(?=\n(?! {0,3}\|)|\Z)", re.MULTILINE
)
_OVERALL = rf"(?:{OVERALL}|{OVERALL_WORD})"
_OVERALL_CELL = re.compile(rf"[ *_]{{0,6}}{_OVERALL}[ *_]{{0,6}}(?:\([^()]{{0,20}}\))?[ *_]{{0,6}}", re.IGNORECASE)
_LABEL_CELL = re.compile(
    rf"[ *_]{{0,6}}(?:{_OVERALL}|{LABEL})[ *_]{{0,6}}(?:\([^()]{{0,20}}\))?[ *_]{{0,6}}", re.IGNORECASE
)
_REASON_CELL = re.compile(
    r"[ *_]{0,6}(?:(?:评分|打分)?(?:理由|原因|说明|依据|解释)|评语|备注|分析|"
    r"reasons?|reasoning|comments?|explanation|justification|rationale|feedback|analysis|notes?)?[ *_]{0,6}",
    re.IGNORECASE,
)
_NUMBER_CELL = re.compile(r"[\[( *_]{0,6}[0-9][0-9./ ]{0,9}(?:分|%)?[\]) *_]{0,6}")
_FULL_MARKS_CELL = re.compile(
    r"[ *_]{0,6}(?:满分|上限|分值|权重|占比|max(?:imum)?|weight|points possible)[ *_]{0,6}", re.IGNORECASE
)
_ROW_LENGTH = 2000


def in_row(said: str, at: int) -> Found | None:
    """The score in a row of a table: below a label; else none that is certain where the row holds several numbers.

    None where the place is in no such row.
    """
    start, end = said.rfind("\n", 0, at) + 1, said.find("\n", at)
    row = said[start : end if end >= 0 else len(said)][:_ROW_LENGTH]
    if not row.lstrip().startswith("|"):
        return None
    cells = [cell.strip(" *_") for cell in row.split("|")]
    above = said[max(0, start - _ROW_LENGTH) : start].rstrip("\n").split("\n")
    table = [row, *takewhile(lambda line: line.lstrip().startswith("|"), reversed(above))]
    names = table[-1].split("|")
    under = [cell for name, cell in zip(names, cells, strict=False) if _LABEL_CELL.fullmatch(name)]
    if (
        len(names) == len(cells)
        and any(
            _FULL_MARKS_CELL.fullmatch(name) and _NUMBER_CELL.fullmatch(cell)
            for name, cell in zip(names, cells, strict=True)
        )
        and not under
    ):
        return Found(None, "not-final", at, start + len(row), row)
    found = value(under[0], 0, bare=True, strict=True) if len(under) == 1 and len(names) == len(cells) else None
    if found is not None and not under[0][found.end :].strip(" *_"):
        return found._replace(end=start + len(row))
    if len([cell for cell in cells if _NUMBER_CELL.fullmatch(cell)]) < 2:
        return None
    return Found(None, "several", at, start + len(row), row)


def tabled(said: str) -> Iterator[Found]:
    """Scores in a table of one row, below an overall label."""
    for table in _TABLE.finditer(said):
        names, cells = table[1].split("|"), table[2].split("|")
        at = [place for place, name in enumerate(names) if _OVERALL_CELL.fullmatch(name)]
        if not at and all(_LABEL_CELL.fullmatch(name) or _REASON_CELL.fullmatch(name) for name in names):
            at = [place for place, name in enumerate(names) if _LABEL_CELL.fullmatch(name)]
        if len(at) != 1 or len(names) != len(cells) or len([name for name in names if name.strip()]) < 2:
            continue
        if any(value(name.strip(" *_"), 0, bare=True, strict=True) for name in names):
            continue
        cell = cells[at[0]].strip(" *_")
        found = value(cell, 0, bare=True, strict=True)
        if found is None or cell[found.end :].strip(" *_"):
            found = Found(None, "malformed", 0, 0, "")
        yield found._replace(start=table.start(), end=table.end(), phrase=table[0])
