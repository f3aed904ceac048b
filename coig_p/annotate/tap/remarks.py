"""A remark below a prompt, about what was changed in it: no part of the prompt."""

from __future__ import annotations

import re

_RULE = re.compile(r"\s*(?:[-*_=—]\s?){3,}\s*")
_NOTE = re.compile(
    r"[\s（(\[【*_>#]*(?:注|注意|说明|备注|附注|附记|附言|补充说明|提示|温馨提示|按|notes?|p\.?s\.?)[】\]*_]*\s*[：:∶][*_\s]*",
    re.IGNORECASE,
)
# What speaks of the prompt, and of whom it is for.
_OF_CHANGES = re.compile(
    r"补[充上全入齐][^。]{0,4}了|(?:新增|增加|添加|加入|加上|补[充上全齐])了|新增|修改了|改写了?|改动|原(?:有的?)?(?:指令|题)|您(?:也?可|如|若|自行)"
    r"|(?:均|都|皆|仅)?[为是]?(?:示例|虚构|假设|虚拟|编拟|拟定)(?:的|数据|内容|材料|数值)?(?:[，,。）)]|\Z)|(?:仅供参考|如需)|可(?:以)?(?:[按据]|根据)?(?:实际|需要|情况)|可(?:以)?(?:自行)?(?:替换|修改|调整)"
    r"|使(?:得)?(?:任务|指令|题目|其)|\b(?:I (?:have )?(?:added|changed|filled)|was missing"
    r"|original (?:prompt|instruction)|fictional|feel free)\b",
    re.IGNORECASE,
)
_SPEAKS = re.compile(r"(?:以上|上述|上面|此处|这里|本次|我|已)")
_IN_BRACKETS = re.compile(
    r"\s*[*_]{0,2}(?:（[^（）]{2,400}）|\([^()]{2,400}\)|\[[^\[\]]{2,400}\]|【[^【】]{2,400}】)[*_]{0,2}\s*"
)


def without_remark(body: str) -> str | None:
    """A prompt without the remark that a rule, brackets or a label part from it; None where it may be either."""
    lines = body.rstrip().split("\n")
    rules = [at for at, line in enumerate(lines) if at and _RULE.fullmatch(line)]
    if rules and rules[-1] < len(lines) - 1:
        above, behind = "\n".join(lines[: rules[-1]]).rstrip(), "\n".join(lines[rules[-1] + 1 :]).strip()
        if _NOTE.match(behind) or _IN_BRACKETS.fullmatch(behind):
            return above if _OF_CHANGES.search(behind) else None
        if "\n" not in behind and _SPEAKS.match(behind) and _OF_CHANGES.search(behind):
            return above
    at = next((at for at in range(len(lines) - 1, 0, -1) if not lines[at].strip()), 0)
    last = "\n".join(lines[at:]).strip() if at else lines[-1]
    above = "\n".join(lines[:at] if at else lines[:-1]).rstrip()
    if above and _NOTE.match(last) and _OF_CHANGES.search(last):
        return above
    return body
