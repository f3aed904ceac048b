"""A verdict that is the last clause of a line, behind reasons, an arrow or a dash: 只涉及文字，合理。"""

from __future__ import annotations

import re

from coig_p.annotate.tap.bare import LONGEST_LINE, any_of, bare
from coig_p.annotate.taxonomy.words import Words

_ADVERB = r"(?:当然|自然|显然|最后|完全|总体上?|因而|故而|因此|所以|故|于是|应属|可判为|属)?(?:是)?"
_SUPPOSES = re.compile(
    r"如果|假如|假设|若|除非|只要(?!求)|只有|可能|似乎|也许|或许|本来|看似|乍看|[?？]\Z|但|不过|然而"
    r"|\b(?:if|unless|maybe|perhaps|but|however)\b",
    re.IGNORECASE,
)
# What another says, or a prompt asks to be.
_TOLD = re.compile(
    r"写着|写道|声称|自称|(?:用户|作者|学生|老师|有人|别人)[^，。]{0,4}(?:认为|觉得|说|问)|(?:认为|声称|说)[^，。]{0,6}\Z"
    r"|(?:要求|力求|做到|务必|应当?|须|需|既|又|写得|安排|设计|分配|结构|布局|[：:])[^，,。：:]{0,6}\Z"
)
_NOTHING_AGAINST = re.compile(r"(?:并?无|没有|不存在)(?:任何)?不合理(?:之处|的地方)")
_CANNOT = re.compile(
    r"无法|不能(?!说)|做不到|办不到|看不[到见了]|听不[到见了]|闻不[到见了]|没有(?:给出|提供|附|实时)|不可能|缺少?|够不着|拿不到"
)
_CAN = re.compile(
    r"(?<!不)(?:完全可以|能够?(?:直接)?(?:完成|做到|回答)|可以(?:直接)?(?:完成|做到|回答))|没有?触[及到]|(?:都|均|全)(?:给出|齐全|提供)"
)
_CODE = re.compile(
    r"[ \t]*(?:return|print|(?:verdict|result|answer|judg\w+|结论"
    r"|判断)[ \t]*=)[ \t]*\(?[ \t]*[\"'](?P<word>[^\"'\n]{1,20})[\"']"
    r"[ \t]*\)?[ \t]*;?[ \t]*(?:(?:#|//)(?P<reason>[^\n]*))?"
)
_BOX = re.compile(r"\\(?:boxed|fbox|text|textbf|mathrm|mbox)\s*\{|[{}$]")
_CHOOSES = re.compile(
    r"(?:因此|所以|故而?|综上)?[，,]?我?(?:选择?|输出|回答|答"
    r"|判为?)[:：]?[ $\[]*[“「『]?(?P<word>[^，。“”]{1,20})[”」』]?"
)


def ends(line: str, words: Words) -> bool | None:
    """The verdict of the last clause of a line, where what stands before it supposes nothing and does not deny it."""
    if len(line) > LONGEST_LINE:
        return None
    code = _CODE.fullmatch(line)
    if code is not None:
        verdict = _is(code["word"], words)
        return verdict if verdict is None or not _against(code["reason"] or "", verdict, words) else None
    line = bare(_BOX.sub("", line) if "\\" in line else line).rstrip("。.！! ")
    chooses = _CHOOSES.fullmatch(line)
    if chooses is not None:
        return _is(chooses["word"], words)
    parts = re.split(r"[ \t]*(?:→|⇒|[-=]{1,2}>|——|—)[ \t]*", line)
    before, last = "，".join(parts[:-1]), parts[-1]
    verdict = _is(last, words) if before else None
    if verdict is None:
        before, mark, last = _last_clause(line)
        verdict = _is(last, words) if mark else None
    if verdict is None or _SUPPOSES.search(before) or _TOLD.search(before) or _against(before, verdict, words):
        return None
    return verdict


def _last_clause(line: str) -> tuple[str, str, str]:
    at = max(line.rfind(mark) for mark in "，,。；;")
    return (line[:at], line[at], line[at + 1 :]) if at > 0 else ("", "", line)


def _is(clause: str, words: Words) -> bool | None:
    """The verdict that a clause is, with an adverb at most."""
    clause = clause.strip(" \t“”\"'「」『』[]*_`$()（）")
    for verdict, each in ((True, words.feasible), (False, words.infeasible)):
        if re.fullmatch(rf"{_ADVERB}{any_of(each)}", clause, re.IGNORECASE):
            return verdict
    return None


def _against(reasons: str, verdict: bool, words: Words) -> bool:
    """Whether reasons have a verdict themselves, or end with the opposite of this one."""
    reasons = _NOTHING_AGAINST.sub("", reasons) if verdict else reasons
    if re.search(f"{any_of(words.feasible)}|{any_of(words.infeasible)}", reasons, re.IGNORECASE):
        return True
    return (_CANNOT if verdict else _CAN).search(reasons) is not None
