"""Answers joined with the key: what each annotator said of which responses, whatever side they stood on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coig_p.errors import DataError
from coig_p.review.answers import Answer, answers_path, read_answers
from coig_p.review.folder import KeyRow, Side, check_tasks, open_review, read_key

_FIRST = {"A": 1.0, "tie": 0.5, "B": 0.0}
_PREFERRED = {"A": "a", "B": "b"}


@dataclass(frozen=True)
class Vote:
    """The last word of an annotator on an item in a round. What its form does not ask is None, of a skipped one all.

    Attributes:
        item, annotator, round, kind, query_id, domain, margin: as in the key.
        sides: as they were shown.
        preferred: 1 for the response that the store prefers, 0 for the other, .5 for a tie; None also where the store
            prefers none.
        shown_first: the same for the side that was shown first.
        correct: the sides as shown that were called correct; `correct_responses` says whose they are.
        chosen_correct: whether the response that the store prefers was called correct; None where nobody said.
        query_ok: whether the query was called fit.
        ranking: (model, sample) of the sides in levels, the best first.
        feasible: whether the query can be answered.
        comment, seconds, skipped: as in the answer.
        right_gold: whether the answer is the known one of a gold item, in all that is known of it.
    """

    item: str
    annotator: str
    round: int
    kind: str
    query_id: str
    domain: str
    sides: tuple[Side, ...]
    margin: float | None
    preferred: float | None = None
    shown_first: float | None = None
    correct: frozenset[str] = frozenset()
    chosen_correct: bool | None = None
    query_ok: bool | None = None
    ranking: tuple[tuple[tuple[str, int], ...], ...] | None = None
    feasible: bool | None = None
    comment: str | None = None
    seconds: float | None = None
    skipped: bool = False
    right_gold: bool | None = None

    @property
    def correct_responses(self) -> frozenset[tuple[str, int]]:
        """(model, sample) of the sides that were called correct."""
        return frozenset(side.response for side in self.sides if side.side in self.correct)


def read_votes(folder: str | Path) -> list[Vote]:
    """The votes of a review, in the order of its key.

    Raises:
        DataError: an answer to an item that its annotator was not given; names file, line and item. Or what
            `read_answers`, `read_key` and `check_tasks` raise.
    """
    review = open_review(folder)
    answers = {answer.identity: answer for answer in read_answers(folder)}
    rows = read_key(review)
    check_tasks(review)
    given = {row.identity for row in rows}
    for answer in answers.values():
        if answer.identity not in given:
            path = answers_path(review.path, answer.annotator)
            raise DataError(
                f"{path} line {answer.line} .item: {answer.item!r} in round {answer.round} is no item that "
                f"{answer.annotator} was given"
            )
    return [vote_of(row, answers[row.identity]) for row in rows if row.identity in answers]


def vote_of(row: KeyRow, answer: Answer) -> Vote:
    """What an answer says of the responses behind it."""
    said = answer.answer or {}
    facts: dict[str, Any] = {
        "comment": answer.comment,
        "seconds": answer.seconds,
        "skipped": answer.skipped,
        "right_gold": None if row.gold is None or answer.answer is None else is_right(row.gold, said),
    }
    if "preference" in said:
        facts["shown_first"] = _FIRST[said["preference"]]
        facts["correct"] = frozenset(said.get("correct") or ())
        facts["query_ok"] = said.get("query_ok")
        if row.chosen is not None:
            mine = _PREFERRED.get(said["preference"])
            facts["preferred"] = 0.5 if mine is None else float(mine == row.chosen)
            facts["chosen_correct"] = row.chosen in facts["correct"] if "correct" in said else None
    if "ranking" in said:
        by_side = {side.side: side.response for side in row.sides}
        facts["ranking"] = tuple(tuple(sorted(by_side[side] for side in level)) for level in said["ranking"])
    if "feasible" in said:
        facts["feasible"] = said["feasible"]
    return Vote(
        item=row.item,
        annotator=row.annotator,
        round=row.round,
        kind=row.kind,
        query_id=row.query_id,
        domain=row.domain,
        sides=row.sides,
        margin=row.margin,
        **facts,
    )


def is_right(gold: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Whether an answer is the known one, in every key that is known."""
    return all(_plain(said.get(name)) == _plain(value) for name, value in gold.items())


def _plain(value: Any) -> Any:
    """A value in the form in which order within a level, and of sides that are correct, says nothing."""
    if not isinstance(value, list | tuple):
        return value
    return [sorted(one) if isinstance(one, list | tuple) else one for one in value] if _nested(value) else sorted(value)


def _nested(value: list[Any] | tuple[Any, ...]) -> bool:
    return any(isinstance(one, list | tuple) for one in value)
