"""Answers out of Label Studio's JSON export, as lines of ours.

Joined on `data.item`, never on `id`, which Label Studio gives anew. Who answered is `data.annotator`, since tasks are
one file an annotator, and only where that is missing `completed_by`, a number or an object with an email. Where several
users annotated the tasks of one annotator, those of the user count whom `who` or the user's name calls by that
annotator's name; without one whose they are cannot be told. Of several annotations by one annotator the one that was
changed last counts; drafts and predictions are no answers.

JSON_MIN is refused: it drops tasks that were skipped, and has rows without an annotator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coig_p.review.answers import Answer, answer_problem, is_duration, problem, time_of
from coig_p.review.folder import SIDES, KeyRow, Review, read_tasks, tasks_path

_CORRECT = {"a_correct": "a", "b_correct": "b"}
_YES = {"yes": True, "no": False}
_SIDES = {"left": "A", "right": "B"}  # of Pairwise, where somebody has it in place of our choices
_ASKED = {
    "pair": ("preference", "correct", "comment"),
    "accept": ("preference", "correct", "query_ok", "comment"),
    "triple": ("ranking", "comment"),
    "query": ("feasible", "comment"),
}
_THEIRS = {"seconds": "lead_time", "comment": "result"}  # where of an annotation a field of an answer stands
_SHOWN = 60
_USERS = 5  # that a message names
_MINIMAL = ("annotation_id", "annotator", "lead_time", "created_at")  # beside the data's own names, in every row


class Problem(Exception):
    """Why a task of an export cannot be taken in: where it stands in the file, and what is wrong."""

    def __init__(self, at: str, said: str) -> None:
        super().__init__(f"{at}: {said}" if at else said)
        self.at, self.said = at, said


@dataclass
class Export:
    """What an export holds.

    Attributes:
        answers: one a task and annotator, as in the file; `line` is the task's place, from 1.
        problems: each with its place in the file.
        drafts: how many were begun and never submitted.
        superseded: annotations that the same annotator changed later.
        by_others: annotations by another user than the annotator whose tasks they are of.
        unread: of each field that no form of ours asks, how often it was answered.
    """

    answers: list[Answer] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    drafts: int = 0
    superseded: int = 0
    by_others: int = 0
    unread: Counter[str] = field(default_factory=Counter)


def read_export(review: Review, key: Sequence[KeyRow], told: Any, who: Mapping[str, str] | None = None) -> Export:
    """Read what a file of Label Studio holds.

    Args:
        key: of the review.
        told: the file's JSON.
        who: from what Label Studio calls a user, a number or an email, to the annotator of the review; read where a
            task does not say whose it is, or several users annotated one annotator's tasks.
    """
    found = Export()
    wrong = _not_an_export(told)
    if wrong:
        found.problems.append(Problem("", wrong))
        return found
    given = {row.identity for row in key}
    tasks = _Tasks(review)
    latest: dict[tuple[str, str, int], Answer] = {}
    owners = _Owners(review, told, who or {})
    for number, task in enumerate(told, 1):
        at = f"task {number}"
        try:
            data = _object(task, "data", at)
            found.drafts += len(task.get("drafts") or ()) if isinstance(task.get("drafts"), list) else 0
            annotations = task.get("annotations")
            if not isinstance(annotations, list):
                raise Problem(
                    f"{at} .annotations", "missing or not a list: export the project from Label Studio as JSON"
                )
        except Problem as problem:
            found.problems.append(problem)
            continue
        for place, annotation in enumerate(annotations):
            try:
                if not owners.counts(data, annotation, f"{at} .annotations[{place}] .completed_by"):
                    found.by_others += 1
                    continue
                answer = _answer(
                    review, data, annotation, f"{at} .annotations[{place}]", at, number, who or {}, found.unread
                )
                if answer.identity not in given:
                    said = f"{answer.item!r} is no item that {answer.annotator} was given in round {answer.round}"
                    raise Problem(f"{at} .data.item", f"{said}: of another review?")
                tasks.check(data, answer, at)
            except Problem as problem:
                found.problems.append(problem)
                continue
            before = latest.get(answer.identity)
            found.superseded += before is not None
            if before is None or _when(answer) >= _when(before):
                latest[answer.identity] = answer
    found.answers = list(latest.values())
    return found


def _not_an_export(told: Any) -> str:
    """Why this is no JSON export; "" where it is one."""
    if isinstance(told, dict) and isinstance(told.get("tasks"), list):
        return "an answer of Label Studio's API, not an export: export the project as JSON"
    if not isinstance(told, list):
        is_task = isinstance(told, dict) and ("annotations" in told or "item" in told)
        return f"{'one task' if is_task else _short(told)}, not a list of tasks: export the project as JSON"
    if told and all(isinstance(one, dict) and "data" not in one and "result" in one for one in told):
        return "a list of annotations, without the tasks that they are of: export the project as JSON"
    rows = [task for task in told if isinstance(task, dict) and "data" not in task and "item" in task]
    for task in rows if len(rows) == len(told) else []:
        if set(_MINIMAL) & set(task):
            return (
                "this is JSON_MIN, which drops tasks that were skipped and has rows without an annotator: "
                "export the project as JSON"
            )
    return ""


def _answer(
    review: Review,
    data: Mapping[str, Any],
    annotation: Any,
    at: str,
    task_at: str,
    number: int,
    who: Mapping[str, str],
    unread: Counter[str],
) -> Answer:
    if not isinstance(annotation, dict):
        raise Problem(at, "not an object")
    item = data.get("item")
    if not isinstance(item, str) or not item:
        raise Problem(f"{task_at} .data.item", "missing: not a task of a review")
    round_ = data.get("round", 1)
    if type(round_) is not int or round_ < 1:
        raise Problem(f"{task_at} .data.round", f"{_short(round_)} is not a round")
    form = data.get("form", review.form)
    if form != review.form:
        raise Problem(
            f"{task_at} .data.form",
            f"{_short(form)}, and the review is of form {review.form}: name the review that was asked in it",
        )
    cancelled = annotation.get("was_cancelled", False)
    if not isinstance(cancelled, bool):
        raise Problem(f"{at} .was_cancelled", f"{_short(cancelled)} is not true or false")
    seconds = annotation.get("lead_time")
    if seconds is not None and not is_duration(seconds):
        raise Problem(f"{at} .lead_time", f"{_short(seconds)} is not a number of seconds from 0 to a year")
    said, comment = _said(review.form, annotation.get("result", []), f"{at} .result", unread, skipped=cancelled)
    answer = Answer(
        item=item,
        annotator=_annotator(review, data, annotation, at, task_at, who),
        round=round_,
        answer=None if cancelled else said,
        comment=comment,
        seconds=None if seconds is None else float(seconds),
        at=_time(annotation, at),
        by="label-studio",
        skipped=cancelled,
        line=number,
    )
    wrong = problem(review.form, answer.to_dict())
    if wrong is not None:
        raise Problem(f"{at} .{_THEIRS.get(wrong[0], wrong[0])}", wrong[1])
    return answer


def _annotator(
    review: Review,
    data: Mapping[str, Any],
    annotation: Mapping[str, Any],
    at: str,
    task_at: str,
    who: Mapping[str, str],
) -> str:
    named = data.get("annotator")
    if named is not None:
        if not isinstance(named, str) or named not in review.annotators:
            said = f"{_short(named)} is none of {', '.join(review.annotators)}: name the review that asks them"
            raise Problem(f"{task_at} .data.annotator", said)
        return named
    names = _names(annotation)
    found = _annotator_of(review, names, who)
    if found is not None:
        return found
    by = annotation.get("completed_by")
    known = names[0] if names else None if isinstance(by, dict) or by is None else str(by)
    raise Problem(
        f"{at} .completed_by",
        f"{_short(known)} is none of {', '.join(review.annotators)}, and the task does not say whose it is: pass "
        f"--who {known or 'USER'}=ANNOTATOR",
    )


def _names(annotation: Mapping[str, Any]) -> tuple[str, ...]:
    """What Label Studio calls who made an annotation: the email, where it says that, and the number."""
    by = annotation.get("completed_by")
    names = [by.get("email"), by.get("id")] if isinstance(by, dict) else [by]
    return tuple(str(one) for one in names if isinstance(one, str | int) and not isinstance(one, bool))


def _annotator_of(review: Review, names: Sequence[str], who: Mapping[str, str]) -> str | None:
    """The annotator of the review that a user is; None where nothing says it."""
    told = (found for name in names for found in (who.get(name), name))
    return next((found for found in told if found in review.annotators), None)


class _Owners:
    """Which users annotated whose tasks, where tasks say whose they are.

    An annotator has one account in an export, so a second user is somebody else, as a colleague who looked in: what
    that one says must not stand for what the annotator does.
    """

    def __init__(self, review: Review, told: Sequence[Any], who: Mapping[str, str]) -> None:
        self.review, self.who = review, who
        self.names: dict[str, tuple[str, ...]] = {}  # of each user, by the last of them, the number
        self.users: dict[str, Counter[str]] = {}  # of each annotator
        for task in told:
            data = task.get("data") if isinstance(task, dict) else None
            annotations = task.get("annotations") if isinstance(task, dict) else None
            if isinstance(data, dict) and isinstance(annotations, list) and isinstance(data.get("annotator"), str):
                for names in (_names(one) for one in annotations if isinstance(one, dict)):
                    if names:
                        self.names.setdefault(names[-1], names)
                        self.users.setdefault(data["annotator"], Counter())[names[-1]] += 1

    def counts(self, data: Mapping[str, Any], annotation: Any, at: str) -> bool:
        """Whether an annotation is by the annotator whose task it is.

        Raises:
            Problem: that cannot be told, of an annotation by another user than made most of them.
        """
        annotator = data.get("annotator")
        if annotator not in self.review.annotators or not isinstance(annotation, dict):
            return True
        users = [user for user, _ in self.users.get(annotator, Counter[str]()).most_common()]
        if len(users) < 2:
            return True
        if any(_annotator_of(self.review, self.names[user], self.who) == annotator for user in users):
            return bool(_annotator_of(self.review, _names(annotation), self.who) == annotator)
        if _names(annotation)[-1:] in ((), (users[0],)):
            return True
        shown = [self.names[user][0] for user in users[:_USERS]] + (["..."] if len(users) > _USERS else [])
        raise Problem(
            at,
            f"{', '.join(shown)} annotated tasks of {annotator}, and one of these alone can be {annotator}: say which, "
            f"as --who {shown[0]}={annotator}, and what others said there is left out",
        )


def _time(annotation: Mapping[str, Any], at: str) -> str:
    for name in ("updated_at", "created_at"):
        value = annotation.get(name)
        if value is not None:
            when = time_of(value) if isinstance(value, str) else None
            if when is None:
                raise Problem(f"{at} .{name}", f"{_short(value)} is not a time with an offset from UTC")
            return when.isoformat(timespec="microseconds")
    raise Problem(f"{at} .updated_at", "missing: which of two answers is the last cannot be told")


def _when(answer: Answer) -> Any:
    return time_of(answer.at)


def _said(
    form: str, results: Any, at: str, unread: Counter[str], *, skipped: bool
) -> tuple[dict[str, Any], str | None]:
    """The answer and the comment that the results of an annotation hold."""
    if not isinstance(results, list):
        raise Problem(at, "not a list")
    said: dict[str, Any] = {}
    comment = None
    for place, result in enumerate(results):
        where = f"{at}[{place}]"
        if not isinstance(result, dict):
            raise Problem(where, "not an object")
        name = result.get("from_name")
        if name not in _ASKED[form]:
            unread[str(name)[:_SHOWN]] += 1
            continue
        value = _object(result, "value", where)
        if name in said or (name == "comment" and comment is not None):
            raise Problem(where, f"{name} is answered twice")
        if name == "comment":
            comment = "\n".join(_texts(value, "text", f"{where} .value.text")) or None
        else:
            said[name] = _READ[name](value, f"{where} .value")
    if skipped:
        return {}, comment
    if "preference" in said:
        said = {"preference": said["preference"], "correct": said.get("correct", []), "query_ok": said.get("query_ok")}
    problem = answer_problem(form, said)
    if problem is not None:
        raise Problem(at, f"{problem[0]}: {problem[1]}")
    return said, comment


def _preference(value: Mapping[str, Any], at: str) -> str:
    if "selected" in value:
        chosen = value["selected"]
        if not isinstance(chosen, str) or chosen not in _SIDES:
            raise Problem(f"{at}.selected", f"{_short(chosen)} is none of left, right")
        return _SIDES[chosen]
    return _one(value, ("A", "tie", "B"), at)


def _correct(value: Mapping[str, Any], at: str) -> list[str]:
    found = _texts(value, "choices", f"{at}.choices")
    for one in found:
        if one not in _CORRECT:
            raise Problem(f"{at}.choices", f"{_short(one)} is none of {', '.join(_CORRECT)}")
    return sorted({_CORRECT[one] for one in found})


def _yes(value: Mapping[str, Any], at: str) -> bool:
    return _YES[_one(value, tuple(_YES), at)]


def _ranking(value: Mapping[str, Any], at: str) -> list[list[str]]:
    """Sides in levels: of buckets those of one are tied, of a list none are."""
    ranker = value.get("ranker")
    if isinstance(ranker, dict) and set(ranker) == {"ranking"}:
        ranker = ranker["ranking"]
    if isinstance(ranker, list):
        ranker = {str(place): [one] for place, one in enumerate(ranker, 1)}
    if not isinstance(ranker, dict) or not all(isinstance(level, list) for level in ranker.values()):
        raise Problem(f"{at}.ranker", "not a list, and not lists of answers by rank")
    ranks = [str(place) for place in range(1, len(SIDES) + 1)]
    for rank, level in ranker.items():
        if rank == "_":
            if level:
                raise Problem(f"{at}.ranker", f"{', '.join(map(_short, level))} stands at no rank")
        elif rank not in ranks:
            raise Problem(f"{at}.ranker", f"{_short(rank)} is none of the ranks {', '.join(ranks)}")
        for one in level:
            if one not in SIDES:
                raise Problem(f"{at}.ranker", f"{_short(one)} is none of {', '.join(SIDES)}")
    return [sorted(ranker[rank]) for rank in ranks if ranker.get(rank)]


_READ: Mapping[str, Callable[[Mapping[str, Any], str], Any]] = {
    "preference": _preference,
    "correct": _correct,
    "query_ok": _yes,
    "feasible": _yes,
    "ranking": _ranking,
}


def _one(value: Mapping[str, Any], valid: Sequence[str], at: str) -> str:
    found = _texts(value, "choices", f"{at}.choices")
    if len(found) != 1 or found[0] not in valid:
        raise Problem(f"{at}.choices", f"{_short(found)} is not one of {', '.join(valid)}")
    return found[0]


def _texts(value: Mapping[str, Any], name: str, at: str) -> list[str]:
    found = value.get(name)
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise Problem(at, f"{_short(found)} is not a list of texts")
    return found


def _object(value: Any, name: str, at: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise Problem(f"{at} .{name}", "missing or not an object")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


class _Tasks:
    """The tasks of a review, to see that people were shown the texts that the key is about."""

    def __init__(self, review: Review) -> None:
        self.review = review
        self.known: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}

    def check(self, data: Mapping[str, Any], answer: Answer, at: str) -> None:
        """Raise Problem where a task shows another text than the review's has, as that of an earlier draw would."""
        whose = answer.annotator, answer.round
        if whose not in self.known:
            self.known[whose] = {task["item"]: task for task in read_tasks(self.review, *whose)}
        own = self.known[whose].get(answer.item)
        for name in _texts_of(own or {}):
            if own is not None and name in data and data[name] != own[name]:
                path = tasks_path(self.review.path, *whose)
                raise Problem(f"{at} .data.{name}", f"another text than {path} has for {answer.item}: of another draw?")


def _texts_of(data: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in data if name == "dialogue" or name.startswith("response"))
