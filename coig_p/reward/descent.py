"""L-BFGS for a smooth, strictly convex loss: the same steps on one machine however many threads it has.

scipy's is one call, but hands its vectors to BLAS, whose sums depend on how many threads there are, and whose threads
wait for each other on a busy machine: minutes for what takes seconds here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from coig_p.core.arrays import Floats

_MEMORY = 8
_ENOUGH = 1e-4  # of the decrease that the slope promises
_HALVINGS = 40

Loss = Callable[[Floats], tuple[float, Floats]]
"""From weights to the loss and its slope, an array of its own."""


def minimise(loss: Loss, start: Floats, *, steps: int, at_rest: float) -> Floats:
    """The weights at which a loss is least.

    Args:
        start: where to begin.
        steps: at most so many.
        at_rest: it ends after a step that makes the loss less by no more than this share of it.
    """
    weights, (value, slope) = start, loss(start)
    past: deque[tuple[Floats, Floats, float]] = deque(maxlen=_MEMORY)  # steps, changes of the slope, their product
    for _ in range(steps):
        way = _direction(slope, past)
        promised = _dot(slope, way)
        if promised >= 0:  # nothing is left but rounding
            return weights
        size = 1.0 if past else 1 / max(1.0, np.sqrt(_dot(slope, slope)))
        for _ in range(_HALVINGS):
            there = weights + size * way
            value_there, slope_there = loss(there)
            if value_there <= value + _ENOUGH * size * promised:
                break
            size /= 2
        else:
            return weights
        step, change = there - weights, slope_there - slope
        product = _dot(step, change)
        if product > 0:
            past.append((step, change, product))
        done = value - value_there <= at_rest * max(abs(value_there), 1e-12)
        weights, value, slope = there, value_there, slope_there
        if done:
            break
    return weights


def _direction(slope: Floats, past: deque[tuple[Floats, Floats, float]]) -> Floats:
    """Against the slope, by the curvature of the last steps."""
    way = -slope
    shares = []
    for step, change, product in reversed(past):
        share = _dot(step, way) / product
        shares.append(share)
        way -= share * change
    if past:
        _, change, product = past[-1]
        way *= product / _dot(change, change)
    for (step, change, product), share in zip(past, reversed(shares), strict=True):
        way += (share - _dot(change, way) / product) * step
    return way


def _dot(one: Floats, other: Floats) -> float:
    return float(np.einsum("i,i->", one, other))
