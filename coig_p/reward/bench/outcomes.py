"""What became of each pair of a benchmark: right, tied, wrong, invalid or missing, as arrays.

A reward is right where the better response's is higher, strictly. A judge is asked in both orders: right counts 1, a
tie one half, wrong or invalid nothing, and the mean over the orders is the pair's credit. What a judge does not
answer counts as invalid, with no credit; a reward that is missing, or a judge's answer to what was too long, is not
scored at all, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.reward.bench.form import pairs_of
from coig_p.reward.bench.results import Result, Results

TOO_LONG = "too-long"  # the reason of a result that is missing also where a judge was asked
Orders = tuple[float | None, ...]
"""Of one pair, for each time that it was shown: 1 right, .5 a tie, 0 wrong, None invalid."""
Tie = Literal["wrong", "half"]
RULES = ("mean", "net", "both", "first")


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of P pairs of a benchmark of I items.

    Attributes:
        results: what they are made of.
        item: (P,) the place of each pair's item.
        winner, loser: (P,) the places of its responses.
        credit: (P,) 0 to 1.
        tie: (P,) rewards are equal; or verdicts are ties, or not the same in both orders.
        invalid: (P,) a judge's answer says nothing, in one order at least.
        missing: (P,) not scored.
        delta: (P,) reward of the better response less that of the worse; NaN where there is none.
        longer: (P,) log of the better response's length over the worse one's; NaN where one has no character.
        orders: P, what a judge said in each order; empty where nothing was said; None for rewards.
    """

    results: Results
    item: Index
    winner: Index
    loser: Index
    credit: Floats
    tie: Mask
    invalid: Mask
    missing: Mask
    delta: Floats
    longer: Floats
    orders: tuple[Orders, ...] | None

    @property
    def scored(self) -> Mask:
        """(P,) whether a pair counts."""
        return ~self.missing

    @property
    def once(self) -> Mask:
        """(P,) whether a judge was asked in one order only, which says nothing of what it says in both."""
        return np.array([len(orders) == 1 for orders in self.orders or [()] * len(self.item)], bool)

    @property
    def items(self) -> int:
        """How many items the benchmark has."""
        return len(self.results.bench.items)

    @property
    def name(self) -> str:
        """The scorer's."""
        return str(self.results.scorer["name"])

    @property
    def kind(self) -> str:
        """The scorer's: model, server, judge or baseline."""
        return str(self.results.scorer["kind"])


def outcomes_of(results: Results, tie: Tie = "wrong") -> Outcomes:
    """What became of each pair.

    Args:
        tie: what equal rewards count: nothing, or one half.
    """
    judge = results.scorer["kind"] == "judge"
    verdicts = any(one.verdicts is not None for one in results.results)
    rows: list[tuple[int, int, int, Orders, float, float]] = []
    absent: list[str | None] = []
    for at, (item, result) in enumerate(zip(results.bench.items, results.results, strict=True)):
        said = _orders(result)
        for winner, loser in pairs_of(item):
            ids = item.responses[winner].id, item.responses[loser].id
            delta, why = math.nan, None
            orders: Orders = ()
            if result.verdicts is not None:
                orders = tuple(_credit(first, verdict, ids[0]) for first, verdict in said.get(frozenset(ids), ()))
                why = None if orders else result.reason or TOO_LONG
            else:
                delta = _delta(result, winner, loser)
                why = (result.reason or "") if math.isnan(delta) else None
            absent.append(why)
            rows.append((at, winner, loser, orders, delta, _longer(result.length[winner], result.length[loser])))
    deltas = np.array([row[4] for row in rows], float)
    orders_of = tuple(row[3] for row in rows)
    lost = np.array([why is not None for why in absent], bool)
    invalid = np.array([why is not None and judge and why != TOO_LONG for why in absent], bool)
    if verdicts:
        credit = np.array([by_rule(orders, "mean") for orders in orders_of], float)
        invalid |= np.array([None in orders for orders in orders_of], bool)
        tied = (credit > 0) & (credit < 1) & ~invalid
    else:
        tied = deltas == 0
        credit = np.where(deltas > 0, 1.0, np.where(tied, 0.5 if tie == "half" else 0.0, 0.0))
    item_at, winner_at, loser_at = (np.array([row[column] for row in rows], np.int64) for column in range(3))
    return Outcomes(
        results,
        item_at,
        winner_at,
        loser_at,
        credit=credit,
        tie=tied,
        invalid=invalid,
        missing=lost & ~invalid,
        delta=deltas,
        longer=np.array([row[5] for row in rows], float),
        orders=orders_of if verdicts else None,
    )


def by_rule(orders: Orders, rule: str) -> float:
    """A pair's credit by one of RULES; 0 where nothing was said. `net` and `both` mean little of one order.

    mean: the mean over orders. net: 1 where more orders are right than wrong, as JudgeBench has it. both: 1 where all
    orders are right. first: 1 where the order that was asked first is right.
    """
    if not orders:
        return 0.0
    if rule == "mean":
        return sum(one or 0.0 for one in orders) / len(orders)
    if rule == "net":
        return float(orders.count(1.0) > orders.count(0.0))
    if rule == "both":
        return float(all(one == 1 for one in orders))
    return float(orders[0] == 1)


def _orders(result: Result) -> dict[frozenset[str], list[tuple[str, str | None]]]:
    """By the two responses: which was shown first, and the verdict, in the order asked."""
    said: dict[frozenset[str], list[tuple[str, str | None]]] = {}
    for one in result.verdicts or ():
        said.setdefault(frozenset(one.shown), []).append((one.shown[0], one.verdict))
    return said


def _credit(first: str, verdict: str | None, winner: str) -> float | None:
    if verdict is None:
        return None
    if verdict == "tie":
        return 0.5
    return float((verdict == "first") == (first == winner))


def _delta(result: Result, winner: int, loser: int) -> float:
    if result.rewards is None:
        return math.nan
    better, worse = result.rewards[winner], result.rewards[loser]
    return math.nan if better is None or worse is None else better - worse


def _longer(better: int, worse: int) -> float:
    return math.log(better / worse) if better and worse else math.nan


def groups(names: Sequence[str]) -> dict[str, Index]:
    """Places by name, names in the order in which they first stand."""
    found: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        found.setdefault(name, []).append(at)
    return {name: np.array(places, np.int64) for name, places in found.items()}
