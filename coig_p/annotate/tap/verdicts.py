"""Prompts behind their heading, and verdicts on them: do they lack anything, can a text-only model do them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from coig_p.annotate.tap.bare import LABEL, LEADS, LONGEST_LINE, MARKS, ONLY_MARKS, QUOTES, any_of, bare
from coig_p.annotate.tap.lines import COLON, chosen_box, either, is_fence, own, said, unfenced, unique
from coig_p.annotate.tap.reads import CompletenessRead, PromptRead, Read
from coig_p.annotate.taxonomy.words import WORDS, Words

_LONGEST = 2000  # characters of a description
_SHORTEST = 4  # letters of a prompt
_LONGEST_STATED = 40  # of one without its words
_SORRY = re.compile(r"(?:很?抱歉|对不起|(?:I['’]m |I am )?sorry\b)", re.IGNORECASE)
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
    r"\s*[（(*]*(?:希望(?:这|以上|能|对)|以上(?:指令|题目|就是|[即是为][^\n]{0,10}(?:指令|题目))|(?:这|该)(?:条|个|道)?(?:指令|题目)(?:考查|考察|要求学|结合|旨在|既|符合|贴近|设计)"
    r"|如(?:果您?|需)(?:需要|有)?(?:调整|修改|其他)|I hope|Let me know|This prompt\b)",
    re.IGNORECASE,
)
_LACKS = re.compile(r"缺|不完整|不足|不够|需要?(?:补充|提供|给出)|\black|missing", re.IGNORECASE)
_LACKS_NOT = re.compile(
    r"没有?问题|(?:可以|能够?)(?:直接)?(?:完成|遵循|回答)|\bcomplete\b"
    r"|(?<!不)完整(?!版)|所有(?:必要|需要)|齐全|(?:已经?|里|中|都|均)(?:给出|包含|提供)|has everything|contains? all"
    r"|all (?:the )?necessary",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"不(?!完整|足|过|仅|但|光|只)|没|未|无|\b(?:not|no|never|nothing|without)\b|n['’]t\b", re.IGNORECASE
)
# Such words leave open whether anything is lacking.
_LEFT_OPEN = re.compile(
    r"如果|假如|假设|若|除|只|仅|可能|似乎|也许|好像|大概|未必|是否|不一定|有没有|难|[?？“「\"]|吗|无法|看不出|不知道|不清楚|缺不缺|谈不上|不[能该应可]|写着|写道|声称|(?:非|不是|没有|不能说|无)(?:不|没|无)"
    r"|\b(?:if|unless|maybe|perhaps|except|only|whether|might|seems)\b",
    re.IGNORECASE,
)
_ANSWERS = re.compile(r"(?:(?P<no>没有|不|无|否定)|(?P<yes>有|确实|缺少?|肯定))\s*[，。：,.:;；]")
_TRADITIONAL = str.maketrans("沒無這該", "没无这该")
_LACKS_KEY = re.compile(
    r"(?:is[ _])?(?:lacks?|lacking|missing|incomplete)(?:[ _](?:inputs?|information|material))?|(?:是否)?缺[少失乏]?",
    re.IGNORECASE,
)
_PROMPT_KEY = re.compile(
    r"(?:new |revised |rewritten )?(?:prompt|instruction)|rewritten|revised|(?:新的?)?指令", re.IGNORECASE
)
_NO_PROMPT = re.compile(
    r"[（(]?[^（()）\n]{0,12}(?:相同|不变|一致|同上|略|same|unchanged|omitted)[^（()）\n]{0,8}[)）]?[。.]?",
    re.IGNORECASE,
)
# Where material should stand that nobody wrote: （此处补充原文）.
_PLACEHOLDER = re.compile(
    r"[（(\[【<][^（()）\[\]【】<>\n]{0,6}(?:(?:此处|这里|在此)[^（()）\[\]【】<>\n]{0,4}(?:补充|插入|粘贴|填写|填入|附上|给出|提供|放)"
    r"|\b(?:insert|paste|add)\b)[^（()）\[\]【】<>\n]{0,20}[）)\]】>]",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"[（(\[【<][^（()）\[\]【】<>\n]{0,30}[）)\]】>]")  # what should stand there, in words
_CUT = re.compile(r"[，、,（(]\Z|(?:(?<![是谁])[^是谁怎，。！？\n]{4,}的|[和与或并及])\Z")
_TAKES_BACK = re.compile(r"但|不过|然而|\b(?:but|however)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[，,。.;；!！\n]")
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
    return _behind_heading(unfenced(whole), words)[1]


def parse_completeness(text: str, words: Words = WORDS) -> CompletenessRead:
    """Whether a prompt lacks what it needs, and the new one.

    Reasons: none, several, both (it lacks nothing, and there is a new one all the same), no-prompt (it does, and there
    is none), unfinished, and those of `parse_prompt`.
    """
    whole = said(text)
    if whole is None:
        return CompletenessRead(None, None, "unfinished")
    whole = unfenced(whole)
    value = _object(whole)
    if value is not None:
        return _of_object(value, words)
    apart = re.compile(
        rf"\A([*_ ]{{0,4}}{either(words.yes)}[*_ ]{{0,4}}[。，,.!！]?)[ \t]*(?=#{{1,6}}[ \t]*\S)", re.IGNORECASE
    )
    head, found = _behind_heading(apart.sub(r"\1\n", whole), words)
    head = chosen_box(own(head), (*words.yes, *words.no))
    verdicts = set(_verdicts(head, words)) or {_stated(head)} - {None}
    if len(verdicts) != 1:
        return CompletenessRead(None, None, "several" if verdicts else "none")
    lacks = verdicts.pop()
    if lacks is None:
        return CompletenessRead(None, None, "several")
    if found.reason == "no-heading":
        return CompletenessRead(None, None, "no-prompt") if lacks else CompletenessRead(False, None, None)
    if not lacks:
        return CompletenessRead(None, None, "both")
    if found.prompt is None:
        return CompletenessRead(None, None, found.reason)
    return CompletenessRead(True, found.prompt, None)


def _object(text: str) -> dict[str, Any] | None:
    """The object of JSON that an answer is."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and any(_LACKS_KEY.fullmatch(key) for key in value) else None


def _of_object(value: dict[str, Any], words: Words) -> CompletenessRead:
    """What an object says: true or false, or a verdict, under a key of lacking, and a prompt under one of prompts."""
    verdicts: dict[Any, bool] = dict.fromkeys(words.yes, True) | dict.fromkeys(words.no, False)
    lacks = [item for key, item in value.items() if _LACKS_KEY.fullmatch(key)]
    lacks = [verdicts.get(item.strip(), item) if isinstance(item, str) else item for item in lacks]
    prompts = [item for key, item in value.items() if _PROMPT_KEY.fullmatch(key.replace("_", " ")) and item]
    if len(lacks) != 1 or not isinstance(lacks[0], bool):
        return CompletenessRead(None, None, "several" if len(lacks) > 1 else "none")
    if not lacks[0]:
        return CompletenessRead(None, None, "both") if prompts else CompletenessRead(False, None, None)
    if len(prompts) != 1 or not isinstance(prompts[0], str) or len(re.findall(r"\w", prompts[0])) < _SHORTEST:
        return CompletenessRead(None, None, "several" if len(prompts) > 1 else "no-prompt")
    return CompletenessRead(True, prompts[0].strip(), None)


def _stated(head: str) -> bool | None:
    """What a single short line says without the words of a verdict: 不缺少; 没有缺失; 确实缺少数据."""
    lines = [line for line in head.translate(_TRADITIONAL).split("\n") if not ONLY_MARKS.fullmatch(line)]
    line = lines[0].strip(QUOTES + "#>") if len(lines) == 1 else ""
    if not line or len(line) > _LONGEST_STATED or _LEFT_OPEN.search(line) or _TAKES_BACK.search(line):
        return None
    told = _says_lacking(line)
    answer = _ANSWERS.match(line)
    if answer is None:
        return told if _LACKS.search(line) else None
    return told if told is (answer["no"] is None) else None


# The prompt


def _headings(text: str, words: Words) -> list[re.Match[str]]:
    """The headings of a prompt, of the plainest kind that there is."""
    word = rf"(?:{_RENEWED})?{either(words.heading)}(?:[ \t]?[（(][^（()）\n]{{1,12}}[)）])?"
    kinds = (
        rf"^[ \t>*]*[#\uff03]{{1,6}}[ \t\u3000]*[*_【\[“]{{0,3}}{word}[*_】\]”]{{0,3}}[ \t]*"
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


def _behind_heading(text: str, words: Words) -> tuple[str, PromptRead]:
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
    body = unfenced(body) if body.count("```") == 2 else body.strip()
    above, _, last = body.rpartition("\n")
    if _REMARK.match(last) and _RULE.fullmatch(above.rstrip().rpartition("\n")[2]):
        body = above.rstrip()  # a rule stands between the prompt and the remark
    while body and _RULE.fullmatch(body.rpartition("\n")[2]):
        body = body.rpartition("\n")[0].rstrip()
    if all(line.startswith(">") for line in body.split("\n")):
        body = re.sub(r"(?m)^> ?", "", body).strip()
    if len(re.findall(r"\w", body)) < _SHORTEST or _NO_PROMPT.fullmatch(body):
        return head, PromptRead(None, "none")
    if _PLACEHOLDER.search(body) or _TEMPLATE.fullmatch(body):
        return head, PromptRead(None, "none")
    if _CUT.search(body):
        return head, PromptRead(None, "unfinished")
    return head, PromptRead(None, "answered") if _goes_on(body) else PromptRead(body, None)


def _goes_on(body: str) -> bool:
    """Whether an answer or a remark stands behind the prompt."""
    lines = [line for line in body.split("\n") if line.strip()]
    if any(_BEHIND_HEADING.fullmatch(line) or _CHANGES.match(line) for line in lines[1:]):
        return True
    return len(lines) > 1 and (_BEHIND_LABEL.match(lines[-1]) is not None or _REMARK.match(lines[-1]) is not None)


# Does it lack anything


def _verdicts(text: str, words: Words) -> Iterator[bool | None]:
    """Of each line that says whether something is lacking, what it says; None where it contradicts itself."""
    pattern = _verdict_line(words)
    twice = re.compile(
        "|".join(rf"({any_of(each)}) ?[/|] ?{any_of(each)}" for each in (words.yes, words.no)), re.IGNORECASE
    )
    for line in text.split("\n"):
        both = twice.fullmatch(bare(line))  # in two languages: 是 / Yes
        line = line if both is None else both[1] or both[2]
        found = pattern.fullmatch(bare(line)) if len(line) <= LONGEST_LINE else None
        if found is None:
            continue
        lacks = found["no"] is None
        beside = f"{found['before'] or found['sentence'] or found['clause'] or ''}，{found['tail'] or ''}"
        certain = _says_lacking(beside) in (None, lacks) and not _TAKES_BACK.search(found["tail"] or "")
        yield lacks if certain else None


def _says_lacking(text: str) -> bool | None:
    """Whether words say that something is lacking; None where they say nothing of it."""
    told = None
    for clause in _CLAUSE.split(text):
        for word in _LACKS.finditer(clause):
            if not _DENIES.search(clause[: word.start()]):
                return True
            told = False
    return False if told is False or _LACKS_NOT.search(text) else None


@lru_cache(maxsize=8)
def _verdict_line(words: Words) -> re.Pattern[str]:
    verdict = rf"(?:{any_of(words.yes)}|(?P<no>{any_of(words.no)}))"
    return re.compile(
        rf"(?:(?P<sentence>(?:.{{0,200}}[。.；;，,] ?)?)"
        rf"(?:(?:因此|所以|综上|故),?(?:{LEADS})?:|(?:{LEADS}){{1,2}}){MARKS}"
        rf"|(?P<before>.{{0,200}}[。.] ?)"
        rf"|(?:{LABEL}|{LEADS}){MARKS}(?:(?:{LABEL}|{LEADS}){MARKS})?"
        rf"|(?P<clause>[^，,。\n]{{1,20}})[，,] ?)?{MARKS}{verdict}{MARKS}"
        rf"(?:[。.!！]?{MARKS}|(?P<tail>(?:[，,。.;；!！(:—-]| [-–—] ).{{0,300}}))",
        re.IGNORECASE,
    )
