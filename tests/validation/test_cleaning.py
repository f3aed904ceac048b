"""Cleaning: what errors name is dropped and counted; no text is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from make import completed, make_store, twin

from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.store.store import Store
from coig_p.validation import check
from coig_p.validation.cleaning import clean_store

Rows = list[dict[str, Any]]
ID_CARD = "11010519491231002X"  # the example that the standard itself gives


def rows_of(store: Store) -> dict[str, dict[str, Any]]:
    return {row["query_id"]: row for batch in store.batches() for row in batch.to_pylist()}


def cleaned(rows: Rows, folder: Path, **options: Any) -> tuple[Store, dict[str, dict[str, int]]]:
    path = make_store(folder / "store", sorted(rows, key=lambda row: row["domain"]), rows_per_shard=5)
    written = clean_store(Store.open(path), check(path), folder / "clean", **options)
    return written.store, written.to_dict()["dropped"]


def test_the_smallest_unit_goes_and_everything_else_stays(tmp_path: Path) -> None:
    rows = twin()
    rows[1]["query"] = "\ufffd"
    rows[2]["responses"][1]["text"] += "</s>"
    rows[2]["comparisons"] = [
        {"first": a, "second": b, "judge": "h", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
        for a, b in ((0, 1), (0, 2), (3, 2))
    ]
    rows[3]["responses"][0]["scores"][1]["score"] = 99.0
    rows[3]["comparisons"] = [rows[2]["comparisons"][0] | {"first": 9}, rows[2]["comparisons"][1]]
    rows[4]["responses"][3]["text"] += f"号码{ID_CARD}"
    rows[5]["responses"][0]["text"] = " 前有空格。"
    store, dropped = cleaned(rows, tmp_path)
    assert dropped == {
        "comparison": {"rows": 0, "responses": 0, "scores": 0, "comparisons": 1},
        "id-card": {"rows": 0, "responses": 1, "scores": 2, "comparisons": 0},
        "replacement-character": {"rows": 1, "responses": 4, "scores": 8, "comparisons": 0},
        "score-range": {"rows": 0, "responses": 0, "scores": 1, "comparisons": 0},
        "special-token": {"rows": 0, "responses": 1, "scores": 2, "comparisons": 1},
    }
    wanted = {row["query_id"]: row for row in completed(rows)}
    del wanted["q-01"]
    del wanted["q-02"]["responses"][1]
    wanted["q-02"]["comparisons"] = [wanted["q-02"]["comparisons"][1] | {"second": 1}, wanted["q-02"]["comparisons"][2]]
    wanted["q-02"]["comparisons"][0] |= {"first": 0, "second": 1}
    wanted["q-02"]["comparisons"][1] |= {"first": 2, "second": 1}
    del wanted["q-03"]["responses"][0]["scores"][1]
    del wanted["q-03"]["comparisons"][0]
    del wanted["q-04"]["responses"][3]
    assert rows_of(store) == wanted
    assert store.verify() == []
    assert check(store).passed
    options = json.loads((tmp_path / "clean/manifest.json").read_text("utf-8"))["options"]
    assert options["clean"]["dropped"] == dropped
    assert options["clean"]["rules"]["script-traditional"] == {"severity": "error", "share": 0.05}


def test_more_rules_can_be_named(tmp_path: Path) -> None:
    rows = twin()
    rows[5]["responses"][0]["text"] = " 前有空格。"
    rows[6]["query"] = "   号码是13800138000吗？"
    store, dropped = cleaned(rows, tmp_path, more=["outer-whitespace", "mobile"])
    assert {rule: counts["rows"] for rule, counts in dropped.items()} == {"mobile": 1, "outer-whitespace": 0}
    assert len(rows_of(store)) == 23
    assert len(rows_of(store)["q-05"]["responses"]) == 3


def test_a_domain_that_goes_whole_is_counted_and_the_manifest_adds_up(tmp_path: Path) -> None:
    rows = twin()
    domain = rows[0]["domain"]
    gone = [row for row in rows if row["domain"] == domain]
    for row in gone:
        row["query"] += "\ufffd"
    kept = next(row for row in rows if row["domain"] != domain)
    kept["query"] = " " + kept["query"]
    store, dropped = cleaned(rows, tmp_path)
    assert domain not in store.manifest.domains
    responses = sum(len(row["responses"]) for row in gone)
    assert dropped["replacement-character"]["rows"] == len(gone)
    assert dropped["replacement-character"]["responses"] == responses
    again = clean_store(store, check(store), tmp_path / "again", more=["outer-whitespace"])
    assert {rule: loss.rows for rule, loss in again.dropped.items()} == {"outer-whitespace": 1}
    told = again.store.manifest.options["clean"]["dropped"]
    assert told == {**dropped, "outer-whitespace": again.lost.to_dict()}


def test_what_cannot_be_cleaned_is_refused(tmp_path: Path) -> None:
    rows = twin()
    with pytest.raises(UnknownNameError, match="unknown rule 'tie'"):
        cleaned(rows, tmp_path, more=["tie"])
    with pytest.raises(UsageError, match="ties is about the store as a whole"):
        cleaned(rows, tmp_path, more=["ties"])
    path = tmp_path / "store"
    with pytest.raises(UsageError, match="pass --overwrite"):
        clean_store(Store.open(path), check(path), path)
    with pytest.raises(UsageError, match="is the store itself"):
        clean_store(Store.open(path), check(path), path, overwrite=True)
    for row in rows:
        row["query"] = "\ufffd"
    with pytest.raises(DataError, match="no query is left"):
        cleaned(rows, tmp_path / "empty")
    assert not (tmp_path / "empty/clean").exists()


@pytest.mark.parametrize("name", ["halluqa", "alpaca_examples"])
def test_real_data_pass_once_cleaned(name: str, shared_data: Path, tmp_path: Path) -> None:
    score_range: dict[str, Any] = {"score_range": (0, 1), "default_threshold": 1} if name == "halluqa" else {}
    config = ImportConfig(domain="chat", on_error="skip", **score_range)
    store, _ = import_files([shared_data / f"{name}.jsonl"], tmp_path / "store", config)
    before = check(store)
    clean = clean_store(store, before, tmp_path / "clean")
    after = check(clean.store)
    assert after.passed
    assert after.responses == before.responses - clean.lost.responses
    assert clean.store.verify() == []
