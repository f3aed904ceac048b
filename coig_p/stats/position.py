"""What the order does: a judge that was shown two responses in both orders.

With d1 what the first got more than the second in the one order, and d2 in the other:

    first-shown share  of the verdicts in both orders that prefer one, those that prefer the first
    delta              the mean of (d1 + d2) / 2: what standing first is worth, in points
    consistency        pairs on which both orders prefer the same response, or both none

A judge without a liking for a place has a share of one half and a delta of 0, however it judges. Comparisons in one
order alone cannot tell, since the better response may stand first more often: they take no part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, group_sizes, group_starts
from coig_p.pairs.labels import Responses
from coig_p.schema import SCORE_GRID
from coig_p.stats.intervals import Mean, Moments, Share, mean, moments, moments_of_values, no_moments, share


@dataclass(frozen=True)
class PositionStatistics:
    """What `Position.result` tells.

    Attributes:
        comparisons: all of the judge.
        pairs: shown in both orders.
        first_shown, delta, consistent: as above.
        first_twice, second_twice: of `pairs`, where the first, or the second, was preferred both times.
    """

    comparisons: int
    pairs: int
    first_shown: Share
    delta: Mean
    consistent: Share
    first_twice: Share
    second_twice: Share


@dataclass(frozen=True)
class Position:
    """Counts of one judge, which add up exactly.

    Attributes:
        verdicts: (6, 4) moments by query: first-shown of decided verdicts; consistent, first twice, second twice of
            pairs.
        delta: (6) moments.
    """

    comparisons: int = 0
    verdicts: Moments = field(default_factory=lambda: no_moments(4))
    delta: Moments = field(default_factory=no_moments)

    def __add__(self, other: Position) -> Position:
        return Position(self.comparisons + other.comparisons, self.verdicts + other.verdicts, self.delta + other.delta)

    @classmethod
    def of(cls, responses: Responses, batch: pa.RecordBatch, judge: str) -> Position | None:
        """What a batch holds of a judge; None where it compared nothing. Repeated orders are averaged first."""
        column = batch.column("comparisons")
        if column.null_count == len(column):
            return None
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        row = np.repeat(np.arange(len(column), dtype=np.int64), lengths)
        flat = column.flatten()
        own = pc.fill_null(pc.equal(pc.struct_field(flat, "judge"), judge), False).to_numpy(zero_copy_only=False)
        if not own.any():
            return None
        sides = [_ints(pc.struct_field(flat, name))[own] for name in ("first", "second")]
        scores = [_floats(pc.struct_field(flat, name))[own] for name in ("first_score", "second_score")]
        row = row[own]
        size = np.bincount(responses.query, minlength=batch.num_rows)[row]
        usable = (sides[0] != sides[1]) & np.isfinite(scores[0]) & np.isfinite(scores[1])
        for side in sides:
            usable &= (side >= 0) & (side < size)
        row, first, second = row[usable], sides[0][usable], sides[1][usable]
        more = np.rint(scores[0][usable] * SCORE_GRID).astype(np.int64) - np.rint(
            scores[1][usable] * SCORE_GRID
        ).astype(np.int64)
        return cls(len(row), *_both_orders(row, first, second, more, batch.num_rows))

    def result(self) -> PositionStatistics:
        """What is reported."""
        shares = [share(self.verdicts[:, at]) for at in range(4)]
        return PositionStatistics(
            comparisons=self.comparisons,
            pairs=int(self.verdicts[1, 1]),
            first_shown=shares[0],
            delta=mean(self.delta),
            consistent=shares[1],
            first_twice=shares[2],
            second_twice=shares[3],
        )


def _both_orders(row: Index, first: Index, second: Index, more: Index, queries: int) -> tuple[Moments, Moments]:
    low, high = np.minimum(first, second), np.maximum(first, second)
    turned = (first > second).astype(np.int64)
    order = np.lexsort((turned, high, low, row))
    keys = [part[order] for part in (row, low, high, turned)]
    starts = group_starts(*keys)
    if not len(starts):
        return no_moments(4), no_moments()
    sizes = group_sizes(starts, len(order))
    sums = np.add.reduceat(more[order], starts)
    row, low, high, turned = (part[starts] for part in keys)
    at = np.flatnonzero(
        (row[1:] == row[:-1]) & (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    )  # one order, and the other behind it
    one, two, query = np.sign(sums[at]), np.sign(sums[at + 1]), row[at]
    decided = (one != 0).astype(np.int64) + (two != 0)
    told = [
        ((one > 0).astype(np.int64) + (two > 0), decided),
        (one == -two, np.ones_like(one)),
        ((one > 0) & (two > 0), np.ones_like(one)),
        ((one < 0) & (two < 0), np.ones_like(one)),
    ]
    found = np.stack([moments(*(_by_query(query, part, queries) for part in parts)) for parts in told], -1)
    # (d1 + d2) / 2 with d a mean over repetitions: whole numbers on the common multiple of their numbers.
    common = int(np.lcm.reduce(sizes)) if len(at) else 1
    sums = sums.astype(object) * (common // sizes).astype(object)
    delta = np.zeros(queries, object)
    np.add.at(delta, query, sums[at] + sums[at + 1])
    n = _by_query(query, np.ones_like(query), queries)
    some = n > 0
    if not some.any():
        return found, no_moments()
    return found, moments_of_values(delta[some], n[some], 2 * SCORE_GRID * common)


def _by_query(query: Index, values: Any, queries: int) -> Index:
    return np.bincount(query, np.asarray(values, np.float64), queries).astype(np.int64)


def _ints(column: pa.Array) -> Index:
    return np.asarray(pc.fill_null(column, -1).to_numpy(zero_copy_only=False), np.int64)


def _floats(column: pa.Array) -> Any:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
