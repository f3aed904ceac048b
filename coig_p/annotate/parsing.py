"""The score in a judgement: strict and total. What is not certain is no score.

The rules, in their order:

1. Text up to a closing </think> is thinking and is not read; an open <think> that never closes is
   "unfinished".
2. Full-width digits, points, slashes and brackets ［］【】 are read as their plain forms.
3. A bracket is [...] on one line, with no bracket inside. It counts when it holds a digit. It does
   not count, being code or a link, when it follows an ASCII letter, a digit, _, ) or ] at once, or
   when ( or : follows it at once.
4. A bracket is a score when it holds one number and nothing else but spaces, emphasis (*), "分" or
   "/10". The number is written in plain digits without a sign or a leading zero, a point and
   decimals allowed.
5. The last bracket that counts must be a score, else "malformed", or "range" where it holds two
   numbers. With no bracket at all: "none".
6. It must be final. Either nothing follows but emphasis, quotes, "分", "/10", punctuation and
   space; or it stands right behind a label of the overall score (总体评分, 总分, 最终得分, overall
   score, ...) and its line ends with it. Else "not-final". A digit that touches it is "glued".
7. "/10" may follow it; another number after a slash is "other-scale".
8. Every other score must be the same number, unless the final one is labelled as the overall score
   and no other one with another number is. Else "several".
9. It must lie from 1 to 10, else "out-of-range", and be whole, or half where half points are
   allowed, else "off-step".
"""

from __future__ import annotations

import re
from typing import NamedTuple

LOW, HIGH = 1, 10
"""The lowest and the highest score (COIG-P, section 3.3)."""

_THINK, _THOUGHT = "<think>", "</think>"
_PLAIN = str.maketrans("０１２３４５６７８９．／［］【】\u3000", "0123456789./[][] ")
_BRACKET = re.compile(r"(?<![A-Za-z0-9_)\]])\[([^\[\]\n]*)\](?![(:])")
_DIGIT = re.compile(r"[0-9]")
_SCORE = re.compile(r"[ *]*(0|[1-9][0-9]*)(\.[0-9]+)?[ *]*(?:分[ *]*|/[ ]*([0-9]+)[ *]*分?[ *]*)?")
_RANGE = re.compile(r"[ *]*[0-9.]+[ 分]*[-~–—～至到][ ]*[0-9.]+[ *分]*")
_LABEL = re.compile(
    r"(?:总体评分|总体得分|总体分数|综合评分|综合得分|最终评分|最终得分|最终分数|总评分|总得分|总评|总分"
    r"|overall score|overall rating|final score|final rating|total score)"
    r"[*_ ]*(?:[:：=]|为|是|is)?[*_ ]*$",
    re.IGNORECASE,
)
_LABEL_CHARS = 40  # a label and what may stand between it and its score
_SCALE = re.compile(r"[ *]*/[ *]*([0-9]+(?:\.[0-9]+)?)")
_TAIL = re.compile(r"[\s*_`~\"'”’」』)）>。．.!！,，;；分-]*")


class Parsed(NamedTuple):
    """A score, or why there is none: exactly one of the two is set."""

    score: float | None
    reason: str | None


class _Score(NamedTuple):
    number: float
    plain: bool  # one number, nothing of another scale
    labelled: bool
    end: int


def parse_score(text: str, *, half_points: bool = True) -> Parsed:
    """The one final [n] of a judgement under the rules above. Never raises."""
    said = text.rpartition(_THOUGHT)[2]
    if _THINK in said:
        return Parsed(None, "unfinished")
    said = said.translate(_PLAIN)
    last, others = None, []
    for bracket in _BRACKET.finditer(said):
        if not _DIGIT.search(bracket[1]):
            continue
        if last is not None:
            others.append(last)
        last = bracket
    if last is None:
        return Parsed(None, "none")
    final = _score(said, last)
    if final is None:
        return Parsed(None, "range" if _RANGE.fullmatch(last[1]) else "malformed")
    problem = _not_final(said, final)
    if problem or not final.plain:
        return Parsed(None, problem or "other-scale")
    for bracket in others:
        other = _score(said, bracket)
        if other is not None and other.number != final.number and (other.labelled or not final.labelled):
            return Parsed(None, "several")
    if not LOW <= final.number <= HIGH:
        return Parsed(None, "out-of-range")
    if (final.number * (2 if half_points else 1)) % 1:
        return Parsed(None, "off-step")
    return Parsed(final.number, None)


def _score(said: str, bracket: re.Match[str]) -> _Score | None:
    """A bracket as a score, where it is one."""
    inner = _SCORE.fullmatch(bracket[1])
    if inner is None:
        return None
    number = float(inner[1] + (inner[2] or ""))
    line = said[max(0, bracket.start() - _LABEL_CHARS) : bracket.start()].rpartition("\n")[2]
    return _Score(number, inner[3] in (None, str(HIGH)), _LABEL.search(line) is not None, bracket.end())


def _not_final(said: str, score: _Score) -> str | None:
    """Why a score is not the last word, or None where it is."""
    rest = said[score.end :]
    if re.match(r"\.?[0-9]", rest):
        return "glued"
    scale = _SCALE.match(rest)
    if scale is not None:
        if float(scale[1]) != HIGH:
            return "other-scale"
        rest = rest[scale.end() :]
    tail = _TAIL.match(rest)
    end = tail.end() if tail else 0
    if end == len(rest) or (score.labelled and "\n" in rest[:end]):
        return None
    return "not-final"
