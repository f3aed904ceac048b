"""People who answer by a script, as the browser's page and Label Studio write it; mostly of one mind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coig_p.core.arrays import hash64
from coig_p.review.answers import Answer, append_all
from coig_p.review.folder import KeyRow, open_review, read_key, tasks_path

SECONDS = 20.0


def saying(row: KeyRow) -> dict[str, Any]:
    """What a person says of an item: what the key prefers in 9 of 10 items, from which each strays in 1 of 6."""
    right = hash64(f"truth {row.item}") % 10 > 0
    strays = hash64(f"{row.item} {row.annotator} {row.round}") % 6 == 0
    chosen = row.chosen or "a"
    other = "b" if chosen == "a" else "a"
    if strays:
        tie = hash64(f"tie {row.item} {row.annotator}") % 2
        return {"preference": "tie" if tie else other.upper(), "correct": [chosen, other] if tie else [other]}
    return {"preference": (chosen if right else other).upper(), "correct": [chosen if right else other]}


def answer_in_browser(folder: Path, name: str, round_: int = 1) -> None:
    """As `coigp review serve` writes it."""
    rows = {row.identity: row for row in read_key(open_review(folder))}
    tasks = [task["data"] for task in json.loads(tasks_path(folder, name, round_).read_text("utf-8"))]
    answers = []
    for at, task in enumerate(tasks):
        said = saying(rows[task["item"], name, round_]) | {"query_ok": None}
        when = f"2026-11-26T{8 + round_:02d}:{at // 3:02d}:{at % 3 * 20:02d}.000+00:00"
        answers.append(Answer(task["item"], name, round_, said, seconds=SECONDS, at=when))
    append_all(open_review(folder), name, answers)


def export_of_label_studio(folder: Path, name: str, path: Path, round_: int = 1) -> None:
    """As Label Studio 1.23 exports a project of an annotator's tasks in JSON."""
    rows = {row.identity: row for row in read_key(open_review(folder))}
    exported = []
    for number, task in enumerate(json.loads(tasks_path(folder, name, round_).read_text("utf-8")), 1):
        said = saying(rows[task["data"]["item"], name, round_])
        when = f"2026-11-26T{8 + round_:02d}:{number // 3:02d}:{number % 3 * 20:02d}.000000Z"
        choices = {"preference": [said["preference"]], "correct": [f"{side}_correct" for side in said["correct"]]}
        result = [
            {"id": f"r{number}-{field}", "from_name": field, "to_name": "dialogue", "type": "choices"}
            | {"origin": "manual", "value": {"choices": values}}
            for field, values in choices.items()
        ]
        annotation = {"id": number, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False}
        annotation |= {"created_at": when, "updated_at": when, "lead_time": SECONDS, "task": number, "project": 1}
        exported.append(
            {"id": number, "data": task["data"], "annotations": [annotation], "drafts": [], "predictions": []}
        )
    path.write_text(json.dumps(exported, ensure_ascii=False), "utf-8")
