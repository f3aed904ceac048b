"""A benchmark of alignment as its user has it on disk: AlignBench v1.1 or MT-Bench-zh, JSON Lines or one JSON list.

AlignBench: question_id, category, subcategory, question, reference. MT-Bench-zh: question_id, category (with zh_ before
it or without), turns, and reference where there is one, which may also be a file of its own as FastChat has it:
question_id and choices[0].turns. Other fields are not read. The file's sha256 is what runs are compared by.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from coig_p.core.small_files import read_whole
from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError
from coig_p.evaluate.align.kinds import (
    ALIGNBENCH,
    BY_NAME,
    CATEGORIES,
    MT_BENCH,
    MT_BY_NAME,
    MT_TEMPERATURES,
    dimensions_of,
)
from coig_p.reward.bench.form import Problem, not_as, shown

_MOST = 256 << 20  # bytes of a file
_FIELDS = ("id", "category", "subcategory", "turns", "references")


@dataclass(frozen=True)
class Question:
    """A question of a benchmark.

    Attributes:
        category: as reports name it: "math", "writing"; never with zh_.
        subcategory: as the file says; "" where there is none.
        turns: what the user says, turn by turn: one, or two.
        references: of each turn; None where there is none.
    """

    id: str
    category: str
    subcategory: str
    turns: tuple[str, ...]
    references: tuple[str | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """As a line has it."""
        told = {name: getattr(self, name) for name in _FIELDS}
        return told | {"turns": list(self.turns), "references": list(self.references)}

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What a judge of AlignBench scores, beside the overall."""
        return dimensions_of(self.category, self.subcategory)

    def dimensions_for(self, kind: str) -> tuple[str, ...]:
        """What a judge of a benchmark scores, beside the overall: nothing of MT-Bench-zh."""
        return self.dimensions if kind == ALIGNBENCH else ()


@dataclass(frozen=True)
class Benchmark:
    """Questions of one file.

    Attributes:
        kind: one of `kinds.KINDS`.
        sha256: of the file; references_sha256: of that of references, None where there is none.
    """

    kind: str
    name: str
    sha256: str
    references_sha256: str | None
    questions: tuple[Question, ...]

    def to_dict(self) -> dict[str, Any]:
        """What it is, without its questions."""
        told = {name: getattr(self, name) for name in ("kind", "name", "sha256", "references_sha256")}
        return told | {"questions": len(self.questions)}

    @property
    def unreferenced(self) -> int:
        """Turns that have no reference."""
        return sum(one is None for question in self.questions for one in question.references)


def read_benchmark(path: str | Path, references: str | Path | None = None) -> Benchmark:
    """Read a benchmark whole.

    Args:
        references: a file of FastChat's form that has answers to compare with, for MT-Bench-zh.

    Raises:
        DataError: it cannot be read, a line is no question, or an id stands twice; names file, line and field.
    """
    path = Path(path)
    digest = sha256()
    questions: list[Question] = []
    places: dict[str, str] = {}
    kind = None
    for place, row in _rows(path, digest):
        if not isinstance(row, dict):
            raise _located(path, place, ("", f"{shown(row)} is not an object"))
        is_mt = "turns" in row
        of = MT_BENCH if is_mt else ALIGNBENCH
        if kind not in (None, of):
            raise _located(
                path, place, ("", f"a question of {of}, and the first is one of {kind}: one benchmark a file")
            )
        kind = of
        found = _mt_question(row) if is_mt else _align_question(row)
        if not isinstance(found, Question):
            raise _located(path, place, found)
        if found.id in places:
            raise _located(path, place, ("question_id", f"{found.id} stands in {places[found.id]}, too"))
        places[found.id] = place
        questions.append(found)
    if kind is None:
        raise DataError(f"{path}: empty: name a benchmark's file: JSON Lines, one question a line, or one JSON list")
    told = None
    if references is not None:
        if kind != MT_BENCH:
            raise DataError(f"{references}: AlignBench has its references in the file itself: leave it out")
        questions, told = _with_references(questions, Path(references))
    return Benchmark(kind, path.stem, digest.hexdigest(), told, tuple(questions))


def _rows(path: Path, digest: Any) -> Iterator[tuple[str, Any]]:
    """Each row of JSON Lines, or of one JSON list, with its place in words; all bytes go into `digest`.

    Raises:
        DataError: the file cannot be read, or is no JSON.
    """
    try:
        data = read_whole(path, _MOST)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    digest.update(data)
    data = data.removeprefix(codecs.BOM_UTF8)
    if data.lstrip()[:1] == b"[":
        rows = _parsed(path, None, data)
        if not isinstance(rows, list):
            raise DataError(f"{path}: {shown(rows)} is not a list")
        yield from ((f"item {at}", row) for at, row in enumerate(rows, 1))
        return
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield f"line {number}", _parsed(path, number, line)


def _parsed(path: Path, number: int | None, data: bytes) -> Any:
    where = f"{path}" if number is None else f"{path} line {number}"
    try:
        return strict_json(data.decode())
    except RecursionError:
        raise DataError(f"{where}: nested too deep") from None
    except ValueError as error:
        hint = "" if number is None else ". Questions stand one a line, or all in one JSON list"
        raise DataError(f"{where}: not JSON of UTF-8: {error}{hint}") from None


def _located(path: Path, place: str, problem: Problem) -> DataError:
    """The error of a row."""
    return DataError(f"{path} {place}" + (f" .{problem[0]}" if problem[0] else "") + f": {problem[1]}")


def _category(told: str, known: Mapping[str, str]) -> str | None:
    """A category as reports name it."""
    name = told.strip().casefold()
    return known.get(name.removeprefix("zh_")) or known.get(name)


def _id(row: Mapping[str, Any]) -> str | None:
    value = row.get("question_id")
    if type(value) is int:
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def _align_question(row: Mapping[str, Any]) -> Question | Problem:
    name = _id(row)
    if name is None:
        return "question_id", not_as(row, "question_id", "a whole number or text")
    for field in ("category", "question"):
        if not isinstance(row.get(field), str) or not row[field].strip():
            return field, not_as(row, field, "text that is not blank")
    category = _category(row["category"], BY_NAME)
    if category is None:
        return (
            "category",
            f"{shown(row['category'])} is none of {', '.join((*(one.zh for one in CATEGORIES.values()), *CATEGORIES))}",
        )
    for field in ("subcategory", "reference"):
        if not isinstance(row.get(field, ""), str | None):
            return field, not_as(row, field, "text")
    if "reference" not in row:
        return "reference", "missing, where it must be text; null where a question has none"
    subcategory, reference = (row.get(field) or "" for field in ("subcategory", "reference"))
    return Question(name, category, subcategory, (row["question"],), ((reference.strip() and reference) or None,))


def _mt_question(row: Mapping[str, Any]) -> Question | Problem:
    name = _id(row)
    if name is None:
        return "question_id", not_as(row, "question_id", "a whole number or text")
    category = row.get("category")
    if not isinstance(category, str):
        return "category", not_as(row, "category", "text")
    plain = _category(category, MT_BY_NAME)
    if plain is None:
        return "category", f"{shown(category)} is none of {', '.join(MT_TEMPERATURES)}, with zh_ before it or without"
    turns = row["turns"]
    if not isinstance(turns, list) or len(turns) != 2 or not all(isinstance(one, str) and one.strip() for one in turns):
        return "turns", not_as(row, "turns", "a list of two texts")
    given = row.get("reference")
    references: tuple[str | None, ...] = (None, None)
    if given not in (None, [], ""):
        found = _turns_of(given, 2)
        if found is None:
            return "reference", not_as(row, "reference", "a list of a text for each turn")
        references = found
    return Question(name, plain, "", tuple(turns), references)


def _turns_of(given: Any, number: int) -> tuple[str | None, ...] | None:
    if not isinstance(given, list) or len(given) > number or not all(isinstance(one, str | None) for one in given):
        return None
    told = [one if one and one.strip() else None for one in given]
    return (*told, *[None] * (number - len(told)))


def _with_references(questions: list[Question], path: Path) -> tuple[list[Question], str]:
    """Questions with the references of a file, and its sha256; each must be of a question, and stand once."""
    digest = sha256()
    known = {one.id: at for at, one in enumerate(questions)}
    found, seen = list(questions), set()
    for place, row in _rows(path, digest):
        name = _id(row) if isinstance(row, dict) else None
        if name is None:
            raise _located(path, place, ("question_id", "missing, where it must be a whole number or text"))
        if name not in known:
            raise _located(path, place, ("question_id", f"{name} is no question of the benchmark"))
        if name in seen:
            raise _located(path, place, ("question_id", f"{name} stands twice"))
        seen.add(name)
        choices = row.get("choices")
        turns = (
            choices[0].get("turns") if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
        )
        old = questions[known[name]]
        told = None if turns is None else _turns_of(turns, len(old.turns))
        if told is None:
            raise _located(path, place, ("choices[0].turns", "not a list of a text for each turn"))
        if any(one is not None for one in old.references) and told != old.references:
            raise _located(path, place, ("choices[0].turns", f"question {name} has another reference in the benchmark"))
        found[known[name]] = Question(old.id, old.category, old.subcategory, old.turns, told)
    return found, digest.hexdigest()


def question_of(told: Any, kind: str) -> Question | Problem:
    """A line that was written by `to_dict`; or what is wrong with it."""
    if not isinstance(told, dict) or set(told) != set(_FIELDS):
        return "", f"{shown(told)} is not an object with {', '.join(_FIELDS)} alone"
    for name in ("id", "category", "subcategory"):
        if not isinstance(told[name], str):
            return name, not_as(told, name, "text")
    known = MT_TEMPERATURES if kind == MT_BENCH else CATEGORIES
    if told["category"] not in known:
        return "category", f"{shown(told['category'])} is none of {', '.join(known)}"
    turns, references = told["turns"], told["references"]
    if not isinstance(turns, list) or not turns or not all(isinstance(one, str) for one in turns):
        return "turns", not_as(told, "turns", "a list of texts")
    if not isinstance(references, list) or len(references) != len(turns):
        return "references", not_as(told, "references", "one for each turn")
    if not all(isinstance(one, str | None) for one in references):
        return "references", not_as(told, "references", "texts and nulls")
    return Question(told["id"], told["category"], told["subcategory"], tuple(turns), tuple(references))
