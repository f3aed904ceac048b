"""What judges say of every two responses of a query: who agrees with whom, by margin, and what the order does.

A judge says something of two responses where it scored both, else where it was shown both together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import combinations_within
from coig_p.pairs.labels import Responses, compared_pairs, response_values
from coig_p.stats.agreement import judges_of
from coig_p.stats.intervals import Moments, moments, moments_of_values, no_moments
from coig_p.stats.position import Position

VERDICTS = 3  # agrees, ties, opposes
TAU_SCALE = 10**9
ALL = PairConfig(include_self_judged=True)
PEOPLE, OTHERS = "people", "others"


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

    def add(self, responses: Responses, batch: pa.RecordBatch, block: Index, people: Collection[str]) -> None:
        """Count a batch.

        Args:
            block: of each query.
            people: judges that are people.
        """
        names = judges_of(responses, batch, ALL)
        if not names:
            return
        said = {name: said_by(responses, batch, (name,)) for name in names}
        for one, two in combinations(names, 2):
            self._agree(one, two, said[one], said[two], batch.num_rows)
        machines = [name for name in names if name not in people]
        person = tuple(name for name in names if name in people)
        judged = said_by(responses, batch, person) if person else None
        for name in machines:
            others = tuple(other for other in machines if other != name)
            if judged is not None:
                self._by_margin(name, PEOPLE, said[name], judged, block)
            if others:
                self._by_margin(name, OTHERS, said[name], said_by(responses, batch, others), block)
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
    config = replace(ALL, judges=tuple(judges))
    values, scale, scored = response_values(responses, config)
    at = np.flatnonzero(scored)
    low, high = combinations_within(responses.query[at])
    low, high = at[low], at[high]
    margin = values[low] - values[high]
    count = max(len(responses.query), 1)
    told = Said(
        low * count + high,
        np.asarray(margin / scale, np.float64),
        np.asarray(margin > 0, np.int64) - np.asarray(margin < 0, np.int64),
        responses.query[low],
        np.ones(len(low), bool),
    )
    if batch.column("comparisons").null_count == batch.num_rows:
        return told
    compared = compared_pairs(responses, batch, config)
    key = compared.low * count + compared.high
    new = ~np.isin(key, told.key)
    margin = (compared.low_value - compared.high_value)[new]
    more = Said(
        key[new],
        np.asarray(margin / compared.scale, np.float64),
        np.asarray(margin > 0, np.int64) - np.asarray(margin < 0, np.int64),
        responses.query[compared.low[new]],
        np.zeros(int(new.sum()), bool),
    )
    order = np.argsort(np.concatenate([told.key, more.key]), kind="stable")
    both = [np.concatenate(parts)[order] for parts in zip(told, more, strict=True)]
    return Said(*both)
