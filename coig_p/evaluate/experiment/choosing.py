"""Which checkpoint is tested: the best on the validation benchmark; of equal ones the earliest, trained least.

TaP, section 6.3: MT-Bench-zh chooses, AlignBench tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        benchmark: that it was chosen on.
        scores: of every checkpoint, from the first to the last.
        tied: how many had the best score.
    """

    benchmark: str
    checkpoint: str
    scores: Mapping[str, float]
    tied: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "benchmark": self.benchmark,
            "checkpoint": self.checkpoint,
            "scores": dict(self.scores),
            "tied": self.tied,
        }


def in_order(names: Iterable[str]) -> list[str]:
    """Names of checkpoints as they were written: numbers in them by size, so that 900 is before 1000."""
    return sorted(names, key=_natural)


def _natural(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    parts = _DIGITS.split(name)
    return tuple((1, int(part), "") if at % 2 else (0, 0, part) for at, part in enumerate(parts)), name


def choose(benchmark: str, scores: Mapping[str, float]) -> Choice:
    """The checkpoint with the highest score; of several the earliest.

    Args:
        scores: at least one; no NaN.
    """
    names = in_order(scores)
    best = max(scores.values())
    equal = [name for name in names if scores[name] == best]
    return Choice(benchmark, equal[0], {name: scores[name] for name in names}, len(equal))
