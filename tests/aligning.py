"""Small benchmarks, and results of them that are made up, for tests of `coigp align`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from coig_p.evaluate.align.benchmarks import Benchmark, Question, read_benchmark
from coig_p.evaluate.align.files import RESULTS, Turn, write_kept
from coig_p.evaluate.align.kinds import CATEGORIES, OVERALL

JUDGE: Mapping[str, Any] = {
    "kind": "judge",
    "name": "j",
    "model": "j",
    "system": None,
    "parameters": {"temperature": 0},
    "prompt_sha256": "p" * 64,
}


def align_rows(each: int = 2) -> list[dict[str, Any]]:
    """So many questions of each category of AlignBench."""
    return [
        {
            "question_id": 100 * at + nth,
            "category": category.zh,
            "subcategory": "",
            "question": f"{category.zh}第{nth}题？",
            "reference": f"{category.zh}第{nth}题的答案。",
        }
        for at, category in enumerate(CATEGORIES.values())
        for nth in range(each)
    ]


def mt_rows() -> list[dict[str, Any]]:
    """Two questions a category, one of them with references, categories with zh_ and without."""
    rows: list[dict[str, Any]] = []
    for at, name in enumerate(("zh_writing", "writing", "zh_math", "math")):
        rows.append({"question_id": 1081 + at, "category": name, "turns": [f"{name}{at}：写。", f"{at}：改。"]})
    rows[2]["reference"] = ["甲", "乙"]
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def benchmark(folder: Path, rows: list[dict[str, Any]] | None = None) -> Benchmark:
    folder.mkdir(parents=True, exist_ok=True)
    return read_benchmark(write_rows(folder / "bench.jsonl", align_rows() if rows is None else rows))


Scores = Callable[[Question, int], "int | str"]
"""From a question and a turn to its overall, or why it has none."""


def write_results(
    folder: Path,
    of: Benchmark,
    scores: Scores,
    *,
    name: str = "m",
    judge: Mapping[str, Any] = JUDGE,
    official: Callable[[Question, int], float | None] | None = None,
    answered: Mapping[str, Any] | None = None,
) -> Path:
    """Results of a model."""
    turns = []
    for question in of.questions:
        for turn in range(1, len(question.turns) + 1):
            found = scores(question, turn)
            names = (*question.dimensions_for(of.kind), OVERALL)
            told = dict.fromkeys(names, found) if isinstance(found, int) else None
            own = None if isinstance(found, str) else float(found)
            own = own if official is None else official(question, turn)
            reason = None if isinstance(found, int) else found
            turns.append(Turn(question.id, turn, "raw", reason, told, own))  # type: ignore[arg-type]
    header: dict[str, Any] = {"model": {"name": name}, "judge": dict(judge), "answers_sha256": "a"}
    header["options"] = {} if answered is None else {"answered": dict(answered)}
    write_kept(folder, RESULTS, of, turns, header, False)
    return folder
