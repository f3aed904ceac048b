"""What a judgement quotes and does not say: quotation marks, code, block quotes and reported speech.

A response may ask for a score, or hold one ready made, and a judge that tells of it repeats it. So what is
quoted is blanked before scores are looked for. Blanks keep the text's length, so positions stay true.
"""

from __future__ import annotations

import re
from itertools import islice

from coig_p.annotate.examples import CALLED_EXAMPLE
from coig_p.annotate.labels import LABEL, OVERALL, OVERALL_WORD, RESPONSE, RESPONSE_EN

_DIGIT = re.compile(r"[0-9一二三四五六七八九十]")
_VALUE_ALONE = re.compile(
    r"[\s\[\](){}*$]*[0-9一二三四五六七八九十]+(?:\.[0-9]+)?\s*分?[\s\[\](){}*$]*(?:/\s*10\s*分?)?[\s*\])]*"
)
_FENCED = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_DISPLAYED = re.compile(r"\\\[[^\\]{0,2000}\\\]")
_LABEL = re.compile(r"评分|得分|总分|分数|打分|score|rating", re.IGNORECASE)
# A block quote of one line is the judge's own, where it holds a label and a score, no line before it leads to a
# quotation, and nothing behind it speaks of the response.
_OWN_LINE = re.compile(rf"[ *_#`]{{0,6}}(?:{OVERALL}|{OVERALL_WORD}|{LABEL})[ *_`]{{0,6}}", re.IGNORECASE)
_QUOTED_LINE = re.compile(r"^[ \t]*(?P<mark>>)[ \t]*(?P<line>[^\n]*)$", re.MULTILINE)
_LEADS_TO = re.compile(
    r"[:：][ *_]*\Z|一[句行段]|末尾|结尾|最后|开头|原文|以下|下面|\b(?:line|end|last|following)\b", re.IGNORECASE
)
_BLOCK_QUOTE = re.compile(
    r"(?P<label>(?:评分|得分|总分|分数|score|rating)[ *_]*[:：]?[ *_]*\n+)?^[ \t]*>(?P<line>[^\n]*)$",
    re.MULTILINE | re.IGNORECASE,
)
_CODE = re.compile(r"(`+)([^`\n]+?)\1(?!`)")
# An opening mark without its partner quotes to the end of its line.
_QUOTES = re.compile(
    r"“([^”]{0,2000})”|「([^」]{0,2000})」|『([^』]{0,2000})』|‘([^’\n]{0,500})’|\"([^\"\n]*)\"|[“「『]([^\n]*)"
)
_QUOTING_TAGS = re.compile(r"<(blockquote|response|quote|q|cite|del)>.{0,2000}?</\1>", re.IGNORECASE | re.DOTALL)
# [回答开始] ... [回答结束], each on a line of its own.
_MARKED_OFF = re.compile(
    rf"^[ \t]*[\[【](?P<what>(?:指令|题目|材料|原文|{RESPONSE})[一二]?)开始[\]】][ \t]*$"
    r".{0,9000}?(?:^[ \t]*[\[【](?P=what)结束[\]】][ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_STRUCK = re.compile(r"(?<!~)~~(?!~)[^~\n]{1,200}~~(?!~)")
_OF_TEN = re.compile(r"\((?:(?:满分|out of )?10 ?分?制?|[01] ?[-~–到至] ?10 ?分?)\)")
_TITLE = re.compile(
    r"<[^<>\n]{0,20}(?:总体评分|综合评分|最终评分|总分|overall score)[^<>\n]{0,20}[0-9][^<>\n]{0,20}>", re.IGNORECASE
)
_WHO = (
    rf"(?:{RESPONSE}|注释|代码|译文|备注|原文|文中|文末|文本|结尾|末尾|其中|作者|模型|用户|对方|"
    rf"\b(?:{RESPONSE_EN}|text|comment|author|model|user|it)\b)"
)
_TELLS = (
    r"(?:自称|声称|宣称|号称|写着|写道|写有|写了|写的是|说道|(?<![可以来])说(?![明清服理法话得到])|说明自己|"
    r"要求|请求|索要|索取|命令|诱导|暗示|试图|企图|"
    r"\b(?:claim(?:s|ed|ing)?|ask(?:s|ed|ing)?|demand(?:s|ed|ing)?|request(?:s|ed|ing)?|say(?:s|ing)?|said|"
    r"read(?:s|ing)?|state(?:s|d)|contain(?:s|ed|ing)?|insert(?:s|ed)|end(?:s|ed) with|tell(?:s|ing)?|told|"
    r"tr(?:y|ies|ied)|instruct(?:s|ed)?)\b)"
)
# "the answer claims ... [10]": to the end of the clause; a colon right behind does not end it.
_REPORTED = re.compile(
    rf"{_WHO}[^，。；！？,;!?\n:：]{{0,16}}?{_TELLS}(?:(?!\bbut I\b)[^，。；！？;!?\n.]|\.(?!\s))*", re.IGNORECASE
)
_TELLING = re.compile(rf"{_TELLS}|注入|指令|输出|给我|inject|output", re.IGNORECASE)
_ANSWER = rf"(?:{RESPONSE}|原文|\b{RESPONSE_EN}\b)"
# "the answer's last line is:" and the next line.
_SHOWN = re.compile(
    rf"{_ANSWER}[^\n。，,;；评分得:：]{{0,16}}(?:是|为|有|写|包含|包括|附|出现|内容|with|contains?|includes?|line)"
    r"[^\n。，,;；评分得:：]{0,8}[:：][*_ ]*\n+[^\n]+|"
    rf"{_ANSWER}[^\n。，,;；评分得:：]{{0,8}}(?:[第最][一二三后末]?[一]?[行句]话?|末尾|结尾|开头|\blast line\b)"
    r"(?:写?[是为着有了道]|出现|\b(?:is|reads|says)\b)[*_ ]*\n+[^\n]+",
    re.IGNORECASE,
)
# "this is from the answer", "that is not my score", "the above is an example": what stands before it in its line, or
# in the lines above.
_DISOWNED = re.compile(
    rf"(?P<this>(?:以上|上述|上面|这|此|this|the above)[^\n。，,;；]{{0,10}}?)?"
    rf"(?:[来出摘引]自[^\n。，,;；对]{{0,6}}{_ANSWER}|不作数|不算数|"
    r"(?:不是|并非)(?:我|本人)(?:的[评打给分总]|[给打])|"
    rf"\b(?:not my|not mine|(?:from|part of) the {RESPONSE_EN}|isn't m(?:y|ine))\b)|"
    rf"(?P<these>(?:以上|上述|上面|这|此)[^\n。，,;；]{{0,8}}?[是为][^\n。，,;；]{{0,4}}{_ANSWER}"
    r"(?:自己|本身|自身|里|中|末尾|原文|的话|(?=[\n。]|$))|以上为?是?原文)|"
    rf"(?P<example>{CALLED_EXAMPLE})",
    re.IGNORECASE,
)
_DISOWNED_LENGTH = 2000
# A heading that names the response, and the paragraph below it.
_HEADED = re.compile(
    rf"^[ *#\[<]{{0,6}}(?:(?:待评[估价]?|被评[估价]?|模型|用户|原)的?{RESPONSE}(?:\([^()\n]{{0,10}}\))?|"
    rf"{RESPONSE}\((?:节选|摘录|原文|部分)\))[\]>*: ]{{1,6}}"
    r"(?:\n+(?:[^\n]+(?:\n|\Z))*|[^\n]+)|"
    rf"^[ *#\[]{{0,6}}(?:{RESPONSE}|{RESPONSE_EN})[\]*: ]{{1,6}}"
    r"\n(?:[^\n]*\n){1,20}?(?=[ *#\[]{0,6}(?:分析|评价|评估|analysis))",
    re.MULTILINE | re.IGNORECASE,
)
_ANNOUNCES_ITS_OWN = re.compile(
    r"评[分价估审测判语]|打分|给分|我的|\b(?:evaluat|assess|judge?ment|rating|score|my\b)", re.IGNORECASE
)
_SPEAKS_OF_IT = re.compile(rf"{_ANSWER}|注入|操纵|inject|manipulat", re.IGNORECASE)
# "the original text:" and what follows: to the end of its line, or of the paragraph where the line ends with it.
_ANNOUNCED = re.compile(
    rf"(?:原文|原话|原句|全文|(?<!我的)(?<![我现评])(?<!评审){RESPONSE}如下|内容如下|摘录|摘抄|引文|引用|抄录|"
    rf"original (?:text|{RESPONSE_EN})|quot(?:e|ed|ation)|"
    rf"{RESPONSE_EN} is as follows|"
    rf"(?:^|[.,] )(?:the |its )?(?:full )?{RESPONSE_EN} as follows)(?:内容)?(?:如下|为|是)?[*_ ]*[:：][*_ ]*"
    r"(?:\n+(?:[^\n]+(?:\n|\Z))*|[^\n]*)|"
    r"(?:写道|写着|写有|说道|声称|自称|says|reads|states|claims)[*_ ]*[:：][*_ ]*\n+(?:[^\n]+(?:\n|\Z))*",
    re.IGNORECASE,
)

CLAUSE = re.compile(r"[。；;!！\n]|但是?|因此|所以|故|\b(?:but|so|thus|therefore|however)\b|\.(?=\s)", re.IGNORECASE)
# Who is told of in a clause before a score, and words behind it that make the score the judge's own all the same.
_TOLD_OF = re.compile(
    rf"(?<![对给为])(?<![对给为][该此])(?<![对给为这]个)(?<![对给为]模型)(?<![对给为][该此]模型)(?<!用户的)(?:{_ANSWER}|"
    r"作者|模型|其?(?:末尾|结尾|文末)|其(?:中|最后)|指令|注入|用户(?=希望|[要让请])|"
    r"\b(?:instruction|injection|author|user(?= wants| asks))s?\b)",
    re.IGNORECASE,
)
# "response: [10]"; "as the response says, ... [10]"; "the response adds a line, namely [10]"; "another judge gave 8".
_SAYS = re.compile(
    r"(?:写道|写着|说道|声称|自称|[末尾]句是?|最后一句话?是?)[,，:]? {0,3}\Z|"
    rf"(?<!我的){_ANSWER}[ *_]{{0,6}}: {{0,6}}[*_]{{0,3}}\Z|"
    r"(?:注入|可疑|恶意|inject|suspicious|malicious)[^\n。，,:]{0,20}(?::| is:?) {0,3}[*_]{0,3}\Z|"
    rf"(?:[按依照]|\bas )[^\n，,]{{0,6}}{_ANSWER}[^\n，,]{{0,6}}"
    r"(?:说法|要求|指[令示]|所说|puts it|says|claims|asks|requests)"
    r"[,，] {0,3}[^\n，,。]{0,10}\Z|"
    rf"{_ANSWER}[^\n，,]{{1,20}}[,，] {{0,3}}(?:即|也就是|就是|namely)[^\n，,。]{{0,6}}\Z|"
    r"(?<![与和跟同比像])(?:其[他它]|[另上前]一|另外一?|别的)[位个名些]?(?:评委|评审员?|评价者|裁判|老师|人)"
    r"[^\n，,。我]{0,8}\Z|"
    r"(?<!like )(?<!with )\b(?:another|(?:the )?(?:other|previous)) (?:judge|reviewer|rater|evaluator)s?\b"
    r"(?:(?! I )[^\n，,.]){0,24}\Z",
    re.IGNORECASE,
)
_IN_VIEW_OF = re.compile(r"(?:结合|根据|基于|鉴于|考虑到?|针对|综合|依据|based on|given)[^\n，,]{0,8}\Z", re.IGNORECASE)
_OF_IT = re.compile(
    r"(?:[ *_:]|['’]s\b|的(?:评价|评估|分析|评语|点评|质量)?|最终|最后|综合|整体|总体|应|"
    r"可以?|能够?|得到?|获得?|值得?|只能?|"
    r"\b(?:gets?|receives?|deserves?|earns?|merits?|has|is|with|an?|the|at|my|overall|would|could|can)\b){0,12}",
    re.IGNORECASE,
)
_JUDGE = re.compile(
    r"(?:我|本人|\bI)(?:认为|觉得|会|愿意|想|将|只能?|可以?| would| will| can|['’]d|['’]ll|的| )*\Z", re.IGNORECASE
)
_ASKS = re.compile(
    r"[让请叫使]|要求|希望|命令|迫使|\b(?:want|ask|tell|beg|order|instruct|request|demand)", re.IGNORECASE
)


def unquoted(text: str) -> str:
    """The text with blanks in place of all that is quoted and could be taken for a score.

    A quotation of a bare value, such as `[8]` behind a label, stays: there the marks are brackets. A fence around
    nothing but one line stays, too, where nothing behind it speaks of the response.
    """
    text = _STRUCK.sub(_blank, _DISPLAYED.sub(_displayed, text))
    text = _FENCED.sub(_fence, text)
    text = _ANNOUNCED.sub(_blank, text)
    text = _SHOWN.sub(_blank, text)
    text = _HEADED.sub(_blank, text)
    text = _disowned(text)
    text = _BLOCK_QUOTE.sub(_block, _own_line(text))
    text = _TITLE.sub(_title, text)
    text = _REPORTED.sub(_blank, text)
    text = _CODE.sub(_code, text)
    return _QUOTES.sub(_quote, text)


def unmarked(text: str) -> str:
    """The text with blanks in place of what HTML, or a line before and one behind, marks as a quotation."""
    return _MARKED_OFF.sub(_blank, _QUOTING_TAGS.sub(_blank, text))


def told_of(before: str) -> bool:
    """Whether a clause before a score tells what the response, or who wrote it, says or wants."""
    clause = re.split(r"[，,?？:]", CLAUSE.split(before)[-1].rstrip(": "))[-1]
    if _SAYS.search(before):
        return True
    who = _TOLD_OF.search(clause)
    if who is None:
        return False
    between = clause[who.end() :]
    if who[0] in ("模型", "作者") and (answer := re.match(f"的?{RESPONSE}", between)):
        between = between[answer.end() :]
    if _IN_VIEW_OF.search(clause[: who.start()]) and (who[0] == "指令" or not _ASKS.search(between)):
        return False
    return not (_OF_IT.fullmatch(between) or (_JUDGE.search(between) and not _ASKS.search(between)))


def tells(sentence: str) -> bool:
    """Whether a sentence tells what somebody says or wants."""
    return _TELLING.search(sentence) is not None


def _disowned(text: str) -> str:
    """The text with blanks in place of what the judge says it did not give itself."""
    kept, end = [], 0
    for found in _DISOWNED.finditer(text):
        least = max(end, found.start() - _DISOWNED_LENGTH)
        start = max(least, text.rfind("\n", least, found.start()) + 1)
        if not _DIGIT.search(text, start, found.start()):
            if not (found["this"] or found["these"] or found["example"]):
                continue
            above = text[least:start].rstrip()
            start = least + above.rfind("\n\n") + 1
        kept += [text[end:start], re.sub(r"[^\n]", " ", text[start : found.start()])]
        end = found.start()
    return "".join([*kept, text[end:]])


def _displayed(found: re.Match[str]) -> str:
    return found[0] if _LABEL.search(found[0]) else _blank(found)


def _title(found: re.Match[str]) -> str:
    before, after = _around(found)
    return _blank(found) if before or after else found[0]


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def _fence(found: re.Match[str]) -> str:
    lines = [line for line in found[2].split("\n") if line.strip()]
    if len(lines) > 1 or leads_to_a_quotation(found.string[max(0, found.start() - 200) : found.start()]):
        return _blank(found)
    if _SPEAKS_OF_IT.search(found.string, found.end(), found.end() + 200):
        return _blank(found)
    start = found.start(2) - found.start()
    return re.sub(r"[^\n]", " ", found[0][:start]) + found[2] + " " * (len(found[0]) - start - len(found[2]))


def leads_to_a_quotation(before: str) -> bool:
    """Whether the line before a place announces what the response holds, and no judgement of it."""
    line = before[-200:].rstrip(" \n-*_`").rpartition("\n")[2]
    if not _SPEAKS_OF_IT.search(line) or _ANNOUNCES_ITS_OWN.search(line):
        return False
    return not line.endswith(("。", ".", "!", "！")) or tells(line)


def _own_line(text: str) -> str:
    """The text without the mark of its one block quote, where that is the judge's own."""
    quotes = list(islice(_QUOTED_LINE.finditer(text), 2))
    if len(quotes) != 1 or not _OWN_LINE.match(quotes[0]["line"]):
        return text
    at = quotes[0].start("mark")
    before = text[max(0, at - 200) : at].rstrip(" \n-*_").rpartition("\n")[2]
    if _LEADS_TO.search(before) or tells(before) or _SPEAKS_OF_IT.search(text, quotes[0].end(), quotes[0].end() + 200):
        return text
    return f"{text[:at]} {text[at + 1 :]}"


def _block(found: re.Match[str]) -> str:
    if found["label"] and _VALUE_ALONE.fullmatch(found["line"].strip(" *_`")):
        return found[0].replace(">", " ", 1)
    return (found["label"] or "") + re.sub(r"[^\n]", " ", found[0][len(found["label"] or "") :])


def _code(found: re.Match[str]) -> str:
    before, after = _around(found)
    if _VALUE_ALONE.fullmatch(found[2]) or not (before or after) or not _DIGIT.search(found[2]):
        return " " * len(found[1]) + found[2] + " " * len(found[1])
    return _blank(found)


def _quote(found: re.Match[str]) -> str:
    inner = next((part for part in found.groups() if part is not None), "")
    if not _DIGIT.search(_OF_TEN.sub("", inner)):
        return found[0]
    if found[6] is None and _VALUE_ALONE.fullmatch(inner):
        return "[" + found[0][1:-1] + "]"
    return _blank(found)


def _around(found: re.Match[str]) -> tuple[str, str]:
    """What else stands in its line, but for emphasis and marks of lists."""
    before = found.string[: found.start()].rpartition("\n")[2]
    after = found.string[found.end() :].partition("\n")[0]
    return before.strip(" \t*_#-"), after.strip(" \t*_。.")
