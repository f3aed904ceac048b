"""What judges say of every two responses of a query: who agrees with whom, by margin, and what the order does.

A judge says something of two responses where it scored both, else where it was shown both together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index, Ints, Mask
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import combinations_within
from coig_p.pairs.labels import Responses, compared_pairs, response_values
from coig_p.stats.agreement import judges_of, times
from coig_p.stats.intervals import Moments, moments, moments_of_values, no_moments
from coig_p.stats.position import Position

Values = tuple[Ints, int, Mask]
"""Of each response a value, in units of 1/scale; the scale; and whether it has one."""

VERDICTS = 3  # agrees, ties, opposes
TAU_SCALE = 10**9
ALL = PairConfig(include_self_judged=True)
PEOPLE, OTHERS = "people", "others"
PERSON = "human:"
"""How the name of a judge begins who is a person."""


class Said(NamedTuple):
    """Of one judge, or of several together.

    Attributes:
        key: ascending, low * responses + high of two responses.
        margin: what the one gets more than the other, in points, the nearest float64.
        sign: 1, 0 or -1, exact.
        query: of each.
        scored: whether both were scored, and not only shown together.
    """

    key: Index
    margin: Floats
    sign: Index
    query: Index
    scored: Mask


@dataclass
class Opinions:
    """Counts of a part of a store: an accumulator, exact in any order.

    Attributes:
        verdicts: (judge, other judge) -> (6, 3) moments of what they say of the pairs that both judged.
        same: (judge, other judge) -> (6) moments: of the pairs on which both prefer one, those on which it is the same.
        tau: (judge, other judge) -> (6) moments of tau-b within a query, a query each.
        margins: (judge, people or others, block, margin) -> pairs on which they agree, tie and oppose.
        position: by judge.
    """

    verdicts: dict[tuple[str, str], Moments] = field(default_factory=dict)
    same: dict[tuple[str, str], Moments] = field(default_factory=dict)
    tau: dict[tuple[str, str], Moments] = field(default_factory=dict)
    margins: Counter[tuple[str, str, int, float, int]] = field(default_factory=Counter)
    position: dict[str, Position] = field(default_factory=dict)

    def add(self, responses: Responses, batch: pa.RecordBatch, block: Index, person: str) -> None:
        """Count a batch.

        Args:
            block: of each query.
            person: how the name of a judge begins who is a person.
        """
        names = judges_of(responses, batch, ALL)
        if not names:
            return
        said = {name: said_by(responses, batch, (name,)) for name in names}
        each = {name: response_values(responses, ALL.of_one_judge(name)) for name in names}
        for one, two in combinations(names, 2):
            self._agree(one, two, said[one], said[two], batch.num_rows)
        people = tuple(name for name in names if name.startswith(person))
        machines = [name for name in names if name not in people]
        judged = said_together(responses, batch, {name: each[name] for name in people}) if people else None
        for name in machines:
            others = {other: each[other] for other in machines if other != name}
            if judged is not None:
                self._by_margin(name, PEOPLE, said[name], judged, block)
            if others:
                self._by_margin(name, OTHERS, said[name], said_together(responses, batch, others), block)
        for name in names:
            found = Position.of(responses, batch, name)
            if found is not None:
                self.position[name] = self.position.get(name, Position()) + found

    def merge(self, other: Opinions) -> None:
        """Take in what was counted elsewhere."""
        for key, found in other.verdicts.items():
            self.verdicts[key] = self.verdicts.get(key, no_moments(VERDICTS)) + found
        for mine, theirs in ((self.same, other.same), (self.tau, other.tau)):
            for key, found in theirs.items():
                mine[key] = mine.get(key, no_moments()) + found
        self.margins.update(other.margins)
        for name, position in other.position.items():
            self.position[name] = self.position.get(name, Position()) + position

    def _agree(self, one: str, two: str, first: Said, second: Said, queries: int) -> None:
        _, here, there = np.intersect1d(first.key, second.key, assume_unique=True, return_indices=True)
        if not len(here):
            return
        left, right, query = first.sign[here], second.sign[there], first.query[here]
        cell = query * VERDICTS + 1 - left * right
        counts = np.bincount(cell, minlength=queries * VERDICTS).reshape(queries, VERDICTS)
        found = moments(counts, np.broadcast_to(counts.sum(-1, keepdims=True), counts.shape))
        self.verdicts[one, two] = self.verdicts.get((one, two), no_moments(VERDICTS)) + found
        found = moments(counts[:, 0], counts[:, 0] + counts[:, 2])
        self.same[one, two] = self.same.get((one, two), no_moments()) + found
        both = first.scored[here] & second.scored[there]
        if not both.any():
            return
        left, right, query = left[both], right[both], query[both]
        told = [np.bincount(query, part, queries) for part in (left * right, left != 0, right != 0)]
        known = (told[1] > 0) & (told[2] > 0)  # a judge to whom all are equal ranks nothing
        tau = told[0][known] / np.sqrt(told[1][known] * told[2][known])
        values = np.rint(tau * TAU_SCALE).astype(np.int64)
        if len(values):
            found = moments_of_values(values, np.ones_like(values), TAU_SCALE)
            self.tau[one, two] = self.tau.get((one, two), no_moments()) + found

    def _by_margin(self, name: str, kind: str, own: Said, theirs: Said, block: Index) -> None:
        _, here, there = np.intersect1d(own.key, theirs.key, assume_unique=True, return_indices=True)
        here, there = here[(told := own.sign[here] != 0)], there[told]
        if not len(here):
            return
        agrees = own.sign[here] * theirs.sign[there]
        keys = np.stack([block[own.query[here]].astype(np.float64), np.abs(own.margin[here]), agrees], 1)
        found, counts = np.unique(keys, axis=0, return_counts=True)
        for (at, margin, verdict), number in zip(found.tolist(), counts.tolist(), strict=True):
            self.margins[name, kind, int(at), margin, int(verdict)] += number


def said_by(responses: Responses, batch: pa.RecordBatch, judges: Sequence[str]) -> Said:
    """What judges say, the mean of their scores, or of what they said where two were shown together."""
    values, scale, scored = response_values(responses, replace(ALL, judges=tuple(judges)))
    low, high = _within(responses, scored)
    told = _told(responses, low, high, values[low] - values[high], scale, scored=True)
    return _with_compared(told, responses, batch, judges)


def said_together(responses: Responses, batch: pa.RecordBatch, each: Mapping[str, Values]) -> Said:
    """What judges say together: the mean over those that scored both responses, else of what they were shown.

    Two responses that different judges scored are not compared by their scores: the more lenient judge would decide.

    Args:
        each: what `response_values` gives for every one of them, by name.
    """
    common = math.lcm(*(scale for _, scale, _ in each.values()))
    low, high = _within(responses, np.logical_or.reduce([scored for _, _, scored in each.values()]))
    more: Ints = np.zeros(len(low), np.int64)
    number = np.zeros(len(low), np.int64)
    for values, scale, scored in each.values():
        grid = times(values, common // scale, 4 * len(each))
        both = scored[low] & scored[high]
        more = more + np.where(both, grid[low] - grid[high], 0)
        number += both
    at = np.flatnonzero(number)
    told = _told(responses, low[at], high[at], more[at] / number[at], common, scored=True, sign=more[at])
    return _with_compared(told, responses, batch, list(each))


def _within(responses: Responses, scored: Mask) -> tuple[Index, Index]:
    """Every two responses of a query that are scored."""
    at = np.flatnonzero(scored)
    low, high = combinations_within(responses.query[at])
    return at[low], at[high]


def _told(
    responses: Responses,
    low: Index,
    high: Index,
    margin: Ints | Floats,
    scale: int,
    *,
    scored: bool,
    sign: Ints | None = None,
) -> Said:
    exact = margin if sign is None else sign
    return Said(
        low * max(len(responses.query), 1) + high,
        np.asarray(margin / scale, np.float64),
        np.asarray(exact > 0, np.int64) - np.asarray(exact < 0, np.int64),
        responses.query[low],
        np.full(len(low), scored),
    )


def _with_compared(told: Said, responses: Responses, batch: pa.RecordBatch, judges: Sequence[str]) -> Said:
    """What is told by scores, and by comparisons where scores tell nothing."""
    if batch.column("comparisons").null_count == batch.num_rows:
        return told
    compared = compared_pairs(responses, batch, replace(ALL, judges=tuple(judges)))
    new = ~np.isin(compared.low * max(len(responses.query), 1) + compared.high, told.key)
    margin = (compared.low_value - compared.high_value)[new]
    more = _told(responses, compared.low[new], compared.high[new], margin, compared.scale, scored=False)
    order = np.argsort(np.concatenate([told.key, more.key]), kind="stable")
    both = [np.concatenate(parts)[order] for parts in zip(told, more, strict=True)]
    return Said(*both)
