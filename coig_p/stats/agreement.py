"""What one judge says beside the others: verdicts on their pairs, and offsets from their scores.

A judge whose score is part of a label agrees with it too often. So each judge in turn is left
out: the others alone label the pairs, and the one left out, the second judge, says which of the
two responses it prefers. Labels then come from one judge fewer than those of the pairs that are
loaded, which makes them a little less certain, not more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, Ints, Mask
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import at_each_level, is_nested, sweep_pairs_of
from coig_p.pairs.labels import Names, Responses, compared_pairs, response_values

VERDICTS = ("agrees", "ties", "opposes")


@dataclass(frozen=True)
class Offsets:
    """One judge's values of responses beside the mean of the other judges', as whole numbers.

    Attributes:
        value: this judge's values, its dimensions averaged, in units of 1/scale.
        query: ascending, the row of each response that other judges scored too.
        offset: of each of those, value minus the others' mean, in units of 1/offset_scale.
    """

    judge: str
    value: Ints
    scale: int
    query: Index
    offset: Ints
    offset_scale: int


def verdicts(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, thresholds: Sequence[float]
) -> Iterator[tuple[str, Index]]:
    """Each judge that was left out, and its verdicts on the pairs that the others label.

    Yields:
        Judge and counts of shape (rows of the batch, thresholds, verdicts); thresholds ascend.
    """
    compared = config.labels != "scores" and _comparison_judges(batch)
    if not compared and not _some_scored_twice(responses):
        return
    shape = batch.num_rows, len(thresholds), len(VERDICTS)
    judges = judges_of(responses, batch, config)
    for judge in judges:
        others = tuple(name for name in judges if name != judge)
        if not others:
            return
        labelling = responses
        if not compared and config.strategy == "all" and is_nested(config):
            labelling = _judged_by(
                responses, judge
            )  # the same pairs among those the judge has a view of, and few others
        pairs = sweep_pairs_of(labelling, batch, replace(config, judges=others), thresholds)
        known, sign = _preferences(responses, batch, config.of_one_judge(judge), pairs.chosen, pairs.rejected)
        if known.any():
            cell = pairs.query[known] * len(thresholds) + (pairs.level[known] - 1)
            counts = np.bincount(cell * len(VERDICTS) + 1 - sign[known], minlength=math.prod(shape)).reshape(shape)
            yield judge, at_each_level(counts, is_nested(config))


def offsets(responses: Responses, config: PairConfig) -> Iterator[Offsets]:
    """Each judge's values in a batch beside the others', as they were given. Comparisons take no part."""
    judges = judges_of(responses, None, config)
    shared = _some_scored_twice(responses)
    for judge in judges:
        alone = config.of_one_judge(judge)
        values, scale, scored = response_values(responses, alone)
        if not scored.any():
            continue
        query, offset, common = np.zeros(0, np.int64), values[:0], 1
        rest = tuple(name for name in judges if name != judge)
        if rest and shared:
            mean, mean_scale, known = response_values(responses, replace(alone, judges=rest, aggregation="mean"))
            both = scored & known
            common = math.lcm(scale, mean_scale)
            query = responses.query[both]
            offset = times(values[both], common // scale) - times(mean[both], common // mean_scale)
        yield Offsets(judge, values[scored], scale, query, offset, common)


def times(values: Ints, factor: int, terms: int = 2) -> Ints:
    """`values * factor`, in Python's whole numbers where a sum of so many such would be no exact float64."""
    if len(values) and values.dtype != object and int(np.abs(values).max()) * factor * terms >= 2**53:
        values = values.astype(object)
    return values * factor


def _preferences(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, chosen: Index, rejected: Index
) -> tuple[Mask, Index]:
    """Which pairs the judge of `config` has a view of, and 1, 0 or -1 for chosen better, equal or worse."""
    known, sign = np.zeros(len(chosen), dtype=bool), np.zeros(len(chosen), dtype=np.int64)
    if config.labels != "comparisons":
        values, _, scored = response_values(responses, config)
        known = scored[chosen] & scored[rejected]
        sign = _sign(values[chosen] > values[rejected], values[chosen] < values[rejected])
    if config.labels != "scores" and _comparison_judges(batch):
        compared = compared_pairs(responses, batch, config)
        count = len(responses.query)
        keys = compared.low * count + compared.high  # ascending
        wanted = np.minimum(chosen, rejected) * count + np.maximum(chosen, rejected)
        at = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        found = (keys[at] == wanted) & ~known if len(keys) else np.zeros(len(chosen), dtype=bool)
        low, high = compared.low_value[at[found]], compared.high_value[at[found]]
        forward = chosen[found] < rejected[found]
        sign[found] = _sign(low > high, low < high) * np.where(forward, 1, -1)
        known = known | found
    return known, sign


def _judged_by(responses: Responses, judge: str) -> Responses:
    """Without the scores of responses that `judge` gave none."""
    if judge not in responses.judge.names:
        return responses
    judged = np.zeros(len(responses.query), dtype=bool)
    judged[responses.score_of[responses.judge.code == responses.judge.names.index(judge)]] = True
    kept = judged[responses.score_of]
    names = Names(responses.judge.code[kept], responses.judge.names)
    return responses._replace(score_of=responses.score_of[kept], judge=names, score=responses.score[kept])


def _sign(better: Mask, worse: Mask) -> Index:
    return np.asarray(better, dtype=np.int64) - np.asarray(worse, dtype=np.int64)


def _some_scored_twice(responses: Responses) -> bool:
    """Whether any response has scores of two judges."""
    of, judge = responses.score_of, responses.judge.code
    same = of[1:] == of[:-1]
    return bool((same & (judge[1:] != judge[:-1])).any())


def _comparison_judges(batch: pa.RecordBatch) -> list[str]:
    column = batch.column("comparisons") if "comparisons" in batch.schema.names else None
    if column is None or column.null_count == len(column):
        return []
    return [name for name in pc.struct_field(column.flatten(), "judge").unique().to_pylist() if name]


def judges_of(responses: Responses, batch: pa.RecordBatch | None, config: PairConfig) -> list[str]:
    """The judges of a batch that the config admits, sorted; those of comparisons where a batch is given."""
    names = {name for name in responses.judge.names if name}
    if batch is not None:
        names |= set(_comparison_judges(batch))
    return sorted(name for name in names if config.judges is None or name in config.judges)
