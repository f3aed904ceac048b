"""What two judges say of the same responses, side by side, for every two judges of a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from coig_p.core.arrays import Index, Ints
from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import Labelled, Responses, compared_pairs, response_values
from coig_p.stats.agreement import times


class Scored(NamedTuple):
    """Responses that both judges scored: at least one.

    Attributes:
        judge, other: places among the names.
        at: the responses, ascending.
        value, other_value: what either gave, in units of 1/scale.
    """

    judge: int
    other: int
    at: Index
    value: Ints
    other_value: Ints
    scale: int


class Compared(NamedTuple):
    """Pairs of responses, low < high, that both judges were shown together: at least one.

    Attributes:
        sides, other_sides: what either gave low, and what high, in units of 1/scale.
    """

    judge: int
    other: int
    low: Index
    high: Index
    sides: tuple[Ints, Ints]
    other_sides: tuple[Ints, Ints]
    scale: int


def scored_by_both(responses: Responses, config: PairConfig, names: Sequence[str]) -> Iterator[Scored]:
    """For every two of the judges that share a response; nothing where config.labels are comparisons."""
    if config.labels == "comparisons":
        return
    each = [response_values(responses, config.of_one_judge(name)) for name in names]
    common = math.lcm(*(scale for _, scale, _ in each)) if each else 1
    values = [times(values, common // scale, 4) for values, scale, _ in each]
    for judge, other in combinations(range(len(names)), 2):
        both = np.flatnonzero(each[judge][2] & each[other][2])
        if len(both):
            yield Scored(judge, other, both, values[judge][both], values[other][both], common)


def compared_by_both(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, names: Sequence[str]
) -> Iterator[Compared]:
    """For every two of the judges that were shown the same pair; nothing where config.labels are scores."""
    if config.labels == "scores" or not _comparing(batch):
        return
    each = [compared_pairs(responses, batch, config.of_one_judge(name)) for name in names]
    count = max(len(responses.query), 1)
    keys = [one.low * count + one.high for one in each]
    for judge, other in combinations(range(len(names)), 2):
        _, here, there = np.intersect1d(keys[judge], keys[other], assume_unique=True, return_indices=True)
        if len(here):
            common = math.lcm(each[judge].scale, each[other].scale)
            sides = _sides(each[judge], here, common), _sides(each[other], there, common)
            yield Compared(judge, other, each[judge].low[here], each[judge].high[here], *sides, common)


def _sides(labelled: Labelled, at: Index, common: int) -> tuple[Ints, Ints]:
    low, high = (times(value[at], common // labelled.scale, 4) for value in (labelled.low_value, labelled.high_value))
    return low, high


def _comparing(batch: pa.RecordBatch) -> bool:
    return "comparisons" in batch.schema.names and batch.column("comparisons").null_count < batch.num_rows
