"""A row of each published benchmark, in its public form, and files of such rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

CRBENCH: Row = {"prompt": "一加一等于几？", "chosen": "二。", "rejected": "三。", "domain": "数学"}
CHEEMS: Row = {
    "input": "杭州有什么湖？",
    "category": ["问答", "常识"],
    "responses": [{"id": f"r{at}", "content": f"回答{at}"} for at in range(5)],
    "annotations": [["r0", "r1", "1"]],
    "rank": {"r4": 0, "r0": 1, "r1": "1", "r2": 2, "r3": 3},
}
REWARDBENCH: Row = {
    "prompt": "How do I sort a list?",
    "chosen": "sorted(x)",
    "chosen_model": "human",
    "rejected": "x.sorted()",
    "rejected_model": "bug",
    "subset": "hep-python",
    "id": 17,
}
REWARDBENCH2: Row = {
    "id": "214",
    "prompt": "Who wrote it?",
    "chosen": ["right"],
    "rejected": ["w1", "w2", "w3"],
    "num_correct": 1,
    "num_incorrect": 3,
    "total_completions": 4,
    "models": ["m0", "m1", "m2", "m3"],
    "subset": "Factuality",
    "additional_metadata": {"category": None, "method": "natural"},
}
TIES: Row = REWARDBENCH2 | {
    "id": "tied:12",
    "subset": "Ties",
    "chosen": ["red", "blue"],
    "rejected": ["nine"],
    "num_correct": 2,
    "num_incorrect": 1,
    "total_completions": 3,
    "models": ["m0"],
    "additional_metadata": None,
}
RM_BENCH: Row = {
    "id": 4,
    "prompt": "What is a transistor?",
    "chosen": ["c0", "c1", "c2"],
    "rejected": ["w0", "w1", "w2"],
    "domain": "safety-refuse",
}
JUDGEBENCH: Row = {
    "pair_id": "e302b0a0-28d5-5a3c",
    "original_id": 1420,
    "source": "livebench-math",
    "question": "2 + 2?",
    "response_model": "gpt-4o-2024-05-13",
    "response_A": "5",
    "response_B": "4",
    "label": "B>A",
}


def rows_in(path: Path, *rows: Row) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(list(rows), ensure_ascii=False, indent=1), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
