"""A printed table of AlignBench or MT-Bench-zh, looked at: do its rows follow from their parts, and whose are they.

A number printed with d decimals stands for anything within half a unit of its last place. So a mean of printed parts
lies within half a unit of the mean of what is printed (each part may be off by that much, and so their mean), and where
it is printed itself it may be off by half a unit of its own: with two decimals everywhere, .01 in all. No row that was
rounded is found, and every row is that is further off. All is counted in fractions, so that nothing is off by itself.
Overall is made of Reasoning and Language, each of which is as it is printed, or anything that both its own rounding and
its categories allow.

An average of MT-Bench-zh tells more. A turn is the mean of 80 whole numbers, so a printed turn stands for one of the
80ths alone, and the average for the mean of two of them; or it was made of the turns as they are printed. What was made
of turns of any other kind agrees with that, too, but where both end in a 5 that was cut off.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from coig_p.core.small_files import read_small
from coig_p.errors import DataError, UnknownNameError
from coig_p.evaluate.align.kinds import CATEGORIES, LANGUAGE, REASONING

TURNS = ("first_turn", "second_turn")
NUMBERS = (*CATEGORIES, "reasoning", "language", "overall", *TURNS, "average", "gain")
NAMES = ("table", "model", "dataset", "judge")
_SHORT = {
    **{"math.": "math", "mathematics": "math", "logi": "logic", "logi.": "logic", "logic.": "logic"},
    **{"fund": "fundamental", "fund.": "fundamental", "chi": "chinese", "chi.": "chinese", "open.": "open"},
    **{"writ": "writing", "writ.": "writing", "role.": "role", "pro": "professional", "pro.": "professional"},
    **{one.zh: name for name, one in CATEGORIES.items()},
    **{
        "中文推理": "reasoning",
        "中文语言": "language",
        "总分": "overall",
        "first": "first_turn",
        "second": "second_turn",
    },
}
_BACKBONE = ("", "-", "–", "—", "backbone", "base", "none", "baseline")
_QUESTIONS = 80  # of MT-Bench-zh in each turn
_LOWEST, _HIGHEST = Fraction(-1), Fraction(10)  # the official mean takes -1 for what it cannot read


@dataclass(frozen=True)
class Printed:
    """A number as it is printed: what it says, and the half of a unit of its last place."""

    text: str
    value: Fraction
    half: Fraction


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        line: of the file, where it ends.
        names: table, model, dataset and judge, "" for each that there is none of.
    """

    line: int
    names: Mapping[str, str]
    numbers: Mapping[str, Printed]

    @property
    def dataset(self) -> str:
        """As rows are compared by: "(Ours)" is no part of it, and no dataset is the backbone."""
        name = _folded(self.names["dataset"]).removesuffix("(ours)").strip()
        return "backbone" if name in _BACKBONE else name


@dataclass(frozen=True)
class Finding:
    """Something wrong with a row.

    Attributes:
        row: its line in the file.
        kind: mean (does not follow from its parts), average-of-80, two-models, two-datasets, twice, contradicts, gain,
            range.
        column: whose number it is; None where it is the whole row.
        printed: what stands there; expected: what could.
        other: the line of the row beside which it is wrong.
    """

    row: int
    table: str
    model: str
    dataset: str
    kind: str
    says: str
    column: str | None = None
    printed: str | None = None
    expected: str | None = None
    other: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Gain:
    """How much higher a row's overall is than that of its model before training, in percent of that."""

    row: int
    table: str
    model: str
    dataset: str
    percent: float
    printed: str | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Checked:
    """What came of looking at a table.

    Attributes:
        rows: that it has; checked: those of which at least one number follows from others.
    """

    rows: int
    checked: int
    findings: tuple[Finding, ...]
    gains: tuple[Gain, ...]

    @property
    def found(self) -> int:
        """Rows of which there are findings."""
        return len({one.row for one in self.findings})

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        told: dict[str, Any] = {"rows": self.rows, "checked": self.checked, "found": self.found}
        told["findings"] = [one.to_dict() for one in self.findings]
        return told | {"gains": [one.to_dict() for one in self.gains]}


def check_table(path: str | Path) -> Checked:
    """Look at a table that was printed.

    Args:
        path: CSV with a head: table, model and dataset, and any of NUMBERS. Blank cells are not looked at.

    Raises:
        DataError: it cannot be read, or a cell is no number; names file, line and column.
        UnknownNameError: a column that is none.
    """
    rows = read_table_rows(Path(path))
    turns = [row for row in rows if all(name in row.numbers for name in (*TURNS, "average"))]
    findings = [one for row in rows for one in (*_ranges(row), *_means(row))]
    found_lines = {one.row for one in findings}
    findings += [one for row in turns if row.line not in found_lines for one in _of_80(row)]
    findings += _doubles(rows)
    gains, wrong = _gains(rows)
    findings = sorted([*findings, *wrong], key=lambda one: (one.row, one.kind, str(one.column)))
    checked = sum(map(_is_checked, rows))
    return Checked(len(rows), checked, tuple(findings), tuple(gains))


def read_table_rows(path: Path) -> list[Row]:
    """The rows of a table's file; errors as `check_table`."""
    try:
        text = read_small(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8: save it as CSV in UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(reader, None)
        if head is None:
            raise DataError(f"{path}: empty: its first line names the columns: table, model, dataset, ...")
        columns = _columns(path, head)
        rows = [_row(path, reader.line_num, columns, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: not CSV: {error}") from None
    if not rows:
        raise DataError(f"{path}: no row below the names of its columns")
    return rows


def _columns(path: Path, head: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in head:
        plain = "_".join(name.strip().lower().replace("_", " ").split())
        plain = _SHORT.get(plain, plain)
        if plain not in (*NAMES, *NUMBERS):
            raise UnknownNameError("column", name, (*NAMES, *NUMBERS), path)
        if plain in found:
            raise DataError(f"{path} line 1 .{plain}: two columns have this name")
        found.append(plain)
    for name in ("table", "model", "dataset"):
        if name not in found:
            raise DataError(f"{path} line 1: no column {name}: it must have table, model and dataset")
    if not set(found) & set(NUMBERS):
        raise DataError(f"{path} line 1: no column of numbers: any of {', '.join(NUMBERS)}")
    return found


def _row(path: Path, line: int, columns: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(columns):
        raise DataError(f"{path} line {line}: {len(cells)} cells, and the first line names {len(columns)} columns")
    told = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
    if not told["model"]:
        raise DataError(f"{path} line {line} .model: blank: say whose numbers they are")
    numbers = {}
    for name in NUMBERS:
        if told.get(name) and not (name == "gain" and told[name] in _BACKBONE):  # the papers print "-" for the backbone
            numbers[name] = _printed(path, line, name, told[name])
    return Row(line, {name: told.get(name, "") for name in NAMES}, numbers)


def _printed(path: Path, line: int, name: str, text: str) -> Printed:
    plain = text.removesuffix("%").strip() if name == "gain" else text
    sign, digits = (plain[:1], plain[1:]) if plain[:1] in ("-", "+") else ("", plain)
    whole, _, decimals = digits.partition(".")
    right = whole.isascii() and whole.isdigit() and len(digits) <= 12 and "." not in decimals
    if not right or (decimals and not (decimals.isascii() and decimals.isdigit())) or digits.endswith("."):
        raise DataError(f"{path} line {line} .{name}: {text[:60]!r} is not a number such as 5.47")
    value = Fraction(f"{sign}{digits}")
    return Printed(plain, value, Fraction(1, 2 * 10 ** len(decimals)))


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


# ------------------------------------------------------------------------------------------------


_HALVES = {"reasoning": REASONING, "language": LANGUAGE}
_SUMS: Mapping[str, tuple[str, ...]] = {**_HALVES, "average": TURNS}


def _is_checked(row: Row) -> bool:
    """Whether a number of a row follows from others of it."""
    there = set(row.numbers)
    halves = all(name in there or there.issuperset(parts) for name, parts in _HALVES.items())
    return ("overall" in there and halves) or any({name, *parts} <= there for name, parts in _SUMS.items())


def _means(row: Row) -> Iterator[Finding]:
    """The numbers of a row that do not follow from their parts."""
    there = set(row.numbers)
    for name, parts in _SUMS.items():
        if {name, *parts} <= there:
            low, high = _mean([row.numbers[part] for part in parts])
            yield from _outside(row, name, low, high, parts)
    halves = [_half(row, name, parts) for name, parts in _HALVES.items()]
    told = [one for one in halves if one is not None]
    if "overall" in there and len(told) == len(_HALVES):
        low, high = sum((one[0] for one in told), Fraction()) / 2, sum((one[1] for one in told), Fraction()) / 2
        names = [part for name, parts in _HALVES.items() for part in ((name,) if name in there else parts)]
        both = any({name, *parts} <= there for name, parts in _HALVES.items())
        yield from _outside(row, "overall", low, high, names, " of them and of their categories" if both else "")


def _half(row: Row, name: str, parts: Sequence[str]) -> tuple[Fraction, Fraction] | None:
    """What Reasoning or Language may have been before it was rounded: None where nothing says it.

    Printed, it stands for what rounds to it, and of that only what its parts allow; and for itself, as Overall may have
    been made of what is printed. Where its parts allow none of it they are found wrong by themselves.
    """
    told = row.numbers.get(name)
    of_parts = _mean([row.numbers[part] for part in parts]) if row.numbers.keys() >= set(parts) else None
    if told is None:
        return of_parts
    low, high = told.value - told.half, told.value + told.half
    if of_parts is None or of_parts[1] < low or high < of_parts[0]:
        return low, high
    return min(max(low, of_parts[0]), told.value), max(min(high, of_parts[1]), told.value)


def _mean(parts: Sequence[Printed]) -> tuple[Fraction, Fraction]:
    """The least and the most that the mean of printed numbers can be."""
    middle, half = (sum((getattr(one, name) for one in parts), Fraction()) / len(parts) for name in ("value", "half"))
    return middle - half, middle + half


def _outside(
    row: Row, name: str, low: Fraction, high: Fraction, parts: Sequence[str], allows: str = ""
) -> Iterator[Finding]:
    told = row.numbers[name]
    if told.value + told.half < low or high < told.value - told.half:
        yield _finding(
            row,
            "mean",
            f"{name} {told.text} is not the mean of {', '.join(parts)}: that is {float(low):.4f} to {float(high):.4f} "
            f"with what rounding allows{allows}",
            column=name,
            printed=told.text,
            expected=f"{float((low + high) / 2):.4f}",
        )


def _ranges(row: Row) -> Iterator[Finding]:
    for name, one in row.numbers.items():
        if name != "gain" and not _LOWEST <= one.value <= _HIGHEST:
            yield _finding(row, "range", f"{name} {one.text} is beyond 10, or below -1", column=name, printed=one.text)


def _of_80(row: Row) -> Iterator[Finding]:
    told, possible = row.numbers["average"], _averages(row)
    if not any(abs(told.value - one) <= told.half for one in possible):
        words = " or ".join(f"{float(one):.4f}" for one in possible) or "nothing"
        turns = " and ".join(row.numbers[name].text for name in TURNS)
        yield _finding(
            row,
            "average-of-80",
            f"average {told.text}: of {_QUESTIONS} whole numbers each, the turns {turns} have the mean {words}",
            column="average",
            printed=told.text,
            expected=words,
        )


def _averages(row: Row) -> list[Fraction]:
    """The means of two printed turns, each a mean of 80 whole numbers; also that of the turns as they are printed."""
    first, second = (_counts(row.numbers[name]) for name in TURNS)
    exact = {Fraction(one + other, 2 * _QUESTIONS) for one in first for other in second}
    return sorted(exact | {sum((row.numbers[name].value for name in TURNS), Fraction()) / 2})


def _counts(told: Printed) -> range:
    low, high = (told.value - told.half) * _QUESTIONS, (told.value + told.half) * _QUESTIONS
    return range(math.ceil(low), math.floor(high) + 1)


# ------------------------------------------------------------------------------------------------


def _doubles(rows: Sequence[Row]) -> Iterator[Finding]:
    """Rows with the numbers of another one, and rows of one name with other numbers."""
    alike: dict[tuple[tuple[str, Fraction], ...], list[Row]] = defaultdict(list)
    by_name: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    named: set[int] = set()
    for row in rows:
        numbers = tuple((name, one.value) for name, one in row.numbers.items() if name != "gain")
        model = _folded(row.names["model"])
        for other in alike[numbers] if len(numbers) > 2 else ():
            for one in _alike(row, other, rows):
                if one.row not in named:  # of three alike, each is named once
                    named.add(one.row)
                    yield one
        alike[numbers].append(row)
        place = (_folded(row.names["table"]), _folded(row.names["judge"]), model, row.dataset)
        for other in by_name[place]:
            if any(row.numbers[one].value != other.numbers[one].value for one in _common(row, other)):
                yield _finding(
                    row, "contradicts", f"line {other.line} has other numbers under the same names", other=other.line
                )
        by_name[place].append(row)


def _common(row: Row, other: Row) -> list[str]:
    return [name for name in row.numbers if name in other.numbers and name != "gain"]


def _alike(row: Row, other: Row, rows: Sequence[Row]) -> Iterator[Finding]:
    """What is wrong with a row whose numbers stand in another row, too."""
    model = [_folded(one.names["model"]) for one in (row, other)]
    same_table = all(_folded(row.names[name]) == _folded(other.names[name]) for name in ("table", "judge"))
    if model[0] != model[1]:
        for one, beside in ((row, other), (other, row)):
            rest = [
                each
                for each in rows
                if _folded(each.names["model"]) == _folded(one.names["model"])
                and each.dataset == one.dataset
                and any(each.numbers[name].value != one.numbers[name].value for name in _common(each, one))
            ]
            said = f"every number of it stands under {beside.names['model']} in line {beside.line}, too"
            if set(one.numbers) <= {*TURNS, "average"}:
                said += ". Of two turns that may be chance: look whose they are"
            if rest:
                column = next((name for name in ("overall", "average") if name in rest[0].numbers), None)
                value = "" if column is None else f" ({column} {rest[0].numbers[column].text})"
                said += f"; its own model has other numbers for this dataset in line {rest[0].line}{value}"
            yield _finding(one, "two-models", said, other=beside.line)
    elif row.dataset != other.dataset:
        said = (
            f"every number of it stands under dataset {other.names['dataset'] or '(none)'!r} in line {other.line}, too"
        )
        yield _finding(row, "two-datasets", said, other=other.line)
    elif same_table:
        yield _finding(row, "twice", f"the same row stands in line {other.line}", other=other.line)


def _gains(rows: Sequence[Row]) -> tuple[list[Gain], list[Finding]]:
    """How much each row is above its model before training, where the table has that; and gains that do not follow."""
    before: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.dataset == "backbone" and "overall" in row.numbers:
            before.setdefault((_folded(row.names["table"]), _folded(row.names["model"])), row)
    gains, wrong = [], []
    for row in rows:
        base = before.get((_folded(row.names["table"]), _folded(row.names["model"])))
        if base is None or base is row or "overall" not in row.numbers or base.numbers["overall"].value <= 0:
            continue
        told, one, zero = row.numbers.get("gain"), row.numbers["overall"], base.numbers["overall"]
        gain = 100 * (one.value / zero.value - 1)
        names = (row.names["table"], row.names["model"], row.names["dataset"])
        gains.append(Gain(row.line, *names, round(float(gain), 4), None if told is None else told.text))
        if told is None:
            continue
        low = 100 * ((one.value - one.half) / (zero.value + zero.half) - 1)
        high = 100 * ((one.value + one.half) / (zero.value - zero.half) - 1) if zero.value > zero.half else None
        if told.value + told.half < low or (high is not None and told.value - told.half > high):
            words = f"gain {told.text}: {one.text} is {float(gain):.2f}% above {zero.text} in line {base.line}"
            wrong.append(_finding(row, "gain", words, column="gain", printed=told.text, expected=f"{float(gain):.2f}"))
    return gains, wrong


def _finding(row: Row, kind: str, says: str, **told: Any) -> Finding:
    return Finding(row.line, row.names["table"], row.names["model"], row.names["dataset"], kind, says, **told)
