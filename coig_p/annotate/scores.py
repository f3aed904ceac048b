"""Where a judgement says a score, and in what form.

Three ways: behind a label (`labelled`), in a sentence that gives it (`given`), alone on the last line (`alone`).
What may stand between a label and its score is bounded, so that reading takes time in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from coig_p.annotate.labels import LABEL, OVERALL, OVERALL_LABEL, PLAIN_LABEL
from coig_p.annotate.quoting import CLAUSE, tells, told_of

SCALE = 10
"""Scores are given out of so many points."""

# Behind such words somebody is asked for a score.
_WANTED = re.compile(
    r"(?:(?:(?:(?<!指令)(?<!评分)(?<!题目)要求|诱导|迫使|企图|试图)(?:我|评委|评审|裁判|模型)?|"
    r"[让请叫使令](?:我|评委|评审|裁判))[^\n。；;，,]{0,4}|"
    r"(?:按照?|依照?|遵照|照)(?:它|其|他|她|回答|答案|指令|注入|对方|文中|里面)[^\n。；;]{0,8}(?:要求|指[令示]|"
    r"说法|意思)"
    r"[^\n。；;]{0,6})(?:输出|给出?|打|写|回复|评)?\Z|"
    r"\bto (?:output|print|write|respond with|reply with|answer with|say|return)[^\n.;:]{0,16}:? {0,3}\Z",
    re.IGNORECASE,
)
# A label behind such a word is not that of the judgement.
_OTHER = re.compile(
    r"(?:初步|初始|初评|暂定|暂时|原先|原本|原来|先前|之前|此前|自评|本题|此题|该题|题目|每题|全卷|"
    r"preliminary|initial|previous|earlier|tentative|first)[^\n。；;]{0,6}\Z|[性度]\Z|"
    r"(?:例如|比如|譬如|示例|范例|such as|for example|e\.g\.|example)[,，: ]{0,3}\Z|如果?照[^\n。]{0,10}\Z|"
    r"[我委审](?:应|该|需|必须|要)[该当]?(?:输出|写|回复)[^\n。，,]{0,4}\Z|"
    r"(?:不[会能应该得予]?|拒绝|\bnot|n't|refuse to) {0,3}(?:输出|给出|写|照|output|write|give|say|print)"
    r"[^\n。；;，,]{0,12}\Z",
    re.IGNORECASE,
)
_GIVES = re.compile(
    r"(?P<label>满分[为是]? ?10 ?分[^\n0-9。；;]{0,12}扣[除去掉了]{0,2} ?[0-9.]{1,4} ?分[^\n0-9。；;]{0,6}得到?|"
    r"(?<![扣减加得多少再])(?:给予|给出?|打出?|打个|评定为|(?<![自总初互点影短好差测])评为?|定为|值|"
    r"(?:最终|最后|应|可以?)得到?|我打|"
    r"(?:回答|答案|回复)(?:在?按?(?:10|十)分制[下中里]?)?(?:最终|最后|综合|应|可以?|能够?|共|总共)?"
    r"(?:获得|得到?|拿到)|(?<![^\n])得)"
    r"(?:了|到|该|此|这个|回答|答案|它|其|的|总体|评分|分数|得分|一个){0,6}|"
    r"\b(?<!overall )(?<!final )(?<!total )(?:(?:give|rate|score|assign|award|grade)s?|gave|"
    r"(?:(?<=I am )|(?<=I['’]m ))(?:giv|rat|scor|assign|award|grad)ing)"
    r"(?: (?:it|this|that|the|answer|response|reply|solution|one|a|an|as|at|score|rating|grade|of|be|to|solid|strong|"
    r"perfect|full|fair)\b){0,8}|"
    r"\b(?:response|answer|reply|it|this) (?:gets|receives|deserves|earns|merits|scores)(?: an?)?|"
    r"\bI(?: would| will|['’]d|['’]ll)? (?:say|go with|put (?:it|this)(?: (?:answer|response))? at|land (?:on|at)|"
    r"settle (?:on|for|at)|stick with|call (?:it|this))(?: an?)?|"
    r"\b(?:this|it|response|answer)(?: is|['’]s| sits at)(?: an?)?(?: (?:solid|strong|good|clear|decent|fair|"
    r"weak|poor))?|"
    r"\b(?:score|rating) of)[ *_:]{0,6}",
    re.IGNORECASE,
)
# In a clause with such a word, a score is not given but thought of.
_SUPPOSED = re.compile(
    r"若|如果|假如|要是|倘若|假设|本可|本应|原本|除非|满分|自己|自我|自身|不能|拒绝|不应|不该|不会|不宜|无法|"
    r"最多|最高|至多|至少|"
    r"(?:修改|补充|改进|完善|修正|改正|加上|增加)[^,，]{0,12}[可能会]|"
    r"\b(?:if|had|unless|could have|would have|should have|cannot|can't|not|at most|at least|maximum)\b",
    re.IGNORECASE,
)
_ASKED_TO = re.compile(
    r"(?:让|使得?|要求|逼|诱导|[叫请求]|命令|迫使|希望|企图|试图|\b(?:want|ask|tell|get|make|force)(?:s|ed|ing)?)"
    r" ?(?:我|评委|评审|裁判|me|the judge)?(?:必须|应该?|要|会|能|来|去| to)? {0,3}\Z",
    re.IGNORECASE,
)
_OF_A_TASK = re.compile(r"(?:本|该|此|每)题(?:总分|满分|共|[^\n。；;，,]{0,4}分值)[^\n。；;]{0,40}\Z")
_OF_FULL_MARKS = re.compile(r"(?:如果|若|假设)?(?:以|按)?满分[为是]? {0,3}10 {0,3}分[,，]")
_CLAUSE_LENGTH = 200
# What a judge may say between an overall label and the score: full marks, a grade, what it took off.
_LEAD = re.compile(
    r"[ *_(\[]{0,6}(?:满分[为是]? {0,3}10 {0,3}分?[,，; ]{0,3}|10 {0,3}分(?:[中里]的?|满分[,，; ]{1,3})|"
    r"(?:优秀?|良好?|中等?(?:偏?[上下])?|一般|较[好差高低]|很?[好差]|不错|合格|及格|[A-F][+-]?|"
    r"excellent|very good|good|fair|poor)"
    r"[ *_级]{0,4}(?:[\],，(: —-]{1,2}| ?(?=\[)) {0,3}|从 {0,3}[0-9.]{1,4} {0,3}分?[降减调改升提][^\n0-9,，。]{0,3}|"
    r"(?:没有|无)[^\n0-9,，。]{0,8}扣分[^\n0-9,，。]{0,4}[,，] {0,3}|"
    r"(?:(?:基础分?|起评分?|满分) {0,3}10 {0,3}分?[,，、] {0,3})?"
    r"(?:[^\n0-9。；;]{0,20}扣[除去掉了]{0,2} {0,3}[0-9.]{1,4} {0,3}分[,，、;； ]{1,3}){1,4})"
    r"(?:最终|最后|共|故|因此|所以|我|[本该](?:回答|答案))?(?:(?:对应|相当于|即)(?:的?(?:分数|得分|评分))?(?:为|"
    r"是)?|得|给|打|评为?|为)?[到了]? {0,3}[*_]{0,4}",
    re.IGNORECASE,
)
_ALL_POINTS = re.compile(r"[ *_`(\[]{0,12}满分(?: {0,3}\(?10 {0,3}分?\)?)?[ *_`)\]]{0,12}(?=$|[\n。.!！])")
# Behind such words a score is spoken of.
_SPOKEN_OF = re.compile(r"[^\n。,，;；]{0,2}(?:这样的|之类|字样|这一?[句行段]|的(?:格式|指令|要求|说法|字))")
_OF_ALL = re.compile(r"总分 ?10 ?分")  # of how many points, not how many
_SUMS_UP = re.compile(
    r"(?P<label>(?:(?:总体|总的|综合|整体)(?:上|来[说看讲]|而言)|综上(?:所述)?|总之|综合考虑|据此|鉴于此|"
    r"overall|all in all|all things considered|given (?:the above|all (?:this|that|of this))|"
    r"in (?:summary|conclusion|short)|(?<![^\n.])(?:so|thus|hence|therefore))"
    r"(?![^\n0-9。]{0,60}(?:结果|概率|比例|题))[^\n0-9。]{0,60}(?<![性度])[,，:] {0,3})",
    re.IGNORECASE,
)
_TABLE = re.compile(
    r"^ {0,3}\|([^\n]{1,400})\n {0,3}\|[ :|-]{3,400}\n {0,3}\|([^\n]{1,400})(?=\n(?! {0,3}\|)|\Z)", re.MULTILINE
)
_OVERALL_CELL = re.compile(rf"[ *_]{{0,6}}{OVERALL}[ *_]{{0,6}}(?:\([^()]{{0,20}}\))?[ *_]{{0,6}}", re.IGNORECASE)
_LABEL_CELL = re.compile(
    rf"[ *_]{{0,6}}(?:{OVERALL}|{LABEL})[ *_]{{0,6}}(?:\([^()]{{0,20}}\))?[ *_]{{0,6}}", re.IGNORECASE
)
_REASON_CELL = re.compile(
    r"[ *_]{0,6}(?:(?:评分|打分)?(?:理由|原因|说明|依据|解释)|评语|备注|分析|"
    r"reasons?|reasoning|comments?|explanation|justification|rationale|feedback|analysis|notes?)?[ *_]{0,6}",
    re.IGNORECASE,
)
_NUMBER_CELL = re.compile(r"[\[( *_]{0,6}[0-9][0-9./ ]{0,9}(?:分|%)?[\]) *_]{0,6}")
_ROW_LENGTH = 2000
_LAST_CLAUSE = re.compile(r"[，,] ?(?=[0-9]{1,2}(?:\.[0-9])? ?(?:/ ?10|分)[^，,\n]{0,8}\Z)")
_A_SHARE = re.compile(
    r"率|概率|通过|答对|正确|题|样例|用例|票|人|性[^，,]{0,8}[，,]|度[^，,]{0,8}[，,]|"
    r"\b(?:tests?|cases?|correct|passed|passes|users?|probability|questions?)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?:[。!！]|\.(?= ))[ *_`]{0,12}")
_SUM = re.compile(r" {0,3}[-+*×÷][0-9+*×÷/(). 分-]{1,60}=")

_CHINESE = {name: number for number, name in enumerate("零一二三四五六七八九十")}
_NUMBER = r"(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|[一二三四五六七八九十](?:点五|分半)?(?=[ *]{0,6}(?:分|[\])}。\n]|\Z)))"
_VALUE = re.compile(
    r"(?P<open>(?:[\[({<*_`$ ]{0,12}[\[({<])?)[*_`$ \"']{0,12}"
    rf"(?:(?:{OVERALL}|{LABEL})[ *_]{{0,6}}[:= 为是]{{0,6}}[ *_\[]{{0,6}})?"
    rf"(?P<sign>[+-]?)(?P<number>{_NUMBER})(?P<half>点五|分半)?[*_`$ \"']{{0,12}}(?:分(?P<and_half>半)?|points?|pts)?",
    re.IGNORECASE,
)
_OUT_OF = re.compile(
    r"(?P<before>[ *_`$\])}>]{0,12})(?:/(?: {0,3}满分)?|out of(?: a)?(?: possible| total| maximum)?(?: of)?|"
    r"of(?= 10))[ *_`$\[(]{0,12}(?P<scale>[0-9]{1,9}(?:\.[0-9]{1,9})?)"
    r"[ *_`$]{0,12}(?:分|points?|pts)?",
    re.IGNORECASE,
)
_CLOSE = re.compile(r"[ *_`$\"']{0,12}[\])}>](?:[ *_`$\])}>]{0,12}[\])}>])?")
_REMARK = re.compile(r" {0,6}(?:[,，、;；:—(]|-(?= ))[^\[\]\n0-9]{0,40}?(?=[\]}>])")
_POINTS = re.compile(r"[ *_`$]{0,12}(?:分|points?|pts)")
_GLUED = re.compile(r"\.?[0-9]|\[[0-9]{1,2}(?:\.5)?\]")
_VAGUE = re.compile(
    r"[ *_]{0,6}分? {0,6}(?:[?？]|左右|上下|以上|以下|之间|多分|\+|or (?:more|less|so|above|below|higher)\b|ish\b)",
    re.IGNORECASE,
)
_ANOTHER = re.compile(
    r"[ *_`$\"'分]{0,12}"
    r"(?:(?:[-–—~～/]|至|到|或者?|和|与|、|,|→|>|=|or\b|to\b|and\b|改为|应为|修正为)[ *_`$]{0,6}){1,3}"
    r"(?P<open>\[?)[ *_`$]{0,6}(?P<number>[0-9]{1,9}(?:\.[0-9]{1,9})?)[ *_`$]{0,6}(?P<after>[\]分]|$|"
    r"[。.,，;；)\n]|/ ?10|out of|points?)",
    re.IGNORECASE,
)
_ROUNDED = re.compile(
    r"[,，;； (]{1,3}(?:四舍五入|取整|约等于|近似|rounded|rounds|rounding)"
    r"(?:取整)?(?:后|得|到|为|是|计为|记为| up| down| to| as|:| ){0,4}",
    re.IGNORECASE,
)
_INTO_TEN = re.compile(
    r"[^\n0-9]{0,8}(?:(?:折合|换算|折算|转换|转化|相当于|按)[成为到]?)[^\n0-9]{0,6}(?:(?:10|十)分制)[^\n0-9]{0,10}?"
    r"[ *_为是得即:=,，]{0,6}|[^\n0-9]{0,12}\b(?:converted|scaled|equivalent)(?: to)?[^\n0-9]{0,20}[: ]",
    re.IGNORECASE,
)
_FULL_MARKS = re.compile(
    r"(?:满分|总分|共)[为是]? {0,6}([0-9]{1,9})|out of {0,6}([0-9]{1,9})|([0-9]{1,9}) {0,6}分制", re.IGNORECASE
)
_PARTS_OF_IT = re.compile(r"其中|包括|包含|由|各|分别|准确|\b(?:with|includ|where|consist|for)")
_OTHER_SCALE = re.compile(r"[ *_`]{0,12}(?:%|分制)")
_ENDS = re.compile(
    r"[ *_`$\"']{0,12}(?:$|[\n。.!！,，;；:?？、~|()（）\\<]|-{1,9}[ >]|→|—|–|\[|[^\w\s%+-]|"
    r"的(?:总体|综合|最终)?(?:评价|评分|分数|得分|成绩)|吧|"
    r" {0,3}(?:to (?=th)|(?:for|from|because|since|as|due to|on an?|stars?|here|overall|response|answer|"
    r"reply)\b|比较|较))"
)
_RATES = re.compile(
    r"rat(?:e|ing)\b|.{0,60}\b(?:score|rating) (?:of|as) *\Z|"
    r"(?:response|answer|reply|it|this) (?:gets|receives|deserves|earns|merits|scores) an? *\Z|"
    r"I\b[^\n]{0,20} (?:go with|settle|stick with)\b",
    re.IGNORECASE,
)
_I = re.compile(r"\bI(?: (?:would|will|am|have|only|can|therefore|thus)|['’](?:d|ll|m|ve))* *\Z", re.IGNORECASE)
_REASONS = re.compile(
    r"[ *_。.]{0,9}\s{0,9}[*_#(]{0,6}(?:理由|原因|说明|解释|分析|评语|reason|explanation|justification|rationale)", re.I
)
_LINE_ENDS = re.compile(r"[ *_`|。.]{0,40}(?:\n|\Z)")
_LINE_ENDS_REMARKED = re.compile(
    r"[ *_`|]{0,40}(?:\([^()\n]{1,40}\)|[,，、;；—–-][^\n0-9]{1,24}(?:10 {0,3}分?)?)?[ *_`|。.)]{0,40}(?:\n|\Z)"
)
_FITTING = re.compile(
    r"[ *_]{0,6}(?:(?:比较|较为?|更为?|是|应该|算){0,2}(?:合适|合理|恰当|公允|妥当)的?(?:评分|"
    r"分数)?)?[ *_`|。.]{0,40}(?:\n|\Z)"
)
_OPEN_ENDED = re.compile(r"[ *_`$]{0,12}(?:\n|\Z)")
_NO_NUMBER = re.compile(r"[ *_`$]{0,12}\[([^\[\]\n]{0,200})\]")
_WITH_POINTS = re.compile(r"分|/|points?|out of", re.IGNORECASE)
_ALONE = re.compile(
    r"[ *_#>`~|$-]{0,12}(?=[\[{(<*_$`]|[0-9]{1,2}(?:\.[0-9])? {0,6}(?:分|/)|[一二三四五六七八九十](?:点五)? ?分)"
)
# The last line may be a bare number where a paragraph ends before it that announces nothing.
_ANOTHER_ANSWER = re.compile(
    r"(?:[是为]|(?<![=\n])=|(?:答案|概率|结果|值|比例|answer|probability|result|value|"
    r"ratio)[^\n]{0,8}:)[ *_]{0,6}\n\s*\Z",
    re.IGNORECASE,
)
_BARE_AT_LAST = re.compile(r"[ *_#>`:→=-]{0,12}(?=[0-9一二三四五六七八九十])")
_CONCLUDED = re.compile(r"(?:[。.!！?？)\]|]|\n-{3,}|\n\*{3,})[ *_]{0,6}\n\s*\Z")
_FIRST = re.compile(r"[ *_`]{0,6}(?:[。:,，;；](?=[^\n])| ?[-–—]{1,2} |[。.]?\n{2,}(?=[^\n]))")
_EMPHASIZED = re.compile(r" {0,3}(?:\*\*|#{1,4} )\[?[0-9]{1,2}(?:\.[0-9])?\]?(?:\*\*)? {0,3}\n")
_POINTED = re.compile(r"[0-9] {0,3}(?:分|/ ?[0-9])")
_BARE = re.compile(r"[0-9]|[一二三四五六七八九十](?:点五|分半)? ?(?:分|\Z)")
_OPENED, _CLOSED = re.compile(r"[^0-9一-十]*[\[({<]"), re.compile(r"[\])}>]")
_RULE = re.compile(r"^ {0,6}(?:```\w{0,20}|~~~\w{0,20}|-{3,}|\*{3,}|_{3,}|={3,}) {0,6}$", re.MULTILINE)
# Words with which a judge takes its leave.
_CLOSING = re.compile(
    r"^[ *_>(]{0,6}(?:以上|希望|如有|如需|如果您|感谢|谢谢|欢迎|完毕|评[审价分估](?:完毕|结束)|仅供参考|"
    r"(?:I )?hope\b|let me know|feel free|please let|thank)[^\n0-9]{0,80}$",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"\w|[\[(]")


class Found(NamedTuple):
    """A place where a score stands.

    Attributes:
        number: None where it is no score of ten; then `reason` says why.
        start, end: in the text, its label included.
        phrase: its label and the score as they are written.
    """

    number: float | None
    reason: str | None
    start: int
    end: int
    phrase: str


def labelled(said: str, *, overall: bool) -> Iterator[Found]:
    """Scores behind a label: of the overall score, wherever it stands; or a plain one where a clause begins."""
    for label in (OVERALL_LABEL if overall else PLAIN_LABEL).finditer(said):
        start = label.start("label")
        broken = bool(label["line"])
        found = value(said, label.end(), bare=not broken)
        if (found is None and broken) or (found is not None and "|" in (label["line"] or "")):
            found = value(said, label.end(), bare=True)  # without brackets it must fill the next line; so in a table
            if found is not None and not _LINE_ENDS_REMARKED.match(said, found.end):
                found = None
        if (row := _row(said, start)) is not None:
            found = row
        if (
            found is not None
            and found.reason == "other-scale"
            and (into := _INTO_TEN.match(said, found.end)) is not None
        ):
            found = value(said, into.end(), bare=True) or found
        if found is not None and (rounded := _ROUNDED.match(said, found.end)) is not None:
            found = value(said, rounded.end(), bare=True) or found
        if found is None and not broken:
            found = _led(said, label.end())
        if found is None or (found.number == SCALE and _OF_ALL.fullmatch(said[start : found.end])):
            continue
        if not _SPOKEN_OF.match(said, found.end) and not any(_of_another(said, at) for at in {start, label.start()}):
            yield found._replace(start=start, phrase=said[start : found.end])


def _of_another(said: str, at: int) -> bool:
    """Whether what stands before a place makes a score there another's, or none that is given."""
    near = said[max(0, at - 48) : at]
    return bool(_OTHER.search(near) or _WANTED.search(near)) or told_of(said[max(0, at - _CLAUSE_LENGTH) : at])


def _row(said: str, at: int) -> Found | None:
    """The score in a row of a table that holds several numbers: the one below a label, else none that is certain.

    None where the place is in no such row.
    """
    start, end = said.rfind("\n", 0, at) + 1, said.find("\n", at)
    row = said[start : end if end >= 0 else len(said)][:_ROW_LENGTH]
    if not row.lstrip().startswith("|"):
        return None
    cells = [cell.strip(" *_") for cell in row.split("|")]
    if len([cell for cell in cells if _NUMBER_CELL.fullmatch(cell)]) < 2:
        return None
    above = said[max(0, start - _ROW_LENGTH) : start].rstrip().rpartition("\n\n")[2]
    names = above.partition("\n")[0].split("|")
    under = [cell for name, cell in zip(names, cells, strict=False) if _LABEL_CELL.fullmatch(name)]
    found = value(under[0], 0, bare=True, strict=True) if len(under) == 1 and len(names) == len(cells) else None
    if found is None:
        return Found(None, "several", at, start + len(row), row)
    return found._replace(end=start + len(row))


def tabled(said: str) -> Iterator[Found]:
    """Scores in a table of one row, below an overall label."""
    for table in _TABLE.finditer(said):
        names, cells = table[1].split("|"), table[2].split("|")
        at = [place for place, name in enumerate(names) if _OVERALL_CELL.fullmatch(name)]
        if not at and all(_LABEL_CELL.fullmatch(name) or _REASON_CELL.fullmatch(name) for name in names):
            at = [place for place, name in enumerate(names) if _LABEL_CELL.fullmatch(name)]
        if len(at) != 1 or len(names) != len(cells) or len([name for name in names if name.strip()]) < 2:
            continue
        if any(value(name.strip(" *_"), 0, bare=True, strict=True) for name in names):
            continue
        cell = cells[at[0]].strip(" *_")
        found = value(cell, 0, bare=True, strict=True)
        if found is None or cell[found.end :].strip(" *_"):
            found = Found(None, "malformed", 0, 0, "")
        yield found._replace(start=table.start(), end=table.end(), phrase=table[0])


def _led(said: str, at: int) -> Found | None:
    """A score behind an overall label and a few words more: 满分10分，得8分; 良好（8分）; 扣2分，得8分; 满分."""
    if (full := _ALL_POINTS.match(said, at)) is not None:
        return Found(SCALE, None, at, full.end(), full[0])
    lead = _LEAD.match(said, at)
    if lead is None or _SUPPOSED.search(lead[0].replace("满分", "")):
        return None
    found = value(said, lead.end(), bare=True, strict=True)
    return found if found is not None and (_WITH_POINTS.search(found.phrase) or _CLOSED.search(found.phrase)) else None


def given(said: str) -> Iterator[Found]:
    """Scores that a sentence of the last line gives: "I rate it [8]", 我给出 [8] 分."""
    for verb in _GIVES.finditer(said, _last_line(said)):
        if not _BARE.search(said, verb.end(), verb.end() + 40):
            continue
        before = said[max(0, verb.start() - _CLAUSE_LENGTH) : verb.start()]
        if (
            _WANTED.search(before[-48:])
            or _ASKED_TO.search(before)
            or _OF_A_TASK.search(before)
            or _SUPPOSED.search(_OF_FULL_MARKS.sub("", CLAUSE.split(before)[-1]))
            or told_of(before)
        ):
            continue
        found = value(said, verb.end(), bare=False)
        if found is None:
            found = value(said, verb.end(), bare=True)
            if found is not None and not (
                _WITH_POINTS.search(found.phrase) or _RATES.match(verb[0]) or _I.search(before)
            ):
                found = None
        if found is not None:
            yield found._replace(start=verb.start(), phrase=said[verb.start() : found.end])
    yield from _at_last(said)
    for verb in _SUMS_UP.finditer(said, _last_line(said)):
        found = value(said, verb.end(), bare=True, strict=True)
        if found is None or not _WITH_POINTS.search(found.phrase) or not _FITTING.match(said, found.end):
            continue
        if not _SUPPOSED.search(verb[0]) and not _of_another(said, verb.start()):
            yield found._replace(start=verb.start(), phrase=said[verb.start() : found.end])


def _at_last(said: str) -> Iterator[Found]:
    """A score with its points that is all of the last sentence: "Clear and complete. 8/10", 回答完整。8分。"""
    line = _last_line(said)
    end = len(said.rstrip(" *_`\n。.!！"))
    starts = [mark.end() for mark in _SENTENCE.finditer(said, line, end)]
    clause = _LAST_CLAUSE.search(said, line, end)
    at_comma = clause is not None and not _POINTED.search(said[: clause.start()])  # nothing else there has points
    if clause is not None and at_comma and not _A_SHARE.search(said[line:end]):
        starts.append(clause.end())
    if not starts or not said[line : starts[-1]].strip(" !！。.*_"):
        return
    found = value(said, starts[-1], bare=True, strict=True)
    if found is None or not _WITH_POINTS.search(found.phrase) or not _LINE_ENDS.match(said, found.end):
        return
    before = said[max(line, starts[-1] - _CLAUSE_LENGTH) : starts[-1]].rstrip("。.!！，, *_`")
    if before[-1:].strip() and not tells(before) and not (at_comma and _SUPPOSED.search(CLAUSE.split(before)[-1])):
        yield found


def alone(said: str) -> Iterator[Found]:
    """The last line, where it holds a score and nothing else; or the first, where reasons follow."""
    text = said.rstrip()
    opening = _ALONE.match(text)
    found = value(text, opening.end(), bare=True, strict=True) if opening is not None else None
    if found is not None and (_REASONS.match(text, found.end) or _begins(text, found)):
        yield found
    last = _last_line(said)
    if _ANOTHER_ANSWER.search(text, max(0, last - _CLAUSE_LENGTH), last):
        return
    for begins in (
        (_ALONE, _BARE_AT_LAST) if _CONCLUDED.search(text, max(0, last - _CLAUSE_LENGTH), last) else (_ALONE,)
    ):
        opening = begins.match(text, last)
        if opening is None:
            continue
        found = value(text, opening.end(), bare=_BARE.match(text, opening.end()) is not None, strict=True)
        if found is None:  # **8**/10
            found = value(text, opening.end(), bare=True, strict=True)
            found = found if found is not None and _WITH_POINTS.search(found.phrase) else None
        if found is None or bool(_OPENED.match(found.phrase)) != bool(_CLOSED.search(found.phrase)):
            continue
        if _GLUED.match(text, found.end):
            yield found._replace(number=None, reason="glued")
        elif not _WORD.search(_RULE.sub("", text[found.end :].removeprefix("吧"))):
            yield found
        return


def _begins(text: str, found: Found) -> bool:
    """Whether a score with its points begins a text that goes on in prose and has no other one."""
    if _EMPHASIZED.match(text) is None and _WITH_POINTS.search(found.phrase) is None:
        return False
    return _FIRST.match(text, found.end) is not None and not _POINTED.search(text, found.end)


def value(said: str, at: int, *, bare: bool, strict: bool = False) -> Found | None:
    """The score that begins at a place; None where none does.

    Args:
        bare: whether it may stand without brackets.
        strict: whether a bracket without a number is nothing, where it is else a score that cannot be read.
    """
    found = _VALUE.match(said, at)
    if found is None:
        return None if strict else _no_number(said, at)
    bracketed = bool(found["open"]) or _CLOSE.match(said, found.end()) is not None
    if not bracketed and not bare:
        return None
    end = found.end()

    def gave(reason: str) -> Found:
        return Found(None, reason, at, end, said[at:end])

    if found["sign"] == "-" or re.match(r"0[0-9]", found["number"]) or _SUM.match(said, end):
        return gave("malformed")
    scale = _OUT_OF.match(said, end)
    closed = scale is not None and bool(_CLOSED.search(scale["before"]))
    if scale is not None:
        end = scale.end()
    elif bracketed and (remark := _REMARK.match(said, end)):
        end = remark.end()
    if _VAGUE.match(said, end) or _VAGUE.match(said, found.end()):
        return gave("malformed")
    if (bracket := _CLOSE.match(said, end)) is not None:
        closed, end = True, bracket.end()
    elif found["open"] and not closed and (found["open"].endswith("<") or not _OPEN_ENDED.match(said, end)):
        inside = _CLOSED.split(_line(said, end))[0]
        return gave("range" if _BARE.search(inside) else "malformed")
    if closed and _GLUED.match(said, end):
        return gave("glued")
    if _VAGUE.match(said, end):
        return gave("malformed")
    if (points := _POINTS.match(said, end)) is not None:
        end = points.end()
    if scale is None and (scale := _OUT_OF.match(said, end)) is not None:
        end = scale.end()
    line = _line(said, end)
    marks = _FULL_MARKS.search(_PARTS_OF_IT.split(line)[0])
    scales = [scale["scale"]] if scale else []
    scales += [next(filter(None, marks.groups()))] if marks else []
    if any(float(other) != SCALE for other in scales) or _OTHER_SCALE.match(line):
        return gave("other-scale")
    number = _number(found)
    another = _ANOTHER.match(said, end)
    if another is not None and float(another["number"]) != number and (another["open"] or another["after"] != "\n"):
        return gave("several" if closed else "range")
    if not bracketed and not _ENDS.match(said, end):
        return None
    return Found(number, None, at, end, said[at:end])


def _no_number(said: str, at: int) -> Found | None:
    found = _NO_NUMBER.match(said, at)
    if found is None or not _BARE.search(found[1]):
        return None  # a form left empty
    return Found(None, "malformed", at, found.end(), found[0])


def _number(found: re.Match[str]) -> float:
    text = found["number"]
    half = 0.5 if found["half"] or found["and_half"] else 0
    if text[0] in _CHINESE:
        return _CHINESE[text[0]] + (0.5 if len(text) > 1 else half)
    return float(text) + half


def _last_line(said: str) -> int:
    """Where the last line begins that is no fence and no rule."""
    text = _CLOSING.sub(lambda line: " " * len(line[0]), _RULE.sub(lambda rule: " " * len(rule[0]), said)).rstrip()
    return text.rfind("\n") + 1


def _line(said: str, at: int, most: int = 200) -> str:
    """The rest of the line."""
    return said[at : at + most].partition("\n")[0]
