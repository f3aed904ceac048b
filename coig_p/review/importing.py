"""Answers that were given elsewhere, taken into a review: all of several files or, with a problem, nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from coig_p.core.small_files import read_small
from coig_p.core.text import counted
from coig_p.errors import DataError, UsageError
from coig_p.review.answers import Answer, append_all, last_words, parse_file, time_of
from coig_p.review.folder import KeyRow, Review, open_review, read_key
from coig_p.review.label_studio import Problem, read_export

_MOST_BYTES = 1 << 30
_SHOWN = 20  # problems that an error lists
_OWN = ".jsonl"  # answers of ours, in place of an export
_NUMBER = re.compile(r"\d+")


@dataclass
class Imported:
    """What an import did.

    Attributes:
        new: answers to items that had none.
        changed: answers in place of older ones.
        same: answers that were there already.
        older: answers that are no newer than another one that is there.
        skipped: of those new and changed, how many were skipped.
        superseded: annotations that their annotator changed later, in the same export.
        by_others: annotations by another user than the annotator whose tasks they are of.
        drafts: annotations that were begun and never submitted.
        torn: lines that were cut short.
        unread: of each field of an export that no form asks, how often it was answered.
        by_annotator: new and changed answers of each.
    """

    new: int = 0
    changed: int = 0
    same: int = 0
    older: int = 0
    skipped: int = 0
    superseded: int = 0
    by_others: int = 0
    drafts: int = 0
    torn: int = 0
    unread: Counter[str] = field(default_factory=Counter)
    by_annotator: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"unread": dict(self.unread), "by_annotator": dict(self.by_annotator)}


def import_answers(folder: str | Path, files: Sequence[Path], who: Mapping[str, str] | None = None) -> Imported:
    """Take in Label Studio's JSON exports (.json), and files of our own answers (.jsonl).

    What is there already is not taken twice, and an answer that is older than the one there does not replace it.

    Args:
        who: from a user of Label Studio, a number or an email, to an annotator, for tasks that do not say whose they
            are, or that several users annotated.

    Raises:
        UsageError: `who` names an annotator whom the review does not have.
        DataError: a problem in any of the files; names file, place and what is wrong. Nothing is then written.
    """
    review = open_review(folder)
    key = read_key(review)
    for name in (who or {}).values():
        review.check_annotator(name)
    found, problems = Imported(), list[tuple[Path, Problem]]()
    waiting: dict[tuple[str, str, int], Answer] = {}
    for path in files:
        for answer in _read(review, key, path, who or {}, found, problems):
            before = waiting.get(answer.identity)
            if before is None or _when(answer) >= _when(before):
                waiting[answer.identity] = answer
    if problems:
        lines = _told(problems)
        more = f"\nand {counted(len(lines) - _SHOWN, 'more problem')}" if len(lines) > _SHOWN else ""
        raise DataError("\n".join(lines[:_SHOWN]) + f"{more}\nnothing was imported")
    news: dict[str, list[Answer]] = {}
    for annotator in review.annotators:
        there = last_words(review, annotator)
        for answer in waiting.values():
            if answer.annotator == annotator and _is_news(answer, there.get(answer.identity), found):
                news.setdefault(annotator, []).append(answer)
    for annotator, answers in news.items():
        append_all(review, annotator, answers)
        found.by_annotator[annotator] = len(answers)
        found.skipped += sum(answer.skipped for answer in answers)
    return found


def _told(problems: Sequence[tuple[Path, Problem]]) -> list[str]:
    """A line for each problem; one that is the same but for numbers in several places is told once, and counted."""
    kinds = [(path, _NUMBER.sub("", str(one))) for path, one in problems]
    number = Counter(kinds)
    found = []
    for (path, one), kind in zip(problems, kinds, strict=True):
        if more := number.pop(kind, 0):
            where = f"{path} {one}" if str(one).startswith("line ") else f"{path}: {one}"
            found.append(where + (f" (and {more - 1:,} more like it)" if more > 1 else ""))
    return found


def _is_news(answer: Answer, there: Answer | None, found: Imported) -> bool:
    if there is None:
        found.new += 1
        return True
    if replace(answer, at="", by="page") == replace(there, at="", by="page"):
        found.same += 1
    elif _when(answer) <= _when(there):
        found.older += 1
    else:
        found.changed += 1
        return True
    return False


def _when(answer: Answer) -> Any:
    return time_of(answer.at)


def _read(
    review: Review,
    key: Sequence[KeyRow],
    path: Path,
    who: Mapping[str, str],
    found: Imported,
    problems: list[tuple[Path, Problem]],
) -> list[Answer]:
    """The answers of one file; what is wrong with it goes to `problems`."""
    if path.suffix.lower() == _OWN:
        return _read_own(review, key, path, found, problems)
    try:
        told = json.loads(read_small(path, _MOST_BYTES))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        problems.append((path, Problem("", f"not JSON, or cut short: {error}. Export the project as JSON again")))
        return []
    export = read_export(review, key, told, who)
    problems += [(path, problem) for problem in export.problems]
    found.drafts += export.drafts
    found.superseded += export.superseded
    found.by_others += export.by_others
    found.unread.update(export.unread)
    return export.answers


def _read_own(
    review: Review, key: Sequence[KeyRow], path: Path, found: Imported, problems: list[tuple[Path, Problem]]
) -> list[Answer]:
    """The last word on each item in a file of answers."""
    given = {row.identity for row in key}
    try:
        answers, torn = parse_file(review.form, path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except DataError as error:
        problems.append((path, Problem("", error.args[0].removeprefix(str(path)).lstrip(": "))))
        return []
    found.torn += torn
    for answer in answers:
        if answer.annotator not in review.annotators:
            known = ", ".join(review.annotators)
            said = f"{answer.annotator!r} is none of {known}: name the review that asks them"
            problems.append((path, Problem(f"line {answer.line} .annotator", said)))
        elif answer.identity not in given:
            said = f"{answer.item!r} is no item that {answer.annotator} was given in round {answer.round}"
            problems.append((path, Problem(f"line {answer.line} .item", f"{said}: of another review?")))
    return list({answer.identity: answer for answer in answers}.values())
