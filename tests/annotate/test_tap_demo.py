"""A whole TaP run of ten subjects with scripted models: counts by arithmetic, and what is made of its store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import run

from coig_p.annotate.demo import JUDGES, SUBJECTS, WRITERS, tap_file
from coig_p.annotate.taxonomy.reading import read_taxonomy
from coig_p.store.store import Store


def test_the_ten_subjects_are_in_the_catalogue() -> None:
    codes = {one.code for one in read_taxonomy(None).subjects()}
    assert set(SUBJECTS) <= codes
    assert tap_file("http://127.0.0.1:1/v1").count("writes = true") == WRITERS


def test_ten_subjects_become_a_store(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    shown = run("annotate", "demo", "--recipe", "tap", "--out", tmp_path / "demo").stdout
    store = tmp_path / "demo" / "annotation" / "store"
    assert len(shown.splitlines()) == 3
    assert len(Store.open(store).manifest.domains) == len(SUBJECTS)
    rows = [row for batch in Store.open(store).batches() for row in batch.to_pylist()]
    types = set()
    for row in rows:
        meta = json.loads(row["meta"])
        assert meta["feasible"] is True
        types.add((meta["writer"], meta["code"], meta["question_type"]))
        pairs = len(row["responses"]) * (len(row["responses"]) - 1) // 2
        assert len(row["comparisons"]) == pairs * 2 * JUDGES * 4
        assert "scripted-1" in {one["model"] for one in row["responses"]}
    arguments = ["--for", "trl-sft", "--response-of", "scripted-1", "--one-per", "question_type"]
    written = json.loads(run("export", store, *arguments, "--out", tmp_path / "sft", "--json").stdout)
    assert written["splits"]["train"]["rows"] == len(types)
