"""Rows on their way to a store: how many wait in memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coig_p.ingest.spool import _HELD, Spool
from coig_p.schema import RAW_SCHEMA


def _row(at: int, compared: int) -> dict[str, Any]:
    two: list[dict[str, Any]] = [
        {"model": model, "sample": 0, "text": model, "extra": None, "scores": []} for model in "ab"
    ]
    one = {"first": 0, "second": 1, "judge": "j", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
    empty = dict.fromkeys(RAW_SCHEMA.names)
    given = {"responses": two, "comparisons": [one | {"rationale": "r"}] * compared}
    return empty | {"query_id": f"{at}", "domain": "chat", "query": "q"} | given


@pytest.mark.parametrize(("compared", "rows"), [(480, 40), (1, 40), (5000, 3)])
def test_rows_with_hundreds_of_comparisons_wait_by_what_they_hold(compared: int, rows: int, tmp_path: Path) -> None:
    spool = Spool("chat", tmp_path)
    for at in range(rows):
        spool.add(at, _row(at, compared), None, plain=True)
        assert sum(2 + len(row["comparisons"]) for row in spool.waiting) < _HELD
    spool.close(lambda *_: None, Counter())
    found = [row for batch in spool.batches() for row in batch.to_pylist()]
    assert [(row["query_id"], len(row["comparisons"])) for row in found] == [(f"{at}", compared) for at in range(rows)]
