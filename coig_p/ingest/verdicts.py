"""Who won, in every way that columns say it.

A verdict is a pair of numbers, the score of the first side and that of the second: 1 and 0 where one won, .5 and
.5 at a tie. Where a column says by how much (A>>B, -3 to 3), the winner has that number and the other 0, so that
the margin is what was said and a threshold of 1 keeps every preference.

Words are certain by themselves where they name a side as the row names it. Numbers are not: 1 is the first of
1 and 2 and the second of 0 and 1. So they are read by all values of the column in an import (`Survey`), and where
those leave two readings the rows are refused: `--values first=0,second=1` says which is meant.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from coig_p.errors import UsageError
from coig_p.ingest.values import Rejected, is_missing, shown
from coig_p.schema import SCORE_GRID, on_grid

Verdict = tuple[float, float]
"""Score of the first side, score of the second."""

FIRST, SECOND, TIE = (1.0, 0.0), (0.0, 1.0), (0.5, 0.5)

SIDES = (
    ("a", "b"),
    ("1", "2"),
    ("0", "1"),
    ("left", "right"),
    ("first", "second"),
    ("甲", "乙"),
    ("左", "右"),
    ("一", "二"),
)
"""How the two sides of a row are told apart in the names of its columns."""

IN_LIST = ("[0]", "[1]")
"""The two sides of a row that has both answers in one list."""

VERDICT_COLUMNS = (
    "winner",
    "better_response_id",
    "overall_preference",
    "preference_strength",
    "better",
    "better_response",
    "better_answer",
    "better_id",
    "preferred",
    "preferred_response",
    "preferred_answer",
    "verdict",
    "human_winner",
    "更好",
    "胜者",
    "胜方",
    "获胜方",
    "优胜",
)
"""Columns that say who won and nothing else; two of them must not contradict each other."""

PERHAPS_VERDICT_COLUMNS = (
    "preference",
    "human_preference",
    "human_label",
    "label",
    "labels",
    "choice",
    "result",
    "safer_response_id",
    "偏好",
    "选择",
    "标签",
    "结果",
)
"""Columns that say who won where no other does. safer_response_id is here since its answer is another question's."""

OTHER_QUESTION = "safer_response_id"

LOSER_COLUMNS = (
    *("rejected", "loser", "worse", "worse_response", "worse_answer", "worse_response_id", "worse_id", "worse_output"),
    *("dispreferred", "败者", "败方", "劣选", "更差"),
)
"""Columns that name the one who lost."""

SIGNED_COLUMNS = ("overall_preference", "preference_strength")
"""Columns of -3 to 3 in which a negative number is for the first (HelpSteer2 and 3)."""

SIGNED_COMPANIONS = ("individual_preference", "preference_statement", "preference_elaboration", "context")
"""Fields of the sets that have them: with one of these even a lone 1 is certain."""

_JUDGES = re.compile(
    r"(?:annotator|annotation|rater|judge|evaluator|reviewer|labell?er|voter?|expert|标注员|标注者|标注|评委|裁判|专家)"
    r"[ _-]?(?:\d{1,2}|[a-h])(?:[ _-]?(?:label|winner|choice|vote|preference|verdict|result))?"
)
_TIE = re.compile(
    r"tied?|ties|draw|(?:the)?same|equals?|equally(?:good|bad)|similar|nodifference|neither|"
    r"both(?:are)?(?:equal|good|bad)?|tie(?:both)?(?:good|bad)|tieinconsistent|"
    r"平局?|平手|打平|和局|(?:一样|同样)(?:好|差)?|相同|相等|差不多|(?:两者|两个)?都(?:很)?(?:好|不好|差|不行)|"
    r"不分(?:上下|胜负|高下)|不相上下|无差别"
)
_POSITIONS: Mapping[str, int] = dict.fromkeys(("left", "first", "左", "former", "前者", "第一"), 0) | dict.fromkeys(
    ("right", "second", "右", "latter", "后者", "第二"), 1
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?")
_SIDE = (
    r"(?:the)?(?:response|answer|model|assistant|output|completion|chat|chatbot|candidate|conversation|reply|option|"
    r"system|text|side|summary|generation|回答|回复|答案|模型|助手|选项|答复)?"
    r"(left|right|first|second|former|latter|前者|后者|第一|第二|[a-h]|\d|[甲乙丙丁左右一二三四])"
    r"(?:response|answer|model|side|one|个|边|侧)?"
)
_HOW_MUCH = r"(?:is|was)?(?:abit|slightly|somewhat|marginally|clearly|much|significantly|far)?"
_ONE_SIDE = re.compile(
    _SIDE
    + rf"(?:{_HOW_MUCH}(?:wins?|won|better|preferred)|(?:略|稍|明显|远)?(?:获胜|胜出?|赢|[更略稍较]?好|[更较]优))?"
)
_BETTER = rf"{_HOW_MUCH}betterthan|(?:略|稍|明显|远)?(?:优于|好于|胜过)"
_WORSE = rf"{_HOW_MUCH}worsethan|(?:略|稍|明显|远)?(?:不如|差于|劣于)"
_TWO_SIDES = re.compile(_SIDE + rf"(>+|<+|=+|≈|≫|≪|{_BETTER}|{_WORSE})" + _SIDE)
_NOTHING = frozenset(("nan", "null", "n/a", "-", "--", "empty", "无"))
"""Words that stand for no verdict. none is not among them: it may be a tie."""
_NOISE = str.maketrans("", "", "[](){}\"'`*. \t\n_-《》【】“”‘’。")


@dataclass(frozen=True)
class Sides:
    """The two sides of a row.

    Attributes:
        names: how the row's columns tell them apart, one of SIDES.
        models: who answered, where the row says so.
        columns: what the row calls the fields of the two answers.
        texts: the answers.
        others: further sides that the row has, or had before --drop; a verdict may name one of them.
        also: what the columns of the models call the sides, where it is otherwise.
    """

    names: tuple[str, str]
    models: tuple[Any, Any] = (None, None)
    columns: tuple[str, str] = ("", "")
    texts: tuple[Any, Any] = (None, None)
    others: frozenset[str] = frozenset()
    also: tuple[str, str] | None = None


def number_in(value: Any) -> float | None:
    """The finite number that a verdict is, also one written as text; None of anything else, and of true and false."""
    if isinstance(value, str):
        text = unicodedata.normalize("NFKC", value).strip().lower()
        value = float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def judges_among(names: Collection[str]) -> list[str]:
    """Columns that each hold one annotator's verdict (annotator1, rater_b, 评委1); none where there is but one."""
    found = [name for name in names if _is_judge(name)]
    return found if len(found) > 1 else []


@lru_cache(maxsize=4096)
def _is_judge(name: str) -> bool:
    return _JUDGES.fullmatch(unicodedata.normalize("NFKC", name).strip().lower()) is not None


def verdict_of(
    value: Any,
    column: str,
    sides: Sides,
    found: Collection[float] | None = None,
    values: Mapping[str, str] | None = None,
    beside: Collection[str] = (),
    *,
    rounding: bool = False,
) -> Verdict:
    """What a value of a column says.

    Args:
        found: every number that the column holds in the import; the value alone where that is not known.
        values: what the user says of the coding, see `FormConfig.values`.
        beside: the row's other fields.
        rounding: a number off the grid is rounded by who takes it.

    Raises:
        Rejected: it says nothing, or nothing certain.
    """
    values = values or {}
    said = told_of(value, values)
    if said is not None:
        _check_said(value, column, said, sides)
        return said
    number = number_in(value)
    if (other := _other_side(value, number, sides)) is not None:
        raise Rejected(
            column,
            "bad-winner",
            f"{shown(value)} is neither {' nor '.join(sides.names)}: the row has, or had before --drop, a side "
            f"{other}, and so says nothing of these two. Leave such rows out",
        )
    if number is not None:
        if not on_grid(number) and not rounding:
            raise Rejected(column, "off-grid", f"{shown(value)} has more than 4 decimals: pass --round to round it")
        found = frozenset(found or ()) | {number}
        left = frozenset(one for one in found if told_of(one, values) is None)
        read = _coded(number, column, left, sides, values, beside)
        if read is None:
            raise Rejected(column, "bad-winner", _unsure(column, number, found, left, values, sides))
        if any(_sign(one) != _sign(read) for one in _by_content(value, sides)):
            raise Rejected(column, "bad-winner", _two_readings(value, column))
        return read
    readings = _worded(value, sides) if isinstance(value, str) else set()
    if len(readings) > 1:
        raise Rejected(column, "bad-winner", _two_readings(value, column))
    if not readings:
        raise Rejected(column, "bad-winner", _unknown(value, column, sides))
    return readings.pop()


def says_nothing(value: Any, sides: Sides, values: Mapping[str, str] | None = None) -> bool:
    """Whether a verdict is not there: null, blank, NaN, or a word for it that is neither told of nor a model."""
    if is_missing(value):
        return True
    if not isinstance(value, str) or _plain(value) not in _NOTHING:
        return False
    return told_of(value, values or {}) is None and all(_plain(one) != _plain(value) for one in sides.models)


def _check_said(value: Any, column: str, said: Verdict, sides: Sides) -> None:
    """Raise UsageError where the user says of a word that is certain that it means something else."""
    readings = _worded(value, sides) if isinstance(value, str) and number_in(value) is None else set()
    certain = readings.pop() if len(readings) == 1 else said
    if _sign(certain) != _sign(said):
        means = ("a tie", "the first side", "the second side")
        raise UsageError(
            f"--values: {column} says {shown(value)}, which is {means[_sign(certain)]} of {', '.join(sides.names)}, "
            f"and not {means[_sign(said)]}"
        )


def _other_side(value: Any, number: float | None, sides: Sides) -> str | None:
    """The side beyond the two that a verdict names."""
    if not sides.others:
        return None
    if number is not None and str(value).strip() in sides.others:
        return str(value).strip()
    if not isinstance(value, str) or number is not None:
        return None
    word = unicodedata.normalize("NFKC", value).lower().translate(_NOISE)
    match = _ONE_SIDE.fullmatch(word) or _TWO_SIDES.fullmatch(word)
    return next((name for name in match.groups() if name in sides.others), None) if match else None


def _unknown(value: Any, column: str, sides: Sides) -> str:
    """Why a word is not read, and how to say what it means."""
    if isinstance(value, (list, dict)):
        return f"{shown(value)} is no verdict on two answers: leave the column out with --drop {column}"
    if isinstance(value, str):
        one, other = (_plain(_cell_of(model)) for model in sides.models)
        if one == other == _plain(value):
            return f"{shown(value)} is the model of both sides: leave such rows out, or the column with --drop {column}"
    word = _cell(value)
    ways = ("true,second=false", "false,second=true") if isinstance(value, bool) else (word, None)
    way = f"first={ways[0]} or --values {f'first={ways[1]}' if ways[1] else f'second={word}'}"
    perhaps = "may be a tie or no verdict" if word.lower() == "none" else "names neither side"
    return (
        f"{shown(value)} {perhaps} ({', '.join(sides.names)}): where it means one thing, say which with --values, for "
        f"instance --values {way}, empty it where it is no verdict, or leave the column out with --drop {column}"
    )


def _sign(verdict: Verdict) -> int:
    return (verdict[0] > verdict[1]) - (verdict[0] < verdict[1])


def told_of(value: Any, values: Mapping[str, str]) -> Verdict | None:
    """What the user says that a value means, None where that is nothing."""
    number = number_in(value)
    for name, meaning in (("first", FIRST), ("second", SECOND), ("tie", TIE)):
        for given in values.get(name, "").split("|") if name in values else ():
            word = given.strip().lower()
            if word in ("negative", "positive"):
                if number and (number < 0) == (word == "negative"):
                    return _by(number, meaning)
            elif word == _cell(value).lower() if number is None else number_in(word) == number:
                return meaning
    return None


def _cell(value: Any) -> str:
    """A value as a user writes it on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()[:40]


def _by(number: float, meaning: Verdict) -> Verdict:
    """The winner has the size of the number, the other nothing; a tie stays one."""
    size = abs(number)
    return meaning if meaning == TIE else (meaning[0] * size, meaning[1] * size)


def _coded(
    number: float,
    column: str,
    found: frozenset[float],
    sides: Sides,
    values: Mapping[str, str],
    beside: Collection[str],
) -> Verdict | None:
    """What a number says, given all of its column that the user says nothing of; None where that is not certain."""
    if sides.others:
        return None  # a column that counts three sides, of which two are looked at
    told = {word.strip().lower() for name in ("first", "second") for word in values.get(name, "").split("|")}
    if number == 0 and {"negative", "positive"} <= told:
        return TIE
    if "first" in values or "second" in values:
        return None  # what one side's value is leaves no room for a guess at the other's
    if column in SIGNED_COLUMNS:
        if not all(one == int(one) and -3 <= one <= 3 for one in found):
            return None
        # Without a negative one they may be the sides' numbers, or how much and not for whom.
        if min(found) >= 0 and not any(name in beside for name in SIGNED_COMPANIONS):
            return None
        return _by(number, FIRST if number < 0 else SECOND if number else TIE)
    if sides.names == ("0", "1"):  # any other number says that this column counts otherwise
        return {0.0: FIRST, 1.0: SECOND, 0.5: TIE}[number] if found <= {0, 0.5, 1} else None
    if sides.names == IN_LIST and 0 in found and found <= {0, 0.5, 1}:
        return {0.0: FIRST, 1.0: SECOND}.get(number, TIE)
    # Where chosen stands alone, 1 may also say that the one answer is chosen.
    by_place = column.endswith("_id") or (column in ("chosen", "rejected") and {"chosen", "rejected"} <= set(beside))
    if by_place and found == {0, 1} and sides.names != ("1", "2"):
        return FIRST if number == 0 else SECOND
    if all(1 <= one <= 2 for one in found) and min(found) < 1.5 < max(found):
        return (_grid(2 - number), _grid(number - 1)) if on_grid(number) else (2 - number, number - 1)
    return None


def _grid(value: float) -> float:
    """A difference of numbers on the grid, without what floats add to it."""
    return round(value * SCORE_GRID) / SCORE_GRID


def _unsure(
    column: str,
    number: float,
    found: Collection[float],
    left: frozenset[float],
    values: Mapping[str, str],
    sides: Sides,
) -> str:
    """Why a number is not read, and how to say what it means."""
    ordered = sorted(found)
    listed = ", ".join(f"{one:g}" for one in ordered[:8]) + (", ..." if len(ordered) > 8 else "")
    if "first" in values or "second" in values:
        more = ", or leave out the rows of a further side" if sides.others else ""
        return f"{number:g} is none of the values that --values names ({column} holds {listed}): add it{more}"
    if sides.others:
        return (
            f"{number:g} may be any side: {column} holds {listed} in this import, and the rows have, or had before "
            f"--drop, more sides than two ({', '.join(sorted({*sides.names, *sides.others}))}). Say which numbers are "
            f"{sides.names[0]} and {sides.names[1]} with --values first=NUMBER,second=NUMBER"
        )
    if column in SIGNED_COLUMNS:
        ways = ["first=negative,second=positive"]  # what these two always mean; it is told once nothing else fits
    elif min(ordered) < 0:
        ways = ["first=negative,second=positive", "first=positive,second=negative"]
        ways += ["first=0,second=1,tie=-1"] if left == {-1, 0, 1} else []
    elif left <= {0, 1} and 0 in left:
        ways = ["first=0,second=1", "first=1,second=0"]
    elif left == {1}:
        ways = ["first=1,second=2", "first=0,second=1"]
    elif left == {2}:
        ways = ["first=1,second=2", "first=2,second=1"]
    elif left <= {0, 1, 2}:
        ways = ["first=1,second=2,tie=0", "first=0,second=1,tie=2"]
    elif left <= {1, 2, 3}:
        ways = ["first=1,second=2,tie=3", "first=1,second=3,tie=2"]
    else:
        ways = ["first=VALUE,second=VALUE,tie=VALUE"]
    return (
        f"{number:g} may be either side: {column} holds {listed} in this import, and nothing says how it counts. "
        f"Pass {' or '.join(f'--values {way}' for way in ways)}"
    )


def _worded(text: str, sides: Sides) -> set[Verdict]:
    """What a word says: a side by its name, its model's or its column's, or by its very answer; or a tie.

    More than one where a model that is called b stands on side a.
    """
    by_name = {_named(text, names) for names in (sides.names, sides.also) if names is not None}
    return _by_content(text, sides) | {one for one in by_name if one is not None}


def is_verdict(text: str) -> bool:
    """Whether a word names one of two sides, however they are called, or a tie."""
    return any(_named(text, names) is not None for names in SIDES)


def _by_content(value: Any, sides: Sides) -> set[Verdict]:
    """The sides that a verdict names by what stands in them or what their column is called."""
    text, read = _cell_of(value), set()
    for words in (sides.models, sides.columns, sides.texts):
        one, other = (_cell_of(word) for word in words)
        if words is sides.models and text not in (one, other) and _plain(one) != _plain(other):
            one, other, text = _plain(one), _plain(other), _plain(text)  # GPT-4 is gpt-4 where no other is
        if one and other and one != other and text in (one, other):
            read.add(FIRST if text == one else SECOND)
        text = _cell_of(value)
    return read


def _cell_of(value: Any) -> str:
    """A value as text, "" where it is neither text nor a number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""


def _plain(value: Any) -> str:
    return unicodedata.normalize("NFKC", str(value)).strip().casefold()


def _two_readings(value: Any, column: str) -> str:
    cell = _cell(value)
    return (
        f"{shown(value)} is one side by its name, and the other or a tie by its model or its text: say which it means "
        f"with --values first={cell} or --values second={cell}, or leave out the models or {column} with --drop"
    )


@lru_cache(maxsize=4096)
def _named(text: str, names: tuple[str, str]) -> Verdict | None:
    if len(text) > 100:
        return None
    word = unicodedata.normalize("NFKC", text).lower().translate(_NOISE)
    if _TIE.fullmatch(word) or (word == "c" and names == ("a", "b")):
        return TIE
    if match := _ONE_SIDE.fullmatch(word):
        place = _place(match[1], names)
        return None if place is None else (FIRST, SECOND)[place]
    if match := _TWO_SIDES.fullmatch(word):
        left, relation, right = match.groups()
        if {_place(left, names), _place(right, names)} != {0, 1}:
            return None
        if relation[0] in "=≈":
            return TIE
        size = 2.0 if relation in "≫≪" else float(len(relation)) if relation[0] in "<>" else 1.0
        winner = left if relation[0] in ">≫" or re.fullmatch(_BETTER, relation) else right
        return _by(size, FIRST if _place(winner, names) == 0 else SECOND)
    return None


def _place(name: str, names: tuple[str, str]) -> int | None:
    """Which side a word is: by the row's own names, else by its position."""
    return names.index(name) if name in names else _POSITIONS.get(name)
