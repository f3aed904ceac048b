"""Where two judges disagree most: how far apart their margins are for one pair of responses.

Two judges who scored two responses of a query have a margin each for this pair. The margins are d(i) - d(j) apart,
where d is what the one judge gave a response more than the other. So the pair on which two judges disagree most is
the response with the largest d and the one with the smallest: no pair has to be laid out. Verdicts that judges gave
on two responses shown together are compared pair by pair.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Floats, Index, Ints, group_sizes, group_starts
from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import Responses
from coig_p.stats.agreement import judges_of
from coig_p.stats.two_judges import Compared, Scored, compared_by_both, scored_by_both


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
    by_scores = map(partial(_by_scores, responses), scored_by_both(responses, config, names))
    by_comparisons = map(partial(_by_comparisons, responses), compared_by_both(responses, batch, config, names))
    for (judge, other), query, value, first, second in chain(by_scores, by_comparisons):
        larger = ~(value <= found.value[query])  # also where there is none yet
        at = query[larger]
        found.value[at] = value[larger]
        found.first[at], found.second[at] = first[larger], second[larger]
        found.judge[at], found.other[at] = judge, other
    return found


_Found = tuple[tuple[int, int], Index, Floats, Index, Index]


def _by_scores(responses: Responses, both: Scored) -> _Found:
    more = both.value - both.other_value
    order = _ordered(responses.query[both.at], more)
    at, more = both.at[order], more[order]
    starts = group_starts(responses.query[at])
    ends = starts + group_sizes(starts, len(at)) - 1
    several = ends > starts
    starts, ends = starts[several], ends[several]
    value = np.asarray((more[ends] - more[starts]) / both.scale, np.float64)
    return (both.judge, both.other), responses.query[at[starts]], value, at[ends], at[starts]


def _ordered(query: Index, more: Ints) -> Index:
    """By query, and then the smallest first; of equal ones the first."""
    if more.dtype != object:
        return np.lexsort((more, query))
    of = query.tolist()  # whole numbers that only Python holds
    return np.array(sorted(range(len(of)), key=lambda at: (of[at], more[at])), np.int64)


def _by_comparisons(responses: Responses, both: Compared) -> _Found:
    margins = [low - high for low, high in (both.sides, both.other_sides)]
    apart = margins[0] - margins[1]
    query, size = responses.query[both.low], np.asarray(np.abs(apart) / both.scale, np.float64)
    order = np.lexsort((both.high, both.low, -size, query))
    best = order[group_starts(query[order])]
    swapped = np.asarray(apart[best] < 0, bool)
    low, high = both.low[best], both.high[best]
    first, second = np.where(swapped, high, low), np.where(swapped, low, high)
    return (both.judge, both.other), query[best], size[best], first, second
