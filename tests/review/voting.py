"""Reviews with answers as a test wants them: of each item what the store prefers, and what each annotator says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reviewed import AT

from coig_p.review.answers import Answer, append_all
from coig_p.review.folder import KeyRow, Review, Side, Tasks, open_review, sides_of, write_review

Said = str | Mapping[str, Any] | None
"""Of an annotator: right (chosen preferred and correct), better (preferred, not correct), worse, tie; both, lost and
even are better, worse and tie of two that are correct; other answers as they are in terms of the sides in the key's
order of models, "skip", or None for nothing yet."""


def make_votes(
    folder: Path,
    items: Sequence[tuple[str, Mapping[str, Said]]],
    form: str = "pair",
    annotators: Sequence[str] = ("a", "b", "c"),
    domains: Mapping[str, Mapping[str, int]] | None = None,
    margins: Sequence[float] = (2.0,),
) -> Review:
    """Items as (domain, said by annotator): the store prefers "good" to "bad", which stands second for every other."""
    review = Review(folder, form, 0, {"name": "store", "manifest_sha256": "0" * 64}, {}, tuple(annotators), 3)
    review = replace(review, domains=domains or {})
    key: list[KeyRow] = []
    tasks: dict[str, Tasks] = {name: [] for name in annotators}
    answers: list[Answer] = []
    letters = sides_of(form)
    for number, (domain, said) in enumerate(items):
        for at, name in enumerate(annotators):
            if name not in said:
                continue
            item = f"r-{number:06d}"
            models = ["good", "bad", "other"][: len(letters)]
            if (number + at) % 2:
                models.reverse()
            sides = tuple(Side(letter, model, 0, "0" * 64) for letter, model in zip(letters, models, strict=True))
            side_of = {side.model: side.side for side in sides}
            chosen = side_of.get("good") if form != "triple" else None
            margin = margins[number % len(margins)]
            key.append(KeyRow(item, name, 1, "drawn", f"q-{number}", domain, "0" * 64, sides, chosen, margin))
            data: dict[str, Any] = {"item": item, "annotator": name, "round": 1, "form": form, "domain": domain}
            data["dialogue"] = [{"role": "user", "content": f"问题{number}？"}]
            tasks[name].append({"data": data | {f"response_{side.side}": f"回答{side.model}" for side in sides}})
            if said[name] is not None:
                answers.append(an_answer(item, name, said[name], side_of, len(answers)))
    review = write_review(folder, review, key, tasks, "<View/>\n")
    say(folder, answers)
    return review


def an_answer(item: str, name: str, said: Said, side_of: Mapping[str, str], second: int = 0, round_: int = 1) -> Answer:
    at = AT.replace("10:00:00", f"10:{second // 60 % 60:02d}:{second % 60:02d}")
    if said == "skip":
        return Answer(item, name, round_, None, at=at, skipped=True)
    if isinstance(said, str):
        good, bad = side_of["good"], side_of["bad"]
        preference = {"tie": "tie", "even": "tie", "worse": bad.upper(), "lost": bad.upper()}.get(said, good.upper())
        correct = [good] if said == "right" else [good, bad] if said in ("both", "lost", "even") else []
        return Answer(item, name, round_, {"preference": preference, "correct": correct, "query_ok": None}, at=at)
    if said is not None and "ranking" in said:
        said = {"ranking": [[side_of[model] for model in level] for level in said["ranking"]]}
    return Answer(item, name, round_, said, at=at, seconds=10.0)


def say(folder: Path, answers: Sequence[Answer]) -> None:
    review = open_review(folder)
    for name in dict.fromkeys(answer.annotator for answer in answers):
        append_all(review, name, [answer for answer in answers if answer.annotator == name])
