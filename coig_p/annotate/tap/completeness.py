"""Whether a prompt lacks what it needs, as an answer says it, and the prompt that is written anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from coig_p.annotate.tap.bare import LABEL, LEADS, LONGEST_LINE, MARKS, ONLY_MARKS, QUOTES, any_of, bare
from coig_p.annotate.tap.data import data_in
from coig_p.annotate.tap.grids import with_bars
from coig_p.annotate.tap.lines import MARKER, chosen_box, either, own, said, unfenced
from coig_p.annotate.tap.prompted import behind_heading, finished
from coig_p.annotate.tap.reads import CompletenessRead, PromptRead
from coig_p.annotate.tap.unheaded import with_heading
from coig_p.annotate.taxonomy.words import WORDS, Words

_LONGEST_STATED = 60  # of one without its words
_SHORT = 20
_LACKS = re.compile(
    r"缺|(?<![都已])(?:没有?|未)(?:给出|提供|附上|包含|写明|写出|附有)|不完整|不足|不够|需要?(?:补充|提供|给出)|\black|missing|\bmanqu|\bfalta|\bfehl",
    re.IGNORECASE,
)
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
_ANSWERS = re.compile(
    r"(?:(?P<no>没有|不缺少?|无)|有|缺少?)\s*(?:(?:这样的?|任何)(?:地方|情况|问题))?(?:[，。：,.:;；]|\Z)|(?:(?P<not>不|否定)|确实|肯定)\s*[，。：,.:;；]"
)
_LACKS_NOTHING = re.compile(r"缺[少失](?:的?(?:必要的?)?(?:输入|内容|信息|材料))?[：:][ \t]*(?:无|没有)[。.]?")
_ASKED_FIRST = re.compile(r"[^。？?]{1,30}(?:吗|没有|是否[^？?]{1,20})[？?]")
_LEADING = re.compile(
    r"(?:(?:检查|最终|最后)?的?(?:结果|结论|答案|判断)(?:是|为)?[：:]\s*|(?:因此|所以|综上|总之|可见|经检查|经核对)[，,]?\s*)+"
)
# What cannot be done for it: the words of a lack, said once more.
_HINDERS = re.compile(
    r"(缺少[^，。]{0,12})而(?:无法|不能)(?:完成|执行|遵循)的(?:地方|情况|问题)|[，,](?:因此|所以|故)?(?:无法|不能)(?:完成|执行|遵循)(?:指令)?(?=[。.]?\Z)"
)
_SUPPOSES = re.compile(r"如果|假如|若|可能|也许|\b(?:if|maybe|perhaps)\b", re.IGNORECASE)
_CORRECTS = re.compile(
    r"更正|修正|纠正|不对|等等|重新(?:看|检查|核对)|再(?:检查|核对|看|想)|\b(?:correction|wait|on second thought)\b",
    re.IGNORECASE,
)
_CORRECTS_TO = re.compile(r"(?:更正|修正|纠正|correction)(?:为|：|:)\s*", re.IGNORECASE)
_THEREFORE = r"(?:因此|所以|故而?|综上(?:所述)?|据此|可见|于是|最后|最终)"
_ENDS_WITH = (
    r"(?:.{0,200}(?:[，,。.;；]|^) ?)?"
    rf"(?:{_THEREFORE}[，,]?我?(?:应(?:该|当)?)?(?:回答|输出|答复?|选择?|填写?|判(?:定|断)?|给出)(?:为|是)?[:：]?|"
    r"(?:因此|所以|故|综上)?[，,]?(?:最终|最后)?的?(?:结论|答案|判断|结果)(?:应?(?:该|当)?(?:是|为|改为))?[:：]?"
    r"|应(?:该|当)?(?:是|为|改为)[:：]?|.{0,12}我?(?:只|仅)(?:写|回答|答)[:：]?)[\"'“「『*_ ]{0,6}"
)
# A verdict in quotes that somebody gives in a sentence: 我选择“否”，因为……; 确有缺漏，故答“是”。
_GIVES = (
    rf"(?P<before>.{{0,200}}?(?:[，,。.;；]|^)) ?(?:{_THEREFORE}[，,]?我?|我(?:的)?)(?:应(?:该|当)?)?"
    r"(?:回答|输出|答案?|选择?|填|判断|结论)(?:为|是)?[:：]? ?[“\"「『'\[]"
)
_GIVEN = r"[”\"」』'\]](?P<tail>[，,。.;；].{0,200})?"
# Words in which nobody says anything.
_WAVERS = re.compile(
    r"不好说|说不(?:好|准|清)|拿不准|吃不准|(?:^|[，,。…])(?:很)?难说|我也?不(?:太)?(?:确定|清楚)|两可"
    r"|\b(?:hard to say|not sure|I can['’]t tell)\b",
    re.IGNORECASE,
)
# Of other languages: yes, no, and what says there that something is lacking, or is not.
_FOREIGN = re.compile(
    r"\A[ \t*_#>]*(?:(?P<yes>はい|예|네|oui|ja|sí|да)|(?P<no>いいえ|아니[요오]|non|nein"
    r"|нет))(?![A-Za-zÀ-ÿ\u0400-\u04ff])"
    r"(?P<mark>[*_]*[、，,.。!！]?)(?P<tail>[^\n]*)",
    re.IGNORECASE,
)
_FOREIGN_LACKS = re.compile(
    r"足り|不足|欠け|欠い|ません|ない|なし|부족|누락|없|않|manqu|absen|\bpas\b|\brien\b|fehl|kein|nicht|falta|\b\u043d\u0435",
    re.IGNORECASE,
)
_OPENS = re.compile(r"[\[{]\s*[\"'“](?:is[ _])?(?:lack|missing|是否缺|缺)|<(?:lack|missing|缺|是否缺)", re.IGNORECASE)
_KEYED = re.compile(
    rf"(?:{MARKER.pattern})?(?P<key>[^\n:：=]{{1,24}})[:：=][ \t]*(?P<told>\S{{1,5}})[ \t]*\n+"
    rf"(?:{MARKER.pattern})?(?P<other>[^\n:：=#*【]{{1,24}})[:：=][ \t]*(?:[|>]-?[ \t]*\n)?(?P<text>.+)",
    re.DOTALL,
)
_LEADS_TO_IT = re.compile(
    r"(?:以下|下面|这里)?(?:是|为)?[^\n。：:]{0,12}(?:补全|修改|完整|重写|新|修订|补充)[^\n。：:]{0,8}(?:指令[^\n。：:]{0,8})?[：:]\s*"
    r"|[^\n.:]{0,30}\b(?:new|revised|rewritten|complete[d]?|full) (?:prompt|instruction)[^\n.:]{0,20}:\s*",
    re.IGNORECASE,
)
_BEGINS = re.compile(
    r"请|根据|阅读|下面|以下|已知|某|给定|假设|设|用|为|将|把|写|编|计算|翻译|分析|比较|[A-Z][a-z]+ [a-z]", re.MULTILINE
)
_ASKS = re.compile(
    r"\A(?:请(?:您|你)?(?:先)?(?:提供|补充|告知|发|给出|上传|问|把)|以下(?:内容|信息)?(?:缺|是?我的(?:理由|说明))|为了|为什么)"
    r"|\A(?:Please (?:provide|send|share|give)|The (?:prompt|instruction|data)|It )|缺少?了?[^，。]{0,12}[。.]?\Z",
    re.IGNORECASE,
)
_TRADITIONAL = str.maketrans("沒無這該", "没无这该")
_LACKS_KEY = re.compile(
    r"(?:is[ _])?(?:lacks?|lacking|missing|incomplete)(?:[ _](?:inputs?|information|material))?"
    r"|(?:是否)?缺[少失乏]?(?:了?(?:必要)?的?(?:输入|信息|内容|材料|要素))?|(?:是否)?需要?(?:补全|补充)"
    r"|needs?[ _](?:inputs?|completion)|回答|答复|输出|判定(?:结果)?|answer|verdict|result|答案|(?:检查)?结果|结论",
    re.IGNORECASE,
)
_PROMPT_KEY = re.compile(
    r"(?:new |revised |rewritten |completed? )?(?:prompt|instruction)|rewritten|revised"
    r"|(?:(?:新|补全|补全后|补全了|修改后|重写|重写后|完整)的?)?指令",
    re.IGNORECASE,
)
_TAKES_BACK = re.compile(r"但|不过|然而|\b(?:but|however)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[，,。.;；!！\n]")


def parse_completeness(text: str, words: Words = WORDS) -> CompletenessRead:
    """Whether a prompt lacks what it needs, and the new one.

    Reasons: none, several, both (it lacks nothing, and there is a new one all the same), no-prompt (it does, and there
    is none), unfinished, and those of `parse_prompt`.
    """
    whole = said(text)
    if whole is None:
        return CompletenessRead(None, None, "unfinished")
    whole = unfenced(whole)
    apart = re.compile(
        rf"\A([*_ ]{{0,4}}{either(words.yes)}[*_ ]{{0,4}}[。，,.!！]?)[ \t]*(?=#{{1,6}}[ \t]*\S)", re.IGNORECASE
    )
    whole = _in_our_words(apart.sub(r"\1\n", whole), words)
    head, found = behind_heading(whole, words)
    if found.reason == "no-heading" and (headed := with_heading(whole, words)) is not None:
        head_too, found_too = behind_heading(headed, words)
        if _lacks(own(head_too), words) is True:
            whole, head, found = headed, head_too, found_too
    for pairs in _pairs(whole if found.reason == "no-heading" else head, whole):
        if pairs is None:
            return CompletenessRead(None, None, "unfinished")
        if any(_LACKS_KEY.fullmatch(key) for key, _ in pairs):
            return _of_object(pairs, words)
    head = chosen_box(own(head), (*words.yes, *words.no))
    lacks = _lacks(head, words)
    if lacks == "none" and not head.strip() and (behind := _answer_behind(whole, words)) is not None:
        lacks, found = True, behind
    if isinstance(lacks, str):
        return CompletenessRead(None, None, lacks)
    if found.reason == "no-heading":
        found = _without_heading(whole, words) if lacks else found
        if found.prompt is None:
            return CompletenessRead(None, None, "no-prompt") if lacks else CompletenessRead(False, None, None)
    if not lacks:
        return CompletenessRead(None, None, "both")
    if found.prompt is None:
        return CompletenessRead(None, None, found.reason)
    return CompletenessRead(True, found.prompt, None)


def _lacks(head: str, words: Words) -> bool | str:
    """What an answer says above a prompt: yes or no, or why it says neither: none, several."""
    lines = head.split("\n")
    at = next((at for at in range(len(lines) - 1, -1, -1) if _CORRECTS.search(lines[at])), None)
    if at is not None:
        lines[at] = _CORRECTS_TO.split(lines[at])[-1]
        anew = set(_every("\n".join(lines[at:]), words))
        if len(anew) == 1 and None not in anew:
            return bool(anew.pop())
    if _WAVERS.search(head):
        return "several"
    told = set(_every(head, words)) or {_stated(head)} - {None}
    if len(told) != 1 or None in told:
        return "several" if told else "none"
    return bool(told.pop())


def _every(text: str, words: Words) -> Iterator[bool | None]:
    """Every verdict in a text: of its lines, and at the end of a line behind what leads to it."""
    yield from _verdicts(text, words)
    yes, no = any_of(words.yes), any_of(words.no)
    ends = re.compile(rf"{_ENDS_WITH}(?:{yes}|(?P<no>{no})){MARKS}[。.]?{MARKS}", re.IGNORECASE)
    gives = _gives(yes, no)
    for line in text.split("\n"):
        if len(line) > LONGEST_LINE or re.search(r"如果|若|假如", line):
            continue
        found = ends.fullmatch(bare(line))
        if found is not None:
            yield found["no"] is None
        elif (given := gives.fullmatch(bare(line))) is not None:
            lacks, tail = given["no"] is None, given["tail"] or ""
            other = re.search(f"[“\"「『'](?:{no if lacks else yes})[”\"」』']", given["before"] + tail, re.IGNORECASE)
            if other is None and not _TAKES_BACK.search(tail) and _says_lacking(tail) in (None, lacks):
                yield lacks


def _gives(yes: str, no: str) -> re.Pattern[str]:
    return re.compile(rf"{_GIVES}(?:{yes}|(?P<no>{no})){_GIVEN}", re.IGNORECASE)


def _in_our_words(text: str, words: Words) -> str:
    """A text that begins with yes or no in another language, in ours, where what it says behind that fits."""
    found = _FOREIGN.match(text)
    if found is None:
        return text
    tail = found["tail"].strip()
    lacking = _FOREIGN_LACKS.search(tail) is not None
    if (found["no"] and lacking) or (found["yes"] and tail and not lacking and not re.match("[(（/|]", tail)):
        return text
    mark = "，" if found["mark"].endswith("、") else found["mark"]
    return f"{words.yes[0] if found['yes'] else words.no[0]}{mark}{found['tail']}{text[found.end() :]}"


def _answer_behind(whole: str, words: Words) -> PromptRead | None:
    """The prompt of an answer that says only in its last line, behind the prompt, that something is lacking."""
    above, _, last = whole.rstrip().rpartition("\n")
    if above.count("\n") and re.search(r"\n[ \t]*(?:[-*_]{3,}[ \t]*\n)?[ \t]*\Z", above + "\n") is None:
        return None
    if len(last) > _LONGEST_STATED * 2 or not re.search(r"缺|补全|回答|答案|结论|检查", last):
        return None
    if set(_every(last.strip().strip("()（）"), words)) != {True}:
        return None
    return behind_heading(above, words)[1]


def _pairs(text: str, whole: str) -> Iterator[list[tuple[str, Any]] | None]:
    """Keys and values, for each way to write them that there is; None where they are cut."""
    data = data_in(text)
    if data.broken is not None and _OPENS.match(data.broken):
        yield None
    for _, value in data.values:
        objects = value if isinstance(value, list) else [value]
        yield [pair for one in objects for pair in _flat(one)]
    lines = with_bars(text, lambda cells: _LACKS_KEY.fullmatch(cells[0]) is not None).split("\n")
    rows = [line.strip().strip("|") for line in lines if line.lstrip().startswith("|")]
    cells = [[one.strip() for one in row.split("|")] for row in rows if not re.fullmatch(r"[-:| ]+", row)]
    if len(cells) == 2 and len(cells[0]) == len(cells[1]) > 1 and not _LACKS_KEY.fullmatch(cells[1][0]):
        yield list(zip(cells[0], cells[1], strict=True))
    elif cells and all(len(row) == 2 for row in cells):
        yield [(row[0], row[1]) for row in cells]
    written = _KEYED.fullmatch(whole.strip())
    if written is not None and _PROMPT_KEY.fullmatch(written["other"].strip().replace("_", " ")):
        told = re.sub(r"(?m)^[ \t]+", "", written["text"]).strip()
        yield [(written["key"].strip(), written["told"].strip()), (written["other"].strip(), told)]


def _flat(value: Any) -> Iterator[tuple[str, Any]]:
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, dict):
            yield from _flat(item)
        else:
            yield key, item


def _without_heading(whole: str, words: Words) -> PromptRead:
    """The prompt behind a first line that is a verdict alone: a line leads to it, or it begins as prompts do."""
    first, _, rest = whole.partition("\n")
    if not re.fullmatch(any_of(words.yes), bare(first).rstrip("。.!！,，"), re.IGNORECASE):
        return PromptRead(None, "no-heading")
    led = _LEADS_TO_IT.match(rest.strip())
    body = rest.strip()[led.end() :] if led else rest.strip()
    if not led and (not _BEGINS.match(body) or _ASKS.search(body)):
        return PromptRead(None, "no-heading")
    return finished(body)


def _of_object(pairs: list[tuple[str, Any]], words: Words) -> CompletenessRead:
    """What keys and values say: true or false, or a verdict, under a key of lacking, and a prompt under its own."""
    verdicts: dict[Any, bool] = {word.lower(): True for word in words.yes} | {word.lower(): False for word in words.no}
    verdicts |= {"true": True, "false": False, "缺少": True, "不缺少": False, "有": True, "没有": False}
    lacks = [item for key, item in pairs if _LACKS_KEY.fullmatch(key)]
    lacks = [verdicts.get(bare(item).lower().rstrip("。."), item) if isinstance(item, str) else item for item in lacks]
    prompts = [item for key, item in pairs if _PROMPT_KEY.fullmatch(key.replace("_", " ")) and not _is_none(item)]
    if len(lacks) != 1 or not isinstance(lacks[0], bool):
        return CompletenessRead(None, None, "several" if len(lacks) > 1 else "none")
    if not lacks[0]:
        return CompletenessRead(None, None, "both") if prompts else CompletenessRead(False, None, None)
    if len(prompts) != 1 or not isinstance(prompts[0], str):
        return CompletenessRead(None, None, "several" if len(prompts) > 1 else "no-prompt")
    found = finished(prompts[0])
    return CompletenessRead(None if found.prompt is None else True, found.prompt, found.reason)


def _is_none(value: Any) -> bool:
    """Whether a value says that there is no prompt."""
    return not value or (
        isinstance(value, str)
        and re.fullmatch(r"\s*(?:无|没有|空|略|none|null|n/a|-)?\s*[。.]?", value, re.I) is not None
    )


def _stated(head: str) -> bool | None:
    """What the last line says without a verdict's words (不缺少; 没有缺失; 确实缺少数据), where none says otherwise."""
    lines = [line for line in head.translate(_TRADITIONAL).split("\n") if not ONLY_MARKS.fullmatch(line)]
    if not lines:
        return None
    told = _stated_in(lines[-1])
    if told is None and len(lines) > 1:  # the first line may be the answer, reasons behind it
        lines.reverse()
        told = _stated_in(lines[-1]) if len(lines[-1]) < _SHORT else None
    others = [_says_lacking(line) for line in lines[:-1]]
    doubtful = any(_TAKES_BACK.search(line) or _SUPPOSES.search(line) for line in lines[:-1])
    return None if doubtful or (not told) in [one for one in others if one is not None] else told


def _stated_in(line: str) -> bool | None:
    if _LACKS_NOTHING.fullmatch(line.strip(QUOTES + "#>-• ")):
        return False
    asked = _ASKED_FIRST.match(line)
    line = line[asked.end() :] if asked else line
    line = _HINDERS.sub(r"\1", _LEADING.sub("", line.strip(QUOTES + "#>")))
    most = _LONGEST_STATED * (2 if line.isascii() else 1)
    if not line or len(line) > most or _LEFT_OPEN.search(line) or _TAKES_BACK.search(line):
        return None
    told = _says_lacking(line)
    answer = _ANSWERS.match(line)
    if answer is None:
        return told if _LACKS.search(line) else None
    lacks = answer["no"] is None and answer["not"] is None
    return lacks if told in (None, lacks) else None


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
        other = any_of(words.no if lacks else words.yes)
        if re.match(rf" ?[(/|] ?{other} ?\)?", found["tail"] or "", re.IGNORECASE):
            yield None  # in another language it is the opposite
            continue
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
