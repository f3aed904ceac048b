"""Whether a text-only model can do what a prompt asks, as an answer says it: on its last line, or on its first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

from coig_p.annotate.plain import plain
from coig_p.annotate.tap.bare import ARROW, LABEL, LEADS, LONGEST_LINE, MARKS, ONLY_MARKS, any_of, bare
from coig_p.annotate.tap.data import data_in
from coig_p.annotate.tap.ending import ends
from coig_p.annotate.tap.grids import with_bars
from coig_p.annotate.tap.lines import chosen_box, is_fence, own, said, unfenced
from coig_p.annotate.tap.reads import FeasibleRead
from coig_p.annotate.taxonomy.words import WORDS, Words

_NEGATES = re.compile(r"不|没|非|未|无|难|(?<!是)否|\b(?:not|no|never|hardly)\b|n['’]t\b", re.IGNORECASE)
_EITHER_OR = re.compile(r"\(?(?:不合理 ?(?:/|\||、|或|还是) ?合理|合理 ?(?:/|\||、|或|还是) ?不合理)\)?")
_SUPPOSES = re.compile(
    r"如果|假如|假设|若|除非|只要(?!求)|只有|可能|似乎|也许|\b(?:if|unless|maybe|perhaps)\b", re.IGNORECASE
)


def parse_feasible(text: str, words: Words = WORDS) -> FeasibleRead:
    """The verdict of the last line that is not empty, or of the first, where nothing speaks against it; and the rest.

    A first line counts that is a verdict alone, or behind a label, and so does a last one above a closing formula; data
    counts that has a verdict under a key. Reasons: none, several, unfinished.
    """
    whole = said(text)
    if whole is None:
        return FeasibleRead(None, "", "unfinished")
    whole = chosen_box(own(unfenced(whole)), (*words.feasible, *words.infeasible))
    whole = _TAG_ALONE.sub("", whole) if len(_TAG_ALONE.findall(whole)) == 2 else whole
    data = data_in(whole)
    if data.broken is not None and re.search(r"[\"'“<>]\s*[:：]|<", data.broken):
        return FeasibleRead(None, whole, "unfinished")
    told = {verdict for _, value in data.values for verdict in _in_data(value, words)}
    if told:
        told |= {verdict for _, value in data.values for verdict in _stated_in(value, words)}
        rest = [line for line in data.rest.split("\n") if not ONLY_MARKS.fullmatch(line)]
        told |= {verdict for line in rest if (verdict := _judges(line, words)) is not None}
        return _read(told.pop() if len(told) == 1 else None, whole, "several")
    rows = [line for line in with_bars(whole, _is_header).split("\n") if line.lstrip().startswith("|")]
    if rows and (of_table := set(_in_table(rows, words))):
        return _read(of_table.pop() if len(of_table) == 1 else None, whole, "several")
    every = whole.split("\n")
    places = [at for at, line in enumerate(every) if not ONLY_MARKS.fullmatch(line)]
    if not places or every[places[-1]].lstrip().startswith("{"):
        return FeasibleRead(None, whole if places else "", "none")
    return _of_lines(every, places, words)


def _read(verdict: bool | None, reasons: str, why: str) -> FeasibleRead:
    return FeasibleRead(verdict, reasons, why if verdict is None else None)


def _of_lines(every: list[str], places: list[int], words: Words) -> FeasibleRead:
    """The verdict of the last line, below which a closing formula may stand, or of the first.

    Args:
        places: of the lines that are not empty.
    """
    lines = [every[at] for at in places]
    end = len(lines)
    while end > 1 and len(lines) - end < 2 and _says(lines[end - 1], words) is None:
        if not _CLOSES.match(bare(lines[end - 1])) or _any_verdict(lines[end - 1], words):
            break
        end -= 1
    for last, whole in ((len(lines) - 1, True), (end - 1, False)):
        feasible = _says(lines[last], words)
        if feasible is None or (not whole and _clear(lines[last], words) is None):
            continue
        above = [line for line in every[: places[last]] if not is_fence(line)]
        fits = _fits(above, lines[last], words, feasible=feasible)
        return _read(feasible if fits else None, "\n".join(above).strip(), "several")
    feasible = _clear(lines[0], words)
    rest = [line for line in every[places[0] + 1 :] if not is_fence(line)]
    if feasible is None or len(lines) == 1:
        return FeasibleRead(None, "\n".join(every[: places[-1]]).strip(), "none")
    doubted = any(_DOUBTS.search(line) or _speaks_against(line, words, feasible=feasible) for line in map(bare, rest))
    return _read(None if doubted else feasible, "\n".join(rest).strip(), "several")


def _says(line: str, words: Words) -> bool | None:
    """The verdict that a line says, in any way that is certain, or that its last sentence says."""
    if _OF_A_PART.match(bare(line)):
        return None
    line = _EITHER_OR.sub("", plain(line)) if "合理" in line else line
    for part in (line, *_last_sentence(line)):
        last = bare(_concluding(part))
        for way in (
            partial(_judges, words=words),
            _spoken,
            partial(_labelled_verdict, words=words),
            _at_the_end,
            _in_other_words,
        ):
            feasible = way(last)
            if feasible is not None:
                return feasible
    return ends(line, words)


def _last_sentence(line: str) -> list[str]:
    """The last of several sentences in a line, where those before suppose nothing and tell of nobody."""
    before, mark, last = line.rstrip(" 。.！!*_").rpartition("。")
    if not mark or not last.strip() or _SUPPOSES.search(before) or _TOLD_OF.search(before):
        return []
    return [last.strip()]


def _clear(line: str, words: Words) -> bool | None:
    """The verdict that a line is, alone or behind a word for verdicts, as a headline is."""
    line = bare(line).rstrip("。.！!")
    found = _HEADLINE.match(line)
    return _judges(line if found is None else line[found.end() :], words)


def _fits(above: list[str], last: str, words: Words, *, feasible: bool) -> bool:
    """Whether what stands above a verdict is no other one that is not corrected, and does not end with the opposite."""
    reasons = "\n".join(above).strip()
    if _CORRECTS.search(reasons) or _CORRECTS.search(last):
        return True
    if _contradicts(reasons, feasible=feasible):
        return False
    certain = _clear(last, words) is not None or _LABELLED.search(bare(last)) or _CONCLUDING.match(bare(last))
    opposite = [line for line in above if _clear(line, words) is (not feasible)]
    if not certain:
        opposite += [line for line in above if _says(line, words) is (not feasible)]
    return not opposite


def _any_verdict(line: str, words: Words) -> bool:
    return re.search(f"{any_of(words.infeasible)}|{any_of(words.feasible)}", line, re.IGNORECASE) is not None


def _speaks_against(line: str, words: Words, *, feasible: bool) -> bool:
    """Whether a reason behind a verdict has the opposite, or says that the model can, or cannot."""
    line = _EITHER_OR.sub("", line)
    no, yes = any_of(words.infeasible), any_of(words.feasible)
    if feasible:
        return re.search(no, line, re.IGNORECASE) is not None or _CANNOT.search(line) is not None
    return re.search(yes, re.sub(no, "", line, flags=re.IGNORECASE), re.IGNORECASE) is not None or (
        _CAN.search(line) is not None
    )


def _in_data(value: Any, words: Words) -> Iterator[bool]:
    """Every verdict that an object has under a key of verdicts."""
    if isinstance(value, list):
        for one in value:
            yield from _in_data(one, words)
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, dict | list):
            yield from _in_data(item, words)
        elif _VERDICT_KEY.fullmatch(key.replace("_", " ").strip()):
            verdict = item if isinstance(item, bool) and _FEASIBLE_KEY.search(key) else None
            verdict = _judges(item, words) if isinstance(item, str) else verdict
            if verdict is not None:
                yield verdict


def _stated_in(value: Any, words: Words) -> Iterator[bool]:
    """Every verdict that an object has, under any key: two that differ are none."""
    for one in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        if isinstance(one, list | dict):
            yield from _stated_in(one, words)
        elif isinstance(one, str) and (verdict := _judges(one, words)) is not None:
            yield verdict


def _is_header(cells: list[str]) -> bool:
    return any(_VERDICT_KEY.fullmatch(bare(cell)) for cell in cells)


def _in_table(rows: list[str], words: Words) -> Iterator[bool]:
    """Every verdict in a column, or behind a first cell, that is headed so."""
    every = [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]
    heads = [at for at, cell in enumerate(every[0]) if _VERDICT_KEY.fullmatch(bare(cell))]
    for cells in every:
        named = len(cells) == 2 and _VERDICT_KEY.fullmatch(bare(cells[0]))
        for cell in cells[1:] if named else [cells[at] for at in heads if at < len(cells)]:
            verdict = _judges(cell, words)
            if verdict is not None:
                yield verdict


_TAG_ALONE = re.compile(r"^[ \t]*</?[A-Za-z_\u4e00-\u9fff]{1,20}>[ \t]*$", re.MULTILINE)
_VERDICT_KEY = re.compile(
    r"(?:最终|最后|总体)?的?(?:判断|结论|判定|结果|答案|是否合理|合理性|可行性|是否可行)(?:结果)?"
    r"|(?:final )?(?:verdict|conclusion|judge?ment|result|answer|decision|label|feasibility)"
    r"|(?:is )?feasible|reasonable",
    re.IGNORECASE,
)
_FEASIBLE_KEY = re.compile(r"合理|可行|feasib|reasonable", re.IGNORECASE)
_HEADLINE = re.compile(rf"(?:我的|my )?(?:{_VERDICT_KEY.pattern}){MARKS} ?(?::|——|是|为|is ){MARKS} ?", re.IGNORECASE)
_CLOSES = re.compile(
    r"(?:完\Z|完毕|以上|感谢|谢谢|如有|如需|(?:如果|若|假如)(?:您|你|还|需要|有需要|有)|需要的话|希望|欢迎|请(?:您|继续|随时)|注:|备注:|说明:|附注?:|供参考|(?:仅|以上)供参考"
    r"|let me know|note:|hope|i hope|thank|feel free|please)",
    re.IGNORECASE,
)
_DOUBTS = re.compile(
    r"(?:^|[。，])不[，,]|再想|等等|不(?:太)?确定|不好说|难说|两可|也许|或许|说不定"
    r"|也?可能(?:是|应)|应当?改|更正|修正|重新|\b(?:unsure|not sure|maybe|perhaps)\b",
    re.IGNORECASE,
)
_CONCLUDING = re.compile(
    r"(?:因此|所以|综上|总之|故|最终|最后|结论|总体|therefore|thus|so|overall|in conclusion|finally)", re.IGNORECASE
)


def _labelled_verdict(last: str, words: Words) -> bool | None:
    """The verdict that a line is, with what leads to it and a reason behind it."""
    found = _feasible_line(words).fullmatch(last) if len(last) <= LONGEST_LINE else None
    before = _EITHER_OR.sub("", last[: found.start("verdict")]) if found is not None else ""
    if found is None or _SUPPOSES.search(before) or _TOLD_OF.search(before) or _NEGATES.search(before):
        return None
    if re.search(rf"{any_of(words.feasible)}{MARKS}(?:{ARROW}|=)", before, re.IGNORECASE):
        return None  # from one to the other, or a key to both
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
    r"更正|修正|纠正|重新考虑|改为|改判|以[^，。\n]{1,8}为准|\b(?:correction|on second thought|actually)\b",
    re.IGNORECASE,
)
_HEAD_WORD = r"(?:最终|最后)?的?(?:判断|结论|答案|判定|结果)"
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


# 不能算是合理的指令：模型没有鼻子。
_DENIED = re.compile(
    rf"{_WHAT}?不能(?:算|说|称|视为)(?:作|为|是)?合理的?(?:指令|题目|要求|任务)?(?P<tail>[:：，,。;；][^？?]*)?"
)


def _spoken(line: str) -> bool | None:
    """The verdict of a clause that says it in a sentence of its own."""
    denied = _DENIED.fullmatch(line)
    if denied is not None:
        return None if re.search("合理|但|不过|如果|若", denied["tail"] or "") else False
    found = _SPOKEN.fullmatch(line)
    if found is None or (found["unable"] and not found["no"]):
        return None
    return not found["no"]


_OF_A_PART = re.compile(r"第[一二三四五六七八九十0-9]+[个]?[问项条点题部]")
# A conclusion behind a comma: ……，所以该指令不合理; ……。综上所述，判断为“合理”.
_AT_THE_END = re.compile(
    rf"(?P<before>.*[，,。.;；])[ \t]*(?:(?:因此|所以|故|综上所述|综上|总之)[，,]?[ \t]*{_WHAT}?(?:是|属于|判为)?"
    r"|(?P<agrees>)(?:是|为|属于)?"
    r"|(?:so|therefore|thus|hence),? (?:it|this|(?:the|this) (?:task|prompt|instruction|request))(?: is|['’]s) "
    r"|(?:(?:因此|所以|故|综上所述|综上|总之)[，,]?[ \t]*)?"
    r"(?:应(?:该|当)?(?:判为|判定为|视为)|(?:判断|结论|判定)(?:为|是)?[:：]?))"
    r"[“\"「]?(?:(?P<no>不合理的?|(?:not |in|un)feasible|not reasonable|unreasonable)|合理的?|feasible|reasonable)"
    r"[”\"」]?[。.!！]?",
    re.IGNORECASE,
)
_DOES = r"(?:完成|做到|执行|实现)(?:它|(?:该|这条|此)?(?:指令|任务|要求))?"
_CANNOT = re.compile(
    rf"(?:(?:模型|它)(?:做不到|办不到)|(?:^|模型|它|[，,。])(?:因此|所以|故|也|就)?"
    rf"(?:无法|不能够?|不可能|没有?办法){_DOES})[。.!！]?\Z",
    re.MULTILINE,
)
_CAN = re.compile(
    rf"(?:^|模型|它|[，,。])(?:因此|所以|故|也|就)?(?:完全|都)?(?:能够?|可以){_DOES}[。.!！]?\Z", re.MULTILINE
)
# The nearest of other words for the two verdicts; that it can be done is a reason, and no verdict.
_OTHER_WORDS = re.compile(
    rf"(?:(?:{_HEAD_WORD}|可行性|合理性|是否可行)(?:是|为)?(?:[:：]|→)?[ \t]*)?(?:因此|所以|综上"
    rf"|总之)?[，,]?{_WHAT}?是?"
    r"(?:(?P<no>不可行)|可行)的?[。.!！]?"
)
_LABELLED = re.compile(r"(?:最终|最后)?的?(?:判断|结论|答案)[:：][ \t]*(?P<no>不)?合理[。.]?")


def _in_other_words(line: str) -> bool | None:
    """The verdict of a line that says, without the words of one, that it can be done, or not."""
    found = _OTHER_WORDS.fullmatch(line)
    return None if found is None else found["no"] is None


def _at_the_end(line: str) -> bool | None:
    """The verdict that a line ends with, behind its reasons."""
    found = _AT_THE_END.fullmatch(line) if len(line) <= LONGEST_LINE else None
    if found is None:
        return None
    before = found["before"]
    if (
        _SUPPOSES.search(before)
        or _TOLD_OF.search(before)
        or re.search(r"合理|[?？]|但|不过|然而|\b(?:but|however|feasible|reasonable)\b", before)
    ):
        return None
    feasible = found["no"] is None
    before = before.rstrip("，,")
    if found["agrees"] is not None and not (_CAN if feasible else _CANNOT).search(before):
        return None
    return None if _contradicts(before, feasible=feasible) else feasible


def _contradicts(reasons: str, *, feasible: bool) -> bool:
    """Whether reasons end with the opposite of a verdict, or have it under a label."""
    if (_CANNOT if feasible else _CAN).search(reasons):
        return True
    if _CORRECTS.search(reasons):
        return False
    told = [_LABELLED.fullmatch(bare(line)) for line in reasons.split("\n")]
    return any(one is not None and (one["no"] is None) is not feasible for one in told)


def _judges(line: str, words: Words) -> bool | None:
    """The verdict that a line is, and nothing else, or in two languages."""
    told = {_is_verdict(part, words) for part in re.split(r" / |(?<=[一-鿿])/(?=[A-Za-z])", line)}
    return told.pop() if len(told) == 1 else None


def _is_verdict(line: str, words: Words) -> bool | None:
    line = bare(line).rstrip("。.!！")
    for verdict, each in ((True, words.feasible), (False, words.infeasible)):
        if re.fullmatch(any_of(each), line, re.IGNORECASE):
            return verdict
    return None


def _concluding(line: str) -> str:
    """The end of a line that begins with reasons and goes on with a labelled conclusion, which is not quoted."""
    found = _CONCLUDES.fullmatch(line)
    if found is None or re.search(r"[“”「」\"]", found["last"]) or _TOLD_OF.search(line[: found.start("last")]):
        return line
    return found["last"]


@lru_cache(maxsize=8)
def _feasible_line(words: Words) -> re.Pattern[str]:
    verdict = f"(?P<verdict>(?P<no>{any_of(words.infeasible)})|{any_of(words.feasible)})"
    what = (
        r"(?:(?:该|这个?|这条|此|本|上述)?(?:指令|题目|要求|任务|prompt)"
        r"|(?:the|this) (?:given )?(?:prompt|instruction|task|request)|(?:it|this)(?=['’ ]))"
    )
    return re.compile(
        rf"(?:(?:{LABEL}|{LEADS}){MARKS}){{0,3}}(?:[^，,。:]{{2,20}}[，,] ?(?={what}|我))?"
        rf"(?:(?:我|可以)?(?:认为|判断|判定|觉得)(?:是|为)?)?{MARKS}(?:{what} ?)?"
        rf"(?:(?:是|为|属于|is|['’]s) ?)?{MARKS}{verdict}的?{MARKS}"
        rf"(?P<tail>[。.!！~～…]*|(?:[，,。.;；!！:—-]{{1,2}} ?|[。.]? ?\(| ?because ).{{0,300}}){MARKS}",
        re.IGNORECASE,
    )


def _unsure(tail: str, words: Words, *, feasible: bool) -> bool:
    """Whether what stands behind a verdict takes something of it back."""
    if re.search(
        r"但|不过|然而|不对|更正|修正|等等|如果|若|除非|部分|前提|可能|[?？]|\b(?:but|if|unless|partly|maybe|mostly|however)\b",
        tail,
    ):
        return True
    same, other = map(any_of, (words.feasible, words.infeasible) if feasible else (words.infeasible, words.feasible))
    tail = re.sub(rf" ?\((?:{same}|(?:而不是|而非|rather than |not ){other})\)", "", tail, count=1, flags=re.IGNORECASE)
    if re.search(f"{any_of(words.infeasible)}|{any_of(words.feasible)}", tail, re.IGNORECASE):
        return True
    able = re.search(r"可以|能够?(?!力)|\bcan\b", tail, re.IGNORECASE) is not None
    unable = (
        re.search(r"不(?:可以|能|行)|无法|做不到|没有?办法|cannot|can['’]t|unable|not able", tail, re.IGNORECASE)
        is not None
    )
    return unable if feasible else able and not unable
