"""Answers that were given elsewhere, taken into a review: all of several files or, with a problem, nothing."""

from __future__ import annotations

import json
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
from coig_p.review.label_studio import read_export

_MOST_BYTES = 1 << 30
_SHOWN = 20  # problems that an error lists


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
            are.

    Raises:
        UsageError: `who` names an annotator whom the review does not have.
        DataError: a problem in any of the files; names file, place and what is wrong. Nothing is then written.
    """
    review = open_review(folder)
    key = read_key(review)
    for name in (who or {}).values():
        review.check_annotator(name)
    found, problems = Imported(), list[str]()
    waiting: dict[tuple[str, str, int], Answer] = {}
    for path in files:
        for answer in _read(review, key, path, who or {}, found, problems):
            before = waiting.get(answer.identity)
            if before is None or _when(answer) >= _when(before):
                waiting[answer.identity] = answer
    if problems:
        shown = "\n".join(problems[:_SHOWN])
        more = f"\nand {counted(len(problems) - _SHOWN, 'more problem')}" if len(problems) > _SHOWN else ""
        raise DataError(f"{shown}{more}\nnothing was imported")
    lines: dict[str, list[Answer]] = {}
    for annotator in review.annotators:
        there = last_words(review, annotator)
        for answer in waiting.values():
            if answer.annotator == annotator and _is_news(answer, there.get(answer.identity), found):
                lines.setdefault(annotator, []).append(answer)
    for annotator, answers in lines.items():
        append_all(review, annotator, answers)
        found.by_annotator[annotator] = len(answers)
        found.skipped += sum(answer.skipped for answer in answers)
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
    problems: list[str],
) -> list[Answer]:
    """The answers of one file; what is wrong with it goes to `problems`."""
    if path.suffix.lower() == ".jsonl":
        return _read_own(review, key, path, found, problems)
    try:
        told = json.loads(read_small(path, _MOST_BYTES))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        problems.append(f"{path}: not JSON, or cut short: {error}. Export the project as JSON again")
        return []
    export = read_export(review, key, told, who)
    problems += [f"{path}: {problem}" for problem in export.problems]
    found.drafts += export.drafts
    found.superseded += export.superseded
    found.unread.update(export.unread)
    return export.answers


def _read_own(review: Review, key: Sequence[KeyRow], path: Path, found: Imported, problems: list[str]) -> list[Answer]:
    """The last word on each item in a file of answers."""
    given = {row.identity for row in key}
    try:
        answers, torn = parse_file(review.form, path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except DataError as error:
        problems.append(error.args[0])
        return []
    found.torn += torn
    for answer in answers:
        if answer.annotator not in review.annotators:
            known = ", ".join(review.annotators)
            problems.append(f"{path} line {answer.line} .annotator: {answer.annotator!r} is none of {known}")
        elif answer.identity not in given:
            problems.append(
                f"{path} line {answer.line} .item: {answer.item!r} is no item that {answer.annotator} was given in "
                f"round {answer.round}"
            )
    return list({answer.identity: answer for answer in answers}.values())
