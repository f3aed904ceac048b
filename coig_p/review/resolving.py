"""A second round for items on which the first found no majority: the same question, and nothing of what others said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coig_p.review.folder import add_round, check_annotator_names, open_review, read_key
from coig_p.review.majority import criteria_of, read_voted
from coig_p.review.tasks import Item, items_of, tasks_for
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
    items = read_voted(rows, votes)
    waiting = [item for item in items if item.is_waiting]
    opened = [item for item in items if not item.is_waiting and item.is_open(criteria)]
    again = [item for item in opened if all(round_ == 1 for _, round_ in item.asked)]
    still = tuple(item.row.item for item in opened if item not in again)
    if not again:
        return Resolved(None, (), (), still, len(waiting))
    named = check_annotator_names(annotators) if annotators else ()
    round_ = review.rounds + 1
    shown = items_of(review, [row for row in rows if row.kind == "drawn" and row.round == 1])
    given: dict[str, list[Item]] = {}
    for voted in again:
        for name in named or sorted(annotator for annotator, _ in voted.asked):
            given.setdefault(name, []).append(shown[voted.row.item])
    new, tasks = tasks_for(review, given, round_)
    add_round(review, new, tasks)
    return Resolved(round_, tuple(item.row.item for item in again), tuple(tasks), still, len(waiting))
