"""What a command of one's own in [judge] writes: scores.jsonl, a line a question.

    {"question": "q-1", "category": "math", "score": 7.5}

Every question of the benchmark stands in it once. A score of null is an answer that could not be scored; it counts
apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError
from coig_p.evaluate.experiment.config import BenchmarkEntry
from coig_p.evaluate.experiment.spread import weighted

SCORES = "scores.jsonl"
_KEYS = {"question", "category", "score"}
_MOST = 64 << 20  # bytes
_RANGE = (1.0, 10.0)
_NAMED = 5


@dataclass(frozen=True)
class Expected:
    """What scores of a benchmark must be.

    Attributes:
        file: the benchmark's.
        questions: its ids; None where its file does not tell them.
        range: the lowest and the highest score; None: 1 to 10.
    """

    file: Path
    questions: frozenset[str] | None = None
    range: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Scores:
    """What a judge said of one model's answers to a benchmark.

    Attributes:
        overall: the weighted mean of the categories' means; None where a category has no score.
        parts: the categories' means.
        by_question: a question's score; None where what the judge said is invalid.
        categories: the category of each question.
        weights: how much of the overall each category's mean is; they add up to 1.
        invalid: how many have none.
        unanswered: none; what was not answered is a score of null here, too.
    """

    overall: float | None
    parts: Mapping[str, float | None]
    by_question: Mapping[str, float | None]
    categories: Mapping[str, str]
    weights: Mapping[str, float]
    invalid: int
    unanswered: int = 0

    @property
    def scored(self) -> int:
        """Questions with a score."""
        return len(self.by_question) - self.invalid


def read_scores(folder: Path, benchmark: BenchmarkEntry, expected: Expected) -> Scores:
    """The scores of a folder.

    Raises:
        DataError: no such file, a line that is not as above, or other questions than the benchmark's; names file, line
            and field.
    """
    path = folder / SCORES
    try:
        text = read_small(path, _MOST)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. The command of judge writes it") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty: a line a question, with its score")
    scores: dict[str, float | None] = {}
    categories: dict[str, str] = {}
    for number, line in lines:
        row = _row(line, f"{path} line {number}")
        if row["question"] in scores:
            raise DataError(f"{path} line {number}: the question {row['question']!r} has a score already")
        _check(row, expected, f"{path} line {number}")
        scores[row["question"]], categories[row["question"]] = row["score"], row["category"]
    missing = (expected.questions or scores.keys()) - scores.keys()
    if missing:
        assert expected.questions is not None
        raise DataError(
            f"{path} has {len(scores)} of the {len(expected.questions)} questions of {expected.file}, and not "
            f"{listed(missing)}. Every question stands in it, with a score of null where there is none"
        )
    weights = _weights(benchmark, categories, path)
    known = {name: score for name, score in scores.items() if score is not None}
    found = weighted(known, categories, weights)
    means = {
        category: _mean([score for name, score in known.items() if categories[name] == category])
        for category in weights
    }
    return Scores(
        overall=None if found is None else found[0],
        parts=means,
        by_question=scores,
        categories=categories,
        weights=weights,
        invalid=len(scores) - len(known),
    )


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = strict_json(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {error or 'nested too deep'}") from None
    if not isinstance(row, dict) or set(row) != _KEYS:
        raise DataError(f'{where}: use {{"question": "q-1", "category": "math", "score": 7.5}}, and nothing else')
    for name in ("question", "category"):
        if not isinstance(row[name], str) or not row[name].strip():
            raise DataError(f"{where}: {name} {row[name]!r} is no text")
    score = row["score"]
    if score is not None and (isinstance(score, bool) or not isinstance(score, (int, float))):
        raise DataError(f"{where}: score {score!r} is neither a number nor null")
    return row


def _check(row: Mapping[str, Any], expected: Expected, where: str) -> None:
    if expected.questions is not None and row["question"] not in expected.questions:
        raise DataError(f"{where}: the question {row['question']!r} is none of {expected.file}")
    low, high = expected.range or _RANGE
    if row["score"] is not None and not low <= row["score"] <= high:
        whose = "which is judge.range" if expected.range else "[judge] range = [LOWEST, HIGHEST] says another scale"
        raise DataError(f"{where}: score {row['score']:g} is outside {low:g} to {high:g}; {whose}")


def listed(names: Collection[str]) -> str:
    """Some ids, as an error names them."""
    shown = sorted(names)[:_NAMED]
    more = len(names) - len(shown)
    return ", ".join(repr(one) for one in shown) + (f" and {more} more" if more else "")


def _weights(benchmark: BenchmarkEntry, categories: dict[str, str], path: Path) -> dict[str, float]:
    counts = Counter(categories.values())
    if not benchmark.weights:
        return {name: number / len(categories) for name, number in sorted(counts.items())}
    for name in dict.fromkeys([*counts, *benchmark.weights]):
        if name not in benchmark.weights:
            raise DataError(f"{path}: the category {name!r} has no weight in benchmarks {benchmark.name!r}")
        if name not in counts:
            raise DataError(f"{path}: no question of the category {name!r}, which benchmarks {benchmark.name!r} weighs")
    return {name: float(weight) for name, weight in benchmark.weights.items()}


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
