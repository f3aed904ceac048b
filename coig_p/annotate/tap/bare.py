"""A line that may be a verdict, in one form, and what may stand around a verdict in it."""

from __future__ import annotations

import re
from functools import lru_cache

from coig_p.annotate.plain import plain
from coig_p.annotate.tap.lines import MARKER, either

LONGEST_LINE = 400  # of a verdict
QUOTES = "\"'“”‘’「」『』【】[]《》〈〉`*_ \t\u3000"
_TAG = re.compile(r"<([\u4e00-\u9fff\w]{1,12})>([^<>]*)</\1>")
_POINTS = re.compile("[ \t]*[\u27a1\U0001f449]\ufe0f?[ \t]*")
_STRUCK = re.compile(r"~~[^~\n]{1,40}~~")
_BETWEEN_CHARACTERS = re.compile(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")
ONLY_MARKS = re.compile(r"[\s`*_#>=~|-]*")
MARKS = r"[\"'“”‘’「」『』\[\]<>`*_ |$]{0,8}"
ARROW = r"(?:→|⇒|[-=]{1,2}>)"
LABEL = rf"[^，。,:;!?！？=→⇒\n]{{0,30}}{MARKS}(?:[:\]|?？]|——|={{1,2}}(?!>)|{ARROW})"
LEADS = (
    r"(?:因此|所以|综上所述|综上|总之|故|由此|总的来说|总体而言|总体来看|总体来说|由此可见"
    r"|(?:由于|基于|鉴于|根据)[^，,。:]{2,20}(?=[，,]))[，,]? ?"
    r"|(?:我的|最终|最后)?的?(?:评估|检查|判断|评价)?的?(?:结果|结论|答案|判断|回答)?(?:是|为)(?=[ \"'“「『\[:])"
    r"|(?:我的|最终|最后)?的?(?:评估|检查|判断|评价)?的?(?:结果|结论|答案|判断|回答)(?:是|为):?"
    r"|(?:therefore|thus|so|hence|overall|in conclusion|in summary),? "
    r"|(?:the |my )?(?:final )?(?:answer|result|verdict|conclusion|evaluation(?: result)?) is:? "
)


def bare(line: str) -> str:
    """A line in one form, without what decorates it."""
    line = _POINTS.sub("→", line)
    line = plain(_STRUCK.sub("", _TAG.sub(r"\2", line))).strip().lstrip("#>").strip()
    line = line[1:-1] if line.startswith("(") and line.endswith(")") and line.count("(") == 1 else line
    marker = MARKER.match(line)
    line = (line[marker.end() :] if marker else line).strip(QUOTES + "|{}$=")
    return _BETWEEN_CHARACTERS.sub("", line)


@lru_cache(maxsize=64)
def any_of(words: tuple[str, ...]) -> str:
    """A pattern of any of the words, in one form."""
    return either(tuple(map(plain, words)))
