"""Ranks of a query's responses from triples that people ranked: Cheems' way, and how much of what was said it keeps.

What was said of two responses is an edge from the better to the other, of a tie one in each direction. Responses that
lie on a circle are equal: to merge each strongly connected part at once gives what merging circle after circle gives.
What is left has no circle, and a response's layer is how many stand above it, one behind the other. Layers also order
responses of which nothing was said; that is right in two of three only, so pairs come of paths alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coig_p.review.majority import Response

Relation = tuple[Response, Response, float]
"""Two responses: 1 where the first is better, 0 where the other is, .5 where they are equal."""


@dataclass(frozen=True)
class Layers:
    """Of one query.

    Attributes:
        ranks: of each response, 0 the best.
        relations: what was said.
        kept: of these, what the ranks say too.
        better: two responses with a path from the better to the other.
    """

    ranks: dict[Response, int]
    relations: int
    kept: int
    better: tuple[tuple[Response, Response], ...]


def find_layers(relations: Sequence[Relation]) -> Layers:
    """The layers of one query's responses; those that no relation names have none."""
    names = sorted({response for one, other, _ in relations for response in (one, other)})
    place = {name: at for at, name in enumerate(names)}
    path = np.eye(len(names), dtype=bool)
    for one, other, said in relations:
        path[place[one], place[other]] |= said >= 0.5
        path[place[other], place[one]] |= said <= 0.5
    for middle in range(len(names)):
        path |= np.outer(path[:, middle], path[middle])
    above = path & ~path.T  # a path there, and none back
    ranks = np.zeros(len(names), np.int64)
    for at in np.argsort(above.sum(0), kind="stable"):  # who stands above is ranked before
        ranks[at] = max((ranks[over] + 1 for over in np.flatnonzero(above[:, at])), default=0)
    kept = 0
    for one, other, said in relations:
        down = int(ranks[place[other]] - ranks[place[one]])
        kept += down == 0 if said == 0.5 else (down > 0) == (said == 1) and down != 0
    better = tuple((names[one], names[other]) for one, other in np.argwhere(above).tolist())
    return Layers({name: int(ranks[place[name]]) for name in names}, len(relations), kept, better)
