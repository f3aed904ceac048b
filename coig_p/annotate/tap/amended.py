"""What a judgement says of its own eight scores behind them: corrections of single ones, and sums that must fit."""

from __future__ import annotations

import re
from typing import NamedTuple

from coig_p.annotate.tap.naming import NUMBER, Names

_CORRECTS = re.compile(
    r"更正|修正|修改|改为|改成|应为|应该?是|重新考虑|再想|再看|等等"
    r"|\bcorrect(?:ion|ed)\b|\brevis(?:ion|ed)\b|on second thought|\bwait\b|\bI mean",
    re.IGNORECASE,
)
_TAKES_BACK = re.compile(
    r"(?:偏高|偏低|太高|太低|过高|过低|给[高低]了|打[高低]了)[^。\n]{0,6}[，,；;][^。\n]{0,8}(?:应|该|需|要|下调|上调|降|提高)"
    r"|(?:应|该|需要?)[^。\n]{0,6}(?:下调|上调|降低|调低|调高|再高|再低)|作废|不作数|不算数|撤回|重新(?:打|评)分"
    r"|\b(?:disregard|ignore|withdraw|too (?:high|low)|should be (?:lower|higher|lowered|raised))",
    re.IGNORECASE,
)
_BEGINS = re.compile(r"[\s*_-]*(?:更正|修正|等等|再想|correction\b|wait\b|on second thought|I mean\b)", re.IGNORECASE)
_UNCHANGED = re.compile(
    r"(?:其余|其他|其它)[^。，,;；]{0,8}(?:不变|照旧)|(?:the )?(?:rest|others?) (?:is|are|stays?)[^.]{0,20}"
)
_VALUE = rf"\[{{0,2}} ?(?P<new>{NUMBER}) ?\]{{0,2}}(?: ?分|/10)?"
_TO = re.compile(
    rf"(?:(?:从|由|from) ?\[{{0,2}}(?P<old>{NUMBER})\]{{0,2}} ?分? ?)?"
    rf"(?:应?(?:该|当)?(?:改|修改|更正|修正|调整|上调|下调|降|提高|升)(?:为|成|到|至)"
    rf"|应(?:该|当)?[是为]|是|为|should be|to|is|=|:) ?(?:{_VALUE})",
    re.IGNORECASE,
)
_TOTAL = re.compile(
    r"(?:^|[，,、；;|(]|\. )[-*•#_> ]*(?:[^\n，,、；;|。]{0,12}?的?)(?:(?P<mean>平均得?分?|均分|均值|average|mean)"
    r"|总得?分|合计|总计|\btotal|\bsum\b)(?: ?(?:score|rating))?s?(?: ?\([^()\n]{0,12}\))?"
    r"[*_ ]{0,4}(?=为|是|[:=|]| |[0-9\[]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_MAY_BE_TOTAL = re.compile(r"均[得分值]|平均|总得?分|合计|总计|average|mean|total|sum", re.IGNORECASE)
_FIGURE = re.compile(r"(?<![0-9./])(?<!/ )[0-9]{1,3}(?:\.[0-9]{1,3})?(?![0-9]|\.[0-9]| ?(?:分制|%|-|~))")

Eight = list[list[float]]
"""Of each of two responses the four."""


class Amendment(NamedTuple):
    """A line that gives one score anew: of which response and dimension, from what where it says so, and to what."""

    line: int
    side: int
    dimension: int
    old: float | None
    new: float
    others: tuple[float, ...]


def amendments(text: str, names: Names) -> tuple[list[Amendment], list[int]]:
    """The lines of a text that correct one score each, and those that take something back and say not to what."""
    found: list[Amendment] = []
    vague: list[int] = []
    if not _CORRECTS.search(text) and not _TAKES_BACK.search(text):
        return found, vague
    for at, line in enumerate(text.split("\n")):
        told = _UNCHANGED.sub("", line)
        takes_back = _TAKES_BACK.search(told) is not None
        if not takes_back and not _CORRECTS.search(told):
            continue
        sides = [side for side, name in enumerate(names.sides) if re.search(name, told, re.IGNORECASE)]
        each = [dimension for dimension, name in enumerate(names.each) if re.search(name, told, re.IGNORECASE)]
        values = list(_TO.finditer(told))
        if len(sides) == 1 and len(each) == 1 and len(values) == 1:
            value = values[0]
            rest = names.any_side.sub("", told[: value.start()] + told[value.end() :])
            others = tuple(float(one) for one in re.findall(NUMBER, rest))
            old = None if value["old"] is None else float(value["old"])
            found.append(Amendment(at, sides[0], each[0], old, float(value["new"]), others))
        elif _BEGINS.match(told) and (sides or each or not re.search(r"[。.!！]\s*\Z", told)):
            vague.append(at)  # it is cut, or says not to what
        elif (sides or each or re.search(r"评分|分数|打分|scores?\b", told)) and (takes_back or values):
            vague.append(at)
    return found, vague


def amended(eight: Eight, lines: list[Amendment]) -> Eight | None:
    """The scores with what is corrected; None where a correction begins with another score than there was."""
    found = [list(four) for four in eight]
    for one in lines:
        was = found[one.side][one.dimension]
        if one.old not in (None, was) or any(number != was for number in one.others):
            return None
        found[one.side][one.dimension] = one.new
    return found


def fits_totals(text: str, eight: Eight, names: Names) -> bool:
    """Whether every sum and mean in a text is that of the response that was named last before it, or of either."""
    if not _MAY_BE_TOTAL.search(text):
        return True
    for total in _TOTAL.finditer(text):
        ends = re.compile(r"\n|。|$").search(text, total.end())
        end = len(text) if ends is None else ends.start()
        named = names.any_dimension.search(text, total.end(), end)
        row = text[text.rfind("\n", 0, total.end()) + 1 :].startswith("|")
        for figure in _FIGURE.finditer(text, total.end(), end if named is None else named.start()):
            before = [*names.any_side.finditer(text, 0, figure.start())]
            last = re.fullmatch(names.side, before[-1][0], re.IGNORECASE) if before and not row else None
            own = eight if last is None else [eight[0 if last["first"] else 1]]
            if not any(_close(float(figure[0]), four, mean=total["mean"] is not None) for four in own):
                return False
    return True


def _close(number: float, four: list[float], *, mean: bool) -> bool:
    total = sum(four)
    return abs(number - total / 4) < 0.051 or (not mean and abs(number - total) < 1e-9)
