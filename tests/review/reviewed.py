"""A review made by hand, without a draw: two annotators, a few items, the sides of the second exchanged."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from coig_p.review.answers import Answer
from coig_p.review.folder import REVIEW, KeyRow, Review, Side, Tasks, seal, sides_of, write_review

AT = "2026-11-26T10:00:00+00:00"


def make_review(folder: Path, form: str = "pair", items: int = 3, annotators: tuple[str, ...] = ("a", "b")) -> Review:
    """Of item i the store prefers model-0; it stands first for a, second for everybody else."""
    review = Review(
        path=folder,
        form=form,
        seed=0,
        store={"name": "store", "manifest_sha256": "0" * 64},
        pairs={},
        annotators=annotators,
        overlap=len(annotators),
    )
    key: list[KeyRow] = []
    tasks: dict[str, Tasks] = {name: [] for name in annotators}
    letters = sides_of(form)
    for number in range(1, items + 1):
        for name in annotators:
            models = list(range(len(letters)))
            if name != annotators[0]:
                models.reverse()
            sides = [Side(letter, f"model-{model}", 0, "0" * 64) for letter, model in zip(letters, models, strict=True)]
            chosen = next((side.side for side in sides if side.model == "model-0" and form != "triple"), None)
            item = f"r-{number:06d}"
            key.append(KeyRow(item, name, 1, "drawn", f"q-{number}", "math", "0" * 64, tuple(sides), chosen, 2.0))
            data: dict[str, Any] = {"item": item, "annotator": name, "round": 1, "form": form, "domain": "math"}
            data["dialogue"] = [{"role": "user", "content": f"问题{number}？"}]
            data |= {f"response_{side.side}": f"回答 {side.side}" for side in sides}
            tasks[name].append({"data": data})
    review = write_review(folder, review, key, tasks, "<View/>\n")
    return review


def told(folder: Path) -> dict[str, Any]:
    """What review.json says."""
    found: dict[str, Any] = json.loads((folder / REVIEW).read_text("utf-8"))
    return found


def tell(folder: Path, **changes: Any) -> None:
    """Let review.json say something else, as if it had been written so."""
    said = {name: value for name, value in (told(folder) | changes).items() if name != "sha256"}
    (folder / REVIEW).write_text(
        json.dumps(said | {"sha256": {name: seal(value) for name, value in said.items()}}), encoding="utf-8"
    )


SAID: dict[str, dict[str, Any]] = {
    "pair": {"preference": "A", "correct": ["a"], "query_ok": None},
    "accept": {"preference": "B", "correct": [], "query_ok": True},
    "triple": {"ranking": [["b"], ["a", "c"]]},
    "query": {"feasible": False},
}


def an_answer(form: str = "pair", item: str = "r-000001", annotator: str = "a", **changes: Any) -> Answer:
    return replace(Answer(item, annotator, 1, SAID[form], seconds=3.5, at=AT), **changes)


_BITS = 2**64 - 1


def slow_hash(text: str) -> int:
    """64 bits of a text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _mixed(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _BITS
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _BITS
    return x ^ (x >> 31)


def slow_key(seed: int, query_id: str, *models: str) -> int:
    """The hash of (seed, query_id, models)."""
    key = _mixed(slow_hash(query_id) ^ slow_hash(f"review {seed}"))
    for model in models:
        key = _mixed(key ^ slow_hash(model))
    return key
