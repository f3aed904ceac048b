"""Eight scores in a judgement of two responses: four dimensions of each. What does not have all eight is invalid."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from coig_p.annotate.plain import plain
from coig_p.annotate.quoting import unmarked
from coig_p.annotate.tap.lines import either, is_fence, said, shows, unquoted_scores
from coig_p.annotate.tap.ordered import in_order
from coig_p.annotate.tap.reads import EightRead, Four
from coig_p.annotate.taxonomy.words import DIMENSIONS, WORDS, Words

LOW, HIGH = 1, 10

_NUMBER = r"[0-9]{1,4}(?:\.[0-9]{1,4})?"
_IN_BRACKETS = rf"\[{{1,2}} {{0,3}}(?P<in>{_NUMBER}) ?(?:分|/ ?10)? {{0,3}}\]{{1,2}}(?: ?(?:/ ?10(?![0-9])|分))?"
_BARE = (
    rf"(?P<bare>(?<![-+.0-9]){_NUMBER}) ?(?:分|/ ?10(?![0-9])|points?\b)?(?=\s{{0,9}}(?:[,，、。;；)(|]|\.(?![0-9])|$))"
)
_VALUE = rf"[*_`$( ]{{0,6}}(?:{_IN_BRACKETS}|{_BARE})[*_`$)]{{0,4}}"
_MARK = re.compile(r"\[\[[^\[\]\n]{0,20}\]?\]|\[ ?[0-9][0-9./ ]{0,6}\]")
_ANOTHER = re.compile(r"\s{0,3}(?:[-~→/]|到|至|或|\bor\b|->)|.{0,200}?\[ ?\[? ?[0-9]", re.IGNORECASE)
_OTHER_NUMBER = re.compile(
    r".{0,40}(?:满分|总分|out of)|\s{0,3}[,，、或和+=]\s{0,3}[0-9]|.{0,40}(?:也可|或者?).{0,9}[0-9]"
)
_AT_THE_END = re.compile(rf".{{0,400}}?[。.,;，；:) ]\[\[ ?(?P<in>{_NUMBER}) ?\]\][。.]?")
_CORRECTS = re.compile(
    r"(?:更正|修正|修改|改为|改成|应为|应该是|重新评分|等等|correction|corrected|revised|on second thought|wait,)",
    re.IGNORECASE,
)
_BETWEEN = (
    r"(?: ?\([^()0-9\n]{0,40}\))?(?:的?(?:评分|得分|分数|打分)| ?(?:score|rating))?[*_` ]{0,4}"
    r"(?:[:=]{1,2}|-{1,2}(?= )|—{1,2}|–|为|是)? {0,3}"
)
_BREAKS = re.compile(r"<br ?/?>|</?(?:p|li|div|h[1-6]|ul|ol)>", re.IGNORECASE)
_NAMED_NUMBER = re.compile(rf"\[\[ ?(?:n|score|分数) ?[=:] ?({_NUMBER}) ?\]\]", re.IGNORECASE)
_ANGLED = re.compile(rf"(?<=:) ?<({_NUMBER})>(?= *$)", re.MULTILINE)
_IN_CHINESE = re.compile(
    r"(?:(?<=\[\[)|(?<=: )|(?<=:))([一二三四五六七八九十])(?=\]\]|分(?:$|[,，。;；、]))", re.MULTILINE
)
_ENGLISH = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_FULL = re.compile(r"(?<=10分) ?\(满分\)")
_SWAPPED = re.compile(
    r"(?:次序|顺序|先后|两个回答)[^。\n0-9]{0,10}(?:弄反|搞反|弄混|搞混|对调|颠倒)[^。\n]{0,12}(?:了|请自行|$)"
)
_NUMERALS = "零一二三四五六七八九十"
# Of what was scored already.
_SUMS_UP = re.compile(r"(?:各?(?:平均|均)分?|总分|合计|总计|(?:the )?(?:average|mean|total)s?\b)", re.IGNORECASE)
_FINAL = re.compile(r"[#*\s\[]*(?:最终|最后|final\b)", re.IGNORECASE)
_DRAFT = re.compile(r"初步|初评|暂定|preliminary|initial|draft", re.IGNORECASE)
_LAST_LETTER = re.compile(r"#[^:\n]{1,40} ([AB])")  # a heading in another language
_ANEW = re.compile(
    r"^[^0-9\n]*(?:评分|打分|分数|重新?评|scores?|ratings?)[^0-9\n]{0,12}[。.:]?$", re.MULTILINE | re.IGNORECASE
)
_UNREAD = ("none", "missing", "unlabelled", "several")  # for which the order of names is tried
_LABELS = (r"[A1一甲]", r"[B2二乙]")
_NOUN = (
    r"(?:大语言模型|语言模型|模型|助手|回答|回复|回应|答复|答案|large language model"
    r"|response|assistant|answer|model|llm)"
)
_OWN = r"(?:的?(?:评分|得分|分数|打分)| ?(?:的)?(?:回复|回答)(?:的?(?:评分|得分|分数))?| ?scores?| ?ratings?)"
_ASIDE = r"\((?:1 ?[-~到至] ?10|(?:10|十)分制|满分(?:为|是)? ?(?:10|十) ?分?|[^0-9()]{0,20})\)"
_LETTER = re.compile(
    r"(?:(?:[Ss]cores?|[Rr]atings?) (?:of|for) )?([AB])(?: ?的?(?:评分|得分|分数)|['’]s (?:scores?|ratings?))?:?"
)
_DECORATION = "#*_`>-•+[]<>() \t"


class _Score(NamedTuple):
    """A number that stands for a response (0, 1; None: nothing says for which) and a dimension (None, too)."""

    side: int | None
    dimension: int | None
    number: float


class _Column(NamedTuple):
    """What a cell of a table names: a response, a dimension, or that scores stand below."""

    side: int | None
    dimension: int | None
    is_score: bool


@dataclass
class _Found:
    """Scores in their order, and what was seen that makes them uncertain."""

    scores: list[_Score] = field(default_factory=list)
    doubt: str | None = None
    named: bool = False  # a header that names a response was not understood


class _Names:
    """How responses and dimensions may be called, as patterns."""

    def __init__(self, words: Words) -> None:
        sides = []
        for label, own in zip(_LABELS, (words.first, words.second), strict=True):
            named = either(tuple(map(plain, own)))
            ordinal = "第一[个条份]?" if label == _LABELS[0] else "第二[个条份]?"
            sides.append(rf"(?:{named}|{_NOUN} ?{label}(?![A-Za-z0-9])|{ordinal}{_NOUN})")
        self.side = rf"(?:(?P<first>{sides[0]})|(?P<second>{sides[1]}))"
        self.sides = sides
        each = [either(tuple(map(plain, getattr(words, name)))) for name in DIMENSIONS]
        each[0] = rf"(?:{each[0]}|相關性)"
        self.each = each
        self.dimension = "|".join(f"(?P<{name}>{one})" for name, one in zip(DIMENSIONS, each, strict=True))
        flags = re.IGNORECASE
        self.header = re.compile(
            rf"(?:[0-9一二]{{1,2}}[.、] ?)?(?:(?:对|對|scores?|ratings?|evaluation) ?(?:of|for)? ?(?:the )?)?"
            rf"(?:response from )?{self.side}"
            rf"(?:['’]s)? ?(?:{_ASIDE})? ?(?:的?最终)?(?:{_OWN})? ?(?:{_ASIDE})?[: *_\])]*",
            flags,
        )
        self.dimension_header = re.compile(rf"(?:[0-9]{{1,2}}[.、] ?)?(?:{self.dimension}){_BETWEEN}[: *_]*", flags)
        self.entry = re.compile(rf"(?:{self.dimension}){_BETWEEN}{_VALUE}", flags)
        self.begins = re.compile(
            rf"(?:[0-9]{{1,2}}[.、] ?)?(?:(?:scores? (?:of|for) (?:the )?)?\[?{self.side}(?:的|[:( ,*\]]|{_OWN})*)?"
            rf"(?={self._unnamed()})",
            flags,
        )
        letters = r"(?P<first_letter>\bA(?=:? ?\[))|(?P<second_letter>\bB(?=:? ?\[))"
        self.sided = re.compile(rf"(?:{self.side}|{letters}){_BETWEEN}{_VALUE}", flags)
        self.runs_on = re.compile(rf" +(?={self._unnamed()}{_BETWEEN}[\[0-9])", flags)
        self.number_first = re.compile(
            rf"^[ *•-]*(?P<number>\[\[ ?{_NUMBER} ?\]\])[ :—-]*(?P<name>{self._unnamed()})[。.]?$", flags | re.MULTILINE
        )
        self.in_english = re.compile(
            rf"^([ *•-]*{self._unnamed()}[ *]{{0,4}}[:=] ?)({'|'.join(_ENGLISH)})(?=[.。]?[ *]*$)", flags | re.MULTILINE
        )
        self.bracketed = re.compile(
            rf"^ *\([0-9]{{1,2}}\) ?(?={self._unnamed()}|{'|'.join(sides)})", flags | re.MULTILINE
        )
        self.next_side = re.compile(rf"(?<=[。；;]) ?(?=(?:{'|'.join(sides)}){_OWN}: ?{self._unnamed()})", flags)
        self.any_side = re.compile("|".join(sides), flags)
        self.any_dimension = re.compile("|".join(each), flags)

    def _unnamed(self) -> str:
        return f"(?:{'|'.join(self.each)})"

    def side_of(self, text: str, *, alone: bool = False) -> int | None:
        """Which response a cell or a key names; `alone`: it may be a letter or a number."""
        text = re.sub(_ASIDE, "", text).strip(_DECORATION + ":").replace("_", " ")
        for at, (pattern, label) in enumerate(zip(self.sides, _LABELS, strict=True)):
            if re.fullmatch(rf"{pattern}{_OWN}?", text, re.IGNORECASE) or (alone and re.fullmatch(label, text)):
                return at
        return None

    def dimension_of(self, text: str) -> int | None:
        """Which dimension a cell or a key names."""
        text = re.sub(r" ?\([^()]*\)", "", text).strip(_DECORATION + ":")
        for at, pattern in enumerate(self.each):
            if re.fullmatch(rf"{pattern}(?:的?(?:评分|得分|分数)| ?score)?", text, re.IGNORECASE):
                return at
        return None


@lru_cache(maxsize=8)
def _names(words: Words) -> _Names:
    return _Names(words)


def parse_eight(text: str, words: Words = WORDS) -> EightRead:
    """Eight scores from 1 to 10, whole or half, each behind its dimension, those of each response together.

    Reasons: none, missing (fewer than eight), several (one has two values, or is corrected), out-of-range, off-step,
    unlabelled, unfinished.
    """
    whole = said(text)
    if whole is None:
        return EightRead(None, None, "unfinished")
    if _SWAPPED.search(whole):
        return EightRead(None, None, "unlabelled")
    names = _names(words)
    whole = _one_form(unmarked(whole), names)
    value = _json(whole)
    if value is not None:
        return _judged(_Found([*_of_json(value, names, None, None)]))
    whole = _given_anew(_own(unquoted_scores(whole), names), names)
    outside, inside = _fenced(whole)
    scans = [_scan(outside, names)] + ([_scan(whole.split("\n"), names)] if inside else [])
    for scan in scans:
        found = _judged(scan)
        if found.reason not in _UNREAD:
            return found
    placed = in_order(
        "\n".join(line for line in whole.split("\n") if not line.lstrip().startswith(">")), names.sides, names.each
    )
    numbers: dict[tuple[int | None, int | None], float] = {(one.side, one.dimension): one.number for one in placed}
    if not placed or any(numbers.get(one[:2], one.number) != one.number for one in scans[-1].scores):
        return found
    return _judged(_Found([_Score(*one) for one in placed]))


def _one_form(text: str, names: _Names) -> str:
    """The text in which scores are looked for: digits, brackets and lines in the form that is asked for."""
    lines = [line for line in text.split("\n") if line.strip()]
    if lines and all(line.lstrip().startswith(">") for line in lines):  # all of it: then it quotes nobody
        text = re.sub(r"(?m)^[ \t]*>[ \t]?", "", text)
    text = plain(_BREAKS.sub("\n", text).replace("\\[", "[").replace("\\]", "]"))
    text = re.sub(r"(?<=[0-9]) out of 10\b", "/10", text)
    text = _ANGLED.sub(r"[[\1]]", _NAMED_NUMBER.sub(r"[[\1]]", text))
    text = _IN_CHINESE.sub(lambda found: str(_NUMERALS.index(found[1])), text)
    text = _FULL.sub("", text)
    text = names.in_english.sub(lambda found: found[1] + str(1 + _ENGLISH.index(found[2].lower())), text)
    text = names.bracketed.sub("", text)
    text = names.number_first.sub(r"\g<name>: \g<number>", text)
    return names.next_side.sub("\n", text)


def _own(text: str, names: _Names) -> str:
    """The text without what it shows of a response: to the end, where all eight stood before, else the paragraph."""
    lines = text.split("\n")
    at = next((at for at, line in enumerate(lines) if shows(line)), None)
    if at is None:
        return text
    above, behind = lines[:at], lines[at + 1 :]
    if _judged(_scan(above, names)).first is not None:
        again = _judged(_scan(behind, names)).first is not None and any(map(shows, behind))
        return text if again else "\n".join(above)
    ends = next((end for end, line in enumerate(behind) if end and not line.strip()), len(behind))
    return "\n".join([*above, "", _own("\n".join(behind[ends:]), names)])


def _given_anew(text: str, names: _Names) -> str:
    """What stands behind the last line that announces corrected scores, where all eight stood before the first."""
    lines = [
        line
        for line in _ANEW.finditer(text)
        if (_CORRECTS.search(line[0]) or (_FINAL.match(line[0]) and _DRAFT.search(text, 0, line.start())))
        and not names.any_side.search(line[0])
        and not line[0].lstrip().startswith(">")
    ]
    if not lines or sum(map(is_fence, text[: lines[-1].start()].split("\n"))) % 2:
        return text
    before = _judged(_scan(text[: lines[0].start()].split("\n"), names))
    return text if before.first is None else text[lines[-1].end() :]


def _fenced(text: str) -> tuple[list[str], list[str]]:
    """The lines outside of fences, and those inside."""
    parts: tuple[list[str], list[str]] = ([], [])
    within = False
    for line in text.split("\n"):
        if is_fence(line):
            within = not within
        else:
            parts[within].append(line)
    return parts


def _scan(lines: list[str], names: _Names) -> _Found:
    """The scores that lines have, in their order."""
    found = _Found()
    side: int | None = None
    dimension: int | None = None
    above: int | None = None  # the response below whose header that of a dimension stands
    bare: int = 0  # numbers without a dimension below the header of a response
    columns: list[_Column] = []
    for line in lines:
        if line.lstrip().startswith(">") or is_fence(line):
            continue
        text = (
            line.strip().lstrip(_DECORATION.replace("[", "").replace("]", "").replace("(", "").replace("<", "")).strip()
        )
        text = text.strip("*_` ")
        if not text:
            continue
        if line.strip().startswith("|"):
            cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
            header = [
                _Column(names.side_of(cell, alone=True), names.dimension_of(cell), _is_score(cell)) for cell in cells
            ]
            if any(re.fullmatch(_VALUE, cell) for cell in cells):
                found.scores += _of_row(cells, header, columns, side)
            elif not columns:
                columns = header
            continue
        columns = []
        letter = _LETTER.fullmatch(text.strip("[]<> ")) or _LAST_LETTER.fullmatch(line.strip())
        if letter is not None:
            side, dimension, bare, above = "AB".index(letter[1]), None, 0, None
            continue
        header_match = names.header.fullmatch(text.strip("[]<> "))
        if header_match is not None:
            side, dimension, bare, above = (0 if header_match["first"] else 1), None, 0, None
            continue
        header_match = names.dimension_header.fullmatch(text)
        if header_match is not None:
            above = above if side is None else side
            side, dimension = None, _dimension(header_match)
            continue
        begins = names.begins.match(text)
        if begins is not None:
            own = 0 if begins["first"] else 1 if begins["second"] else side
            entries = list(_entries(text[begins.end() :], own, names))
            if entries:
                found.scores += entries
                continue
        sided = list(_sided(text, dimension, names))
        if sided:
            found.scores += sided
            continue
        alone = re.fullmatch(rf"{_VALUE}[.。]?", text)
        if alone is not None and side is not None and bare < 4 and dimension is None:
            found.scores.append(_Score(side, bare, _number(alone)))
            bare += 1
            continue
        if alone is not None and dimension is not None and above is not None:
            found.scores.append(_Score(above, dimension, _number(alone)))
            dimension = None
            continue
        if line.lstrip().startswith("#") or (text.endswith(":") and len(text) < 40):
            side, dimension, above = None, None, None  # of something else
            found.named = found.named or bool(found.scores) or names.any_side.search(text) is not None
        elif len(text) < 30 and not re.search(r"[，,。.;；]", text) and names.any_side.search(text):
            found.named = True
        _doubt(text, found, names)
    return found


def _doubt(text: str, found: _Found, names: _Names) -> None:
    """Note a line behind scores that may change them."""
    if not found.scores or _SUMS_UP.match(text):
        return
    about = names.any_side.search(text) or names.any_dimension.search(text)
    again = _MARK.search(text) and about and not re.match(r"[^:,。]{1,12}: ?\[", text)
    if again or (_CORRECTS.search(text) and re.search(r"[0-9]", text)):
        found.doubt = "several"


def _entries(text: str, side: int | None, names: _Names) -> Iterator[_Score]:
    """The scores of a line that begins with a dimension."""
    text = names.runs_on.sub("，", text)
    found = list(names.entry.finditer(text))
    if not found or found[0].start():
        last = _AT_THE_END.fullmatch(text)
        begins = re.match(rf"(?:{names.dimension}){_BETWEEN}", text, re.IGNORECASE)
        if (
            last is not None
            and begins is not None
            and len(_MARK.findall(text)) == 1
            and not names.any_side.search(text)
        ):
            yield _Score(side, _dimension(begins), float(last["in"]))
        return
    for at, one in enumerate(found):
        behind = text[one.end() : found[at + 1].start() if at + 1 < len(found) else len(text)]
        if _ANOTHER.match(behind) and not re.match(r"\s*-\s+\D", behind):
            continue
        if one["bare"] and _OTHER_NUMBER.match(behind):
            continue
        yield _Score(side, _dimension(one), _number(one))


def _sided(text: str, dimension: int | None, names: _Names) -> Iterator[_Score]:
    """The scores of a line with a response before each: below a dimension's header, or behind its name."""
    begins = re.match(rf"(?:[0-9]{{1,2}}[.、] ?)?(?:{names.dimension}){_BETWEEN}", text, re.IGNORECASE)
    if begins is not None:
        dimension = _dimension(begins)
        text = text[begins.end() :]
    if dimension is None:
        return
    found = list(names.sided.finditer(text))
    if not found or found[0].start():
        return
    for at, one in enumerate(found):
        behind = text[one.end() : found[at + 1].start() if at + 1 < len(found) else len(text)]
        if not _ANOTHER.match(behind):
            yield _Score(0 if one["first"] or one["first_letter"] else 1, dimension, _number(one))


def _is_score(cell: str) -> bool:
    """Whether a column is headed as that of scores."""
    return re.fullmatch(r"(?:评分|得分|分数|打分|scores?|ratings?)", cell.strip("*_` "), re.IGNORECASE) is not None


def _of_row(cells: list[str], own: list[_Column], columns: list[_Column], side: int | None) -> Iterator[_Score]:
    """The scores of a table's row: of the response and the dimension that its own cells, or its columns, name."""
    row_side = next((one.side for one in own if one.side is not None), side)
    row_dimension = next((one.dimension for one in own if one.dimension is not None), None)
    for cell, column in zip(cells, columns, strict=False):
        value = re.fullmatch(_VALUE, cell)
        if value is None or (column.side is None and column.dimension is None and not column.is_score):
            continue
        dimension = row_dimension if column.dimension is None else column.dimension
        its = row_side if column.side is None else column.side
        if dimension is not None and its is not None:
            yield _Score(its, dimension, _number(value))


def _json(text: str) -> dict[str, Any] | None:
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0 or end < 0 or text[end + 1 :].strip("` \n"):
        return None
    text = text[begin : end + 1]
    try:
        value = json.loads(text if '"' in text else text.replace("'", '"'), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _of_json(value: Any, names: _Names, side: int | None, dimension: int | None, depth: int = 0) -> Iterator[_Score]:
    if isinstance(value, dict) and depth < 5:
        for key, item in value.items():
            own, its = names.side_of(key, alone=True), names.dimension_of(key)
            yield from _of_json(item, names, side if own is None else own, dimension if its is None else its, depth + 1)
    elif dimension is not None and side is not None and not isinstance(value, bool | list | dict | None):
        found = re.fullmatch(_VALUE, str(value))
        if found is not None:
            yield _Score(side, dimension, _number(found))


def _dimension(found: re.Match[str]) -> int:
    return next(at for at, name in enumerate(DIMENSIONS) if found[name])


def _number(found: re.Match[str]) -> float:
    return float(found["in"] or found["bare"])


def _judged(found: _Found) -> EightRead:
    """The eight scores, where each is there and is one number that may be."""
    scores = found.scores
    if not scores:
        return EightRead(None, None, "none")
    sided = [one for one in scores if one.side is not None]
    if sided:
        begin = scores.index(sided[0])
        if any(one.side is None for one in scores[begin:]):
            return EightRead(None, None, "unlabelled")
    elif not found.named and [one.dimension for one in scores] == [0, 1, 2, 3, 0, 1, 2, 3]:
        sided = [one._replace(side=at // 4) for at, one in enumerate(scores)]
    else:
        return EightRead(None, None, "unlabelled" if len(scores) >= 8 else "missing")
    numbers: dict[tuple[int | None, int | None], set[float]] = {}
    for one in sided:
        numbers.setdefault((one.side, one.dimension), set()).add(one.number)
    if found.doubt is not None or any(len(each) > 1 for each in numbers.values()):
        return EightRead(None, None, "several")
    if len(numbers) < 8:
        return EightRead(None, None, "missing")
    each = {where: number for where, (number,) in ((where, tuple(one)) for where, one in numbers.items())}
    if not all(LOW <= number <= HIGH for number in each.values()):
        return EightRead(None, None, "out-of-range")
    if any((number * 2) % 1 for number in each.values()):
        return EightRead(None, None, "off-step")
    first, second = (_four([each[side, at] for at in range(4)]) for side in (0, 1))
    return EightRead(first, second, None)


def _four(numbers: list[float]) -> Four:
    relevance, correctness, clarity, completeness = numbers
    return relevance, correctness, clarity, completeness
