"""Items with all that was said of them, and what the majority says.

A label is what more than half of those say who said anything. Without one an item is open: `coigp review resolve` asks
once more, and what is open then is told apart, never guessed. Of an annotator who was asked twice the last word counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from coig_p.review.folder import KeyRow, Review, Side
from coig_p.review.votes import Vote

Response = tuple[str, int, str]
"""Model, sample and hash of the text: in a store of an older version two answers of a model may have one name."""
CRITERIA = {"pair": ("preferred", "correct"), "accept": ("query_ok", "correct", "preferred"), "query": ("feasible",)}
"""What must hold for an item to be right, by form. A triple has no right answer."""


@dataclass(frozen=True)
class Voted:
    """One item and what its annotators said.

    Attributes:
        row: of the key, the first; its sides are in the order shown to one annotator.
        asked: (annotator, round) of everybody who was.
        votes: by annotator, the last word; those who said nothing yet are left out, those who skipped are not.
        first: the same of the first round alone.
    """

    row: KeyRow
    asked: frozenset[tuple[str, int]]
    votes: Mapping[str, Vote]
    first: Mapping[str, Vote]
    answered: frozenset[tuple[str, int]]

    @property
    def is_waiting(self) -> bool:
        """Whether somebody who was asked has neither answered nor skipped."""
        return self.asked > self.answered

    @property
    def chosen(self) -> Response | None:
        """The response that the store prefers."""
        side = self.row.side(self.row.chosen)
        return None if side is None else response_of(side)

    @property
    def responses(self) -> tuple[Response, ...]:
        """Those that were shown: the chosen one first where there is one, else in the order of their names."""
        return tuple(sorted(map(response_of, self.row.sides), key=lambda one: (one != self.chosen, one)))

    def label(self, criterion: str) -> Any:
        """What the majority says: 1, .5 or 0 for "preferred", true or false for others; None where there is none."""
        return majority(said(vote, criterion) for vote in self.votes.values())

    def holds(self, criterion: str) -> bool | None:
        """Whether a criterion holds, as the majority says; None where the item is open."""
        label = self.label(criterion)
        return None if label is None else label == 1

    def right(self, criteria: Iterable[str]) -> bool | None:
        """Whether all criteria hold; None where the item is open: none of them fails, and one has no majority."""
        return _all(self.holds(criterion) for criterion in criteria)

    def is_open(self, criteria: Sequence[str]) -> bool:
        """Whether the majority leaves open what the item is about."""
        if self.row.sides and not self.row.chosen:  # a triple, or a pair of which the store prefers none
            said_of = [relation(vote, *pair) for pair in combinations(self.responses, 2) for vote in self._told()]
            number = len(self._told())
            of_pairs = [said_of[at : at + number] for at in range(0, len(said_of), number)] if number else [[]]
            return any(majority(values) is None for values in of_pairs)
        return self.right(criteria) is None

    def _told(self) -> list[Vote]:
        return [vote for vote in self.votes.values() if not vote.skipped]


def read_voted(rows: Iterable[KeyRow], votes: Iterable[Vote], kinds: Sequence[str] = ("drawn",)) -> list[Voted]:
    """Items of some kinds in the key's order, with the votes on them."""
    by_item: dict[str, list[KeyRow]] = {}
    for row in rows:
        if row.kind in kinds:
            by_item.setdefault(row.item, []).append(row)
    given: dict[str, list[Vote]] = {}
    for vote in votes:
        if vote.kind in kinds:  # an audit asks about the same item
            given.setdefault(vote.item, []).append(vote)
    return [_voted(own, given.get(name, [])) for name, own in by_item.items()]


def _voted(rows: Sequence[KeyRow], votes: Sequence[Vote]) -> Voted:
    in_order = sorted(votes, key=lambda vote: vote.round)
    return Voted(
        row=rows[0],
        asked=frozenset((row.annotator, row.round) for row in rows),
        votes={vote.annotator: vote for vote in in_order},
        first={vote.annotator: vote for vote in in_order if vote.round == 1},
        answered=frozenset((vote.annotator, vote.round) for vote in votes),
    )


def criteria_of(review: Review, votes: Iterable[Vote]) -> tuple[str, ...]:
    """The criteria that were asked: where nobody ever called a response correct, the boxes were not used."""
    criteria = CRITERIA.get(review.form, ())
    if review.form == "pair" and not any(vote.correct for vote in votes):
        return tuple(criterion for criterion in criteria if criterion != "correct")
    return criteria


def response_of(side: Side) -> Response:
    """Which response stood on a side."""
    return side.model, side.sample, side.text_sha256


def said(vote: Vote, criterion: str) -> float | bool | None:
    """What one vote says of a criterion; None where nothing."""
    if vote.skipped:
        return None
    found: float | bool | None = getattr(vote, "chosen_correct" if criterion == "correct" else criterion)
    return found


def is_right(vote: Vote, criteria: Iterable[str]) -> bool | None:
    """Whether all criteria hold by one vote; None where it says of none that it fails, and of one nothing."""
    found = [said(vote, criterion) for criterion in criteria]
    return _all(None if one is None else one == 1 for one in found) if found else None


def _all(found: Iterable[bool | None]) -> bool | None:
    """Whether all hold: one that fails decides, whatever is not known of others."""
    known = list(found)
    return False if False in known else None if None in known else True


def relation(vote: Vote, one: Response, other: Response) -> float | None:
    """1 where a vote prefers `one`, 0 where the other, .5 where neither, None where it says nothing of both."""
    if vote.ranking is not None:
        levels = {response: level for level, tied in enumerate(vote.ranking) for response in tied}
        first, second = levels[one[:2]], levels[other[:2]]
        return 0.5 if first == second else float(first < second)
    shown = [response_of(side) for side in vote.sides]
    if vote.shown_first is None or set(shown) != {one, other}:
        return None
    return vote.shown_first if shown[0] == one else 1 - vote.shown_first


def majority(values: Iterable[Any]) -> Any:
    """What more than half of the values are, None among them not counted; None where nothing is."""
    counts = Counter(value for value in values if value is not None)
    if not counts:
        return None
    value, times = counts.most_common(1)[0]
    return value if 2 * times > counts.total() else None
