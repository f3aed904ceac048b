"""The files of experiments in docs/experiments: each is read and planned, and the tiny one runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from commands import run
from experimenting import store_rows
from make import make_store

from coig_p.evaluate.experiment.grid import arms, baselines
from coig_p.evaluate.experiment.reading import load_experiment

EXPERIMENTS = Path(__file__).parents[2] / "docs" / "experiments"
FILES = sorted(EXPERIMENTS.glob("*.toml"))
ARMS = {"table3": 10, "table4": 8, "table5": 7, "figure2": 6, "tap-table5": 3}


def test_every_table_is_there() -> None:
    assert {path.stem for path in FILES} == set(ARMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_is_read_and_planned_with_scripted_commands(path: Path, tmp_path: Path) -> None:
    """Its stores, benchmarks and judges are small ones here, and its programs scripts: all else is as it stands."""
    found = load_experiment(path)
    assert len(arms(found)) == ARMS[path.stem]
    assert len(baselines(found)) >= len(arms(found)) // 2
    folder = tmp_path / "experiments"
    folder.mkdir()
    text = re.sub(r'command = \["(python|vllm|coigp)"', 'command = ["python"', path.read_text("utf-8"))
    (folder / path.name).write_text(re.sub(r"(?m)^env = .*$", "", text), "utf-8")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "dpo.py").write_text("", "utf-8")
    for dataset in found.datasets:
        if not (folder / dataset.store).exists():
            rows = [row | {"domain": domain, "query_id": f"{domain}-{row['query_id']}"}
                    for domain in ("chat", "novel", "role", "logic", "math", "code")
                    for row in store_rows(dataset.name, (9, 4))]  # fmt: skip
            make_store(folder / dataset.store, rows)
    for benchmark in found.benchmarks:
        for name in (benchmark.file, *benchmark.files):
            (folder / name).write_text("{}", "utf-8")
    told = json.loads(run("experiment", folder / path.name, "--plan", "--json").stdout)
    trained = sum(arm.dataset is not None for arm in arms(found))
    assert told["to_run"]["train"] == 3 * trained
    assert told["at_least"] == (path.stem == "tap-table5")


def test_the_tiny_one_runs_as_it_stands(tmp_path: Path) -> None:
    shutil.copytree(EXPERIMENTS / "tiny", tmp_path / "docs" / "experiments" / "tiny")
    (tmp_path / "coig_p").symlink_to(EXPERIMENTS.parents[1] / "coig_p")
    path = tmp_path / "docs" / "experiments" / "tiny" / "tiny.toml"
    told = json.loads(run("experiment", path, "--trust", "--json").stdout)
    assert [row["arm"] for row in told["rows"]] == ["untrained", "threshold 1", "threshold 3"]
    assert len(told["choices"]) == 6
    assert told["made"]["train"] == 6
    before, *after = (row["over_seeds"]["value"] for row in told["rows"])
    assert all(one > before for one in after), "training on pairs that prefer whole answers helps on whole answers"
    again = json.loads(run("experiment", path, "--json").stdout)
    assert again["made"] == {}
    assert again["rows"] == told["rows"]
