"""From scores to pairs: which two responses of a query make a pair, and which one is chosen.

The kernel works on a batch of queries at a time and only ever moves indices: scores become
whole numbers on one common denominator, all two-combinations of a query's responses are laid
out with numpy, and masks keep those that the config asks for. Text is copied once, at the end,
by Arrow's ``take`` (`coig_p.pairs.rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index, Mask, dense_ranks, group_sizes, group_starts, hash64, mix
from coig_p.errors import UsageError
from coig_p.pairs.agreeing import KEPT, outcomes
from coig_p.pairs.config import PairConfig
from coig_p.pairs.labels import (
    Labelled,
    Names,
    Responses,
    compared_pairs,
    judge_sets,
    net_margins,
    response_values,
)
from coig_p.schema import SCORE_GRID, to_grid
from coig_p.store.conversations import conversation_masks

_NO_PAIRS = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0))


class Pairs(NamedTuple):
    """Pairs of a batch as P-element arrays, one element a pair, ordered by query.

    Attributes:
        query: int64, the row of the batch.
        chosen, rejected: int64, places in the batch's responses, laid end to end row by row.
        chosen_score, rejected_score, margin: float64 on the judges' scale, each the float nearest to
            the exact value; margin is above 0.
    """

    query: Index
    chosen: Index
    rejected: Index
    chosen_score: Floats
    rejected_score: Floats
    margin: Floats

    def take(self, some: slice | Index | Mask) -> Pairs:
        """These pairs alone, in this order."""
        return Pairs(
            query=self.query[some],
            chosen=self.chosen[some],
            rejected=self.rejected[some],
            chosen_score=self.chosen_score[some],
            rejected_score=self.rejected_score[some],
            margin=self.margin[some],
        )


def find_pairs(batch: pa.RecordBatch, config: PairConfig) -> Pairs:
    """The pairs of a batch of raw rows, as indices (COIG-P, section 3.3; the rules are told at `PairConfig`).

    Args:
        batch: rows of RAW_SCHEMA; `query` and `source` may be missing. With `agree_with` they bring rewards along
            (see `coig_p.store.rewarded`).
        config: its threshold must be set (see `PairConfig.with_default_threshold`); `format` is not read.

    Raises:
        UsageError: the threshold is not set, or rows were read without the rewards that are asked for.
    """
    return find_pairs_of(Responses.of(batch), batch, config)


def find_pairs_of(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, candidates: Candidates | None = None
) -> Pairs:
    """`find_pairs` for a batch whose responses are laid out already.

    Args:
        candidates: what `find_candidates` gave for them, where it is known already.
    """
    if config.threshold is None:
        raise UsageError("the threshold is not set: use PairConfig.with_default_threshold")
    return _pairs_at(
        config.threshold, responses, batch, config, candidates or find_candidates(responses, batch, config)
    )


def _pairs_at(
    threshold: float, responses: Responses, batch: pa.RecordBatch, config: PairConfig, candidates: Candidates
) -> Pairs:
    """The pairs at a threshold; config.threshold is not read."""
    parts = []
    for labelled in candidates.labelled:
        kept = labelled.where(_levels(labelled, [threshold], config) > 0)
        parts.append((kept.low, kept.high, *kept.floats()))
    low, high, low_score, high_score, margin = (
        np.concatenate(column) for column in zip(_NO_PAIRS, *parts, strict=True)
    )
    select = _select(responses, candidates, config, low, high)
    wins = margin > 0
    chosen, rejected = np.where(wins, low, high), np.where(wins, high, low)
    for limit, unit in _draws(responses, candidates, config):
        select = select[_draw(responses, batch, config.seed, limit, unit, chosen[select], rejected[select])]
    if config.agree_with is not None:  # after the draws, so that it drops of what there is without it, and adds nothing
        select = select[outcomes(batch, config, chosen[select], rejected[select]) == KEPT]
    return Pairs(
        query=responses.query[chosen[select]],
        chosen=chosen[select],
        rejected=rejected[select],
        chosen_score=np.where(wins, low_score, high_score)[select],
        rejected_score=np.where(wins, high_score, low_score)[select],
        margin=np.abs(margin[select]),
    )


class Swept(NamedTuple):
    """Pairs of a batch under several thresholds, as arrays of equal length.

    `chosen` and `rejected` index the batch's flattened responses, `query` its rows. `level` is 1 or
    more: with `is_nested(config)`, how many of the thresholds the pair meets; otherwise the pair
    stands once for every threshold it is drawn at, with that threshold's place counted from 1.
    """

    query: Index
    chosen: Index
    rejected: Index
    level: Index


def sweep_pairs_of(
    responses: Responses,
    batch: pa.RecordBatch,
    config: PairConfig,
    thresholds: Sequence[float],
    candidates: Candidates | None = None,
) -> Swept:
    """What `find_pairs_of` gives at each of `thresholds` (ascending), found at once; config.threshold is not read.

    Where `comparison_threshold` is set, comparisons meet it or none, at every threshold.
    """
    candidates = candidates or find_candidates(responses, batch, config)
    if not is_nested(config):
        each = [_pairs_at(value, responses, batch, config, candidates) for value in thresholds]
        level = np.repeat(np.arange(1, len(each) + 1), [len(pairs.query) for pairs in each])
        return Swept(
            query=np.concatenate([pairs.query for pairs in each]),
            chosen=np.concatenate([pairs.chosen for pairs in each]),
            rejected=np.concatenate([pairs.rejected for pairs in each]),
            level=level,
        )
    parts = []
    for labelled in candidates.labelled:
        level = _levels(labelled, thresholds, config)
        kept = labelled.where(level > 0)
        parts.append((kept.low, kept.high, np.asarray(kept.low_value > kept.high_value, bool), level[level > 0]))
    if not parts:
        none = np.zeros(0, np.int64)
        return Swept(query=none, chosen=none, rejected=none, level=none)
    # One kind of label is the rule: then nothing is copied.
    low, high, wins, level = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
    select = _select(responses, candidates, config, low, high)
    if len(parts) > 1 or len(select) < len(low):
        low, high, wins, level = low[select], high[select], wins[select], level[select]
    chosen, rejected = np.where(wins, low, high), np.where(wins, high, low)
    if config.agree_with is not None:
        kept = outcomes(batch, config, chosen, rejected) == KEPT
        low, chosen, rejected, level = low[kept], chosen[kept], rejected[kept], level[kept]
    return Swept(query=responses.query[low], chosen=chosen, rejected=rejected, level=level)


def is_nested(config: PairConfig) -> bool:
    """Whether the pairs at a higher threshold are always among those at a lower one: nothing is drawn."""
    return config.strategy != "best_random" and config.max_pairs_per_query is None


def at_each_level(counts: Index, nested: bool) -> Index:
    """Counts by level, (rows, levels, ...), as counts at each threshold: nested, a level meets all below it."""
    return counts[:, ::-1].cumsum(1)[:, ::-1] if nested else counts


class Combinations(NamedTuple):
    """How many two-combinations of responses have a label, and why some of them are no pair.

    The first of these reasons that holds counts; strategy and draws are not looked at.
    """

    labelled: int
    same_text: int
    ties: int
    below_threshold: int


def count_combinations(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, candidates: Candidates | None = None
) -> Combinations:
    """Count the combinations of a batch that `find_pairs_of` starts from."""
    assert config.threshold is not None
    every = same_text = ties = below_threshold = 0
    for labelled in (candidates or find_candidates(responses, batch, config)).labelled:
        same = _same_text(responses, labelled.low, labelled.high)
        tied = ~same & np.asarray(labelled.low_value == labelled.high_value, bool)
        below = ~same & ~tied & (_levels(labelled, [config.threshold], config) == 0)
        every += len(labelled.low)
        same_text += int(same.sum())
        ties += int(tied.sum())
        below_threshold += int(below.sum())
    return Combinations(labelled=every, same_text=same_text, ties=ties, below_threshold=below_threshold)


class Candidates(NamedTuple):
    """Two-combinations with a label, and how a query's responses rank where the strategy asks.

    Attributes:
        labelled: those with scores, then those with comparisons alone, as config.labels admits them.
        order, takes_part: of each response.
        unit: of each response those that it is ranked among: its query, or with `same_judges` those of its query
            with the same judges.
    """

    labelled: list[Labelled]
    order: Index
    takes_part: Mask
    unit: Index


def find_candidates(
    responses: Responses, batch: pa.RecordBatch, config: PairConfig, within: slice = slice(None)
) -> Candidates:
    """What pairs are made of at any threshold; thresholds, strict and draws are not read.

    Args:
        within: of combinations those whose first response is one of these. All parts of a batch, one after the other,
            are the whole, and take less memory.
    """
    labelled, order = [], np.zeros(len(responses.query), dtype=np.int64)
    scored = np.zeros(len(responses.query), dtype=bool)
    unit = responses.query
    if config.labels != "comparisons":
        values, scale, scored = response_values(responses, config)
        if config.same_judges:
            unit = _by_judges(responses, config)
        if config.strategy != "all":
            order = dense_ranks(values)
        usable = np.flatnonzero(scored)
        begin, end, _ = within.indices(len(scored))
        low, high = combinations_within(responses.query[usable], slice(*np.searchsorted(usable, (begin, end))))
        low, high = usable[low], usable[high]
        if config.same_judges:
            alike = unit[low] == unit[high]
            low, high = low[alike], high[alike]
        labelled.append(Labelled(low, high, values[low], values[high], scale))
    if config.labels != "scores" and _has_comparisons(batch):
        compared = compared_pairs(responses, batch, config)
        one_unit = unit[compared.low] == unit[compared.high]
        compared = compared.where(~(scored[compared.low] & scored[compared.high] & one_unit))
        if config.strategy != "all":
            # One ranking a query: by scores where two responses can be compared by them, else by comparisons.
            by_scores = np.zeros(batch.num_rows, dtype=bool)
            for scores in labelled:
                by_scores[responses.query[scores.low]] = True
            compared = compared.where(~by_scores[responses.query[compared.low]])
            net = net_margins(compared, len(responses.query))
            ranked = ~by_scores[responses.query]
            order = np.where(ranked, net, order)
            takes_part = np.zeros(len(responses.query), dtype=bool)
            takes_part[compared.low] = takes_part[compared.high] = True
            scored = np.where(ranked, takes_part, scored)
            unit = np.where(ranked, -1 - responses.query, unit)
        if within != slice(None):
            begin, end, _ = within.indices(len(scored))
            compared = compared.where((compared.low >= begin) & (compared.low < end))
        labelled.append(compared)
    if config.multi_turn == "skip":
        shown = ~conversation_masks(batch)[0]
        labelled = [one.where(shown[responses.query[one.low]]) for one in labelled]
    if config.exclude is not None:
        taken = ~config.exclude.mask(batch.column("query_id"))
        labelled = [one.where(taken[responses.query[one.low]]) for one in labelled]
    return Candidates(labelled, order, scored, unit)


def _by_judges(responses: Responses, config: PairConfig) -> Index:
    """A number for each response, 0 or more: equal where query and usable judges are."""
    sets = dense_ranks(judge_sets(responses, config))
    return np.asarray(responses.query * (sets.max(initial=0) + 1) + sets)


def _select(responses: Responses, candidates: Candidates, config: PairConfig, low: Index, high: Index) -> Index:
    """Positions, ordered by low and then high, of those with two texts that the strategy takes."""
    # Combinations come in order, comparisons come in order, but not both together.
    select = np.flatnonzero(~_same_text(responses, low, high))
    if len(candidates.labelled) > 1:
        select = select[np.lexsort((high[select], low[select]))]
    if config.strategy != "all":
        rank, size = _ranks(responses, candidates)
        select = select[_follows_strategy(config.strategy, rank, size, low[select], high[select])]
    return select


def _draws(responses: Responses, candidates: Candidates, config: PairConfig) -> list[tuple[int, Index]]:
    """How many pairs at most are drawn, one draw after the other, and of each response what they are drawn for."""
    draws = [(1, candidates.unit)] if config.strategy == "best_random" else []
    if config.max_pairs_per_query is not None and (config.same_judges or not draws):
        draws.append((config.max_pairs_per_query, responses.query))
    return draws


def _has_comparisons(batch: pa.RecordBatch) -> bool:
    column = batch.column("comparisons") if "comparisons" in batch.schema.names else None
    return column is not None and column.null_count < len(column)


def combinations_within(query: Index, some: slice = slice(None)) -> tuple[Index, Index]:
    """All (i, j), i < j, of positions with equal `query`, in order of i and then j.

    Args:
        some: every i is one of these positions.
    """
    position = np.arange(len(query))[some]
    following = np.searchsorted(query, query[some], side="right") - position - 1
    first = np.repeat(position, following)
    nth = np.arange(len(first)) - np.repeat(np.cumsum(following) - following, following)
    return first, first + 1 + nth


def _levels(labelled: Labelled, thresholds: Sequence[float], config: PairConfig) -> Index:
    """How many of `thresholds`, ascending, each margin meets; 0 for a tie. Comparisons may have one of their own."""
    if labelled.compared and config.comparison_threshold is not None:
        return len(thresholds) * _met(labelled, [config.comparison_threshold], config.strict)
    return _met(labelled, thresholds, config.strict)


def _met(labelled: Labelled, thresholds: Sequence[float], strict: bool) -> Index:
    # threshold / SCORE_GRID <= |difference| / scale, multiplied out; scale is a multiple of the grid
    bounds = [to_grid(threshold) * (labelled.scale // SCORE_GRID) for threshold in thresholds]
    margin = np.abs(labelled.low_value - labelled.high_value)
    if margin.dtype != object:
        bounds = [min(bound, 2**62) for bound in bounds]
    if len(bounds) == 1:  # a load: no search
        level = np.asarray((margin > bounds[0]) if strict else (margin >= bounds[0]), dtype=np.int64)
    else:
        # Bounds below or at the margin; a strict one must lie below.
        level = np.searchsorted(np.array(bounds, margin.dtype), margin, side="left" if strict else "right")
    level[np.asarray(margin == 0, dtype=bool)] = 0
    return level


def _same_text(responses: Responses, low: Index, high: Index) -> Mask:
    """Which pairs hold the same answer twice: text and tool calls. Only texts of equal length are read."""
    text = responses.text
    length = pc.binary_length(text).to_numpy(zero_copy_only=False)
    same = length[low] == length[high]
    if responses.calls is not None:
        same &= responses.calls[low] == responses.calls[high]
    suspects = np.flatnonzero(same)
    if len(suspects):  # each text is read once, in however many combinations it stands
        read = np.zeros(len(text), dtype=bool)
        read[low[suspects]] = read[high[suspects]] = True
        which = np.flatnonzero(read)
        code = np.full(len(text), -1, dtype=np.int64)
        code[which] = pc.fill_null(pc.dictionary_encode(pc.take(text, pa.array(which))).indices, -1).to_numpy()
        one, other = code[low[suspects]], code[high[suspects]]
        same[suspects] = (one == other) & (one >= 0)
    return np.asarray(same)


def best_first(responses: Responses, order: Index, takes_part: Mask, unit: Index | None = None) -> Index:
    """Those that take part, query by query, the highest `order` first, ties by model name and sample.

    Args:
        unit: where they are ranked in other groups than their queries.
    """
    by_name = {name: at for at, name in enumerate(sorted(responses.model.names))}
    model = responses.model.each([by_name[name] for name in responses.model.names], -1)
    ranked = np.lexsort((responses.sample, model, -order, responses.query if unit is None else unit))
    return np.asarray(ranked[takes_part[ranked]])


def _ranks(responses: Responses, candidates: Candidates) -> tuple[Index, Index]:
    """Each response's place in its unit, 0 the best, ties by model name and sample; and places in its unit."""
    order = candidates.order
    ranked = best_first(responses, order, candidates.takes_part, candidates.unit)
    unit = candidates.unit[ranked]
    starts = group_starts(unit)
    sizes = group_sizes(starts, len(unit))
    rank, size = np.full(len(order), -1, dtype=np.int64), np.zeros(len(order), dtype=np.int64)
    rank[ranked] = np.arange(len(ranked)) - np.repeat(starts, sizes)
    size[ranked] = np.repeat(sizes, sizes)
    return rank, size


def _follows_strategy(strategy: str, rank: Index, size: Index, low: Index, high: Index) -> Mask:
    better, worse = np.minimum(rank[low], rank[high]), np.maximum(rank[low], rank[high])
    if strategy == "adjacent":
        return np.asarray(worse - better == 1)
    if strategy == "best_worst":
        return np.asarray((better == 0) & (worse == size[low] - 1))
    return np.asarray(better == 0)  # best_random: the best against all others, one is drawn later


def _draw(
    responses: Responses, batch: pa.RecordBatch, seed: int, limit: int, unit: Index, chosen: Index, rejected: Index
) -> Index:
    """Positions of at most `limit` pairs a unit of responses: those whose hash is smallest, in their old order.

    The hash is of (seed, query_id, chosen and rejected model and sample) and nothing else, so neither
    row order nor shards nor streaming change what is drawn.
    """
    of = unit[chosen]
    together = np.argsort(of, kind="stable")
    starts = group_starts(of[together])
    sizes = group_sizes(starts, len(of))
    crowded = np.sort(together[np.repeat(sizes > limit, sizes)])
    if not len(crowded):
        return np.arange(len(of))
    query = responses.query[chosen[crowded]]
    key = row_keys(batch, responses, str(seed), query, chosen[crowded], rejected[crowded])
    ranked = crowded[np.lexsort((key, of[crowded]))]
    starts = group_starts(of[ranked])
    sizes = group_sizes(starts, len(ranked))
    kept = ranked[np.arange(len(ranked)) - np.repeat(starts, sizes) < limit]
    chosen_few = np.ones(len(of), dtype=bool)
    chosen_few[crowded] = False
    chosen_few[kept] = True
    return np.flatnonzero(chosen_few)


def row_keys(
    batch: pa.RecordBatch, responses: Responses, seed: str, query: Index, *of: Index
) -> npt.NDArray[np.uint64]:
    """A hash of (seed, query_id, model and sample of each of `of`) for every row, and of nothing else.

    Sample 0 adds nothing: what is drawn of a store without samples is what was drawn before there were any.
    """
    ids = _hashes(Names.of(pc.take(batch.column("query_id"), pa.array(query))))
    model = _hashes(responses.model)
    if responses.sample.any():
        numbers, of_number = np.unique(responses.sample, return_inverse=True)
        hashed = [hash64(f"sample {number}") if number else 0 for number in numbers.tolist()]
        model = model ^ np.array(hashed, np.uint64)[of_number]
    key = mix(ids ^ np.uint64(hash64(seed)))
    for side in of:
        key = mix(key ^ model[side])
    return key


def _hashes(names: Names) -> npt.NDArray[np.uint64]:
    return names.each([hash64(name) for name in names.names], 0, np.uint64)
