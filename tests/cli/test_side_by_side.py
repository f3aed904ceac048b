"""coigp compare: what it prints and writes, and how it ends."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from commands import run
from compared import scored, verdicts

from coig_p.cli.side_by_side import NOT_OFFERED
from coig_p.evaluate.compare import config
from coig_p.evaluate.compare.page import FILES


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("stores")
    return [scored(folder / "a", queries=5), verdicts(folder / "b", ["问题0：chat？", "水是什么？"])]


def test_tables_json_and_csv_say_the_same(stores: list[Path], tmp_path: Path) -> None:
    shown = run("compare", *stores, "--no-floor", "--out", tmp_path / "out").stdout
    told = json.loads(run("compare", *stores, "--no-floor", "--json").stdout)
    rows = list(csv.DictReader(io.StringIO(run("compare", *stores, "--no-floor", "--csv").stdout)))
    assert (tmp_path / "out" / "compare.json").read_text(encoding="utf-8") == json.dumps(
        told, ensure_ascii=False, indent=2
    ) + "\n"
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES - {"across.svg"}
    for row, one in zip(rows, told["stores"], strict=True):
        assert (row["name"], int(row["pairs"])) == (one["name"], one["counts"]["pairs"])
    assert "What overlaps with what" in shown
    assert "How far cheap features get" not in shown
    assert all(one["floor"] is None for one in told["across"])
    again = run("compare", *stores, "--no-floor", "--out", tmp_path / "out", code=2)
    assert "--overwrite" in again.stderr
    run("compare", *stores, "--no-floor", "--out", tmp_path / "out", "--overwrite", "--language", "zh")
    assert "数据仓库对比" in (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")


def test_usage(stores: list[Path], tmp_path: Path) -> None:
    assert "STORE" in run("compare", code=2).stderr
    assert "unknown split 'nope'" in run("compare", *stores, "--split", "nope", code=2).stderr
    for option, value in (("--split", "train"), ("--max-responses", "20000")):
        shown = run("compare", *stores, "--no-floor", option, value, code=2).stderr
        assert f"{option} is of the floor" in shown
    assert "same store" in run("compare", stores[0], stores[0], "--no-floor", code=2).stderr
    assert "leave one out" in run("compare", *stores, "--json", "--csv", code=2).stderr
    assert "--against" in run("compare", *stores, "--map", "prompt=x", code=2).stderr
    assert "no such directory" in run("compare", stores[0], tmp_path / "none", code=1).stderr
    assert "is a store" in run("compare", *stores, "--out", stores[0], "--overwrite", code=2).stderr
    absent = run("compare", *stores, "--no-floor", "--against", tmp_path / "none.jsonl", code=2).stderr
    assert "none.jsonl" in absent
    assert "tokenizer" in run("compare", *stores, "--no-floor", "--tokenizer", tmp_path / "t.json", code=2).stderr
    (tmp_path / "rules.toml").write_text("[nothing]\n", encoding="utf-8")
    assert "nothing" in run("compare", *stores, "--no-floor", "--rules", tmp_path / "rules.toml", code=2).stderr


def test_rules_change_what_counts(stores: list[Path], tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[repetition]\nseverity = "off"\n', encoding="utf-8")
    usual, other = (
        json.loads(run("compare", stores[0], "--no-floor", *more, "--json").stdout)
        for more in ((), ("--rules", tmp_path / "rules.toml"))
    )
    assert usual["stores"][0]["findings"]["rules"]["repetition"]
    assert "repetition" not in other["stores"][0]["findings"]["rules"]
    assert (usual["config"]["usual_rules"], other["config"]["usual_rules"]) == (True, False)


def test_the_command_leaves_out_the_options_that_are_not_offered() -> None:
    assert NOT_OFFERED == config.NOT_OFFERED
