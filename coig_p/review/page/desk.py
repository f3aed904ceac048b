"""What lies before one annotator: tasks in their order, what was said of each, and the next that is open.

What stands in the folder counts at every look, and a file that changed is read anew: a server that was killed goes on
where its answers end, and a second round appears once it is drawn. Read are review.json, this annotator's tasks and
answers; never the key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

from coig_p.review.answers import Answer, answers_path, append_all, last_words, now
from coig_p.review.folder import Review, open_review, read_tasks, tasks_path
from coig_p.review.stopping import is_stopped

Identity = tuple[int, str]
"""Round and item: with the annotator, whose desk it is, what an answer is of."""

OPEN, ANSWERED, SKIPPED = "open", "answered", "skipped"


class NoTask(Exception):
    """A round and item that this annotator was not given."""


class Stale(Exception):
    """Something else was said of a task since its page was shown; what is said now must be said knowing that."""


@dataclass(frozen=True)
class Task:
    """One item as one annotator is shown it.

    Attributes:
        dialogue: turns with role and content.
        responses: the texts by side, in the order shown.
    """

    round: int
    item: str
    domain: str
    dialogue: list[dict[str, str]]
    responses: Mapping[str, str]

    @property
    def identity(self) -> Identity:
        """Round and item."""
        return self.round, self.item


@dataclass(frozen=True)
class Sheet:
    """All tasks of an annotator, round after round, with the last word on each.

    Attributes:
        words: also those that take an answer back; none of a task of which nothing was ever said.
    """

    review: Review
    annotator: str
    tasks: tuple[Task, ...]
    words: Mapping[Identity, Answer]

    @cached_property
    def _places(self) -> dict[Identity, int]:
        return {task.identity: at for at, task in enumerate(self.tasks)}

    def place(self, identity: Identity) -> int:
        """Where a task stands; NoTask where there is none of that name."""
        if identity not in self._places:
            raise NoTask(identity)
        return self._places[identity]

    def given(self, identity: Identity) -> Answer | None:
        """What counts of a task: an answer, or that it was skipped."""
        word = self.words.get(identity)
        return None if word is None or (word.answer is None and not word.skipped) else word

    def state(self, identity: Identity) -> str:
        """OPEN, ANSWERED or SKIPPED."""
        word = self.given(identity)
        return OPEN if word is None else SKIPPED if word.skipped else ANSWERED

    def stamp(self, identity: Identity) -> int:
        """Of the last word on a task; another one once anything more was said of it, 0 where nothing was."""
        word = self.words.get(identity)
        return 0 if word is None else word.line

    def open_after(self, at: int) -> Task | None:
        """The first open task behind a place, else the first before it; None where none is open, or enough was said."""
        turned = (*self.tasks[at + 1 :], *self.tasks[: at + 1])
        return next((task for task in turned if self._is_wanted(task)), None)

    def _is_wanted(self, task: Task) -> bool:
        return self.state(task.identity) == OPEN and not is_stopped(self.review, task.round)

    def last_given(self) -> Answer | None:
        """The answer, or the skip, that was given last of all that count."""
        counted = [word for task in self.tasks if (word := self.given(task.identity)) is not None]
        return max(counted, key=lambda word: word.line, default=None)

    def progress(self) -> dict[str, dict[str, int]]:
        """How many tasks of each domain are answered, skipped and open; the domains in the order they appear."""
        found: dict[str, dict[str, int]] = {}
        for task in self.tasks:
            of = found.setdefault(task.domain, {ANSWERED: 0, SKIPPED: 0, OPEN: 0})
            of[self.state(task.identity)] += 1
        return found


class Desk:
    """One annotator's place in a review; several threads may look and save at once."""

    def __init__(self, folder: Path, annotator: str) -> None:
        self.folder = folder
        self.annotator = open_review(folder).check_annotator(annotator)
        self._saving = Lock()
        self._tasks: dict[int, tuple[object, tuple[Task, ...]]] = {}
        self._words: tuple[object, dict[Identity, Answer]] = (None, {})

    def check(self) -> None:
        """Raise DataError where what this annotator is to be shown is damaged or missing."""
        self.look()

    def look(self) -> Sheet:
        """Everything as it stands in the folder now.

        Raises:
            DataError: a file of the review is damaged; names file, line or task, and field.
        """
        review = open_review(self.folder)
        tasks = tuple(task for round_ in range(1, review.rounds + 1) for task in self._round(review, round_))
        return Sheet(review, self.annotator, tasks, self._said(review))

    def _round(self, review: Review, round_: int) -> tuple[Task, ...]:
        path = tasks_path(self.folder, self.annotator, round_)
        mark = review.form, review.files.get(path.name), _mark(path)
        kept = self._tasks.get(round_)
        if kept is None or kept[0] != mark:
            sides = review.letters
            kept = mark, tuple(_task(data, sides) for data in read_tasks(review, self.annotator, round_))
            self._tasks[round_] = kept
        return kept[1]

    def _said(self, review: Review) -> dict[Identity, Answer]:
        mark = review.form, _mark(answers_path(self.folder, self.annotator))  # before it is read: it only grows
        kept = self._words
        if kept[0] != mark:
            found = last_words(review, self.annotator)
            kept = mark, {(one.round, one.item): one for one in found.values()}
            self._words = kept
        return kept[1]

    def save(self, identity: Identity, stamp: int, make: Callable[[Sheet], Answer]) -> Sheet:
        """Add an answer to the file, unless it says again what counts already; it is on the disk when this returns.

        Args:
            stamp: of the task when its page was shown.
            make: the answer from what stands now; only its content counts, whose it is and when is filled in here.

        Returns:
            What stands now.

        Raises:
            Stale: something else was said of the task since.
            NoTask: there is no such task.
            DataError: the answer is not of the review's form, or a file is damaged.
            OSError: it cannot be written.
        """
        with self._saving:
            sheet = self.look()
            task = sheet.tasks[sheet.place(identity)]
            said = replace(make(sheet), item=task.item, annotator=self.annotator, round=task.round, at=now(), by="page")
            word = sheet.given(identity)
            is_said = word is not None or sheet.stamp(identity) != stamp
            if is_said and _content(said) == _content(word):
                return sheet
            if sheet.stamp(identity) != stamp:
                raise Stale
            append_all(sheet.review, self.annotator, [said])
            return self.look()


def _mark(path: Path) -> tuple[int, ...] | None:
    """Tells a file from what it was before; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _task(data: Mapping[str, Any], sides: tuple[str, ...]) -> Task:
    return Task(
        round=data["round"],
        item=data["item"],
        domain=data["domain"],
        dialogue=data["dialogue"],
        responses={side: data[f"response_{side}"] for side in sides},
    )


def _content(answer: Answer | None) -> object:
    """What an answer says, whenever and however slowly it was said; of one that takes back: nothing is said."""
    if answer is None or (answer.answer is None and not answer.skipped):
        return None
    told = dict(answer.answer or {})
    if told.get("correct") is not None:
        told["correct"] = sorted(told["correct"])
    if "ranking" in told:
        told["ranking"] = [sorted(level) for level in told["ranking"]]
    return told, answer.comment, answer.skipped
