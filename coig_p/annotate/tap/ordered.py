"""Eight scores by their order alone: each number is of the response and the dimension that were named last before it.

For answers in a form that `scored` does not know: prose, formulas, rows of four behind a legend. The text is taken as
names of responses, names of dimensions and numbers. One number is of the last of both; four in a row are of the last
four dimensions that stood in a row; two in a row of the last two responses. The eight must come out once each.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import NamedTuple

_NUMBER = r"[0-9]{1,2}(?:\.[0-9]{1,2})?"
_MARKED = rf"\[\[ ?(?P<marked>{_NUMBER}) ?\]\]"
_BARE = rf"(?<![-+.0-9])(?P<bare>{_NUMBER})(?![.0-9]*[0-9])(?! ?[%年题步])"
# All that may stand between a name, or another number, and a bare number.
_BESIDE = re.compile(
    r"(?:[\s\[\](){}*_`,，、/:=|;；。→-]|为|是|得|给|分|/ ?10\b|\\text|\\ |\$|scores?|gets?|with)*", re.IGNORECASE
)
# Words that make it doubtful which numbers count, or whose they are.
_DOUBTFUL = re.compile(
    r"更正|修正|改为|改成|应为|应该是|重新|等等|初步|暂定|如果|假如|若"
    r"|写着|写道|写有|声称|自称|说道|要求|示例|例如|格式|满分|至少|至多|大约|或|不对"
    r"|[0-9]\]{0,2} ?分? ?→ ?\[{0,2}[0-9]|[0-9] ?[~-] ?[0-9]"
    r"|\b(?:correct(?:ion|ed)|revised|wait|draft|if|says?|claims?|wrote|writes|reads"
    r"|example|format|about|or|at least)\b",
    re.IGNORECASE,
)
_MARKER = re.compile(r"^ *[0-9]{1,2}[.、)] ?(?=[^0-9\s])", re.MULTILINE)
_GIVEN = re.compile(r"(?:得|给|打|评)[了出]?\Z")  # ……有误，得5分
_FORMULA = re.compile(r"\\text ?\{([^{}]{0,40})\}|\\[ ,;]|\$")


class Placed(NamedTuple):
    """A number with the response (0, 1) and the dimension (0 to 3) that it stands for."""

    side: int
    dimension: int
    number: float


class _Piece(NamedTuple):
    kind: str  # side, dimension, number
    value: int
    number: float


def in_order(text: str, sides: list[str], dimensions: list[str]) -> list[Placed]:
    """The eight scores of a text in one form, or none; `sides` and `dimensions` are patterns of their names."""
    text = _MARKER.sub("", text)
    text = _FORMULA.sub(lambda found: found[1] or " ", text)
    if _DOUBTFUL.search(text):
        return []
    pieces = _pieces(text, sides, dimensions)
    named = [piece.value for piece in pieces if piece.kind == "dimension"]
    if len(named) > 4 and named == named[:4] * (len(named) // 4):  # the same legend again
        named = named[:4]
    placed: list[Placed] = []
    last: dict[str, list[int]] = {"side": [], "dimension": named if sorted(named) == [0, 1, 2, 3] else []}
    for kind, run in groupby(pieces, key=lambda piece: piece.kind):
        row = list(run)
        if kind != "number":
            last[kind] = [piece.value for piece in row]
            continue
        where = _where(last["side"], last["dimension"], len(row))
        if where is None:
            return []
        placed += [Placed(*at, piece.number) for at, piece in zip(where, row, strict=True)]
    once = {(one.side, one.dimension) for one in placed}
    return placed if len(placed) == len(once) == 8 else []


def _where(sides: list[int], dimensions: list[int], count: int) -> list[tuple[int, int]] | None:
    """What each number of a row stands for."""
    if count == 1 and sides and dimensions:
        return [(sides[-1], dimensions[-1])]
    if count == 4 and sides and sorted(dimensions) == [0, 1, 2, 3]:
        return [(sides[-1], dimension) for dimension in dimensions]
    if count == 2 and sorted(sides) == [0, 1] and dimensions:
        return [(side, dimensions[-1]) for side in sides]
    return None


def _pieces(text: str, sides: list[str], dimensions: list[str]) -> list[_Piece]:
    """Names and numbers in their order: numbers in brackets where any are, else those that stand beside a name."""
    marked = re.search(_MARKED, text) is not None
    names = [rf"(?P<s{at}>{side})" for at, side in enumerate(sides)]
    names += [rf"(?P<d{at}>{dimension})" for at, dimension in enumerate(dimensions)]
    names += [r"(?P<s0_>(?<![A-Za-z])A(?![A-Za-z0-9]))", r"(?P<s1_>(?<![A-Za-z])B(?![A-Za-z0-9]))"]
    pieces: list[_Piece] = []
    end = -1  # of the piece before
    for found in re.finditer("|".join([*names, _MARKED if marked else _BARE]), text, re.IGNORECASE):
        name = str(found.lastgroup)
        if name in ("marked", "bare"):
            given = _GIVEN.search(text, max(0, found.start() - 4), found.start()) and text.startswith("分", found.end())
            if name == "bare" and not given and (end < 0 or not _BESIDE.fullmatch(text, end, found.start())):
                continue
            pieces.append(_Piece("number", 0, float(found[name])))
        else:
            pieces.append(_Piece("side" if name[0] == "s" else "dimension", int(name[1]), 0))
        end = found.end()
    return pieces
