"""Rewards that a store is given, and the pairs that agree with them."""

from __future__ import annotations

from typing import Any

from oracle import Rewards, oracle_pairs

Row = dict[str, Any]


def crm(query_id: str, model: str, sample: int, text: str) -> float | None:
    """Mostly as the models are strong, in halves, so that many are equal or exactly so far apart."""
    number = sum(map(ord, query_id + model))
    return None if number % 11 == 0 else int(model[-1]) + (number * number % 7) / 2 - 2


def other(query_id: str, model: str, sample: int, text: str) -> float | None:
    return -float(len(text))


GIVEN = {"crm": crm, "other": other}


def rewards_for(rows: list[Row], name: str) -> Rewards:
    return {
        (row["query_id"], at): GIVEN[name](row["query_id"], one["model"], one["sample"], one["text"])
        for row in rows
        for at, one in enumerate(row["responses"])
    }


def wanted_of(rows: list[Row], *, agree_with: str, threshold: float = 2, **options: Any) -> list[Row]:
    return oracle_pairs(rows, threshold=threshold, rewards=rewards_for(rows, agree_with), **options)


def of_math(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["domain"] == "math"]
