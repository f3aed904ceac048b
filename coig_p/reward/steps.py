"""Which responses go through a model together, and which pairs come of them: every step of a training, known before it.

    pair    a step is so many pairs, drawn from all queries; each shows its two responses to the model
    query   a step is whole queries, as many as have at most so many pairs; each response is shown once, and all pairs
            of its query come of that: with 15 responses 15 texts instead of 210

The order is a hash's of the seed, the epoch and the query, so that neither rows nor shards nor other queries change it.
No pair is lost at an edge: a query with more pairs than a step has is a step of its own, and the last step is short.
A step is cut into forward passes of about as many tokens, which changes no gradient: losses are sums over pairs,
divided by the pairs of the whole step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coig_p.core.arrays import Index, group_sizes, group_starts, hash64

PAIR, QUERY = "pair", "query"
BATCHES = (QUERY, PAIR)


@dataclass(frozen=True)
class PairArrays:
    """Pairs of responses, as numbers.

    Attributes:
        query_ids: of the queries.
        query: of each pair, ascending.
        chosen, rejected: of each pair, places in `lengths`.
        lengths: of each response with what is asked, in tokens.
    """

    query_ids: tuple[str, ...]
    query: Index
    chosen: Index
    rejected: Index
    lengths: Index

    def __len__(self) -> int:
        return len(self.query)

    def take(self, some: Index | npt.NDArray[np.bool_]) -> PairArrays:
        """These pairs alone, which must be in order."""
        return PairArrays(self.query_ids, self.query[some], self.chosen[some], self.rejected[some], self.lengths)


@dataclass(frozen=True)
class Forward:
    """What goes through the model at once.

    Attributes:
        responses: N, places in `PairArrays.lengths`.
        chosen, rejected: M pairs, places in `responses`.
    """

    responses: Index
    chosen: Index
    rejected: Index


@dataclass(frozen=True)
class Step:
    """What an optimizer's step is made of.

    Attributes:
        forwards: one after the other.
        pairs: in all of them together.
    """

    forwards: tuple[Forward, ...]
    pairs: int


def steps_of(pairs: PairArrays, batch: str, batch_pairs: int, tokens: int, seed: int, epoch: int) -> list[Step]:
    """The steps of an epoch.

    Args:
        batch: PAIR or QUERY.
        batch_pairs: pairs of a step, at most.
        tokens: of a forward pass, padding counted; a pair, or a whole query, that has more goes alone.
    """
    find = _of_queries if batch == QUERY else _of_pairs
    return [
        Step(tuple(_forwards(pairs, units, batch, tokens)), sum(map(len, units)))
        for units in find(pairs, batch_pairs, f"{seed} {epoch}")
    ]


def split(step: Step, world: int) -> list[list[Forward]]:
    """The forward passes of each of `world` processes: as many for each, since each waits for the others.

    Where there are fewer, the shortest response goes through without a pair.
    """
    forwards = list(step.forwards)
    nothing = Forward(step.forwards[-1].responses[-1:], np.zeros(0, np.int64), np.zeros(0, np.int64))
    forwards += [nothing] * (-len(forwards) % world)
    return [forwards[rank::world] for rank in range(world)]


Units = list[Index]
"""Pairs, by number, that go through a model together: one, or all of a query."""


def _of_queries(pairs: PairArrays, most: int, seed: str) -> Iterator[Units]:
    starts = group_starts(pairs.query)
    ends = starts + group_sizes(starts, len(pairs))
    names = [pairs.query_ids[at] for at in pairs.query[starts].tolist()]
    units: Units = []
    held = 0
    for at in sorted(range(len(starts)), key=lambda at: (hash64(f"order {seed} {names[at]}"), names[at])):
        unit = np.arange(starts[at], ends[at])
        if units and held + len(unit) > most:
            yield units
            units, held = [], 0
        units.append(unit)
        held += len(unit)
    if units:
        yield units


def _of_pairs(pairs: PairArrays, most: int, seed: str) -> Iterator[Units]:
    # The n-th pair of a query: its pairs stand in the order of their responses, which is a hash's.
    starts = group_starts(pairs.query)
    nth = np.arange(len(pairs)) - np.repeat(starts, group_sizes(starts, len(pairs)))
    keys = [
        hash64(f"order {seed} {number} {pairs.query_ids[query]}")
        for query, number in zip(pairs.query.tolist(), nth.tolist(), strict=True)
    ]
    order = np.argsort(np.array(keys, np.uint64), kind="stable")
    for begin in range(0, len(order), most):
        yield [order[at : at + 1] for at in range(begin, min(begin + most, len(order)))]


def _forwards(pairs: PairArrays, units: Units, batch: str, tokens: int) -> Iterator[Forward]:
    """Units with responses of about the same length together, the longest first."""
    shown = [_shown(pairs, unit, batch) for unit in units]
    longest = [int(pairs.lengths[responses].max()) for responses in shown]
    held: list[int] = []
    rows = 0
    for at in sorted(range(len(units)), key=lambda at: -longest[at]):
        if held and longest[held[0]] * (rows + len(shown[at])) > tokens:
            yield _forward(pairs, [units[one] for one in held], [shown[one] for one in held])
            held, rows = [], 0
        held.append(at)
        rows += len(shown[at])
    if held:
        yield _forward(pairs, [units[one] for one in held], [shown[one] for one in held])


def _shown(pairs: PairArrays, unit: Index, batch: str) -> Index:
    both = np.concatenate([pairs.chosen[unit], pairs.rejected[unit]])
    return np.unique(both) if batch == QUERY else both


def _forward(pairs: PairArrays, units: Units, shown: Sequence[Index]) -> Forward:
    chosen, rejected = [], []
    begin = 0
    for unit, responses in zip(units, shown, strict=True):
        # Of a query's responses each stands once, in order; of a pair's the chosen one first.
        order = np.argsort(responses, kind="stable")
        chosen.append(begin + order[np.searchsorted(responses, pairs.chosen[unit], sorter=order)])
        rejected.append(begin + order[np.searchsorted(responses, pairs.rejected[unit], sorter=order)])
        begin += len(responses)
    return Forward(np.concatenate(shown), np.concatenate(chosen), np.concatenate(rejected))
