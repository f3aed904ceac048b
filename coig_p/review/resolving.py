"""A second round for items on which the first found no majority: the same question, and nothing of what others said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

from coig_p.core.arrays import hash64
from coig_p.errors import DataError
from coig_p.review.folder import KeyRow, Tasks, add_round, check_annotator_names, open_review, read_key, read_tasks
from coig_p.review.items import criteria_of, read_items
from coig_p.review.votes import read_votes


@dataclass(frozen=True)
class Resolved:
    """What a second round is about.

    Attributes:
        round: that was written; None where nothing had to be asked again.
        items: that are asked again now.
        annotators: who is asked now.
        still_open: items that stay without a majority after they were asked twice.
        waiting: items that somebody has yet to answer; they may need a second round later.
    """

    round: int | None
    items: tuple[str, ...]
    annotators: tuple[str, ...]
    still_open: tuple[str, ...]
    waiting: int

    def to_dict(self) -> dict[str, Any]:
        """As plain lists and numbers."""
        return {name: list(one) if isinstance(one, tuple) else one for name, one in asdict(self).items()}


def resolve(folder: str | Path, annotators: Sequence[str] = ()) -> Resolved:
    """Ask once more about items without a majority, that all who were asked have answered or skipped.

    Asked twice is asked enough: an item gets one second round, so a second call changes nothing.

    Args:
        annotators: who is asked; default, those who were asked first. Others may be named, who are new.

    Raises:
        DataError: the review, its key, tasks or answers cannot be read; or a task is missing that must be shown again.
        UsageError: a name that no file can have.
    """
    review = open_review(folder)
    rows, votes = read_key(review), read_votes(folder)
    criteria = criteria_of(review, votes)
    items = read_items(rows, votes)
    waiting = [item for item in items if item.is_waiting]
    opened = [item for item in items if not item.is_waiting and item.is_open(criteria)]
    again = [item for item in opened if all(round_ == 1 for _, round_ in item.asked)]
    still = tuple(item.row.item for item in opened if item not in again)
    if not again:
        return Resolved(None, (), (), still, len(waiting))
    named = check_annotator_names(annotators) if annotators else ()
    round_ = review.rounds + 1
    shown = {name: {task["item"]: task for task in read_tasks(review, name)} for name in review.annotators}
    by_identity = {row.identity: row for row in rows}
    new, tasks = [], dict[str, Tasks]()
    for item in again:
        for name in named or tuple(sorted(annotator for annotator, _ in item.asked)):
            before = name if (item.row.item, name, 1) in by_identity else item.row.annotator
            if item.row.item not in shown[before]:
                raise DataError(
                    f"{review.path}: the tasks of {before} have no {item.row.item}, which must be shown again"
                )
            row, task = by_identity[item.row.item, before, 1], shown[before][item.row.item]
            if before != name:  # who saw it already sees the same sides again
                row, task = _shuffled(row, task, hash64(json.dumps([review.seed, item.row.item, name])))
            new.append(replace(row, annotator=name, round=round_))
            tasks.setdefault(name, []).append({"data": task | {"annotator": name, "round": round_}})
    for name, own in tasks.items():
        own.sort(key=lambda task: hash64(json.dumps([review.seed, round_, task["data"]["item"], name])))
    add_round(review, new, tasks)
    return Resolved(round_, tuple(item.row.item for item in again), tuple(tasks), still, len(waiting))


def _shuffled(row: KeyRow, task: dict[str, Any], draw: int) -> tuple[KeyRow, dict[str, Any]]:
    """The same item with its responses on sides of their own, which a number draws."""
    orders = list(permutations(row.sides))
    sides = orders[draw % len(orders)]
    letters = [side.side for side in row.sides]
    moved = {side.side: letter for side, letter in zip(sides, letters, strict=True)}
    texts = {f"response_{moved[letter]}": task[f"response_{letter}"] for letter in letters}
    placed = tuple(replace(side, side=letter) for side, letter in zip(sides, letters, strict=True))
    return replace(row, sides=placed, chosen=moved.get(row.chosen or "")), task | texts
