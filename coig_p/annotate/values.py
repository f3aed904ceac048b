"""A score where it stands: a number in any form, with its brackets, points and scale, and what makes it none."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from coig_p.annotate.labels import LABEL, OVERALL

SCALE = 10
"""Scores are given out of so many points."""

_SUM = re.compile(r" {0,3}[-+*×÷][0-9+*×÷/(). 分-]{1,60}=")
# The mean of scores, and what it comes to.
_MEAN = re.compile(
    r"[ *_`$\[]{0,6}\( {0,3}(?P<terms>[0-9.]{1,4}(?: {0,3}分? {0,3}\+ {0,3}[0-9.]{1,4}){1,9}) {0,3}分? {0,3}\) {0,3}"
    r"[/÷] {0,3}(?P<count>[0-9]{1,2}) {0,3}="
)
_DECIMAL = re.compile(r"[0-9]{1,2}(?:\.[0-9])?")
_CHINESE = {name: at % 11 for at, name in enumerate("零一二三四五六七八九十*①②③④⑤⑥⑦⑧⑨⑩")}
_NUMBER = r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?|[①-⑩]|[一二三四五六七八九十](?:点五|分半)?(?=[ *]{0,6}(?:分|[\])}。\n]|\Z)))"
_VALUE = re.compile(
    r"(?P<open>(?:[\[({<*_`$ ]{0,12}[\[({<])?)[*_`$ \"']{0,12}"
    rf"(?:(?:{OVERALL}|{LABEL})[ *_]{{0,6}}[:= 为是]{{0,6}}[ *_\[]{{0,6}})?"
    rf"(?P<sign>[+-]?)(?P<number>{_NUMBER})(?P<half>点五|分半)?[*_`$ \"']{{0,12}}(?:分(?P<and_half>半)?|points?|pts)?",
    re.IGNORECASE,
)
_OUT_OF = re.compile(
    r"(?P<before>[ *_`$\])}>]{0,12})(?:/(?: {0,3}满分)?|\( {0,3}(?:满分|总分|共)[为是]? {0,3}|"
    r"out of(?: a)?(?: possible| total| maximum)?(?: of)?|"
    r"of(?= 10))[ *_`$\[(]{0,12}(?P<scale>[0-9]{1,9}(?:\.[0-9]{1,9})?)"
    r"[ *_`$]{0,12}(?:分|points?|pts)?",
    re.IGNORECASE,
)
_CLOSE = re.compile(r"[ *_`$\"'.。，,、;；]{0,12}[\])}>](?:[ *_`$\])}>]{0,12}[\])}>])?")
_REMARK = re.compile(r" {0,6}(?:[,，、;；:—(]|-(?= ))[^\[\]\n0-9]{0,40}?(?=[\]}>])")
_POINTS = re.compile(r"[ *_`$]{0,12}(?:分|points?|pts)")
GLUED = re.compile(r"\.?[0-9]|\[[0-9]{1,2}(?:\.5)?\]")
_VAGUE = re.compile(
    r"[ *_]{0,6}分? {0,6}(?:[?？±]|左右|上下|以上|以下|之间|多分|\+|or (?:more|less|so|above|below|higher)\b|ish\b)",
    re.IGNORECASE,
)
_ANOTHER = re.compile(
    r"[ *_`$\"'分]{0,12}"
    r"(?:(?:[-–—~～/]|至|到|或者?|和|与|、|,|→|>|=|or\b|to\b|and\b|改为|应为|修正为)[ *_`$]{0,6}){1,3}"
    r"(?P<open>\[?)[ *_`$]{0,6}(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?)[ *_`$]{0,6}(?P<after>[\]分]|$|"
    r"[。.,，;；)\n]|/ ?10|out of|points?)",
    re.IGNORECASE,
)
_FULL_MARKS = re.compile(
    r"(?:满分|总分|共)[为是]? {0,6}([0-9]{1,9})|out of {0,6}([0-9]{1,9})|([0-9]{1,9}) {0,6}分制", re.IGNORECASE
)
_PARTS_OF_IT = re.compile(r"其中|包括|包含|由|各|分别|准确|\b(?:with|includ|where|consist|for)")
# Behind a number of another scale: the same of ten, in its brackets or behind a word. Behind one of ten: a percentage.
_THE_SAME = (
    r"[ *_`]{0,6}(?:[(,，、;；=≈]|→)? {0,3}"
    r"(?:(?:即|也就是|亦即|相当于|等于|折合|合)为?|i\.e\.,?|that is,?|or|=){0,2}[ *_:\[]{0,6}"
)
_IS_OF_TEN = re.compile(
    _THE_SAME
    + r"(?P<of>[0-9]{1,2}(?:\.[0-9]{1,2})?)[ *_\]]{0,6}(?:/ {0,3}10|out of 10)(?!\.?[0-9]) {0,3}分?[ *_`)]{0,6}",
    re.IGNORECASE,
)
_IS_PERCENT = re.compile(
    _THE_SAME + r"(?P<of>[0-9]{1,3}(?:\.[0-9]{1,2})?) {0,3}%(?=[ *_`]{0,6}(?:[)。.,，;；\n]|\Z))", re.I
)
_PERCENT = re.compile(r"[ *_`]{0,12}%")
_OTHER_SCALE = re.compile(r"[ *_`]{0,12}(?:%|分制)")
FITS = (
    r"(?:(?:比较|较为?|更为?|是|应该|算|很|也){0,2}(?:合适|合理|恰当|公允|妥当|适当)|(?:没有?|不成)问题|实至名归|当之无愧|名副其实|不为过|"
    r"(?:seems|is|feels|sounds|would be) (?:an? )?(?:fair|appropriate|reasonable|right|just|suitable|justified)\b|"
    r"it is\b)"
)
"""Says that a score fits."""
_ENDS = re.compile(
    r"[ *_`$\"']{0,12}(?:$|[\n。.!！,，;；:?？、~|()（）\\<]|-{1,9}[ >]|→|—|–|\[|[^\w\s%+-]|"
    r"的(?:总体|综合|最终)?(?:评价|评分|分数|得分|成绩|[高低]分)|吧|(?<= )(?=[^\s:]{1,6}:)| {1,3}(?=[^\s:]{1,6}:)|"
    rf" {{0,3}}(?:{FITS}|(?:is|was) (?:given|assigned|awarded|warranted))|"
    r" {0,3}(?:to (?=th)|(?:for|from|because|since|after|given|despite|as|due to|in (?:my|total)|on (?:an?|the|this)|"
    r"stars?|here|overall|response|answer|reply)\b|比较|较))"
)
_OPEN_ENDED = re.compile(r"[ *_`$]{0,12}(?:\n|\Z)")
_NO_NUMBER = re.compile(r"[ *_`$]{0,12}\[([^\[\]\n]{0,200})\]")
BARE = re.compile(r"[0-9]|[一二三四五六七八九十](?:点五|分半)? ?(?:分|\Z)")
CLOSED = re.compile(r"[\])}>]")


class Found(NamedTuple):
    """A place where a score stands.

    Attributes:
        number: None where it is no score of ten; then `reason` says why.
        start, end: in the text, its label included.
        phrase: its label and the score as they are written.
    """

    number: float | None
    reason: str | None
    start: int
    end: int
    phrase: str


def value(said: str, at: int, *, bare: bool, strict: bool = False) -> Found | None:
    """The score that begins at a place; None where none does.

    Args:
        bare: whether it may stand without brackets.
        strict: whether a bracket without a number is nothing, where it is else a score that cannot be read.
    """
    if (mean := _MEAN.match(said, at)) is not None:
        result = value(said, mean.end(), bare=True, strict=True)
        return (
            result
            if result is not None and result.number == _mean(mean)
            else Found(None, "malformed", at, mean.end(), mean[0])
        )
    found = _VALUE.match(said, at)
    if found is None:
        return None if strict else _no_number(said, at)
    bracketed = bool(found["open"]) or _CLOSE.match(said, found.end()) is not None
    if not bracketed and not bare:
        return None
    end = found.end()

    def gave(reason: str) -> Found:
        return Found(None, reason, at, end, said[at:end])

    if found["sign"] == "-" or re.match(r"00|0[0-9]{2}", found["number"]) or _SUM.match(said, end):
        return gave("malformed")
    scale = _OUT_OF.match(said, end)
    closed = scale is not None and bool(CLOSED.search(scale["before"]))
    if scale is not None:
        end = scale.end()
    elif bracketed and (remark := _REMARK.match(said, end)):
        end = remark.end()
    if _VAGUE.match(said, end) or _VAGUE.match(said, found.end()):
        return gave("malformed")
    if (bracket := _CLOSE.match(said, end)) is not None:
        closed, end = True, bracket.end()
    elif found["open"] and not closed and (found["open"].endswith("<") or not _OPEN_ENDED.match(said, end)):
        inside = CLOSED.split(_line(said, end))[0]
        return gave("range" if BARE.search(inside) else "malformed")
    if closed and GLUED.match(said, end):
        return gave("glued")
    if _VAGUE.match(said, end):
        return gave("malformed")
    if (points := _POINTS.match(said, end)) is not None:
        end = points.end()
    if scale is None and (scale := _OUT_OF.match(said, end)) is not None:
        end = scale.end()
    line = _line(said, end)
    marks = _FULL_MARKS.search(_PARTS_OF_IT.split(line)[0])
    scales = [scale["scale"]] if scale else []
    scales += [next(filter(None, marks.groups()))] if marks else []
    number = _number(found)
    if any(float(other) != SCALE for other in scales) or _OTHER_SCALE.match(line):
        percent = _PERCENT.match(said, end)
        base = "100" if percent and not scale else scale["scale"] if scale and not percent else None
        fits = base is not None and all(float(other) in (SCALE, float(base)) for other in scales)
        same = _IS_OF_TEN.match(said, percent.end() if percent else end)
        if same is None or base is None or not fits or not _equal(number, base, same["of"]):
            return gave("other-scale")
        return Found(float(same["of"]), None, at, same.end(), said[at : same.end()])
    share = _IS_PERCENT.match(said, end) if scale else None
    if share is not None and not _equal(float(share["of"]), "100", f"{number:g}"):
        return gave("several")
    another = _ANOTHER.match(said, end)
    if another is not None and float(another["number"]) != number and (another["open"] or another["after"] != "\n"):
        return gave("several" if closed else "range")
    if not bracketed and not _ENDS.match(said, end):
        return None
    return Found(number, None, at, end, said[at:end])


def _equal(number: float, scale: str, of_ten: str) -> bool:
    """Whether a number of a scale is one of ten."""
    return bool(float(scale)) and Fraction(str(number)) * SCALE == Fraction(of_ten) * Fraction(scale)


def _mean(found: re.Match[str]) -> float | None:
    """What it comes to, where it is of as many scores as it is divided by."""
    terms = [term.strip(" 分") for term in found["terms"].split("+")]
    if len(terms) != int(found["count"]) or not all(_DECIMAL.fullmatch(term) for term in terms):
        return None
    return float(sum(map(Fraction, terms)) / len(terms))


def _no_number(said: str, at: int) -> Found | None:
    found = _NO_NUMBER.match(said, at)
    if found is None or not BARE.search(found[1]):
        return None  # a form left empty
    return Found(None, "malformed", at, found.end(), found[0])


def _number(found: re.Match[str]) -> float:
    text = found["number"]
    half = 0.5 if found["half"] or found["and_half"] else 0
    if text[0] in _CHINESE:
        return _CHINESE[text[0]] + (0.5 if len(text) > 1 else half)
    return float(text) + half


def _line(said: str, at: int, most: int = 200) -> str:
    """The rest of the line."""
    return said[at : at + most].partition("\n")[0]
