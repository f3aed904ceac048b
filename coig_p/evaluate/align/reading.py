"""The scores in a judgement of one answer, as a careful reader takes them. What is not certain is no score.

AlignBench: the last object {…} that names a dimension counts. It must be whole: each expected dimension and the overall
with a whole number from 1 to 10, whatever the quotes, spaces, or width of its punctuation. Nothing but the object that
stands last is ever taken for it: where that one cannot be read, the judgement is invalid. Objects that stand in the
material that was judged, or in quotation marks, are not the judge's, and one that is called an example behind it gives
no score. A score that is also said in words must be the same one.

MT-Bench-zh: the rating [[n]], a whole number from 1 to 10. All that are given must be the same one, also in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from coig_p.annotate.examples import called_example
from coig_p.evaluate.align.kinds import OVERALL
from coig_p.reward.judging.given import is_given, is_given_alone

_WIDE = str.maketrans(
    "\uff5b\uff5d\uff1a\uff0c\uff1b\uff07\uff02‘’“”\ufe5b\ufe5c\uff0b\uff0d\uff0e\uff0f１２３４５６７８９０",
    "{}:,;'\"''\"\"{}+-./1234567890",
)
_TRADITIONAL = str.maketrans("實確滿戶備綜邏輯連貫創豐負責與", "实确满户备综逻辑连贯创丰负责与")
_OPENS, _CLOSES = "{\uff5b\ufe5b", "}\uff5d\ufe5c"
_QUOTE = r"[\"'`]"
_KEY = re.compile(
    rf"\s*(?:({_QUOTE})\s*([^\"'`{{}}:,]{{1,40}}?)\s*\1|([^\s\"'`{{}}:,\d][^\"'`{{}}:,]{{0,39}}?))\s*:\s*"
)
_VALUE = re.compile(
    rf"(?:({_QUOTE})\s*([^\"'`{{}}]{{0,400}}?)\s*\1|([^\s\"'`{{}},:][^\"'`{{}},;]{{0,40}}?))\s*(?=[,;]|\Z)"
)
_WHOLE = re.compile(r"[\[［【]{0,2}\s*(-?\d{1,4})(?:\.0{1,4})?\s*(?:分|/\s*10|\s)?\s*[\]］】]{0,2}")
_ALIASES = ("总分", "总体评分", "总体得分", "综合评分", "综合分数", "总评分", "总得分", "最终得分", "overall", "score")
# Words before an object by which it is not the judgement: an example, the form asked for, another's score.
_EXAMPLE = re.compile(
    r"(?:例如|比如|譬如|示例|样例|举例|格式(?:如下|为|是|应为)?|模板|参考答案(?:的|可以|应|可)?(?:得|打|评)?分?(?:数)?(?:为|是)?|"
    r"如果[^。\n]*|假如[^。\n]*|倘若[^。\n]*|若[^。\n]*|"
    r"要求(?:我|打|给|输出|返回)?[^。\n]*|(?:回答|答案|助手|用户)(?:中|里|自称|声称|写道|写着)[^。\n]*|"
    r"原本|本来|本应|不是|而非|不应(?:该)?(?:是|给|为)?|不给|"
    r"\bfor example\b|\be\.g\.|\bif\b[^.\n]*|\bwould have\b[^.\n]*)"
    r"[\s:：,，（(“\"'`]*$",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"作废|不算数?|收回|撤回|更正|纠正|改为|修正为|应该?改|有误|不对|弄错|打错|写错|重新(?:打分|评分|评估)|忽略(?:上|以上|前)|"
    r"\bignore\b|\bdisregard\b|\bcorrection\b|\bretract",
    re.IGNORECASE,
)
_UNDECIDED = re.compile(r"或者|或是|都可以?|均可|皆可|之间|\bor\b|\beither\b", re.IGNORECASE)
_SAID = (
    r"[\s*_`\"'”“‘’」』】\])）]*(?:的)?\s*(?:最终)?(?:得分|打分|评分|分数|分值)?"
    r"[\s*_`]*(?:[:：=]|为|是|给|应为)\s*[\s*_`\"'“‘\[【(（]*"
)
_NUMBER = r"(-?\d{1,4}(?:\.\d+)?)\s*[\s*_`\"'”’\]】)）]*(?:(分)|([/／]\s*10\b)|(?=[\s。，,；;！!]*(?:\n|\Z)))"
_RANGE = re.compile(r"\s*(?:[-~～—–至到]|或)\s*\d")

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.MULTILINE)
_QUOTATION = re.compile(r"“[^“”]{0,4000}”|「[^「」]{0,4000}」|『[^『』]{0,4000}』|^[ \t]*>[^\n]*$", re.MULTILINE)
_MARK = re.compile(
    r"\\?[\[［【]\s{0,4}\\?[\[［【]\s{0,4}([^\[\]［］【】\n]{0,40}?)\s{0,4}\\?[\]］】]\s{0,4}\\?[\]］】]"
)
_MOST = 200  # objects or marks of one judgement that are looked at, the last ones
_LEAST_COPIED = 8


class Read(NamedTuple):
    """What a judgement says.

    Attributes:
        scores: each dimension, and last the overall; of MT-Bench-zh the overall alone. None where there are none.
        reason: why there are none: none, quoted, malformed, missing, not-whole, out-of-range, several, not-given.
    """

    scores: Mapping[str, int] | None
    reason: str | None = None

    @property
    def overall(self) -> int | None:
        """The score that counts."""
        return None if self.scores is None else self.scores[OVERALL]


class _Object(NamedTuple):
    begin: int
    end: int
    inner: str


def folded(name: str) -> str:
    """A dimension's name as names are compared: simplified, in one case."""
    return name.translate(_TRADITIONAL).casefold()


def read_scores(
    text: str, dimensions: Sequence[str], material: Sequence[str] = (), *, names: Mapping[str, str] | None = None
) -> Read:
    """The scores of an answer that a judgement gives.

    Args:
        text: what the judge said, without its thinking.
        dimensions: those it must give, without the overall.
        material: what was judged: an object that stands there is a quotation.
        names: how this judge was told to write dimensions and the overall, by AlignBench's; None: as these are.
    """
    ours = (*dimensions, OVERALL)
    names = {} if names is None else names
    wanted = tuple(folded(names.get(one, one)) for one in ours)
    read = _scores(text, wanted, material)
    if read.scores is None:
        return read
    return Read(dict(zip(ours, read.scores.values(), strict=True)))


def _scores(text: str, wanted: tuple[str, ...], material: Sequence[str]) -> Read:
    """The same by names that are folded, of which the overall's is last."""
    quoted = [(found.start(), found.end()) for found in _QUOTATION.finditer(text)]
    theirs = {_plain(one.inner) for each in material for one in _objects(each)}
    pairs = [_pairs(one.inner) for each in material for one in _objects(each)]
    meant = [dict(one) for one in pairs if isinstance(one, list)]
    found, copied = [], False
    for one in list(_objects(text))[-_MOST:]:
        if not any(name in folded(one.inner) for name in wanted):
            continue
        told = _pairs(one.inner)
        same = _plain(one.inner) in theirs or (isinstance(told, list) and dict(told) in meant)
        if same or any(begin < one.begin and one.end <= end for begin, end in quoted):
            copied = True
            continue
        found.append(one)
    if not found:
        return Read(None, "quoted" if copied else "none")
    last = found[-1]
    if _EXAMPLE.search(text[max(0, last.begin - 80) : last.begin].rpartition("\n")[2]) or _EXAMPLE.search(
        _lines_before(text, last.begin)
    ):
        return Read(None, "not-given")
    read = _whole(_pairs(last.inner), wanted)
    if read.scores is None:
        return read
    if _is_open(text, last):
        return Read(None, "malformed")
    outside = _without(text, [(one.begin, one.end) for one in _objects(text)] + quoted)
    behind = outside[last.end :]
    if called_example(text[last.end - 1 : last.end] + behind):
        return Read(None, "not-given")
    if _TAKEN_BACK.search(behind) or any(one in behind for one in _OPENS):
        return Read(None, "several")
    earlier = [_whole(_pairs(one.inner), wanted).scores for one in found[:-1]]
    if any(one not in (None, read.scores) for one in earlier) and _UNDECIDED.search(outside[found[-2].end :]):
        return Read(None, "several")
    for name, score in read.scores.items():
        if any(said != score for said in _said(outside, name, material, is_overall=name == wanted[-1])):
            return Read(None, "several")
    return read


def _lines_before(text: str, at: int) -> str:
    """The last line with words before an object that stands on a line of its own, also within a fence."""
    lines = [line for line in text[:at].splitlines() if line.strip() and not _FENCE.fullmatch(line)]
    own = text[:at].rpartition("\n")[2]
    return "" if own.strip() or not lines else lines[-1][-80:]


def _is_open(text: str, one: _Object) -> bool:
    """Whether an object stands within another, which says something that is not read."""
    before = _without(text[: one.begin], [(inner.begin, inner.end) for inner in _objects(text[: one.begin])])
    line = before.rpartition("\n\n")[2]
    return any(mark in line for mark in _OPENS)


def _objects(text: str) -> Iterator[_Object]:
    """What stands in braces that hold no others, in order."""
    begin: int | None = None
    for at, letter in enumerate(text):
        if letter in _OPENS:
            begin = at
        elif letter in _CLOSES and begin is not None:
            yield _Object(begin, at + 1, text[begin + 1 : at])
            begin = None


def _pairs(inner: str) -> list[tuple[str, str]] | str:
    """The names and values of an object as they stand; or why it is none."""
    rest = inner.translate(_WIDE).strip()
    found: list[tuple[str, str]] = []
    while rest:
        key = _KEY.match(rest)
        if key is None:
            return "malformed"
        value = _VALUE.match(rest, key.end())
        if value is None:
            return "malformed"
        name = folded((key[2] or key[3]).strip("【】[]*_ "))
        found.append((name, value[2] if value[1] else value[3]))
        rest = rest[value.end() :].strip()
        if rest:
            rest = rest[1:].strip()
    return found


def _whole(pairs: list[tuple[str, str]] | str, wanted: Sequence[str]) -> Read:
    """An object's scores, where every one that is wanted stands in it as it must."""
    if isinstance(pairs, str):
        return Read(None, pairs)
    told: dict[str, str] = {}
    for name, value in pairs:
        if told.setdefault(name, value) != value:
            return Read(None, "several")
    if any(name not in told for name in wanted):
        return Read(None, "missing")
    scores: dict[str, int] = {}
    for name in wanted:
        number = _number(told[name])
        if number is None:
            return Read(None, "not-whole")
        if not 1 <= number <= 10:
            return Read(None, "out-of-range")
        scores[name] = number
    for name in told:
        if name in _ALIASES and _number(told[name]) != scores[wanted[-1]]:
            return Read(None, "several")
    return Read(scores)


def _said(text: str, name: str, material: Sequence[str], *, is_overall: bool) -> Iterator[float]:
    """The scores of a dimension, or of the whole, that stand in a judgement's words."""
    names = (name, *_ALIASES[:8], "综合分", "总体分") if is_overall else (name,)
    pattern = "|".join(map(re.escape, names))
    for found in re.finditer(rf"(?:{pattern}){_SAID}{_NUMBER}", text, re.IGNORECASE):
        line = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
        if _RANGE.match(text, found.end(1)) or re.search(
            r"如果|假如|若|参考答案|要求|例如|比如|满分|\d\s*[-~～至到]\s*$", line
        ):
            continue
        if any(_plain(found[0]) in _plain(each) for each in material if len(_plain(found[0])) >= _LEAST_COPIED):
            continue
        yield float(found[1])


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """A text with nothing in some places."""
    letters = list(text)
    for begin, end in spans:
        letters[begin:end] = " " * (end - begin)
    return "".join(letters)


def _plain(text: str) -> str:
    return "".join(text.translate(_WIDE).split())


# ------------------------------------------------------------------------------------------------


def read_rating(text: str, material: Sequence[str] = ()) -> Read:
    """The rating [[n]] that a judgement gives.

    Args:
        text: what the judge said, without its thinking.
        material: what was judged: a judgement that stands in it is a quotation.
    """
    final = _final(text)
    bare = _QUOTATION.sub(lambda found: " " * len(found[0]), text)
    marks = [one for one in list(_MARK.finditer(bare))[-_MOST:] if _number(one[1]) is not None]
    said = {_number(one[1]) for one in marks} | ({final} if final is not None else set())
    if not said:
        other = [one for one in _MARK.finditer(text) if re.search(r"\d", one[1])]
        return Read(None, ("quoted" if _number(other[-1][1]) is not None else "not-whole") if other else "none")
    if any(re.search(r"\d", one[1]) and _number(one[1]) is None for one in _MARK.finditer(bare)):
        return Read(None, "several")
    if len(said) > 1:
        return Read(None, "several")
    if len(_plain(_MARK.sub("", text))) >= _LEAST_COPIED and any(_plain(text) in _plain(one) for one in material):
        return Read(None, "quoted")
    if marks and called_example(bare[marks[-1].end() - 1 :]):
        return Read(None, "not-given")
    if final is None and not any(_is_rating_given(bare, one.start(), one.end()) for one in marks):
        return Read(None, "not-given")
    number = said.pop()
    assert number is not None
    if any(told != number for told in _said(bare, OVERALL, material, is_overall=True)):
        return Read(None, "several")
    if not 1 <= number <= 10:
        return Read(None, "out-of-range")
    return Read({OVERALL: number})


_LABEL = re.compile(
    r"(?:^|[\n。！？；;.!,，])\s*[-*•#>\s]*(?:因此|所以|综上(?:所述)?|总之|最终|最后|综合(?:来看|考虑|以上)?|总体(?:来看|而言)?|[,，\s])*"
    r"(?:我(?:会|将)?(?:的)?|本评审)?(?:最终|最后|综合|总体|给出|打出|评|的|为|该|这|个|回答|答案|助手|[\s*_`])*"
    r"(?:评分|得分|打分|分数|评级|rating|score|给分)(?:结果)?[\s*_`]*(?:[:：=]|是|为|应为|如下)*[\s*_`]*$",
    re.IGNORECASE,
)
_IF = re.compile(
    r"如果|假如|假设|假使|倘若|要是|若(?!干)|除非|万一|的话|否则|原本|本来|本应|满分|例如|比如|要求|参考答案|不|"
    r"\bif\b|\bunless\b|\bwould\b|\bnot\b|\bexample\b",
    re.IGNORECASE,
)
_RETRACTED = re.compile(r"\W{0,3}(?:吗|么|不对|不是|才怪|[?？]|是?(?:错|有误|不合适|不妥)|to\b|[-~～至到]|/)")


def _is_rating_given(text: str, begin: int, end: int) -> bool:
    """Whether a rating is given where it stands: as a verdict is, or behind a label."""
    if _RETRACTED.match(re.sub(r"^[ \t]*/[ \t]*10\b", "", text[end : end + 20])):
        return False
    rest = text[end:]
    shorter = re.sub(r"^[ \t]*(?:分|/[ \t]*10)(?=\W|\Z)", "", rest)
    return is_given(text[:end] + shorter, begin, end) or _is_labelled(text[:begin])


def _is_labelled(before: str) -> bool:
    """Whether a label ends what stands before a rating, in a sentence without a condition."""
    sentence = re.split(r"[。！？!?\n]", before)[-1]
    return _LABEL.search("\n" + sentence[-120:]) is not None and not _IF.search(sentence)


def _final(text: str) -> int | None:
    """The rating that is the last line, alone."""
    lines = [line for line in text.splitlines() if line.strip() and not _FENCE.fullmatch(line)]
    found = list(_MARK.finditer(lines[-1])) if lines else []
    if len(found) != 1 or not (
        is_given_alone(lines[-1], found[0].start(), found[0].end())
        or (not lines[-1][found[0].end() :].strip("。.!！*_` ") and _is_labelled(lines[-1][: found[0].start()]))
    ):
        return None
    return _number(found[0][1])


def _number(text: str) -> int | None:
    """A whole number as judges write it: 8, 8分, 8/10, 8.0; None where it is none."""
    found = _WHOLE.fullmatch(text.translate(_WIDE).strip("*_` "))
    return int(found[1]) if found and found[1] == str(int(found[1])) else None
