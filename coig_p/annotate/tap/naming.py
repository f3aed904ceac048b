"""What scores, responses and dimensions are called in a judgement of two responses."""

from __future__ import annotations

import re
from typing import NamedTuple

from coig_p.annotate.plain import plain
from coig_p.annotate.tap.lines import either
from coig_p.annotate.taxonomy.words import DIMENSIONS, Words

NUMBER = r"[0-9]{1,4}(?:\.[0-9]{1,4})?"
_IN_BRACKETS = rf"\[{{1,2}} {{0,3}}(?P<in>{NUMBER}) ?(?:分|/ ?10)? {{0,3}}\]{{1,2}}(?: ?(?:/ ?10(?![0-9])|分))?"
_BARE = (
    rf"(?P<bare>(?<![-+.0-9]){NUMBER}) ?(?:分|/ ?10(?![0-9])|points?\b)?(?=\s{{0,9}}(?:[,，、。;；)(|]|\.(?![0-9])|$))"
)
VALUE = rf"[*_`$( ]{{0,6}}(?:{_IN_BRACKETS}|{_BARE})[*_`$)]{{0,4}}"
BETWEEN = (
    r"(?: ?\([^()0-9\n]{0,40}\))?(?:的?(?:评分|得分|分数|打分)| ?(?:score|rating))?[*_` ]{0,4}"
    r"(?:[:=→]{1,2}|-{1,2}(?= )|—{1,2}|–|为|是)? {0,3}"
)
ENGLISH = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LABELS = (r"[A1一甲]", r"[B2二乙]")
NOUN = (
    r"(?:大语言模型|语言模型|模型|助手|回答|回复|回应|答复|答案|large language model"
    r"|response|assistant|answer|model|llm)"
)
# Shorter forms, before a number or a mark alone, and those of Japanese.
_SHORT = r"(?=[*_ ]{0,4}(?:[:=]|\[))"
_ALSO = (
    rf"相關性|関連性|关联性|相关{_SHORT}|\bRel\.?{_SHORT}",
    rf"准确{_SHORT}|正确{_SHORT}|\b(?:Corr?|Acc)\.?{_SHORT}",
    rf"明[确瞭了晰]性|清晰{_SHORT}|\bClar?\.?{_SHORT}",
    rf"完全性|完整{_SHORT}|\bComp?\.?{_SHORT}",
)
OWN = r"(?:的?(?:评分|得分|分数|打分)|の评[価价]| ?(?:的)?(?:回复|回答)(?:的?(?:评分|得分|分数))?| ?scores?| ?ratings?)"
_ASIDE = r"\((?:1 ?[-~到至] ?10|(?:10|十)分制|满分(?:为|是)? ?(?:10|十) ?分?|[^0-9()]{0,20})\)"
DECORATION = "#*_`>-•+[]<>() \t"


class Score(NamedTuple):
    """A number that stands for a response (0, 1; None: nothing says for which) and a dimension (None, too)."""

    side: int | None
    dimension: int | None
    number: float


class Names:
    """How responses and dimensions may be called, as patterns."""

    def __init__(self, words: Words) -> None:
        sides = []
        for label, own in zip(_LABELS, (words.first, words.second), strict=True):
            named = either(tuple(map(plain, own)))
            ordinal = "第一[个条份]?" if label == _LABELS[0] else "第二[个条份]?"
            sheet = rf"(?<![第十A-Za-z0-9]){label}号?(?:答?卷)"
            sides.append(rf"(?:{named}|{NOUN} ?{label}(?![A-Za-z0-9])|{ordinal}{NOUN}|{sheet})")
        self.side = rf"(?:(?P<first>{sides[0]})|(?P<second>{sides[1]}))"
        self.sides = sides
        each = [
            rf"(?:{either(tuple(map(plain, getattr(words, name))))}|{also})"
            for name, also in zip(DIMENSIONS, _ALSO, strict=True)
        ]
        self.each = each
        self.dimension = "|".join(f"(?P<{name}>{one})" for name, one in zip(DIMENSIONS, each, strict=True))
        flags = re.IGNORECASE
        self.header = re.compile(
            rf"(?:[0-9一二]{{1,2}}[.、] ?)?(?:(?:对|對|scores?|ratings?|evaluation) ?(?:of|for)? ?(?:the )?)?"
            rf"(?:response from )?{self.side}"
            rf"(?:['’]s)? ?(?:{_ASIDE})? ?(?:的?最终)?(?:{OWN})? ?(?:{_ASIDE})?[: *_\])]*",
            flags,
        )
        self.dimension_header = re.compile(rf"(?:[0-9]{{1,2}}[.、] ?)?(?:{self.dimension}){BETWEEN}[: *_]*", flags)
        self.entry = re.compile(rf"(?:{self.dimension}){BETWEEN}{VALUE}", flags)
        self.begins = re.compile(
            rf"(?:[0-9]{{1,2}}[.、] ?)?(?:(?:scores? (?:of|for) (?:the )?)?\[?{self.side}(?:的|[:( ,*\]]|{OWN})*)?"
            rf"(?={self._unnamed()})",
            flags,
        )
        letters = r"(?P<first_letter>\bA(?=:? ?\[))|(?P<second_letter>\bB(?=:? ?\[))"
        self.sided = re.compile(rf"(?:{self.side}|{letters}){BETWEEN}{VALUE}", flags)
        self.runs_on = re.compile(rf" +(?={self._unnamed()}{BETWEEN}[\[0-9])", flags)
        self.number_first = re.compile(
            rf"^[ *•-]*(?P<number>\[\[ ?{NUMBER} ?\]\])[ :—-]*(?P<name>{self._unnamed()})[。.]?$", flags | re.MULTILINE
        )
        self.half_closed = re.compile(
            rf"^(?P<name>[ *•-]*{self._unnamed()}[ *]{{0,4}}[:=] ?)(?=[^\n]*[\[\]])"
            rf"\[{{0,2}} ?(?P<number>[0-9]{{1,2}}) ?\]{{0,2}}$",
            flags | re.MULTILINE,
        )
        self.in_english = re.compile(
            rf"^([ *•-]*{self._unnamed()}[ *]{{0,4}}[:=] ?)({'|'.join(ENGLISH)})(?=[.。]?[ *]*$)", flags | re.MULTILINE
        )
        self.bracketed = re.compile(
            rf"^ *\([0-9]{{1,2}}\) ?(?={self._unnamed()}|{'|'.join(sides)})", flags | re.MULTILINE
        )
        self.next_side = re.compile(
            rf"(?<=[。；;]) ?(?=(?:{'|'.join(sides)})(?:{OWN}:|的|:|\() ?{self._unnamed()})", flags
        )
        self.any_side = re.compile("|".join(sides), flags)
        self.any_dimension = re.compile("|".join(each), flags)

    def _unnamed(self) -> str:
        return f"(?:{'|'.join(self.each)})"

    def side_of(self, text: str, *, alone: bool = False) -> int | None:
        """Which response a cell or a key names; `alone`: it may be a letter or a number."""
        text = re.sub(_ASIDE, "", text).strip(DECORATION + ":").replace("_", " ")
        for at, (pattern, label) in enumerate(zip(self.sides, _LABELS, strict=True)):
            if re.fullmatch(rf"{pattern}{OWN}?", text, re.IGNORECASE) or (alone and re.fullmatch(label, text)):
                return at
        return None

    def dimension_of(self, text: str) -> int | None:
        """Which dimension a cell or a key names."""
        text = re.sub(r" ?\([^()]*\)", "", text).strip(DECORATION + ":")
        for at, pattern in enumerate(self.each):
            if re.fullmatch(rf"{pattern}(?:的?(?:评分|得分|分数)| ?score)?", text, re.IGNORECASE):
                return at
        return None


def number_of(found: re.Match[str]) -> float:
    """The number that VALUE found."""
    return float(found["in"] or found["bare"])
