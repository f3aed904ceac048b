"""A JSON export as Label Studio 1.23 writes it, and its import into a review."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coig_p.errors import DataError
from coig_p.review.folder import Review, read_tasks
from coig_p.review.importing import Imported, import_answers

Row = dict[str, Any]
EARLY, LATE, LATER = (f"2026-11-26T1{hour}:00:00.123456Z" for hour in (1, 2, 3))


def choices(name: str, *values: str) -> Row:
    return {"id": "x1", "from_name": name, "to_name": "dialogue", "type": "choices", "value": {"choices": list(values)},
            "origin": "manual"}  # fmt: skip


def comment(*texts: str) -> Row:
    value = {"text": list(texts)}
    return {"id": "x2", "from_name": "comment", "to_name": "dialogue", "type": "textarea", "value": value}


def ranker(value: Any) -> Row:
    value = {"ranker": value}
    return {"id": "x3", "from_name": "ranking", "to_name": "responses", "type": "ranker", "value": value}


RESULTS: dict[str, list[Row]] = {
    "pair": [choices("preference", "A"), choices("correct", "a_correct")],
    "accept": [choices("preference", "B"), choices("query_ok", "yes")],
    "triple": [ranker({"1": ["b"], "2": ["c", "a"], "3": [], "_": []})],
    "query": [choices("feasible", "no")],
}
"""What each form's annotation holds that says SAID."""


def annotation(results: list[Row], **changes: Any) -> Row:
    return {
        "id": 1,
        "completed_by": 1,
        "result": [*results],
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": EARLY,
        "updated_at": LATE,
        "draft_created_at": None,
        "lead_time": 31.2,
        "prediction": {},
        "result_count": len(results),
        "unique_id": "5f0e",
        "import_id": None,
        "last_action": None,
        "bulk_created": False,
        "task": 1,
        "project": 1,
        "updated_by": 1,
        "parent_prediction": None,
        "parent_annotation": None,
        "last_created_by": None,
    } | changes


def task(review: Review, number: int, *annotations: Row, annotator: str = "a", **data: Any) -> Row:
    """The task of an annotator's n-th item, as an export has it."""
    own = next(one for one in read_tasks(review, annotator) if one["item"] == f"r-{number:06d}")
    return {
        "id": 100 + number,
        "annotations": list(annotations),
        "file_upload": "6d7-tasks-a.json",
        "drafts": [],
        "predictions": [],
        "data": own | data,
        "meta": {},
        "created_at": EARLY,
        "updated_at": LATE,
        "inner_id": number,
        "total_annotations": len(annotations),
        "cancelled_annotations": 0,
        "total_predictions": 0,
        "comment_count": 0,
        "unresolved_comment_count": 0,
        "last_comment_updated_at": None,
        "project": 1,
        "updated_by": 1,
        "comment_authors": [],
    }


def take(review: Review, *exports: Any, **options: Any) -> Imported:
    paths = []
    for at, export in enumerate(exports):
        paths.append(review.path.parent / f"export-{at}.json")
        paths[-1].write_text(export if isinstance(export, str) else json.dumps(export), encoding="utf-8")
    return import_answers(review.path, paths, **options)


def problem(review: Review, export: Any, **options: Any) -> str:
    """What an import that is refused says; nothing is written."""
    before = {path.name: path.read_bytes() for path in (review.path / "answers").iterdir()}
    with pytest.raises(DataError) as refused:
        take(review, export, **options)
    assert {path.name: path.read_bytes() for path in (review.path / "answers").iterdir()} == before
    said = str(refused.value.args[0])
    assert said.endswith("\nnothing was imported")
    assert str(review.path.parent / "export-0.json") in said
    return said
