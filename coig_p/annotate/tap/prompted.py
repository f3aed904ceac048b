"""Prompts behind their heading, and descriptions that are written anew: whole, and nothing with them."""

from __future__ import annotations

import re

from coig_p.annotate.tap.lines import COLON, either, is_fence, said, unfenced
from coig_p.annotate.tap.reads import PromptRead, Read
from coig_p.annotate.tap.remarks import without_remark
from coig_p.annotate.taxonomy.words import WORDS, Words

_LONGEST = 2000  # characters of a description
_SHORTEST = 4  # letters of a prompt
_SORRY = re.compile(r"(?:很?抱歉|对不起|(?:I['’]m |I am )?sorry\b)", re.IGNORECASE)
# What stands in the place of a prompt that nobody wrote.
_REFUSES = re.compile(
    rf"\W*{_SORRY.pattern}[^\n]{{0,60}}?(?:不能|无法|不便|不会|没有办法|需要|请|cannot|can['’]t|unable|won['’]t|need)"
    r"|\W*(?:我|作为[^\n，]{0,12}，我?)(?:不能|无法|没有办法)(?:编造|补全|补充|提供|完成|生成|代替|重写)"
    r"|\W*(?:I (?:cannot|can['’]t)|As an AI)\b",
    re.IGNORECASE,
)
_ASKS_FOR_IT = re.compile(
    r"[^。\n]{0,20}(?:请(?:您|你|用户)|(?:您|用户)需要?|需要(?:您|用户)|由(?:您|用户))(?:先|自行)?"
    r"(?:提供|补充|上传|粘贴|告知|给出|填写)[^。\n]{0,40}[。.！!]?"
)
_INTRODUCES = re.compile(rf"[^\n]{{0,60}}[{COLON}]\s*\n+")
_RENEWED = (
    r"(?:(?:补全|修改|完善|更新|重新生成|重写|改写|修订|补充|重新编写)(?:后|之后|了)?的?|完整的?|新的?|最终的?"
    r"|(?:new|revised|regenerated|complete|completed|full|updated|rewritten|final|improved)[ \t]+)"
)
# Headings and labels behind a prompt that are no part of it.
_BEHIND = (
    r"(?:参考)?(?:答案|解析|解答|译文)|答|回答|回复|(?:评估|检查|判断)(?:结果|结论|理由)?|(?:设计|出题|修改|改写|补充|更新|改动|编写)(?:说明|思路|理由|原因|内容)"
    r"|(?:model )?answers?|solution|evaluation(?: result)?|explanation|rationale|changes(?: made)?"
)
_BEHIND_HEADING = re.compile(rf"\s*(?:#{{1,6}}\s*|\*\*\s*|【)\**(?:{_BEHIND})\**\s*[】{COLON}]?[*\s]*", re.IGNORECASE)
_BEHIND_LABEL = re.compile(rf"\s*[*#\s]*(?:{_BEHIND})\**\s*[{COLON}]", re.IGNORECASE)
_CHANGES = re.compile(rf"\s*[*#\s]*(?:设计|出题|修改|改写|补充|更新|改动)(?:说明|思路|理由|原因)\**\s*[{COLON}]")
_REMARK = re.compile(
    r"\s*[（(*]*(?:(?:更正|修正)[：:]|希望(?:这|以上|能|对)|以上(?:指令|题目|就是|[即是为][^\n]{0,10}(?:指令|题目))|(?:这|该)(?:条|个|道)?(?:指令|题目)(?:考查|考察|要求学|结合|旨在|既|符合|贴近|设计)"
    r"|如(?:果您?|需)(?:需要|有)?(?:调整|修改|其他)|I hope|Let me know|This prompt\b)",
    re.IGNORECASE,
)
_NO_PROMPT = re.compile(
    r"[（(]?[^（()）\n]{0,12}(?:相同|不变|一致|同上|略|same|unchanged|omitted)[^（()）\n]{0,8}[)）]?[。.]?",
    re.IGNORECASE,
)
_SAME = re.compile(r"[（(]?(?:同上|同前|与上|和上|见上|same as)[^\n]{0,30}\Z", re.IGNORECASE)
# Where material should stand that nobody wrote: （此处补充原文）.
_PLACEHOLDER = re.compile(
    r"[（(\[【<][^（()）\[\]【】<>\n]{0,6}(?:(?:此处|这里|在此)[^（()）\[\]【】<>\n]{0,4}(?:补充|插入|粘贴|填写|填入|附上|给出|提供|放)"
    r"|\b(?:insert|paste|add)\b)[^（()）\[\]【】<>\n]{0,20}[）)\]】>]",
    re.IGNORECASE,
)
_NAMED_ALONE = re.compile(
    r"[：:]\s*[\[【<][^\[\]【】<>\n]{1,20}[\]】>]\s*\Z|[（(](?:从?略|省略|此处省略|待补充?)[)）]"
)  # 摘要：[病历摘要]
_TEMPLATE = re.compile(r"[（(\[【<][^（()）\[\]【】<>\n]{0,30}[）)\]】>]")  # what should stand there, in words
_CUT = re.compile(r"[，、,（(]\Z|(?:(?<![是谁])[^是谁怎，。！？\n]{4,}的|[和与或并及])\Z")
_TELLS_ON = re.compile(
    rf"[{COLON}][^{COLON}\n]*(?:[是为](?!什么|谁|何)|[^同]时)[^{COLON}\n吗呢]*(?![吗呢么”])[\w×+*/=^]\Z"
)
_RULE = re.compile(r"\s*[-*_]{3,}\s*")


def parse_refined(text: str, words: Words = WORDS) -> Read:
    """A description that was written anew. Reasons: none, malformed, unfinished."""
    whole = said(text)
    if whole is None:
        return Read(None, "unfinished")
    label = either(words.description)
    name = either(words.name)
    whole = unfenced(whole)
    found = re.search(
        rf"(?:\A|\n)[#*\s【]*[^\n{COLON}，。]{{0,10}}?{label}[】*]*(?:[{COLON}][*\s]*|\s*\n)", whole, re.IGNORECASE
    )
    if found is not None and re.fullmatch(
        rf"(?:[#*\s【]*{name}[^\n]*|[^\n]*[{COLON}])?\s*", whole[: found.start()].strip()
    ):
        whole = whole[found.end() :]
    elif introduced := _INTRODUCES.match(whole):
        whole = whole[introduced.end() :]
    whole = whole.strip().strip('"“”\uff02`').strip()
    whole = re.sub(r"\A\*\*(.*)\*\*\Z", r"\1", whole)
    if not whole or _SORRY.match(whole):
        return Read(None, "none")
    if len(whole) > _LONGEST:
        return Read(None, "malformed")
    return Read(re.sub(r"\s*\n\s*", "\n", whole), None)


def parse_prompt(text: str, words: Words = WORDS) -> PromptRead:
    """The prompt behind its heading. Reasons: no-heading, several, none, answered, unfinished."""
    whole = said(text)
    if whole is None:
        return PromptRead(None, "unfinished")
    return behind_heading(unfenced(whole), words)[1]


def _headings(text: str, words: Words) -> list[re.Match[str]]:
    """The headings of a prompt, of the plainest kind that there is."""
    word = rf"(?:{_RENEWED})?{either(words.heading)}(?:[ \t]?[（(][^（()）\n]{{1,12}}[)）])?"
    kinds = (
        rf"^[ \t>*]*(?:\d{{1,2}}[.、)][ \t]*)?[#\uff03]{{1,6}}[ \t\u3000]*[*_【\[“]{{0,3}}{word}[*_】\]”]{{0,3}}[ \t]*"
        rf"(?:[{COLON}][*]{{0,2}}|\\n|\#{{1,6}}[ \t]*$|$)",
        rf"^[ \t>]*(?:\*\*[ \t]*[【\[]?{word}[】\]]?[ \t]*[{COLON}]?[ \t]*\*\*[ \t]*[{COLON}]?|【{word}】[{COLON}]?)"
        rf"[ \t]*$",
        rf"^[ \t>]*{word}[ \t]*[{COLON}][ \t]*$",
        rf"^[ \t>]*(?:\*\*{word}[ \t]*[{COLON}]?\*\*[{COLON}]?|【{word}】[{COLON}]?|{word}[ \t]*[{COLON}])",
    )
    for kind in kinds:
        found = list(re.finditer(kind, text, re.IGNORECASE | re.MULTILINE))
        if found:
            return found
    return []


def behind_heading(text: str, words: Words) -> tuple[str, PromptRead]:
    """What stands before the heading of a prompt, and the prompt."""
    headings = _headings(text, words)
    if not headings:
        return text, PromptRead(None, "no-heading")
    head, body = text[: headings[0].start()], text[headings[0].end() :].strip()
    if len(headings) > 1:
        return head, PromptRead(None, "several")
    if sum(map(is_fence, head.split("\n"))) % 2:  # the fence was opened above the heading
        lines = body.split("\n")
        if lines[-1].strip() != "```":
            return head, PromptRead(None, "answered")
        body = "\n".join(lines[:-1])
    return head, finished(body)


def finished(body: str) -> PromptRead:
    """A prompt without what only decorates it, where it is whole, and nothing else stands there."""
    body = unfenced(body) if body.count("```") == 2 else body.strip()
    above, _, last = body.rpartition("\n")
    if _REMARK.match(last) and _RULE.fullmatch(above.rstrip().rpartition("\n")[2]):
        body = above.rstrip()  # a rule stands between the prompt and the remark
    left = without_remark(body)
    if left is None:
        return PromptRead(None, "answered")
    body = left
    while body and _RULE.fullmatch(body.rpartition("\n")[2]):
        body = body.rpartition("\n")[0].rstrip()
    while body and _RULE.fullmatch(body.partition("\n")[0]):
        body = body.partition("\n")[2].lstrip()
    if all(line.startswith(">") for line in body.split("\n")):
        body = re.sub(r"(?m)^> ?", "", body).strip()
    if len(body) > 6 and body.startswith('"""') and body.endswith('"""') and body.count('"""') == 2:
        body = body[3:-3].strip()
    if len(re.findall(r"\w", body)) < _SHORTEST or _NO_PROMPT.fullmatch(body) or _SAME.match(body):
        return PromptRead(None, "none")
    if _REFUSES.match(body) or _ASKS_FOR_IT.fullmatch(body):
        return PromptRead(None, "none")
    if _PLACEHOLDER.search(body) or _NAMED_ALONE.search(body) or _TEMPLATE.fullmatch(body):
        return PromptRead(None, "none")
    if _is_cut(body):
        return PromptRead(None, "unfinished")
    return PromptRead(None, "answered") if _goes_on(body) else PromptRead(body, None)


def _is_cut(body: str) -> bool:
    """Whether a prompt breaks off: a quotation, a bracket or code is open, or its last line ends within a sentence."""
    if _CUT.search(body) or body.count("```") % 2:
        return True
    pairs = [("「", "」"), ("《", "》"), ("（", "）"), *([] if "„" in body else [("“", "”")])]
    if any(body.count(opens) > body.count(closes) for opens, closes in pairs):
        return True
    last = body.rpartition("\n")[2]
    if _TELLS_ON.search(last):
        return True
    return re.search(r"[。！？；，].", last) is not None and re.search(r"[\w、，：]\Z", last) is not None


def _goes_on(body: str) -> bool:
    """Whether an answer or a remark stands behind the prompt."""
    lines = [line for line in body.split("\n") if line.strip()]
    if any(_BEHIND_HEADING.fullmatch(line) or _CHANGES.match(line) for line in lines[1:]):
        return True
    return len(lines) > 1 and (_BEHIND_LABEL.match(lines[-1]) is not None or _REMARK.match(lines[-1]) is not None)
