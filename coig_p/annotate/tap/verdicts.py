"""Prompts behind their heading, and verdicts on them: do they lack anything, can a text-only model do them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from coig_p.annotate.plain import plain
from coig_p.annotate.tap.lines import COLON, MARKER, either, is_fence, said, unfenced
from coig_p.annotate.tap.reads import CompletenessRead, FeasibleRead, PromptRead, Read
from coig_p.annotate.taxonomy.words import WORDS, Words

_LONGEST = 2000  # characters of a description
_SORRY = re.compile(r"(?:很?抱歉|对不起|(?:I['’]m |I am )?sorry\b)", re.IGNORECASE)
_INTRODUCES = re.compile(rf"[^\n]{{0,60}}[{COLON}]\s*\n+")
# Headings and labels behind a prompt that are no part of it.
_BEHIND = (
    r"(?:参考)?(?:答案|解析|解答|译文)|答|回答|回复|(?:评估|检查|判断)(?:结果|结论|理由)?|设计(?:说明|思路)|出题(?:说明|思路)"
    r"|(?:model )?answers?|solution|evaluation(?: result)?|explanation|rationale"
)
_BEHIND_HEADING = re.compile(rf"\s*(?:#{{1,6}}\s*|\*\*\s*|【)\**(?:{_BEHIND})\**\s*[】{COLON}]?[*\s]*", re.IGNORECASE)
_BEHIND_LABEL = re.compile(rf"\s*[*#\s]*(?:{_BEHIND})\**\s*[{COLON}]", re.IGNORECASE)
_REMARK = re.compile(
    r"\s*[（(*]*(?:希望(?:这|以上|能|对)|以上(?:指令|题目|就是)|(?:这|该)(?:条|个|道)?(?:指令|题目)(?:考查|考察|要求学|结合|旨在|既|符合|贴近|设计)"
    r"|如(?:果您?|需)(?:需要|有)?(?:调整|修改|其他)|I hope|Let me know|This prompt\b)",
    re.IGNORECASE,
)
_LACKS = re.compile(
    r"(?<!不)(?<!没有)(?<!未)(?<!无)(?<!不会)(?<!\bno )(?<!not )(?<!n['’]t )(?<!never )"
    r"(?:缺少|缺乏|缺失|不完整|不足|\black|missing)(?!的(?:地方|情况))",
    re.IGNORECASE,
)
_LACKS_NOT = re.compile(
    r"不缺|没有?缺|未缺|无缺|无需补充|(?<!不)完整(?!版)|所有(?:必要|需要)|齐全|已经?(?:给出|包含|提供)|not lack|n['’]t lack"
    r"|nothing is missing|has everything|contains? all|all (?:the )?necessary",
    re.IGNORECASE,
)
_QUOTES = "\"'“”‘’「」『』【】[]《》〈〉`*_ \t\u3000"
_OPENS = f"[{re.escape(_QUOTES)}]{{0,6}}"
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
    if found is not None and re.fullmatch(rf"(?:[#*\s【]*{name}[^\n]*|[^\n]*[{COLON}])?\s*", whole[: found.start()].strip()):
        whole = whole[found.end() :]
    elif introduced := _INTRODUCES.match(whole):
        whole = whole[introduced.end() :]
    whole = whole.strip().strip("\"“”＂`").strip()
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
    head, found = _behind_heading(unfenced(whole), words)
    verdicts = set(_verdicts(head, words))
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


def parse_feasible(text: str, words: Words = WORDS) -> FeasibleRead:
    """The verdict in the last line that is not empty, and what stands above it. Reasons: none, unfinished."""
    whole = said(text)
    if whole is None:
        return FeasibleRead(None, "", "unfinished")
    lines = unfenced(whole).split("\n")
    while lines and _ONLY_MARKS.fullmatch(lines[-1]):
        lines.pop()
    if not lines:
        return FeasibleRead(None, "", "none")
    last = plain(lines.pop()).strip("#> -•*\t").strip()
    reasons = "\n".join(line for line in lines if not is_fence(line)).strip()
    found = _feasible_line(words).fullmatch(last)
    if found is None or _unsure(found["tail"] or ""):
        return FeasibleRead(None, reasons, "none")
    return FeasibleRead(found["no"] is None, reasons, None)


# The prompt


def _headings(text: str, words: Words) -> list[re.Match[str]]:
    """The headings of a prompt, of the plainest kind that there is."""
    word = either(words.heading)
    kinds = (
        rf"^[ \t>*]*[#＃]{{1,6}}[ \t]*[*_【\[“]{{0,3}}{word}[*_】\]”]{{0,3}}[ \t]*(?:[{COLON}][*]{{0,2}}|\\n|$)",
        rf"^[ \t>]*(?:\*\*[ \t]*[【\[]?{word}[】\]]?[ \t]*[{COLON}]?[ \t]*\*\*[ \t]*[{COLON}]?|【{word}】[{COLON}]?)[ \t]*$",
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
    while body and _RULE.fullmatch(body.rpartition("\n")[2]):
        body = body.rpartition("\n")[0].rstrip()
    if not _ONLY_MARKS.sub("", body):
        return head, PromptRead(None, "none")
    return head, PromptRead(None, "answered") if _goes_on(body) else PromptRead(body, None)


def _goes_on(body: str) -> bool:
    """Whether an answer or a remark stands behind the prompt."""
    lines = [line for line in body.split("\n") if line.strip()]
    if any(_BEHIND_HEADING.fullmatch(line) for line in lines[1:]):
        return True
    return len(lines) > 1 and (_BEHIND_LABEL.match(lines[-1]) is not None or _REMARK.match(lines[-1]) is not None)


# Does it lack anything


def _verdicts(text: str, words: Words) -> Iterator[bool | None]:
    """Of each line that says whether something is lacking, what it says; None where it contradicts itself."""
    for line in text.split("\n"):
        found = _verdict_line(words).fullmatch(_bare(line))
        if found is None:
            continue
        lacks = found["no"] is None
        beside = f"{found['before'] or ''} {found['tail'] or ''}"
        contradicts = _LACKS_NOT.search(beside) if lacks else _LACKS.search(beside)
        yield None if contradicts else lacks


def _bare(line: str) -> str:
    line = line.strip().lstrip("#>").strip()
    marker = MARKER.match(line)
    return (line[marker.end() :] if marker else line).strip(_QUOTES)


def _verdict_line(words: Words) -> re.Pattern[str]:
    verdict = rf"(?:(?P<yes>{either(words.yes)})|(?P<no>{either(words.no)}))"
    label = (
        rf"(?:[^，。,{COLON}\n]{{0,30}}(?:[{COLON}]|——)"
        rf"|(?:.{{0,200}}[。.;；，,])?\s*(?:因此|所以|综上|故)?(?:评估|检查|判断|最终)?(?:结果|结论|答案|判断)?(?:是|为)?[{COLON}])"
        rf"|(?:最终)?(?:评估|检查|判断)?(?:结果|结论|答案)(?:是|为)(?=[\s\"“「【*])"
        rf"|(?:therefore|so|thus),?"
    )
    return re.compile(
        rf"(?:(?:{label})\s*|(?P<before>[^，,。\n]{{1,20}})[，,]\s*)?{_OPENS}{verdict}{_OPENS}"
        rf"(?:[。.!！]?{_OPENS}|(?P<tail>[，,。.;；!！（({COLON}—-].{{0,300}}|\s[-–—]\s.{{0,300}}))",
        re.IGNORECASE,
    )


# Can it be done


def _feasible_line(words: Words) -> re.Pattern[str]:
    verdict = f"(?:(?P<no>{_plain(words.infeasible)})|(?P<yes>{_plain(words.feasible)}))"
    lead = (
        r"(?:[^,。;:!?]{0,24}:"
        r"|(?:因此|所以|综上所述|综上|总之|故|由此|(?:由于|基于|鉴于)(?:以上|上述)[^,。]{0,8}),?"
        r"|(?:最终)?(?:评估|判断)?(?:结果|结论|答案|判断)(?:是|为):?"
        r"|(?:therefore|thus|so|hence|overall|in conclusion|in summary),?)"
    )
    what = (
        r"(?:(?:该|这个?|这条|此|本|上述)?(?:指令|题目|要求|任务|prompt)|(?:the|this) (?:given )?(?:prompt|instruction|task|request))"
    )
    quote = r"[\"'“”‘’「」『』\[\]<>`*_ ]{0,6}"
    return re.compile(
        rf"(?:{lead}{quote}){{0,2}}(?:{what} ?)?(?:(?:是|为|属于|is) ?)?{quote}{verdict}的?{quote}"
        rf"(?P<tail>[。.!;,]? ?\([^()]{{0,200}}\)[。.]?|,? ?(?:因为|because).{{0,300}}|[。.!]?){quote}",
        re.IGNORECASE,
    )


def _plain(words: tuple[str, ...]) -> str:
    return either(tuple(map(plain, words)))


def _unsure(tail: str) -> bool:
    return re.search(r"但|不过|如果|若|除非|部分|前提|可能|\b(?:but|if|unless|partly|maybe|mostly)\b", tail) is not None
