"""From what annotators said of two or three responses at a time to ranks, and to the pairs that can be asserted.

Each relation is an edge from the better response to the worse one, a tie one in both directions. Responses that a cycle
joins cannot be told apart: a strongly connected component is one level. What remains has no cycle, and a response's
rank is the length of the longest path that leads to it (Cheems, section 3.2). Ranks also order responses that no path
joins, which nobody said anything of; pairs are only asserted where a path leads from one to the other and none back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from coig_p.core.arrays import Mask
from coig_p.errors import UsageError

MOST_IN_RING = 5  # in a ring of six, opposite responses meet in no triple of neighbours


@dataclass(frozen=True)
class Relation:
    """What an annotator said of two responses, by their places: one is better than the other, or they are tied."""

    better: int
    worse: int
    tie: bool = False


@dataclass(frozen=True)
class Ranked:
    """What follows from relations.

    Attributes:
        ranks: of each response, 0 the best; those that a cycle of relations, or a tie, joins have one rank.
        pairs: places (better, worse) of all that a path joins, in ascending order.
        relations: how many there were.
        kept: how many of them hold: the pair is asserted, or the tie is one.
    """

    ranks: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    relations: int
    kept: int

    @property
    def conflict_rate(self) -> float | None:
        """The share of relations that do not hold, since a cycle joins the two; None where there were none."""
        return None if not self.relations else (self.relations - self.kept) / self.relations

    @property
    def implied(self) -> bool:
        """Whether the ranks assert the same pairs, so that a benchmark needs no list of them."""
        places = range(len(self.ranks))
        by_rank = [(one, other) for one in places for other in places if self.ranks[one] < self.ranks[other]]
        return tuple(by_rank) == self.pairs


def rank(responses: int, relations: Iterable[Relation]) -> Ranked:
    """Ranks and pairs of so many responses.

    The time is that of the closure, responses³ / 64 steps of a word; a benchmark's items have few.

    Raises:
        UsageError: a relation of a response with itself, or with one that is not there.
    """
    said = list(relations)
    for one in said:
        if one.better == one.worse or not (0 <= one.better < responses and 0 <= one.worse < responses):
            raise UsageError(f"a relation between responses {one.better} and {one.worse}, of {responses}")
    reach = np.zeros((responses, responses), dtype=bool)
    for one in said:
        reach[one.better, one.worse] = True
        reach[one.worse, one.better] |= one.tie
    for middle in range(responses):
        reach |= np.outer(reach[:, middle], reach[middle])
    above = reach & ~reach.T
    pairs = tuple((int(better), int(worse)) for better, worse in np.argwhere(above))
    kept = sum(bool(reach[one.worse, one.better]) if one.tie else bool(above[one.better, one.worse]) for one in said)
    return Ranked(_levels(above), pairs, len(said), kept)


def _levels(above: Mask) -> tuple[int, ...]:
    """The length of the longest chain of better responses that ends above each; `above` is transitive."""
    levels = np.zeros(len(above), dtype=np.int64)
    for place in np.argsort(above.sum(axis=0), kind="stable"):  # who has fewer above can only be above
        better = np.flatnonzero(above[:, place])
        if len(better):
            levels[place] = levels[better].max() + 1
    return tuple(levels.tolist())


def relations_of(ranking: Sequence[Sequence[int]]) -> list[Relation]:
    """The relations that a ranking says.

    Args:
        ranking: places of responses, the best level first; those of one level are tied. As a review's form "triple"
            has it.
    """
    found = []
    for at, level in enumerate(ranking):
        found += [Relation(one, other, tie=True) for place, one in enumerate(level) for other in level[place + 1 :]]
        found += [Relation(one, other) for one in level for worse in ranking[at + 1 :] for other in worse]
    return found


def ring_triples(responses: int) -> list[tuple[int, int, int]]:
    """The triples of ring neighbours in which annotators see a query's responses.

    Of five responses all ten pairs meet, neighbours twice, and each response is in three triples.

    Raises:
        UsageError: fewer than three responses, or so many that some pairs would never meet.
    """
    if not 3 <= responses <= MOST_IN_RING:
        raise UsageError(f"{responses} responses: triples of neighbours take 3 to {MOST_IN_RING}")
    starts = 1 if responses == 3 else responses
    return [(at, (at + 1) % responses, (at + 2) % responses) for at in range(starts)]
