"""Prompts behind their heading, and verdicts on them: do they lack anything, can a text-only model do them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from coig_p.annotate.plain import plain
from coig_p.annotate.tap.lines import COLON, MARKER, chosen_box, either, is_fence, own, said, unfenced, unique
from coig_p.annotate.tap.reads import CompletenessRead, FeasibleRead, PromptRead, Read
from coig_p.annotate.taxonomy.words import WORDS, Words

_LONGEST = 2000  # characters of a description
_SHORTEST = 4  # letters of a prompt
_LONGEST_LINE = 400  # of a verdict
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
_NEGATES = re.compile(r"不|没|非|未|无|难|(?<!是)否|\b(?:not|no|never|hardly)\b|n['’]t\b", re.IGNORECASE)
_EITHER_OR = re.compile(r"\(?合理 ?(?:/|或|还是) ?不合理\)?")
_SUPPOSES = re.compile(
    r"如果|假如|假设|若|除非|只要|只有|可能|似乎|也许|\b(?:if|unless|maybe|perhaps)\b", re.IGNORECASE
)
_QUOTES = "\"'“”‘’「」『』【】[]《》〈〉`*_ \t\u3000"
_TAG = re.compile(r"<([\u4e00-\u9fff\w]{1,12})>([^<>]*)</\1>")
_STRUCK = re.compile(r"~~[^~\n]{1,40}~~")
_BETWEEN_CHARACTERS = re.compile(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")
_ONLY_MARKS = re.compile(r"[\s`*_#>=~|-]*")
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
    lines = [line for line in head.translate(_TRADITIONAL).split("\n") if not _ONLY_MARKS.fullmatch(line)]
    line = lines[0].strip(_QUOTES + "#>") if len(lines) == 1 else ""
    if not line or len(line) > _LONGEST_STATED or _LEFT_OPEN.search(line) or _TAKES_BACK.search(line):
        return None
    told = _says_lacking(line)
    answer = _ANSWERS.match(line)
    if answer is None:
        return told if _LACKS.search(line) else None
    return told if told is (answer["no"] is None) else None


def parse_feasible(text: str, words: Words = WORDS) -> FeasibleRead:
    """The verdict in the last line that is not empty, and what stands above it. Reasons: none, several, unfinished."""
    whole = said(text)
    if whole is None:
        return FeasibleRead(None, "", "unfinished")
    whole = chosen_box(own(unfenced(whole)), (*words.feasible, *words.infeasible))
    lines = _last_of_json(whole).split("\n")
    while lines and _ONLY_MARKS.fullmatch(lines[-1]):
        lines.pop()
    if not lines:
        return FeasibleRead(None, "", "none")
    line = _last_of_json(lines.pop())
    if line.lstrip().startswith("{"):
        return FeasibleRead(None, "\n".join([*lines, line]).strip(), "none")
    last = _bare(_concluding(line))
    reasons = "\n".join(line for line in lines if not is_fence(line)).strip()
    feasible = _spoken(last)
    feasible = _labelled_verdict(last, words) if feasible is None else feasible
    feasible = _at_the_end(last) if feasible is None else feasible
    if feasible is None or _OF_A_PART.match(last):
        return FeasibleRead(None, reasons, "none")
    if _contradicts(reasons, feasible=feasible):
        return FeasibleRead(None, reasons, "several")
    if not _CORRECTS.search(reasons) and any(_judges(line, words) is (not feasible) for line in lines):
        return FeasibleRead(None, reasons, "several")
    return FeasibleRead(feasible, reasons, None)


def _labelled_verdict(last: str, words: Words) -> bool | None:
    """The verdict that a line is, with what leads to it and a reason behind it."""
    found = _feasible_line(words).fullmatch(last) if len(last) <= _LONGEST_LINE else None
    before = _EITHER_OR.sub("", last[: found.start("verdict")]) if found is not None else ""
    if found is None or _SUPPOSES.search(before) or _TOLD_OF.search(before) or _NEGATES.search(before):
        return None
    feasible = found["no"] is None
    return None if _unsure(found["tail"], words, feasible=feasible) else feasible


_CONCLUDES = re.compile(
    r".*[。.;；!！][ \t]*"
    r"(?P<last>[*_]{0,2}(?:最终|最后)?(?:的)?(?:结论|判断|评估结果|verdict|conclusion)[*_]{0,2}[:：][^:：]*)",
    re.IGNORECASE,
)
# What another says, or what was concluded before.
_TOLD_OF = re.compile(
    r"写着|写道|声称|自称|\b(?:says?|said|states?|claims?|reads?|writes?|wrote|according to)\b"
    r"|(?:用户|作者|学生|老师|有人|别人)(?:自己)?"
    r"(?:的(?:结论|判断|看法|说法)|认为|觉得|说|问)"
    r"|(?:结论|判断)[^。:：]{0,4}[:：] ?不?合理",
)
_CORRECTS = re.compile(
    r"更正|修正|纠正|重新考虑|改为|改判|\b(?:correction|on second thought|actually)\b", re.IGNORECASE
)
_WHAT = r"(?:(?:该|这个?|这条|此|本|上述)?(?:指令|题目|要求|任务)|它|这)"
# A clause that says the verdict of what it is about: 这是一条不合理的指令; 这条指令并不合理.
_SPOKEN = re.compile(
    rf"(?:(?:最终|最后)?的?(?:结论|判断|结果|评估结果|答案):|(?:因此|所以|综上|综上所述|总之|故)[，,]?)? ?"
    rf"(?:{_WHAT}没有不合理之处[，,](?:所以|因此)?)?"
    rf"(?:{_WHAT}?(?:(?P<unable>无法|不能|不可能|做不到)|可以|能够?|不是(?:不能|无法))"
    r"(?:完成|做到|回答|执行|实现)?[，,] ?"
    r"(?:因此|所以|故)?(?:[为是]|属于)?)?"
    rf"{_WHAT}?(?:对[^，。不没非]{{0,12}}模型来说)?"
    r"(?:(?:是|属于)(?:一[条个])?)?(?:并非不|(?P<no>(?:并?不(?:算|是)?|不能说是)?))合理"
    r"(?:的(?:指令|题目|要求|任务)?)?[。.!！]?"
)


def _spoken(line: str) -> bool | None:
    """The verdict of a clause that says it in a sentence of its own."""
    found = _SPOKEN.fullmatch(line)
    if found is None or (found["unable"] and not found["no"]):
        return None
    return not found["no"]


_OF_A_PART = re.compile(r"第[一二三四五六七八九十0-9]+[个]?[问项条点题部]")
# A conclusion behind a comma: ……，所以该指令不合理; ……。综上所述，判断为“合理”.
_AT_THE_END = re.compile(
    rf"(?P<before>.*[，,。.;；])[ \t]*(?:(?:因此|所以|故|综上所述|综上|总之)[，,]?[ \t]*{_WHAT}(?:是|属于)?"
    r"|(?:(?:因此|所以|故|综上所述|综上|总之)[，,]?[ \t]*)?"
    r"(?:应(?:该|当)?(?:判为|判定为|视为)|(?:判断|结论|判定)(?:为|是)?[:：]?))"
    r"[“\"「]?(?P<no>不)?合理的?[”\"」]?[。.!！]?"
)
_CANNOT = re.compile(r"(?:模型|它)(?:做不到|(?:无法|不能)(?:完成|做到|执行)(?:它|该?指令)?)[。.!！]?\Z")
_CAN = re.compile(r"(?:模型|它)(?:完全|都)?(?:能够?|可以)(?:完成|做到)(?:它|该?指令)?[。.!！]?\Z")
_LABELLED = re.compile(r"(?:最终|最后)?的?(?:判断|结论|答案)[:：][ \t]*(?P<no>不)?合理[。.]?")


def _at_the_end(line: str) -> bool | None:
    """The verdict that a line ends with, behind its reasons."""
    found = _AT_THE_END.fullmatch(line) if len(line) <= _LONGEST_LINE else None
    if found is None:
        return None
    before = found["before"]
    if _SUPPOSES.search(before) or _TOLD_OF.search(before) or re.search(r"合理|[?？]|但|不过|然而", before):
        return None
    feasible = found["no"] is None
    return None if _contradicts(before.rstrip("，,"), feasible=feasible) else feasible


def _contradicts(reasons: str, *, feasible: bool) -> bool:
    """Whether reasons end with the opposite of a verdict, or have it under a label."""
    if (_CANNOT if feasible else _CAN).search(reasons):
        return True
    if _CORRECTS.search(reasons):
        return False
    told = [_LABELLED.fullmatch(_bare(line)) for line in reasons.split("\n")]
    return any(one is not None and (one["no"] is None) is not feasible for one in told)


def _judges(line: str, words: Words) -> bool | None:
    """The verdict that a line is, and nothing else."""
    line = _bare(line).rstrip("。.!！")
    for verdict, each in ((True, words.feasible), (False, words.infeasible)):
        if re.fullmatch(_plain(each), line, re.IGNORECASE):
            return verdict
    return None


def _concluding(line: str) -> str:
    """The end of a line that begins with reasons and goes on with a labelled conclusion, which is not quoted."""
    found = _CONCLUDES.fullmatch(line)
    if found is None or re.search(r"[“”「」\"]", found["last"]) or _TOLD_OF.search(line[: found.start("last")]):
        return line
    return found["last"]


def _last_of_json(line: str) -> str:
    """What a line that is a JSON object says last; any other line as it is."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return line
    last = list(value.values())[-1:] if isinstance(value, dict) else []
    return last[0] if last and isinstance(last[0], str) and "\n" not in last[0] else line


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
        "|".join(rf"({_plain(each)}) ?[/|] ?{_plain(each)}" for each in (words.yes, words.no)), re.IGNORECASE
    )
    for line in text.split("\n"):
        both = twice.fullmatch(_bare(line))  # in two languages: 是 / Yes
        line = line if both is None else both[1] or both[2]
        found = pattern.fullmatch(_bare(line)) if len(line) <= _LONGEST_LINE else None
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


def _bare(line: str) -> str:
    """A line in one form, without what decorates it."""
    line = plain(_STRUCK.sub("", _TAG.sub(r"\2", line))).strip().lstrip("#>").strip()
    line = line[1:-1] if line.startswith("(") and line.endswith(")") and line.count("(") == 1 else line
    marker = MARKER.match(line)
    line = (line[marker.end() :] if marker else line).strip(_QUOTES + "|{}$")
    return _BETWEEN_CHARACTERS.sub("", line)


_MARKS = r"[\"'“”‘’「」『』\[\]<>`*_ |$]{0,8}"
_LABEL = rf"[^，。,:;!?！？\n]{{0,30}}{_MARKS}(?:[:\]|?？]|——)"
_LEADS = (
    r"(?:因此|所以|综上所述|综上|总之|故|由此|总的来说|总体而言|总体来看|总体来说|由此可见"
    r"|(?:由于|基于|鉴于|根据)[^，,。:]{2,20}(?=[，,]))[，,]? ?"
    r"|(?:我的|最终|最后)?的?(?:评估|检查|判断|评价)?的?(?:结果|结论|答案|判断|回答)?(?:是|为)(?=[ \"'“「『\[:])"
    r"|(?:我的|最终|最后)?的?(?:评估|检查|判断|评价)?的?(?:结果|结论|答案|判断|回答)(?:是|为):?"
    r"|(?:therefore|thus|so|hence|overall|in conclusion|in summary),? "
    r"|(?:the |my )?(?:final )?(?:answer|result|verdict|conclusion|evaluation(?: result)?) is:? "
)


@lru_cache(maxsize=8)
def _verdict_line(words: Words) -> re.Pattern[str]:
    verdict = rf"(?:{_plain(words.yes)}|(?P<no>{_plain(words.no)}))"
    return re.compile(
        rf"(?:(?P<sentence>(?:.{{0,200}}[。.；;，,] ?)?)"
        rf"(?:(?:因此|所以|综上|故),?(?:{_LEADS})?:|(?:{_LEADS}){{1,2}}){_MARKS}"
        rf"|(?P<before>.{{0,200}}[。.] ?)"
        rf"|(?:{_LABEL}|{_LEADS}){_MARKS}(?:(?:{_LABEL}|{_LEADS}){_MARKS})?"
        rf"|(?P<clause>[^，,。\n]{{1,20}})[，,] ?)?{_MARKS}{verdict}{_MARKS}"
        rf"(?:[。.!！]?{_MARKS}|(?P<tail>(?:[，,。.;；!！(:—-]| [-–—] ).{{0,300}}))",
        re.IGNORECASE,
    )


# Can it be done


@lru_cache(maxsize=8)
def _feasible_line(words: Words) -> re.Pattern[str]:
    verdict = f"(?P<verdict>(?P<no>{_plain(words.infeasible)})|{_plain(words.feasible)})"
    what = (
        r"(?:(?:该|这个?|这条|此|本|上述)?(?:指令|题目|要求|任务|prompt)"
        r"|(?:the|this) (?:given )?(?:prompt|instruction|task|request)|(?:it|this)(?=['’ ]))"
    )
    return re.compile(
        rf"(?:(?:{_LABEL}|{_LEADS}){_MARKS}){{0,3}}(?:[^，,。:]{{2,20}}[，,] ?(?={what}|我))?"
        rf"(?:(?:我|可以)?(?:认为|判断|判定|觉得)(?:是|为)?)?{_MARKS}(?:{what} ?)?"
        rf"(?:(?:是|为|属于|is|['’]s) ?)?{_MARKS}{verdict}的?{_MARKS}"
        rf"(?P<tail>[。.!！~～…]*|(?:[，,。.;；!！—-]{{1,2}} ?|[。.]? ?\(| ?because ).{{0,300}}){_MARKS}",
        re.IGNORECASE,
    )


def _plain(words: tuple[str, ...]) -> str:
    return either(tuple(map(plain, words)))


def _unsure(tail: str, words: Words, *, feasible: bool) -> bool:
    """Whether what stands behind a verdict takes something of it back."""
    if re.search(
        r"但|不过|然而|如果|若|除非|部分|前提|可能|[?？]|\b(?:but|if|unless|partly|maybe|mostly|however)\b", tail
    ):
        return True
    same, other = map(_plain, (words.feasible, words.infeasible) if feasible else (words.infeasible, words.feasible))
    tail = re.sub(rf" ?\((?:{same}|(?:而不是|而非|rather than |not ){other})\)", "", tail, count=1, flags=re.IGNORECASE)
    if re.search(f"{_plain(words.infeasible)}|{_plain(words.feasible)}", tail, re.IGNORECASE):
        return True
    able = re.search(r"可以|能够?(?!力)|\bcan\b", tail, re.IGNORECASE) is not None
    unable = (
        re.search(r"不(?:可以|能|行)|无法|做不到|没有?办法|cannot|can['’]t|unable|not able", tail, re.IGNORECASE)
        is not None
    )
    return unable if feasible else able and not unable
