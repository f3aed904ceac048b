"""What the judges said of a batch's responses, as integers on one denominator.

A mean of float scores is not exact, and pairs that sit exactly on a threshold would be lost.
Scores lie on a grid of 1/10000, so every mean is a fraction of two integers; all fractions of
a batch are brought to one denominator, its `scale`, and compared as integers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index, Ints, Mask, dense_ranks, group_sizes, group_starts
from coig_p.pairs.config import PairConfig
from coig_p.schema import SCORE_GRID
from coig_p.store.conversations import is_more_than_text, said_beside

_EXACT = 2**52  # integers below it convert to float64 and divide without error


class Names(NamedTuple):
    """A column of names that repeat: `code` indexes `names`, and is -1 for null."""

    code: Index
    names: list[str]

    @classmethod
    def of(cls, column: pa.StringArray) -> Names:
        """Encode a column."""
        encoded = column.dictionary_encode()
        code = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(code, encoded.dictionary.to_pylist())

    def each(self, value: list[Any], null: Any, dtype: Any = np.int64) -> npt.NDArray[Any]:
        """`value[i]` wherever the i-th of `names` stands, `null` where none does."""
        return np.array([*value, null], dtype=dtype)[self.code]


class Responses(NamedTuple):
    """A batch's responses side by side. R responses, S scores.

    Attributes:
        query: R, the row each belongs to; ascending.
        model, text: R.
        sample: R, which answer of its model to the query it is, 0 the first.
        score_of: S, the response each score belongs to; ascending.
        judge: S.
        score: S, NaN where missing.
        extra: R, the JSON text of what a response is beside its text; None where the batch has no such field.
        calls: R, equal where two responses ask tools for the same, 0 where for nothing; None where none asks.
    """

    query: Index
    model: Names
    sample: Index
    text: pa.StringArray
    model_column: pa.StringArray
    score_of: Index
    judge: Names
    score: Floats
    extra: pa.StringArray | None = None
    calls: Index | None = None

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> Responses:
        """Lay out the nested columns of raw rows."""
        query, responses = _flatten(batch.column("responses"))
        named = {field.name for field in responses.type}
        extra = pc.struct_field(responses, "extra") if "extra" in named else None
        score_of, scores = _flatten(pc.struct_field(responses, "scores"))
        model = pc.struct_field(responses, "model")
        return cls(
            query=query,
            model=Names.of(model),
            sample=pc.fill_null(pc.struct_field(responses, "sample"), 0)
            .to_numpy(zero_copy_only=False)
            .astype(np.int64),
            text=pc.struct_field(responses, "text"),
            model_column=model,
            score_of=score_of,
            judge=Names.of(pc.struct_field(scores, "judge")),
            score=_floats(pc.struct_field(scores, "score")),
            extra=extra,
            calls=None if extra is None else _calls(extra),
        )


class Labelled(NamedTuple):
    """Two-combinations of responses (low < high) and the value of either, in units of 1/scale.

    Attributes:
        compared: the values are of comparisons, not of scores.
    """

    low: Index
    high: Index
    low_value: Ints
    high_value: Ints
    scale: int
    compared: bool = False

    def where(self, mask: Mask) -> Labelled:
        """Those that `mask` keeps."""
        low_value, high_value = self.low_value[mask], self.high_value[mask]
        return Labelled(self.low[mask], self.high[mask], low_value, high_value, self.scale, self.compared)

    def floats(self) -> tuple[Floats, Floats, Floats]:
        """Low value, high value and their difference, each the nearest float64."""
        values = (self.low_value, self.high_value, self.low_value - self.high_value)
        low, high, difference = (np.asarray(value / self.scale, dtype=np.float64) for value in values)
        return low, high, difference


def response_values(responses: Responses, config: PairConfig) -> tuple[Ints, int, Mask]:
    """Each response's value over its judges.

    Returns:
        Values (R, 0 where there is none), their scale, and which responses have one (R).

    Raises:
        UsageError: a judge that the calibration file does not have.
    """
    usable = usable_scores(responses, config)
    of, judge = responses.score_of[usable], responses.judge.code[usable]
    given = responses.score[usable]
    if config.calibrate is None:
        grid = _to_ints(np.rint(given * SCORE_GRID))
    else:
        grid = _to_ints(config.calibrate.on_grid(given, judge, responses.judge.names))
    values, scale, starts = grid, SCORE_GRID, np.arange(len(of))
    if not (of[1:] > of[:-1]).all():  # else each response has one score, which is its value
        # A judge's dimensions first, with equal weight; then the judges.
        by_judge = np.lexsort((judge, of))
        of, judge, grid = of[by_judge], judge[by_judge], grid[by_judge]
        starts = group_starts(of, judge)
        values, scale = _group_means(grid, SCORE_GRID, starts)
        of = of[starts]
        if config.min_judges > 1:
            enough = _run_lengths(of) >= config.min_judges
            of, values = of[enough], values[enough]
        starts = group_starts(of)
        if config.aggregation == "mean":
            values, scale = _group_means(values, scale, starts)
        elif config.aggregation == "median":
            values, scale = _group_medians(values, starts), scale * 2
        elif len(starts):
            values = (np.minimum if config.aggregation == "min" else np.maximum).reduceat(values, starts)
    elif config.min_judges > 1:
        of, values, starts = of[:0], values[:0], starts[:0]
    scored = np.zeros(len(responses.query), dtype=bool)
    scored[of[starts]] = True
    spread = np.zeros(len(responses.query), dtype=values.dtype)
    spread[of[starts]] = values
    return spread, scale, scored


def judge_sets(responses: Responses, config: PairConfig) -> Ints:
    """Which judges a response's value is made of (R): equal numbers are equal sets, 0 is none.

    Each judge is a bit, its place among `responses.judge.names` plus 1, or 0 for one without a name.
    """
    usable = usable_scores(responses, config)
    of, judge = responses.score_of[usable], responses.judge.code[usable] + 1
    wide = len(responses.judge.names) + 1 > 62
    bits = np.array([1 << at for at in range(len(responses.judge.names) + 1)], object if wide else np.int64)
    sets = np.zeros(len(responses.query), bits.dtype)
    starts = group_starts(of)
    if len(starts):
        sets[of[starts]] = np.bitwise_or.reduceat(bits[judge], starts)
    return sets


def usable_scores(responses: Responses, config: PairConfig) -> Mask:
    """Which scores count (S)."""
    author = Names(responses.model.code[responses.score_of], responses.model.names)
    return np.asarray(np.isfinite(responses.score) & _judge_allowed(responses.judge, [author], config))


def compared_pairs(responses: Responses, batch: pa.RecordBatch, config: PairConfig) -> Labelled:
    """The pairs that a judge was shown together, with each side's mean over judges.

    A judge's dimensions and both orders are averaged first, with equal weight; then the judges. With
    `config.both_orders` each order is averaged for itself, so that both weigh the same, and a judge without one of them
    has no part.
    """
    row, comparisons = _flatten(batch.column("comparisons"))
    column = {part.name: pc.struct_field(comparisons, part.name) for part in comparisons.type}
    begin = np.searchsorted(responses.query, row)
    size = np.searchsorted(responses.query, row, side="right") - begin
    first, second = (
        pc.fill_null(column[name], -1).to_numpy(zero_copy_only=False).astype(np.int64) for name in ("first", "second")
    )
    first_score, second_score = _floats(column["first_score"]), _floats(column["second_score"])
    usable = (first >= 0) & (second >= 0) & (first < size) & (second < size) & (first != second)
    usable &= np.isfinite(first_score) & np.isfinite(second_score)
    column_judge = Names.of(column["judge"])
    first, second, first_score, second_score = (
        values[usable] for values in (begin + first, begin + second, first_score, second_score)
    )
    judge = Names(column_judge.code[usable], column_judge.names)
    shown = [Names(responses.model.code[side], responses.model.names) for side in (first, second)]
    allowed = _judge_allowed(judge, shown, config)
    first, second, code = first[allowed], second[allowed], judge.code[allowed]
    scores = [np.rint(side[allowed] * SCORE_GRID) for side in (first_score, second_score)]
    forward = first < second
    low, high = np.minimum(first, second), np.maximum(first, second)
    by_pair = np.lexsort((forward, code, high, low) if config.both_orders else (code, high, low))
    sides = np.stack([np.where(forward, *scores), np.where(forward, *reversed(scores))])
    both = _to_ints(sides[:, by_pair])
    low, high, code, forward = low[by_pair], high[by_pair], code[by_pair], forward[by_pair]
    low_value, high_value, scale = both[0], both[1], SCORE_GRID
    if config.both_orders:
        starts = group_starts(low, high, code, forward)
        low_value, scale = _group_means(low_value, scale, starts)
        high_value, _ = _group_means(high_value, SCORE_GRID, starts)
        low, high, code = low[starts], high[starts], code[starts]
        whole = _run_lengths(low, high, code) == 2
        low, high, code, low_value, high_value = (each[whole] for each in (low, high, code, low_value, high_value))
    starts = group_starts(low, high, code)
    high_value, _ = _group_means(high_value, scale, starts)
    low_value, scale = _group_means(low_value, scale, starts)
    low, high = low[starts], high[starts]
    if config.min_judges > 1:
        enough = _run_lengths(low, high) >= config.min_judges
        low, high, low_value, high_value = low[enough], high[enough], low_value[enough], high_value[enough]
    starts = group_starts(low, high)
    low_value, final = _group_means(low_value, scale, starts)
    high_value, _ = _group_means(high_value, scale, starts)
    return Labelled(low[starts], high[starts], low_value, high_value, final, compared=True)


def net_margins(compared: Labelled, responses: int) -> Index:
    """Rank of each response's mean margin over those it was compared with; 0 is the lowest."""
    margin = compared.low_value - compared.high_value
    of = np.concatenate([compared.low, compared.high])
    by_response = np.argsort(of, kind="stable")
    of, values = of[by_response], np.concatenate([margin, -margin])[by_response]
    starts = group_starts(of)
    means, _ = _group_means(values, compared.scale, starts)
    net = np.zeros(responses, dtype=np.int64)
    net[of[starts]] = dense_ranks(means)
    return net


def _calls(extra: pa.StringArray) -> Index | None:
    """A number for what each response is beside its text, as `said_beside` has it; None where all are text alone."""
    asking = np.flatnonzero(is_more_than_text(extra))
    if not len(asking):
        return None
    known: dict[str, int] = {}
    code = np.zeros(len(extra), dtype=np.int64)
    for at, text in zip(asking, extra.take(pa.array(asking)).to_pylist(), strict=True):
        said = said_beside(text)
        if said:
            code[at] = known.setdefault(said, len(known) + 1)
    return code


def _flatten(lists: pa.ListArray) -> tuple[Index, pa.Array]:
    """The values of a list column and, for each, the row it belongs to."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists), dtype=np.int64), lengths), lists.flatten()


def _floats(column: pa.DoubleArray) -> Floats:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _judge_allowed(judge: Names, authors: list[Names], config: PairConfig) -> Mask:
    """Which judgements count: by one of config.judges, and not of the judge's own response."""
    wanted = [config.judges is None or name in config.judges for name in judge.names]
    allowed = judge.each(wanted, config.judges is None, bool)
    if not config.include_self_judged:
        known: dict[str, int] = {}
        of_judge = judge.each([known.setdefault(_folded(name), len(known)) for name in judge.names], -1)
        for author in authors:
            of_author = author.each([known.setdefault(_folded(name), len(known)) for name in author.names], -2)
            allowed &= of_judge != of_author
    return allowed


def _folded(name: str) -> str:
    """The form in which a judge and a model are the same."""
    return name.strip().lower()


def _to_ints(grid: Floats) -> Ints:
    if grid.size and np.abs(grid).max() >= _EXACT:
        return np.array([int(value) for value in grid.ravel()], dtype=object).reshape(grid.shape)
    return grid.astype(np.int64)


def _group_means(values: Ints, scale: int, starts: Index) -> tuple[Ints, int]:
    """The exact mean of each group of `values` (in 1/scale), all in one new scale.

    A mean over n values is their sum over n * scale. With L the least common multiple of all
    group sizes, it is sum * (L / n) over L * scale: whole numbers again.
    """
    if not len(starts):
        return values[:0], scale
    sizes = group_sizes(starts, len(values))
    common = math.lcm(*(int(size) for size in np.unique(sizes)))
    # The largest mean in the new scale is at most max * L, and a difference twice that.
    if int(np.abs(values).max()) * common * 2 >= _EXACT or scale * common * 2 >= _EXACT:
        values, sizes = values.astype(object), sizes.astype(object)  # Python's integers: slower, never too small
    means: Ints = np.add.reduceat(values, starts) * (common // sizes)
    return means, scale * common


def _run_lengths(*keys: Index) -> Index:
    """For each element how many stand in its run of equal keys."""
    starts = group_starts(*keys)
    sizes = group_sizes(starts, len(keys[0]))
    return np.repeat(sizes, sizes)


def _group_medians(values: Ints, starts: Index) -> Ints:
    """Twice the median of each group: the sum of its one or two middle values."""
    if not len(starts):
        return values[:0]
    sizes = group_sizes(starts, len(values))
    group = np.repeat(np.arange(len(starts)), sizes)
    ranked = values[np.lexsort((dense_ranks(values), group))]
    medians: Ints = ranked[starts + (sizes - 1) // 2] + ranked[starts + sizes // 2]
    return medians
