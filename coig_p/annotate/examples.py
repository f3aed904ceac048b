"""Whether words behind a judgement say that it is none: only an example, the form, a template.

Such words name what stands above (以上为示例, the above is an example), or begin a clause (仅为示例格式, example only).
Words on an answer that gives examples are others: 回答只是示例, "the answer gives only an example".
"""

from __future__ import annotations

import re

_NOUN = r"(?:示例|样例|例子|范例|示范|演示|模板|占位符?|示意)"
_BEFORE = r"(?:一个|一种|一份|个|输出|评分|打分|格式|结果|json|的|性)*"
_BEHIND = r"(?:格式|输出|评分|分数|打分|结果|数据|数值|内容|对象|性质|用途|而已|罢了|的|之用|说明)*"
_ONLY = r"(?:只|仅|都|均|全|不过|纯)"
_IS = r"(?:是|为|系|作为?|属于?|供|用作|用于|当作)"
_WORDS = r"[^\n。，,;；!！?？不非没否]"
_GOES_ON = r"(?=[\s*_`]*(?:[，,。.;；!！)）、\n]|并?不是|并?非|而非|\Z))"
_ENDS = r"(?=[\s*_`]*(?:[。.;；!！)）\n]|\Z))"
_EN = r"(?:format\s+|output\s+)?(?:example|sample|template|illustration|placeholder|dummy)s?"
_EN_BEHIND = r"(?:\s+(?:format|output|scores?|ratings?|values?|only|json))*"
CALLED_EXAMPLE = (
    rf"(?:以上|上述|上面|上方|前面){_WORDS}{{0,10}}?{_ONLY}*{_IS}{_ONLY}?{_BEFORE}{_NOUN}{_BEHIND}{_GOES_ON}|"
    rf"(?:这|此|该){_WORDS}{{0,6}}?{_ONLY}*(?:是|为){_BEFORE}{_NOUN}{_BEHIND}{_ENDS}|"
    rf"(?<![^\s(（，,。.;；:：*_\]}}])(?:仅|只|纯){{1,4}}{_IS}?{_BEFORE}{_NOUN}{_BEHIND}{_GOES_ON}|"
    rf"(?<=[\]}}0-9分`*])[ \t]*[(（]\s*(?:仅|只是?)?{_BEFORE}{_NOUN}{_BEHIND}\s*[)）]|"
    rf"(?<=\n)[ \t]*[(（]\s*{_BEFORE}{_NOUN}{_BEHIND}\s*[)）][。.]?(?=\s*\Z)|"
    r"(?<![a-z])(?:this|these|the\s+above|above)\b(?:\s+(?:scores?|ratings?|object|output|json|values?|numbers?|judge?ment))?\s+"
    r"(?:is|are|was|were)\s+(?:only\s+|just\s+|merely\s+|simply\s+|purely\s+)?(?:meant\s+|given\s+|shown\s+)?"
    rf"(?:as\s+)?(?:an?\s+|the\s+)?{_EN}{_EN_BEHIND}{_GOES_ON}|"
    rf"(?<![^\s(\]}}])(?<![a-z]\s)(?:just|only|merely)\s+an?\s+{_EN}{_EN_BEHIND}{_GOES_ON}|"
    r"(?<![a-z])(?:example|sample|for\s+(?:example|illustration|demonstration)(?:\s+purposes?)?)\s+only\b"
)
"""What says so, as a regular expression without groups; letters in either case."""

_CALLED_EXAMPLE = re.compile(CALLED_EXAMPLE, re.IGNORECASE)


def called_example(behind: str) -> bool:
    """Whether what stands behind a score, or an object with scores, says that it is only an example."""
    return _CALLED_EXAMPLE.search(behind) is not None
