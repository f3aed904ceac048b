"""Where two judges disagree most: how far apart their margins are for one pair of responses.

Two judges who scored two responses of a query have a margin each for this pair. The margins are d(i) - d(j) apart,
where d is what the one judge gave a response more than the other. So the pair on which two judges disagree most is
the response with the largest d and the one with the smallest: no pair has to be laid out. Verdicts that judges gave
on two responses shown together are compared pair by pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index, Ints, group_sizes, group_starts
from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import Labelled, Responses, compared_pairs, response_values
from coig_p.stats.agreement import judges_of, times


class Disagreements(NamedTuple):
    """The largest of each query, as arrays with an element for each of the batch's Q queries.

    Attributes:
        value: how far apart two judges' margins are for one pair, on the judges' scale, the float nearest to the
            exact value; NaN where no two judges judged two responses of the query.
        first, second: places among the batch's responses, laid end to end; -1 where there are none. The first judge
            holds more of the first response than the second judge does.
        judge, other: places in `names`; -1 where there are none.
        names: of judges, in alphabetical order.
    """

    value: Floats
    first: Index
    second: Index
    judge: Index
    other: Index
    names: list[str]


def disagreements(responses: Responses, batch: pa.RecordBatch, config: PairConfig | None = None) -> Disagreements:
    """For each query of a batch the pair, and the two judges, with margins that are furthest apart.

    Of several the one of the judges that come first by name counts, scores before comparisons.

    Args:
        config: of it `judges`, `include_self_judged` and `labels` are read. Default: every judge, but no score that a
            model gave its own response.
    """
    config = config or PairConfig()
    names = judges_of(responses, batch, config)
    first, second, of_judge, of_other = (np.full(batch.num_rows, -1, np.int64) for _ in range(4))
    found = Disagreements(np.full(batch.num_rows, np.nan), first, second, of_judge, of_other, names)
    for way in (_by_scores, _by_comparisons):
        for (judge, other), query, value, first, second in way(responses, batch, config, names):
            larger = ~(value <= found.value[query])  # also where there is none yet
            at = query[larger]
            found.value[at] = value[larger]
            found.first[at], found.second[at] = first[larger], second[larger]
            found.judge[at], found.other[at] = judge, other
    return found


_Found = Iterator[tuple[tuple[int, int], Index, Floats, Index, Index]]


def _by_scores(responses: Responses, batch: pa.RecordBatch, config: PairConfig, names: list[str]) -> _Found:
    if config.labels == "comparisons":
        return
    each = [response_values(responses, config.of_one_judge(name)) for name in names]
    common = math.lcm(*(scale for _, scale, _ in each)) if each else 1
    values = [times(values, common // scale, 4) for values, scale, _ in each]
    for judge, other in combinations(range(len(names)), 2):
        both = np.flatnonzero(each[judge][2] & each[other][2])
        if not len(both):
            continue
        more = values[judge][both] - values[other][both]
        order = _ordered(responses.query[both], more)
        at, more = both[order], more[order]
        starts = group_starts(responses.query[at])
        ends = starts + group_sizes(starts, len(at)) - 1
        several = ends > starts
        starts, ends = starts[several], ends[several]
        value = np.asarray((more[ends] - more[starts]) / common, np.float64)
        yield (judge, other), responses.query[at[starts]], value, at[ends], at[starts]


def _ordered(query: Index, more: Ints) -> Index:
    """By query, and then the smallest first; of equal ones the first."""
    if more.dtype != object:
        return np.lexsort((more, query))
    of = query.tolist()  # whole numbers that only Python holds
    return np.array(sorted(range(len(of)), key=lambda at: (of[at], more[at])), np.int64)


def _by_comparisons(responses: Responses, batch: pa.RecordBatch, config: PairConfig, names: list[str]) -> _Found:
    if config.labels == "scores" or not _comparing(batch):
        return
    each = [compared_pairs(responses, batch, config.of_one_judge(name)) for name in names]
    count = max(len(responses.query), 1)
    keys = [one.low * count + one.high for one in each]
    for judge, other in combinations(range(len(names)), 2):
        _, here, there = np.intersect1d(keys[judge], keys[other], assume_unique=True, return_indices=True)
        if not len(here):
            continue
        common = math.lcm(each[judge].scale, each[other].scale)
        apart = _margins(each[judge], here, common) - _margins(each[other], there, common)
        low, high = each[judge].low[here], each[judge].high[here]
        query, size = responses.query[low], np.abs(apart)
        order = np.lexsort((high, low, -np.asarray(size / common, np.float64), query))
        best = order[group_starts(query[order])]
        swapped = np.asarray(apart[best] < 0, bool)
        first, second = np.where(swapped, high[best], low[best]), np.where(swapped, low[best], high[best])
        yield (judge, other), query[best], np.asarray(size[best] / common, np.float64), first, second


def _margins(labelled: Labelled, at: Index, common: int) -> Ints:
    return times(labelled.low_value[at] - labelled.high_value[at], common // labelled.scale)


def _comparing(batch: pa.RecordBatch) -> bool:
    return "comparisons" in batch.schema.names and batch.column("comparisons").null_count < batch.num_rows
