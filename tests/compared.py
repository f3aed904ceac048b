"""Stores to set side by side: of every kind of annotation, with queries in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forming import jsonl
from make import Row, make_rows, make_store

from coig_p.ingest.config import ImportConfig
from coig_p.ingest.files import import_files


def scored(path: Path, seed: int = 0, queries: int = 30) -> Path:
    """Two judges or three, two domains."""
    return make_store(path, make_rows({"chat": queries, "math": queries}, seed))


def imported(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    """A store of rows in any shape."""
    file = jsonl(path.with_suffix(".jsonl"), rows)
    import_files([file], path, ImportConfig(**{"domain": "chat", **options}))
    return path


def verdicts(path: Path, queries: list[str]) -> Path:
    """Released pairs."""
    rows = [
        {"prompt": asked, "chosen": f"好的回答{at}，说得更多一些。", "rejected": f"差的回答{at}。"}
        for at, asked in enumerate(queries)
    ]
    return imported(path, rows)


def labelled(path: Path, queries: int = 6) -> Path:
    """KTO's rows: one answer a query, so no pair."""
    rows = [{"prompt": f"标签问题{at}号？", "completion": f"答案{at}。", "label": at % 2 == 0} for at in range(queries)]
    return imported(path, rows)


def asked_of(rows: list[Row]) -> list[str]:
    """The queries of rows."""
    return [str(row["query"]) for row in rows]
