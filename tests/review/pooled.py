"""People who answer a pool that a benchmark is built from, each in the order of their own tasks, a minute a task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from coig_p.core.arrays import hash64
from coig_p.review.answers import Answer, append_all
from coig_p.review.folder import KeyRow, open_review, read_key, tasks_path

BEGUN = datetime(2026, 11, 26, 8, tzinfo=UTC)
Said = Mapping[str, Any] | None
"""An answer in terms of the sides shown; None where it was skipped."""


def answer_pool(
    folder: Path,
    say: Callable[[KeyRow], Said],
    *,
    most: int | None = None,
    seconds: float | None = 50.0,
    round_: int = 1,
) -> dict[tuple[str, str], datetime]:
    """Each annotator answers the first `most` tasks, one a minute; gives when, by item and annotator."""
    review = open_review(folder)
    rows = {row.identity: row for row in read_key(review)}
    when: dict[tuple[str, str], datetime] = {}
    for name in review.annotators:
        path = tasks_path(folder, name, round_)
        if not path.exists():
            continue
        answers = []
        tasks = [task["data"]["item"] for task in json.loads(path.read_text("utf-8"))]
        for at, item in enumerate(tasks[:most], 1):
            when[item, name] = BEGUN + timedelta(minutes=at + 1_000 * (round_ - 1))
            said = say(rows[item, name, round_])
            time = when[item, name].isoformat(timespec="milliseconds")
            answers.append(Answer(item, name, round_, said, None, seconds, time, "page", said is None))
        append_all(review, name, answers)
    return when


def accepting(row: KeyRow, better: bool = True, correct: bool = True, fit: bool = True) -> dict[str, Any]:
    """What somebody says of a pair, of the response that the store prefers."""
    chosen = row.chosen or "a"
    other = "b" if chosen == "a" else "a"
    return {
        "preference": (chosen if better else other).upper(),
        "correct": sorted([chosen, other] if correct else [other]),
        "query_ok": fit,
    }


def strict(row: KeyRow) -> dict[str, Any]:
    """Three of four are accepted, whoever is asked; one in eight of the answers strays."""
    kind = hash64(f"kind {row.query_id}") % 12
    if hash64(f"stray {row.item} {row.annotator} {row.round}") % 8 == 0:
        kind = 3 if kind < 3 else 0
    return accepting(row, kind != 0, kind != 1, kind != 2)


def ranking(row: KeyRow) -> dict[str, Any]:
    """Longer names are better, and one in six strays."""
    strays = hash64(f"{row.item} {row.annotator}") % 6 == 0
    order = sorted(row.sides, key=lambda side: hash64(f"rank {row.query_id} {side.model}"), reverse=strays)
    return {"ranking": [[side.side] for side in order]}
