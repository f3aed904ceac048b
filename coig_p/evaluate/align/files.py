"""Answers and results on disk: a line for each turn of each question, the questions beside, a header written last.

ANSWERS/  answers.jsonl   {"question": "1", "turn": 1, "text": "..." or null, "reason": null or "cut"}
          questions.jsonl the benchmark, in one form
          answers.json    the benchmark's hash, who answered, and with what options
RESULTS/  results.jsonl   {"question", "turn", "scores": {"综合得分": 8, ...} or null, "official": 8.0 or null,
                           "reason": null or why there are no scores, "raw": what the judge said or null}
          questions.jsonl
          results.json    all that, and who judged, with which prompts
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from coig_p.core.atomic import atomic_directory
from coig_p.errors import DataError
from coig_p.evaluate.align.benchmarks import Benchmark, Question, question_of
from coig_p.evaluate.align.kinds import ALIGNBENCH, KINDS, OVERALL
from coig_p.reward.bench.form import (
    TOOL,
    Problem,
    check_whole,
    checked_line,
    header_field,
    located,
    not_as,
    read_header,
    read_lines,
    shown,
    write_header,
)
from coig_p.store.places import Marker, check_directory, check_outside

QUESTIONS = "questions.jsonl"
ANSWERS, RESULTS = "answers", "results"
VERSION = 1
UNANSWERED = ("no-answer", "no-first")
"""Reasons of results by which there was nothing to judge."""


@dataclass(frozen=True)
class Turn:
    """What came of one turn of a question.

    Attributes:
        turn: from 1.
        text: of the answer, or what the judge said; None where there is none.
        reason: why there is no answer, or no score.
        scores: of a judgement; official: the overall as the benchmark's own code reads it, -1 where it reads none,
            None where there was nothing to read.
    """

    question: str
    turn: int
    text: str | None = None
    reason: str | None = None
    scores: Mapping[str, int] | None = None
    official: float | None = None

    def to_dict(self, what: str) -> dict[str, Any]:
        """As a line of answers or of results has it."""
        told: dict[str, Any] = {"question": self.question, "turn": self.turn}
        if what == ANSWERS:
            return told | {"text": self.text, "reason": self.reason}
        scores = None if self.scores is None else dict(self.scores)
        return told | {"scores": scores, "official": self.official, "reason": self.reason, "raw": self.text}


@dataclass(frozen=True)
class Kept:
    """Answers or results, read whole.

    Attributes:
        path: the folder.
        header: as `answers.json` or `results.json` has it.
        turns: for each question in order, its turns in order.
    """

    path: Path
    benchmark: Benchmark
    header: Mapping[str, Any]
    turns: tuple[tuple[Turn, ...], ...]

    @property
    def model(self) -> Mapping[str, Any]:
        """Who answered."""
        told: Mapping[str, Any] = self.header["model"]
        return told

    @property
    def judge(self) -> Mapping[str, Any]:
        """Who judged."""
        told: Mapping[str, Any] = self.header["judge"]
        return told

    @property
    def sha256(self) -> str:
        """Of the lines."""
        return str(self.header["sha256"])


def check_place(folder: Path, what: str, overwrite: bool) -> None:
    """Raise UsageError where answers or results cannot be written to a folder."""
    check_outside(folder, what)
    check_directory(folder, _marker(what), what, overwrite)


def _marker(what: str) -> Marker:
    return Marker(f"{what}.json", (f'"{_form(what)}"'.encode(),))


def _form(what: str) -> str:
    return f"coig_p.align.{what}"


def write_kept(
    folder: Path, what: str, benchmark: Benchmark, turns: Iterable[Turn], header: Mapping[str, Any], overwrite: bool
) -> None:
    """Write answers or results, whole or not at all.

    Args:
        turns: of every question in order.
        header: "model" and "options", of results also "judge" and "answers_sha256".
    """
    check_place(folder, what, overwrite)
    with atomic_directory(folder) as place:
        hashes = []
        for name, rows in (
            (QUESTIONS, (one.to_dict() for one in benchmark.questions)),
            (f"{what}.jsonl", (one.to_dict(what) for one in turns)),
        ):
            digest = sha256()
            with (place / name).open("wb") as stream:
                for at, row in enumerate(rows, 1):
                    data = checked_line(row, f"{name} line {at}", lambda told: None)
                    digest.update(data)
                    stream.write(data)
            hashes.append(digest.hexdigest())
        told: dict[str, Any] = {"format": _form(what), "version": VERSION, "benchmark": benchmark.to_dict()}
        told |= dict(header) | {"questions_sha256": hashes[0], "sha256": hashes[1], "tool": TOOL}
        write_header(place / f"{what}.json", told)


def read_kept(folder: str | Path, what: str) -> Kept:
    """Read answers or results whole.

    Raises:
        DataError: there are none, they were changed or cut short, or a line is none; names file, line and field.
    """
    root = Path(folder)
    command = "answer" if what == ANSWERS else "judge"
    told = read_header(root, f"{what}.json", _form(what), VERSION, f"{what}. Make some with: coigp align {command}")
    path = root / f"{what}.json"
    for name in ("benchmark", "model", "options", *(("judge",) if what == RESULTS else ())):
        header_field(path, told, name, dict)
    for name in ("sha256", "questions_sha256", *(("answers_sha256",) if what == RESULTS else ())):
        header_field(path, told, name, str)
    of = told["benchmark"]
    kind, number = header_field(path, of, "kind", str), header_field(path, of, "questions", int)
    if kind not in KINDS:
        raise DataError(f"{path} .benchmark.kind: {shown(kind)} is none of {', '.join(KINDS)}")
    for name in ("model", *(("judge",) if what == RESULTS else ())):
        header_field(path, told[name], "name", str)
    digest = sha256()
    questions: list[Question] = []
    for line, row in read_lines(root / QUESTIONS, digest):
        found = question_of(row, kind)
        if not isinstance(found, Question):
            raise located(root / QUESTIONS, line, found)
        questions.append(found)
    check_whole(root / QUESTIONS, digest.hexdigest() == told["questions_sha256"], len(questions), number, path.name)
    benchmark = Benchmark(
        kind,
        header_field(path, of, "name", str),
        header_field(path, of, "sha256", str),
        of.get("references_sha256"),
        tuple(questions),
    )
    expected = [(one, turn) for one in questions for turn in range(1, len(one.turns) + 1)]
    digest = sha256()
    lines: list[Turn] = []
    for line, row in read_lines(root / f"{what}.jsonl", digest):
        if len(lines) == len(expected):
            raise located(root / f"{what}.jsonl", line, ("", "a line more than the questions have turns"))
        problem = _problem(row, what, *expected[len(lines)], kind)
        if problem is not None:
            raise located(root / f"{what}.jsonl", line, problem)
        text = row["text"] if what == ANSWERS else row["raw"]
        lines.append(Turn(row["question"], row["turn"], text, row["reason"], row.get("scores"), row.get("official")))
    check_whole(root / f"{what}.jsonl", digest.hexdigest() == told["sha256"], len(lines), len(expected), path.name)
    waiting = iter(lines)
    turns = tuple(tuple(next(waiting) for _ in one.turns) for one in questions)
    return Kept(root, benchmark, told, turns)


def _problem(row: Any, what: str, question: Question, turn: int, kind: str) -> Problem | None:
    fields = (
        ("question", "turn", "text", "reason")
        if what == ANSWERS
        else (*("question", "turn", "scores", "official", "reason", "raw"),)
    )
    if not isinstance(row, dict) or set(row) != set(fields):
        return "", f"{shown(row)} is not an object with {', '.join(fields)} alone"
    if (row["question"], row["turn"]) != (question.id, turn) or type(row["turn"]) is not int:
        return (
            "question",
            f"{shown(row['question'])} turn {shown(row['turn'])}, where {question.id} turn {turn} is next",
        )
    for name in ("reason", "text" if what == ANSWERS else "raw"):
        if not isinstance(row[name], str | None):
            return name, not_as(row, name, "text or null")
    said = row["text"] if what == ANSWERS else row["scores"]
    if (said is None) == (row["reason"] is None):
        return "reason", "it must say why there is nothing, and be null where there is something"
    return None if what == ANSWERS or said is None else _scores_problem(row, question, kind)


def _scores_problem(row: Mapping[str, Any], question: Question, kind: str) -> Problem | None:
    wanted: Sequence[str] = (*(question.dimensions if kind == ALIGNBENCH else ()), OVERALL)
    scores = row["scores"]
    if not isinstance(scores, dict) or list(scores) != list(wanted):
        return "scores", not_as(row, "scores", f"an object with {', '.join(wanted)}")
    for name, score in scores.items():
        if type(score) is not int or not 1 <= score <= 10:
            return f"scores.{name}", f"{shown(score)} is not a whole number from 1 to 10"
    if type(row["official"]) not in (int, float):
        return "official", not_as(row, "official", "a number")
    return None
