"""Models and judges, counted: who answered and wins, who judges how high and with whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from coig_p.core.arrays import Index, group_sizes, group_starts
from coig_p.stats.agreement import VERDICTS, Offsets
from coig_p.stats.intervals import Moments, exact_dot, mean, moments, moments_of_values, no_moments, share
from coig_p.stats.results import JudgeStatistics, ModelStatistics, SecondJudge


@dataclass
class ModelCounts:
    """What is counted of one model.

    Attributes:
        wins: n its places in pairs, a those where it is chosen.
    """

    responses: int = 0
    wins: Moments = field(default_factory=no_moments)

    def merge(self, other: ModelCounts) -> None:
        """Take in what was counted elsewhere."""
        self.responses += other.responses
        self.wins = self.wins + other.wins

    def result(self) -> ModelStatistics:
        """What is reported."""
        rate, chosen = share(self.wins), int(self.wins[2])
        return ModelStatistics(responses=self.responses, chosen=chosen, rejected=rate.n - chosen, win_rate=rate)


@dataclass
class JudgeCounts:
    """What is counted of one judge.

    Attributes:
        value: the sum of its values, exact.
        offset: moments of value minus the other judges' mean, exact.
        verdicts: (6, verdicts) moments on the pairs of the others, at any margin.
    """

    scores: int = 0
    comparisons: int = 0
    responses: int = 0
    value: Fraction = Fraction(0)
    offset: Moments = field(default_factory=no_moments)
    verdicts: Moments = field(default_factory=lambda: no_moments(len(VERDICTS)))

    def add(self, found: Offsets) -> None:
        """Count this judge's values in a batch."""
        self.responses += len(found.value)
        self.value += Fraction(exact_dot(found.value, np.ones(len(found.value), np.int64)), found.scale)
        starts = group_starts(found.query)
        if len(starts):
            sums = np.add.reduceat(found.offset, starts)
            sizes = group_sizes(starts, len(found.query))
            self.offset = self.offset + moments_of_values(sums, sizes, found.offset_scale)

    def merge(self, other: JudgeCounts) -> None:
        """Take in what was counted elsewhere."""
        self.scores += other.scores
        self.comparisons += other.comparisons
        self.responses += other.responses
        self.value += other.value
        self.offset = self.offset + other.offset
        self.verdicts = self.verdicts + other.verdicts

    def result(self) -> JudgeStatistics:
        """What is reported."""
        said = verdict_shares(self.verdicts)
        return JudgeStatistics(
            scores=self.scores,
            comparisons=self.comparisons,
            responses=self.responses,
            mean_score=float(self.value / self.responses) if self.responses else None,
            offset=mean(self.offset),
            agrees=said.agrees,
            ties=said.ties,
            opposes=said.opposes,
        )


def verdict_moments(given: Index) -> Moments:
    """(6, ...) of counts (Q, ..., verdicts): a one verdict, n all of them."""
    return moments(given, np.broadcast_to(given.sum(-1, keepdims=True), given.shape))


def verdict_shares(given: Moments) -> SecondJudge:
    """Of moments (6, verdicts)."""
    agrees, ties, opposes = (share(given[:, at]) for at in range(len(VERDICTS)))
    return SecondJudge(agrees=agrees, ties=ties, opposes=opposes)
