"""What kind of judgements a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compared import labelled, scored, verdicts
from make import completed, make_store

from coig_p.evaluate.compare.annotation import annotation_of
from coig_p.store.store import Store


def kinds(path: Path) -> list[tuple[str, str, bool, int]]:
    return [(one.judge, one.kind, one.person, one.judgements) for one in annotation_of(Store.open(path))]


def test_scores(tmp_path: Path) -> None:
    found = kinds(scored(tmp_path / "s", queries=10))
    assert [(judge, kind) for judge, kind, _, _ in found] == [(j, "scores") for j in ("judge-a", "judge-b", "model-0")]
    info = Store.open(tmp_path / "s").manifest.judges
    assert {judge: number for judge, _, _, number in found} == dict(info)


def test_labels_of_kto_and_verdicts_of_pairs(tmp_path: Path) -> None:
    assert [row[1:] for row in kinds(labelled(tmp_path / "k"))] == [("labels", False, 6)]
    assert [row[1:] for row in kinds(verdicts(tmp_path / "v", ["问题一？", "问题二？"]))] == [("verdicts", False, 2)]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (1, 0, "verdicts"),
        (0, 1, "verdicts"),
        (0.5, 0.5, "verdicts"),
        (1, 1, "scored-comparisons"),
        (8, 5, "scored-comparisons"),
    ],
)
def test_one_comparison_that_is_no_verdict_makes_a_judge_one_that_scores(
    first: float, second: float, kind: str, tmp_path: Path
) -> None:
    answers: list[dict[str, Any]] = [{"model": name, "text": name * 3, "scores": []} for name in "甲乙"]
    said = {"first": 0, "second": 1, "dimension": "overall", "rationale": None}
    comparisons = [
        said | {"judge": "human:张", "first_score": 1.0, "second_score": 0.0},
        said | {"judge": "human:张", "first_score": float(first), "second_score": float(second)},
        said | {"judge": "模型", "first_score": 0.0, "second_score": 1.0},
    ]
    row = {"query_id": "q", "domain": "chat", "query": "问", "source": None}
    rows = completed([row | {"responses": answers, "comparisons": comparisons}])
    found = kinds(make_store(tmp_path / "c", rows))
    assert set(found) == {("human:张", kind, True, 2), ("模型", "verdicts", False, 1)}
