"""Two kinds of chance, told apart: other questions, and other seeds. All intervals hold 95%.

Over questions: a benchmark's overall is a weighted mean of its categories' means, so that its variance is

    sum over categories of w^2 s^2 / n,

s^2 being the variance of the n questions of a category, drawn within it as a bootstrap within categories would. An
arm's question has the mean of its seeds. A difference of two arms is taken question by question, so that what is hard
for both is none. A category of one question tells no variance: then there is no interval.

Over seeds: Student's t of the seeds' overalls, two or more. It says what another training would give, on these
questions; the interval over questions what other questions would, of these trainings. Neither holds the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEVEL = 0.95
_NORMAL = 1.959963984540054


@dataclass(frozen=True)
class Number:
    """A value with its interval; None where that cannot be told."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Difference(Number):
    """A difference to another arm.

    Attributes:
        questions: that both have a score of.
        p: two-sided, of coigp align's paired bootstrap; None of scores.jsonl.
        p_holm: adjusted for all differences of the test.
    """

    questions: int = 0
    p: float | None = None
    p_holm: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**super().to_dict(), "questions": self.questions, "p": self.p, "p_holm": self.p_holm}


def over_seeds(values: Sequence[float]) -> Number:
    """The mean of the seeds' overalls, with Student's interval."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Number(mean)
    from scipy.special import stdtrit

    spread = math.fsum((one - mean) ** 2 for one in values) / (len(values) - 1)
    half = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2)) * math.sqrt(spread / len(values))
    return Number(mean, mean - half, mean + half)


def mean_of_seeds(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Of each question the mean of the seeds that have a score; without questions that no seed has one of."""
    found: dict[str, float] = {}
    for question in scores[0]:
        told = [one for one in (each.get(question) for each in scores) if one is not None]
        if told:
            found[question] = math.fsum(told) / len(told)
    return found


def weighted(
    scores: Mapping[str, float], categories: Mapping[str, str], weights: Mapping[str, float]
) -> tuple[float, float | None] | None:
    """The weighted mean of the categories' means, and half the width of its interval over questions.

    Args:
        scores: by question.
        categories: of each question.
        weights: of each category; they add up to 1.

    Returns:
        None where a category has no question; a half of None where one has a single one.
    """
    by_category: dict[str, list[float]] = {name: [] for name in weights}
    for question, score in scores.items():
        by_category[categories[question]].append(score)
    if not all(by_category.values()):
        return None
    total, variance = 0.0, 0.0
    known = True
    for name, every in by_category.items():
        mean = math.fsum(every) / len(every)
        total += weights[name] * mean
        if len(every) < 2:
            known = False
        else:
            square = math.fsum((one - mean) ** 2 for one in every) / (len(every) - 1)
            variance += weights[name] ** 2 * square / len(every)
    return total, _NORMAL * math.sqrt(variance) if known else None


def over_questions(
    value: float, scores: Mapping[str, float], categories: Mapping[str, str], weights: Mapping[str, float]
) -> Number:
    """An overall with its interval over questions."""
    found = weighted(scores, categories, weights)
    half = None if found is None else found[1]
    return Number(value) if half is None else Number(value, value - half, value + half)


def difference(
    one: Mapping[str, float], other: Mapping[str, float], categories: Mapping[str, str], weights: Mapping[str, float]
) -> Number | None:
    """One arm's overall less another's, over the questions that both have; None where a category has none."""
    both = {question: score - other[question] for question, score in one.items() if question in other}
    found = weighted(both, categories, weights)
    if found is None:
        return None
    value, half = found
    return Number(value) if half is None else Number(value, value - half, value + half)
