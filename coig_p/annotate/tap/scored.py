"""Eight scores in a judgement of two responses: four dimensions of each. What does not have all eight is invalid."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from coig_p.annotate.plain import plain
from coig_p.annotate.quoting import unmarked
from coig_p.annotate.tap.amended import Amendment, amended, amendments, fits_totals
from coig_p.annotate.tap.data import data_in
from coig_p.annotate.tap.grids import with_bars
from coig_p.annotate.tap.lines import is_fence, said, shows, unquoted_scores
from coig_p.annotate.tap.naming import BETWEEN, DECORATION, ENGLISH, NUMBER, VALUE, Names, Score, number_of
from coig_p.annotate.tap.ordered import in_order
from coig_p.annotate.tap.reads import EightRead, Four
from coig_p.annotate.tap.scored_data import scores_in
from coig_p.annotate.taxonomy.words import DIMENSIONS, WORDS, Words

LOW, HIGH = 1, 10

_MARK = re.compile(r"\[\[[^\[\]\n]{0,20}\]?\]|\[ ?[0-9][0-9./ ]{0,6}\]")
_ANOTHER = re.compile(r"\s{0,3}(?:[-~→/]|到|至|或|\bor\b|->)|.{0,200}?\[ ?\[? ?[0-9]", re.IGNORECASE)
_OTHER_NUMBER = re.compile(
    r".{0,40}(?:满分|总分|out of)|\s{0,3}[,，、或和+=]\s{0,3}[0-9]|.{0,40}(?:也可|或者?).{0,9}[0-9]"
)
_AT_THE_END = re.compile(rf".{{0,400}}?[。.,;，；:) ]\[\[ ?(?P<in>{NUMBER}) ?\]\][。.]?")
_CORRECTS = re.compile(
    r"(?:更正|修正|修改|改为|改成|应为|应该是|重新评分|等等|correction|corrected|revised|on second thought|wait,)",
    re.IGNORECASE,
)
_BREAKS = re.compile(r"<br ?/?>|</?(?:p|li|div|h[1-6]|ul|ol)>", re.IGNORECASE)
_NAMED_NUMBER = re.compile(rf"\[\[ ?(?:n|score|分数) ?[=:] ?({NUMBER}) ?\]\]", re.IGNORECASE)
_ANGLED = re.compile(rf"(?<=:) ?<({NUMBER})>(?= *$)", re.MULTILINE)
_IN_CHINESE = re.compile(
    r"(?:(?<=\[\[)|(?<=: )|(?<=:))([一二三四五六七八九十])(?=\]\]|分(?:$|[,，。;；、]))", re.MULTILINE
)
_FULL = re.compile(r"(?<=[0-9]) ?分? ?\((?:满分(?:为|是)? ?10 ?分?|10 ?分满分)\)|(?<=10)分 ?\(满分\)")
_OTHER_SCALE = re.compile(
    r"^[^\n。]{0,20}(?:(?<![0-9])(?:5|五|100|百) ?分制|满分(?:为|是)? ?(?:5|五|100|一百) ?分)[^\n。]{0,12}$",
    re.MULTILINE,
)
# A set that shows the form, up to a line that says whose the next one is.
_EXAMPLE = re.compile(
    r"^[^\n。]{0,12}(?:示例|样例|模板|\bexample|\btemplate)[^\n。]{0,6}:[ ]*$.*?"
    r"(?=^[^\n]{0,6}(?:实际|我的|最终|正式|下面)[^\n]{0,8}(?:评分|打分|分数)|\Z)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)
_ALIKE = re.compile(
    r"(?:两个回答|两者|二者|both responses)[^\n0-9。]{0,12}(?:评分|得分|分数|scores?)[^\n0-9。]{0,6}"
    r"(?:相同|一样|一致|the same|identical)[^\n0-9。]{0,4}[:。]?$",
    re.IGNORECASE | re.MULTILINE,
)
_SWAPPED = re.compile(
    r"(?:次序|顺序|先后|两个回答|回答[一1A甲][和与跟]回答[二2B乙])[^。\n0-9]{0,10}(?:弄反|搞反|弄混|搞混|对调|颠倒)[^。\n]{0,12}(?:了|请自行|$)"
)
_ANEW_GIVEN = re.compile(r"重新?评|重新打分|更正")
# A line that takes back all that stands above it and says that it is given anew below.
_AFRESH = re.compile(
    r"^[^\n0-9]{0,40}(?:以上|上面|上述|前面|刚才)的?[^。，,\n0-9]{0,6}(?:评分|分数|打分)[^。，,\n0-9]{0,4}(?:作废|不算数?|不作数|无效|取消)"
    r"[^\n0-9]{0,6}(?:重新?(?:评分?|打分)|改评|再评)[^\n0-9]{0,12}$",
    re.MULTILINE,
)
_STRUCK = re.compile(
    r"~~[^~\n]{1,20}~~ ?(?=\[\[)(?P<new>\[\[ ?[0-9.]{1,4} ?\]\])(?: ?\((?:更正|修正|改)[^()0-9\n]{0,60}\))?"
)
_STRUCK_ALONE = re.compile(r"~~[^~\n]{1,20}~~")
_FORMAL = str.maketrans("壹贰叁肆伍陆柒捌玖拾", "一二三四五六七八九十")
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
_LETTER = re.compile(
    r"(?:(?:[Ss]cores?|[Rr]atings?) (?:of|for) )?([AB])(?: ?的?(?:评分|得分|分数)|['’]s (?:scores?|ratings?))?:?"
)


class _Column(NamedTuple):
    """What a cell of a table names: a response, a dimension, or that scores stand below."""

    side: int | None
    dimension: int | None
    is_score: bool


@dataclass
class _Found:
    """Scores in their order, and what was seen that makes them uncertain."""

    scores: list[Score] = field(default_factory=list)
    doubt: str | None = None
    named: bool = False  # a header that names a response was not understood


@lru_cache(maxsize=8)
def _names(words: Words) -> Names:
    return Names(words)


def parse_eight(text: str, words: Words = WORDS) -> EightRead:
    """Eight scores from 1 to 10, whole as asked for, each behind its dimension, those of each response together.

    Reasons: none, missing (fewer than eight), several (one has two values, or is corrected), out-of-range, off-step,
    unlabelled, unfinished.
    """
    whole = said(text)
    if whole is None:
        return EightRead(None, None, "unfinished")
    names = _names(words)
    data = data_in(unmarked(whole))
    if data.broken is not None and names.any_dimension.search(plain(data.broken)):
        return EightRead(None, None, "unfinished")
    scores = scores_in(data.values, names)
    if scores:
        found = _judged(_Found(scores))
        beside = _judged(_in_lines(_lines(data.rest, names), names)[-1])
        return (
            _several()
            if beside.first is not None and beside != found
            else _whole(found, plain(whole).replace('"', ""), [], names)
        )
    text = _EXAMPLE.sub("", _lines(whole, names))
    afresh = [*_AFRESH.finditer(text)]
    text = text[afresh[-1].end() :] if afresh else text
    if _OTHER_SCALE.search(text):
        return EightRead(None, None, "out-of-range")
    swapped = [*_SWAPPED.finditer(text)]
    if swapped:
        before, behind = (_judged(_in_lines(part, names)[-1]) for part in _around(text, swapped[-1]))
        anew = before.first is not None and behind.first is not None and _ANEW_GIVEN.search(text, swapped[-1].start())
        return behind if anew else EightRead(None, None, "unlabelled")
    text, corrections, certain = _without_corrections(text, names)
    if not certain:
        return _several()
    scans = _in_lines(text, names)
    for scan in scans:
        found = _judged(scan)
        if found.reason not in _UNREAD:
            return _whole(found, text, corrections, names)
    placed = in_order(
        "\n".join(line for line in text.split("\n") if not line.lstrip().startswith(">")), names.sides, names.each
    )
    numbers: dict[tuple[int | None, int | None], float] = {(one.side, one.dimension): one.number for one in placed}
    if not placed or any(numbers.get(one[:2], one.number) != one.number for one in scans[-1].scores):
        return found
    return _whole(_judged(_Found([Score(*one) for one in placed])), text, corrections, names)


def _around(text: str, found: re.Match[str]) -> tuple[str, str]:
    return text[: found.start()], text[found.end() :]


def _several() -> EightRead:
    return EightRead(None, None, "several")


def _lines(text: str, names: Names) -> str:
    """The text in which scores are looked for: in one form, its rows between bars, without what it quotes."""

    def is_header(cells: list[str]) -> bool:
        sides = {names.side_of(cell, alone=True) for cell in cells} - {None}
        return len(sides) == 2 or len({names.dimension_of(cell) for cell in cells} - {None}) == 4

    text = _one_form(with_bars(unmarked(text), lambda cells: is_header([plain(cell) for cell in cells])), names)
    return _given_anew(_own(unquoted_scores(text), names), names)


def _alike(text: str, scan: _Found, names: Names) -> _Found:
    """Four scores below a line that says that both responses have the same, as those of each."""
    if len(scan.scores) != 4:
        return scan
    both = rf"(?:{names.sides[0]})[和与及、 ]{{1,3}}(?:{names.sides[1]})"
    alike = [*_ALIKE.finditer(re.sub(both, "两个回答", text, flags=re.IGNORECASE))]
    four = sorted({one.dimension for one in scan.scores if one.dimension is not None})
    if len(alike) != 1 or four != [0, 1, 2, 3] or any(one.side for one in scan.scores):
        return scan
    return _Found([one._replace(side=side) for side in (0, 1) for one in scan.scores], scan.doubt)


def _in_lines(text: str, names: Names) -> list[_Found]:
    """What the lines outside of fences say, and what all do where there are fences."""
    outside, inside = _fenced(text)
    scans = [_scan(outside, names)] + ([_scan(text.split("\n"), names)] if inside else [])
    return [_alike(text, scan, names) for scan in scans]


def _without_corrections(text: str, names: Names) -> tuple[str, list[Amendment], bool]:
    """The text without the lines behind all eight that correct one of them, these, and whether that is all."""
    found, vague = amendments(text, names)
    if not found and not vague:
        return text, [], True
    lines = text.split("\n")
    first = min([one.line for one in found] + vague)
    if not any(_judged(scan).first is not None for scan in _in_lines("\n".join(lines[:first]), names)):
        return text, [], True
    left = [line for at, line in enumerate(lines) if at not in {one.line for one in found}]
    return "\n".join(left), found, not vague


def _whole(found: EightRead, text: str, corrections: list[Amendment], names: Names) -> EightRead:
    """Eight scores with what is corrected behind them, where their sums fit before or after."""
    if found.first is None or found.second is None:
        return found
    given = [list(found.first), list(found.second)]
    eight = amended(given, corrections)
    if eight is None or not (fits_totals(text, given, names) or fits_totals(text, eight, names)):
        return _several()
    if not corrections:
        return found
    return _judged(_Found([Score(side, at, number) for side in (0, 1) for at, number in enumerate(eight[side])]))


def _one_form(text: str, names: Names) -> str:
    """The text in which scores are looked for: digits, brackets and lines in the form that is asked for."""
    lines = [line for line in text.split("\n") if line.strip()]
    if lines and all(line.lstrip().startswith(">") for line in lines):  # all of it: then it quotes nobody
        text = re.sub(r"(?m)^[ \t]*>[ \t]?", "", text)
    text = plain(_BREAKS.sub("\n", text).replace("\uff5e", "~").replace("\\[", "[").replace("\\]", "]"))
    text = re.sub(r"(?m) +$", "", text)
    text = re.sub(r"(?<=[0-9]) out of 10\b", "/10", text)
    text = _half_closed(_STRUCK_ALONE.sub("", _STRUCK.sub(r"\g<new>", text)), names)
    text = re.sub(r"\[\[ ?[壹贰叁肆伍陆柒捌玖拾] ?\]\]", lambda found: found[0].translate(_FORMAL), text)
    text = _ANGLED.sub(r"[[\1]]", _NAMED_NUMBER.sub(r"[[\1]]", text))
    text = _IN_CHINESE.sub(lambda found: str(_NUMERALS.index(found[1])), text)
    text = _FULL.sub("分", text)
    text = names.in_english.sub(lambda found: found[1] + str(1 + ENGLISH.index(found[2].lower())), text)
    text = names.bracketed.sub("", text)
    text = names.number_first.sub(r"\g<name>: \g<number>", text)
    return names.next_side.sub("\n", text)


def _half_closed(text: str, names: Names) -> str:
    """The text with both brackets around a number at the end of a dimension's line that lacks some, but its last."""
    above, mark, last = text.rstrip().rpartition("\n")
    if "[" not in text and "]" not in text:
        return text
    return names.half_closed.sub(r"\g<name>[[\g<number>]]", above) + mark + last


def _own(text: str, names: Names) -> str:
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


def _given_anew(text: str, names: Names) -> str:
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


def _scan(lines: list[str], names: Names) -> _Found:
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
            line.strip().lstrip(DECORATION.replace("[", "").replace("]", "").replace("(", "").replace("<", "")).strip()
        )
        text = text.strip("*_` ")
        if not text:
            continue
        if line.strip().startswith("|"):
            cells = [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
            header = [
                _Column(names.side_of(cell, alone=True), names.dimension_of(cell), _is_score(cell)) for cell in cells
            ]
            if any(re.fullmatch(VALUE, cell) for cell in cells):
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
        alone = re.fullmatch(rf"{VALUE}[.。]?", text)
        if alone is not None and side is not None and bare < 4 and dimension is None:
            found.scores.append(Score(side, bare, number_of(alone)))
            bare += 1
            continue
        if alone is not None and dimension is not None and above is not None:
            found.scores.append(Score(above, dimension, number_of(alone)))
            dimension = None
            continue
        if line.lstrip().startswith("#") or (text.endswith(":") and len(text) < 40):
            side, dimension, above = None, None, None  # of something else
            found.named = found.named or bool(found.scores) or names.any_side.search(text) is not None
        elif len(text) < 30 and not re.search(r"[，,。.;；]", text) and names.any_side.search(text):
            found.named = True
        _doubt(text, found, names)
    return found


def _doubt(text: str, found: _Found, names: Names) -> None:
    """Note a line behind scores that may change them."""
    if not found.scores or _SUMS_UP.match(text):
        return
    about = names.any_side.search(text) or names.any_dimension.search(text)
    again = _MARK.search(text) and about and not re.match(r"[^:,。]{1,12}: ?\[", text)
    if again or (_CORRECTS.search(text) and re.search(r"[0-9]", text)):
        found.doubt = "several"


def _entries(text: str, side: int | None, names: Names) -> Iterator[Score]:
    """The scores of a line that begins with a dimension."""
    text = names.runs_on.sub("，", text)
    found = list(names.entry.finditer(text))
    if not found or found[0].start():
        last = _AT_THE_END.fullmatch(text)
        begins = re.match(rf"(?:{names.dimension}){BETWEEN}", text, re.IGNORECASE)
        if (
            last is not None
            and begins is not None
            and len(_MARK.findall(text)) == 1
            and not names.any_side.search(text)
        ):
            yield Score(side, _dimension(begins), float(last["in"]))
        return
    for at, one in enumerate(found):
        behind = text[one.end() : found[at + 1].start() if at + 1 < len(found) else len(text)]
        if _ANOTHER.match(behind) and not re.match(r"\s*-\s+\D", behind):
            continue
        if one["bare"] and _OTHER_NUMBER.match(behind):
            continue
        yield Score(side, _dimension(one), number_of(one))


def _sided(text: str, dimension: int | None, names: Names) -> Iterator[Score]:
    """The scores of a line with a response before each: below a dimension's header, or behind its name."""
    begins = re.match(rf"(?:[0-9]{{1,2}}[.、] ?)?(?:{names.dimension}){BETWEEN}", text, re.IGNORECASE)
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
            yield Score(0 if one["first"] or one["first_letter"] else 1, dimension, number_of(one))


def _is_score(cell: str) -> bool:
    """Whether a column is headed as that of scores."""
    return re.fullmatch(r"(?:评分|得分|分数|打分|scores?|ratings?)", cell.strip("*_` "), re.IGNORECASE) is not None


def _of_row(cells: list[str], own: list[_Column], columns: list[_Column], side: int | None) -> Iterator[Score]:
    """The scores of a table's row: of the response and the dimension that its own cells, or its columns, name."""
    row_side = next((one.side for one in own if one.side is not None), side)
    row_dimension = next((one.dimension for one in own if one.dimension is not None), None)
    for cell, column in zip(cells, columns, strict=False):
        value = re.fullmatch(VALUE, cell)
        if value is None or (column.side is None and column.dimension is None and not column.is_score):
            continue
        dimension = row_dimension if column.dimension is None else column.dimension
        its = row_side if column.side is None else column.side
        if dimension is not None and its is not None:
            yield Score(its, dimension, number_of(value))


def _dimension(found: re.Match[str]) -> int:
    return next(at for at, name in enumerate(DIMENSIONS) if found[name])


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
    if any(number % 1 for number in each.values()):
        return EightRead(None, None, "off-step")
    first, second = (_four([each[side, at] for at in range(4)]) for side in (0, 1))
    return EightRead(first, second, None)


def _four(numbers: list[float]) -> Four:
    relevance, correctness, clarity, completeness = numbers
    return relevance, correctness, clarity, completeness
