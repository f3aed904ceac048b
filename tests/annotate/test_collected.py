"""Queries as they are collected: freed of duplicates, bad rows named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotating import pool, write_run
from hypothesis import given
from hypothesis import strategies as st
from parts import URL

from coig_p.annotate.asking.ledger import LedgerWriter
from coig_p.annotate.tasks import queries as queries_module
from coig_p.annotate.tasks.queries import collect, decide, similar_by_cosine
from coig_p.errors import CoigPError, DataError


def collected(tmp_path: Path, lines: list[Any], **settings: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """The ids that stay and the lines of dropped.jsonl."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (tmp_path / "queries.jsonl").write_text(text, encoding="utf-8")
    config = write_run(tmp_path, pool(URL, 3, 3), queries=settings)
    with LedgerWriter.open(config.folder) as ledger:
        collect(config, ledger)
        counts = decide(config, ledger)
        ids = [query.query_id for query in ledger.queries()]
    dropped = [json.loads(line) for line in (config.folder / "dropped.jsonl").read_text("utf-8").splitlines()]
    assert len(ids) + len(dropped) == len(lines) == sum(counts.values())
    return ids, dropped


ROW = {"domain": "chat", "query": "怎样学好游泳这项运动？"}


def test_queries_are_freed_of_duplicates_and_each_is_named(tmp_path: Path) -> None:
    rows = [
        {**ROW, "query_id": "b"},
        {**ROW, "query_id": "c"},
        {**ROW, "query_id": "a", "query": "怎樣學好游泳這項運動"},
        {**ROW, "query_id": "d", "query": "怎样学好游泳这项运动呢？"},
        {**ROW, "query_id": "e", "query": "今天吃什么"},
    ]
    ids, dropped = collected(tmp_path, rows, near_duplicates=0.7)
    assert ids == ["a", "e"]
    assert [(one["query_id"], one["reason"], one["duplicate_of"]) for one in dropped] == [
        *[("c", "exact", "b"), ("b", "exact", "a"), ("d", "near", "a")]
    ]


def test_bad_rows_fail_or_are_listed(tmp_path: Path) -> None:
    rows: list[Any] = ["{", [], {}, {**ROW, "domain": "poems"}, {**ROW, "query": " "}, {**ROW, "query_id": 3}, ROW]
    with pytest.raises(DataError, match=r"queries.jsonl:4 domain: unknown domain 'poems'(.|\n)*nothing was asked"):
        collected(tmp_path, rows)
    ids, dropped = collected(tmp_path, rows, on_error="skip")
    assert len(ids) == 1
    assert [one["line"] for one in dropped] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(CoigPError, match="no query is left"):
        collected(tmp_path, rows[:-1], on_error="skip")


def test_semantic_duplicates_go_by_any_embedder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(texts: Any) -> Any:
        return np.array([[1.0, len(text) / 100, 0] if "游泳" in text else [0, 0, 2.0] for text in texts])

    monkeypatch.setattr(queries_module, "_embedder", lambda config: embed)
    rows = [
        {**ROW, "query_id": "b"},
        {**ROW, "query_id": "a", "query": "如何游泳"},
        {**ROW, "query": "吃什么", "query_id": "c"},
    ]
    ids, dropped = collected(tmp_path, rows, semantic=0.85)
    assert ids == ["a", "c"]
    assert (dropped[0]["reason"], dropped[0]["duplicate_of"]) == ("semantic", "a")
    assert 0.85 < dropped[0]["similarity"] <= 1


@given(st.integers(1, 30), st.floats(0.1, 0.99))
def test_similar_by_cosine_equals_every_pair_compared(number: int, threshold: float) -> None:
    vectors = np.random.default_rng(number).normal(size=(number, 3)).astype(np.float32)
    found = set(map(tuple, similar_by_cosine(vectors, threshold).tolist()))
    for one in range(number):
        for other in range(one + 1, number):
            a, b = vectors[one].astype(float), vectors[other].astype(float)
            cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
            if abs(cosine - threshold) > 1e-5:
                assert ((one, other) in found) == (cosine > threshold)
