"""Scores of our own exports: means of judges, which may lie between two steps of the grid.

They go on the grid, and are counted as rounded. Of scores in one row the order stays: two that differ do not become
one, since the pair of their responses would be lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

from coig_p.ingest.values import Mean, Rejected, as_number, shown
from coig_p.schema import SCORE_GRID, on_grid


def mean_score(value: Any) -> Any:
    """A score of our own exports, to go on the nearest step of the grid; what is no number as it is."""
    found = as_number(value) if isinstance(value, str) else value
    return Mean(found, _nearest(found) / SCORE_GRID) if _is_between(found) else value if found is None else found


def mean_scores(values: Sequence[Any], where: Sequence[str]) -> list[Any]:
    """Scores of one row as `mean_score` gives them, but with their order kept.

    Args:
        where: the field of each, for messages.

    Raises:
        Rejected: more of them lie between two steps than there is room for.
    """
    found = [mean_score(value) for value in values]
    numbers = sorted({float(one) for one in found if type(one) in (int, float, Mean)})
    steps = {number: _nearest(number) for number in numbers if _is_between(number)}
    taken = [steps.get(number, number * SCORE_GRID) for number in numbers]
    if len(set(taken)) == len(taken):
        return found
    # Each goes on the lowest step beside it that is above the last one: where any choice has room for all, this has.
    last = -math.inf
    for number in numbers:
        beside = (math.floor(number * SCORE_GRID), math.ceil(number * SCORE_GRID)) if number in steps else ()
        step = next((one for one in beside if one > last), math.nan) if beside else number * SCORE_GRID
        if not step > last:
            at = next(at for at, one in enumerate(found) if one == number)
            said = f"{shown(number)} and another score of the row stand closer together than the 4 decimals of a store"
            raise Rejected(where[at], "off-grid", f"{said}: leave such rows out with --on-error skip")
        last = step
        if number in steps:
            steps[number] = int(step)
    return [Mean(one, steps[float(one)] / SCORE_GRID) if isinstance(one, Mean) else one for one in found]


def _nearest(number: float) -> int:
    """The nearest step; a half goes up, so that equal distances stay equal."""
    return math.floor(number * SCORE_GRID + 0.5)


def _is_between(number: Any) -> TypeGuard[float]:
    """Whether a number lies between two steps of the grid."""
    is_number = isinstance(number, float) and math.isfinite(number) and abs(number) < 2**53 / SCORE_GRID
    return is_number and not on_grid(number)
