"""What people answered: one file an annotator, to which lines are added and none is ever changed.

    {"item": "r-000017", "annotator": "a", "round": 1, "answer": {"preference": "A", "correct": ["a"]},
     "comment": null, "seconds": 31.2, "at": "2026-11-26T10:00:00.000+00:00", "by": "page", "skipped": false}

The last line of an item counts. Every line is on the disk before `append` returns, so that a kill loses none that was
told to be saved. A line that a kill cut short is closed with a mark by the next one, and counted.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coig_p.errors import DataError
from coig_p.review.folder import ANSWERS, Review, open_review
from coig_p.store.places import check_kept, check_no_link

try:
    import fcntl
except ImportError:  # Windows: one process at a time may then write the answers of one annotator
    fcntl = None  # type: ignore[assignment]

PREFERENCES = ("A", "tie", "B")
WAYS = ("page", "label-studio")
_TORN = b"#torn"  # stands behind what is left of a line; no JSON ends so
_LONGEST_COMMENT = 100_000
_A_YEAR = 366 * 24 * 3600  # seconds; a duration beyond is none
_NO_EARLIER = 1970  # years; nobody answered a page before
_FIELDS = ("item", "annotator", "round", "answer", "comment", "seconds", "at", "by", "skipped")


@dataclass(frozen=True)
class Answer:
    """One line: what an annotator said of an item in a round.

    Attributes:
        answer: as the form has it (see `answer_problem`); None where the item was skipped, or an answer taken back.
        comment: None where nothing was said.
        seconds: how long it took; None where that is not known.
        at: when, an ISO time with its offset from UTC.
        by: one of WAYS.
        skipped: the annotator would not say. Without it and without an answer, an earlier one is taken back.
        line: in the file, from 1; 0 for one that is in none yet.
    """

    item: str
    annotator: str
    round: int
    answer: Mapping[str, Any] | None
    comment: str | None = None
    seconds: float | None = None
    at: str = ""
    by: str = "page"
    skipped: bool = False
    line: int = field(default=0, compare=False)

    @property
    def identity(self) -> tuple[str, str, int]:
        """Which row of the key it belongs to."""
        return self.item, self.annotator, self.round

    def to_dict(self) -> dict[str, Any]:
        """As a line has it."""
        return {name: getattr(self, name) for name in _FIELDS}


@dataclass(frozen=True)
class Log:
    """All lines of a review's answers.

    Attributes:
        answers: the last word on each item of each annotator and round, in the order of files and lines; answers that
            were taken back are none.
        lines: how many whole lines there are.
        torn: of each annotator, how many lines were cut short; those with none are left out.
    """

    answers: list[Answer]
    lines: int
    torn: Mapping[str, int]


def now() -> str:
    """This moment as `Answer.at` has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def answers_path(folder: Path, annotator: str) -> Path:
    """Where the answers of an annotator stand."""
    return folder / ANSWERS / f"{annotator}.jsonl"


def answer_problem(form: str, answer: Any) -> tuple[str, str] | None:
    """What is wrong with an answer in a form: the field, and why; None where nothing is.

    By form: pair and accept {"preference": "A" | "tie" | "B", "correct": some of ["a", "b"], "query_ok": true, false
    or null}, of which "correct" may be left out in form pair, and "query_ok", which it does not ask; triple
    {"ranking": [["b"], ["a", "c"]]}, the best first and all sides once; query {"feasible": true or false}.
    """
    if not isinstance(answer, Mapping):
        return "", f"{_shown(answer)} is not an object"
    known = {"triple": ("ranking",), "query": ("feasible",)}.get(form, ("preference", "correct", "query_ok"))
    for name in answer:
        if name not in known:
            return str(name), f"no field of form {form}, which has {', '.join(known)}"
    if form == "query":
        return None if isinstance(answer.get("feasible"), bool) else ("feasible", _not(answer, "feasible", "a boolean"))
    if form == "triple":
        ranking = answer.get("ranking")
        levels: Any = ranking if isinstance(ranking, list | tuple) else [None]
        if not all(isinstance(level, list | tuple) and level for level in levels):
            return "ranking", _not(answer, "ranking", "a list of lists of sides, best first")
        if sorted(map(str, (side for level in levels for side in level))) != ["a", "b", "c"]:
            return "ranking", _not(answer, "ranking", "each of a, b and c once")
        return None
    if answer.get("preference") not in PREFERENCES:
        return "preference", _not(answer, "preference", 'one of "A", "tie", "B"')
    correct = answer.get("correct", [])
    if not isinstance(correct, list | tuple) or any(side not in ("a", "b") for side in correct):
        return "correct", _not(answer, "correct", 'a list of "a" and "b"')
    if len(set(correct)) < len(correct):
        return "correct", _not(answer, "correct", "each side once")
    wanted = (bool,) if form == "accept" else (bool, type(None))
    if not isinstance(answer.get("query_ok"), wanted):
        return "query_ok", _not(answer, "query_ok", "true or false" if form == "accept" else "true, false or null")
    return None


def _not(answer: Mapping[str, Any], name: str, wanted: str) -> str:
    return f"{_shown(answer[name])} is not {wanted}" if name in answer else f"missing: {wanted}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def problem(form: str, told: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong with a line of answers: the field, and why; None where nothing is."""
    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        "item": (lambda value: isinstance(value, str) and bool(value), "a name of an item"),
        "annotator": (lambda value: isinstance(value, str) and bool(value), "a name of an annotator"),
        "round": (lambda value: type(value) is int and value >= 1, "a round of 1 or more"),
        "comment": (lambda value: value is None or _is_text(value), "text of 100,000 characters at most, or null"),
        "seconds": (lambda value: value is None or is_duration(value), "a number of seconds from 0 to a year, or null"),
        "at": (
            lambda value: isinstance(value, str) and time_of(value) is not None,
            "a time with an offset from UTC, since 1970",
        ),
        "by": (lambda value: value in WAYS, f"one of {', '.join(WAYS)}"),
        "skipped": (lambda value: isinstance(value, bool), "true or false"),
    }
    for name in told:
        if name not in _FIELDS:
            return str(name), "not a field of an answer"
    for name in _FIELDS:
        if name not in told:
            return name, "missing"
        if name in checks and not checks[name][0](told[name]):
            return name, f"{_shown(told[name])} is not {checks[name][1]}"
    if told["answer"] is None:
        return None
    if told["skipped"]:
        return "skipped", "true beside an answer: one of the two"
    found = answer_problem(form, told["answer"])
    return None if found is None else (f"answer.{found[0]}".rstrip("."), found[1])


def _is_text(value: Any) -> bool:
    return (
        isinstance(value, str) and len(value) <= _LONGEST_COMMENT and not any("\ud800" <= c <= "\udfff" for c in value)
    )


def is_duration(value: Any) -> bool:
    """Whether a value can be how many seconds an answer took: a number from 0 to a year."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _A_YEAR


def time_of(text: str) -> datetime | None:
    """The moment that an ISO time names; None where it is none, has no offset from UTC, or lies before 1970."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None and found.year >= _NO_EARLIER else None
    except (ValueError, OverflowError):
        return None


def append(folder: str | Path, annotator: str, answer: Answer) -> None:
    """Add a line to an annotator's answers; it is on the disk when this returns.

    Raises:
        DataError: the answer is not of the review's form; says which field and why.
        UnknownNameError: nobody of that name is asked.
        OSError: it cannot be written, as on a full disk; what was written of it is no answer.
    """
    append_all(open_review(folder), annotator, [answer])


def append_all(review: Review, annotator: str, answers: Sequence[Answer]) -> None:
    """Add lines at once, as `append` does one: all are checked before the first is written."""
    review.check_annotator(annotator)
    lines = []
    for answer in answers:
        told = answer.to_dict()
        found = problem(review.form, told)
        if answer.annotator != annotator:
            found = "annotator", f"{_shown(answer.annotator)} among the answers of {annotator}"
        if found is not None:
            raise DataError(f"answer to {answer.item} .{found[0]}: {found[1]}")
        lines.append(json.dumps(told, ensure_ascii=False).encode() + b"\n")
    if not lines:
        return
    path = answers_path(review.path, annotator)
    check_no_link(path.parent, "a review")
    check_kept(path, "a review")
    path.parent.mkdir(exist_ok=True)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if fcntl is not None:  # a page with several tabs, an import beside it
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        waiting = memoryview(_end_of_torn(descriptor) + b"".join(lines))
        while waiting:
            waiting = waiting[os.write(descriptor, waiting) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        _sync_folder(path.parent)


def _end_of_torn(descriptor: int) -> bytes:
    """What must stand before a new line: nothing, or the end of a last line that has none."""
    size = os.fstat(descriptor).st_size
    if not size:
        return b""
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read() == b"\n":
            return b""
        stream.seek(0)
        last = stream.read().rpartition(b"\n")[2]
    return b"\n" if _is_whole(last) else _TORN + b"\n"


def _is_whole(line: bytes) -> bool:
    """Whether a line without an end is all there: the object is closed by its last character."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system lets a folder be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_answers(folder: str | Path) -> list[Answer]:
    """The last word on each item of each annotator and round; see `read_log`."""
    return read_log(folder).answers


def read_log(folder: str | Path) -> Log:
    """Read all answers of a review.

    Raises:
        DataError: a line is no answer of the review's form, or not of the annotator whose file it is in; names file,
            line and field. A line that a kill cut short is none of these. Or a file is nobody's who is asked.
    """
    review = open_review(folder)
    last: dict[tuple[str, str, int], Answer] = {}
    lines, torn = 0, Counter[str]()
    for path in sorted((review.path / ANSWERS).glob("*.jsonl")):
        if path.stem not in review.annotators and path.stat().st_size:
            raise DataError(
                f"{path}: nobody of that name is asked, who are {', '.join(review.annotators)}: give the file the name "
                "of whose answers it holds, or take it out of the review"
            )
    for annotator in review.annotators:
        for answer in _read(review, annotator, torn):
            lines += 1
            last.pop(answer.identity, None)
            last[answer.identity] = answer
    kept = [answer for answer in last.values() if answer.answer is not None or answer.skipped]
    return Log(kept, lines, dict(torn))


def last_words(review: Review, annotator: str) -> dict[tuple[str, str, int], Answer]:
    """The last line on each item of one annotator, also those that take an answer back."""
    return {answer.identity: answer for answer in _read(review, annotator, Counter())}


def _read(review: Review, annotator: str, torn: Counter[str]) -> list[Answer]:
    path = answers_path(review.path, annotator)
    try:
        found, cut_short = parse_file(review.form, path)
    except FileNotFoundError:
        return []
    if cut_short:
        torn[annotator] = cut_short
    for answer in found:
        if answer.annotator != annotator:
            where = f"{path} line {answer.line} .annotator"
            raise DataError(f"{where}: {_shown(answer.annotator)}, expected {annotator!r}")
    return found


def parse_file(form: str, path: Path) -> tuple[list[Answer], int]:
    """The lines of a file of answers, and how many were cut short.

    Raises:
        FileNotFoundError: it is not there.
        DataError: it cannot be read, or a line is no answer; names file, line and field.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    *lines, last = data.split(b"\n")
    torn = 0
    if last:
        if _is_whole(last):
            lines.append(last)
        else:
            torn += 1
    found = []
    for number, line in enumerate(lines, 1):
        if line.endswith(_TORN):
            torn += 1
        elif line.strip():
            found.append(parse_line(form, line, path, number))
    return found, torn


def parse_line(form: str, line: bytes, path: Path, number: int) -> Answer:
    """One line of a file of answers; raise DataError where it is none."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} line {number}: not JSON: {error}") from None
    if not isinstance(told, dict):
        raise DataError(f"{path} line {number}: not an object: {_shown(told)}")
    found = problem(form, told)
    if found is not None:
        raise DataError(f"{path} line {number} .{found[0]}: {found[1]}")
    return Answer(**told, line=number)
