"""Scorers that read nothing: what a reward model must beat to have learnt anything."""

from __future__ import annotations

from coig_p.core.arrays import hash64
from coig_p.errors import UnknownNameError
from coig_p.reward.bench.form import Bench, Item
from coig_p.reward.bench.results import Result, lengths

BASELINES = ("length", "random")


def baseline(bench: Bench, name: str, seed: int = 0) -> list[Result]:
    """What a baseline says of each item.

    Args:
        name: "length", a response's reward is its number of characters, so that the longer wins and equal ones tie;
            or "random", a number from 0 to 1 by the hash of (seed, item, response), whatever their order.

    Raises:
        UnknownNameError: no such baseline.
    """
    if name not in BASELINES:
        raise UnknownNameError("baseline", name, BASELINES)
    return [
        Result(
            item.id, item.domain, _random(item, seed) if name == "random" else _length(item), None, None, lengths(item)
        )
        for item in bench.items
    ]


def _length(item: Item) -> tuple[float, ...]:
    return tuple(map(float, lengths(item)))


def _random(item: Item, seed: int) -> tuple[float, ...]:
    # Lengths in front, since an id may hold anything.
    return tuple((hash64(f"reward {seed} {len(item.id)} {item.id} {one.id}") >> 11) / 2**53 for one in item.responses)
