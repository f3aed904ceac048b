"""What becomes of a row that says who won."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from coig_p.ingest.fields import Fields, FormConfig, Survey
from coig_p.ingest.forms import detect, shape
from coig_p.ingest.forms.pairwise import numbers


def comparisons(row: dict[str, Any], config: FormConfig | None = None) -> list[tuple[Any, ...]]:
    """(judge, dimension, first score, second score) of each comparison of a row."""
    found = shaped(row, config)
    return [(one["judge"], one["dimension"], one["first_score"], one["second_score"]) for one in found["comparisons"]]


def shaped(
    row: dict[str, Any], config: FormConfig | None = None, rows: Iterable[dict[str, Any]] = ()
) -> dict[str, Any]:
    config = config or FormConfig()
    assert detect(row, config) == "pairwise"
    found: dict[tuple[str, str], set[float]] = {}
    for one in (row, *rows):
        for key, number in numbers(Fields(one, config)):
            found.setdefault(key, set()).add(number)
    config = FormConfig(**{**config.__dict__, "survey": Survey(numbers=found)})
    return shape(row, "pairwise", config).value
