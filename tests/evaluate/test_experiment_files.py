"""The files of experiments in docs/experiments: each is planned and runs, with scripts for what needs GPUs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import run
from experimenting import store_rows
from make import make_store
from through_align import SERVER, write_align, write_judge, write_mt, write_train

from coig_p.annotate.scripted import ScriptedServer
from coig_p.evaluate.experiment.grid import arms, baselines
from coig_p.evaluate.experiment.reading import load_experiment

EXPERIMENTS = Path(__file__).parents[2] / "docs" / "experiments"
FILES = sorted(EXPERIMENTS.glob("*.toml"))
ARMS = {"table3": 10, "table4": 8, "table5": 7, "figure2": 6, "figure2-equal": 6, "tap-table5": 3}

JUDGES = {"tap-table5": ["gpt-4o", "deepseek-v3"]}


def test_every_table_is_there() -> None:
    assert {path.stem for path in FILES} == set(ARMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_is_planned_and_runs_with_scripted_models(path: Path, tmp_path: Path) -> None:
    """Its stores, benchmarks and judges are small ones, its trainer and its server scripts, its seeds one."""
    pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")
    found = load_experiment(path)
    assert len(arms(found)) == ARMS[path.stem]
    assert len(baselines(found)) >= len(arms(found)) // 2
    folder = tmp_path / "experiments"
    folder.mkdir()
    text = path.read_text("utf-8").replace('"vllm", "serve"', '"python", "server.py"')
    (folder / path.name).write_text(text.replace("seeds = [0, 1, 2]", "seeds = [0]"), "utf-8")
    (folder / "server.py").write_text(SERVER, "utf-8")
    write_train(tmp_path / "recipes" / "dpo.py", *(("checkpoint-1", "checkpoint-2") if found.train.checkpoints else ()))
    for name in found.train.files:
        (folder / name).touch()
    for dataset in found.datasets:
        if not (folder / dataset.store).exists():
            rows = [row | {"domain": domain, "query_id": f"{domain}-{row['query_id']}"}
                    for domain in ("chat", "novel", "role", "logic", "math", "code")
                    for row in store_rows(dataset.name, (9, 8, 4))[:2]]  # fmt: skip
            make_store(folder / dataset.store, rows)
    write_align(folder / "alignbench.jsonl", 2)
    write_mt(folder / "mt-bench-zh.jsonl")
    with ScriptedServer() as server:
        for benchmark in found.benchmarks:
            judge = str(benchmark.values["judge"])
            write_judge(folder / judge, server.base_url, judge.removesuffix(".toml"))
        plan = json.loads(run("experiment", folder / path.name, "--plan", "--json").stdout)
        assert plan["to_run"]["train"] == sum(arm.dataset is not None for arm in arms(found))
        assert plan["at_least"] == (path.stem == "tap-table5")
        assert [one["name"] for one in plan["cost"]["judges"]] == JUDGES.get(path.stem, ["gpt-4o"])
        told = json.loads(run("experiment", folder / path.name, "--trust", "--json").stdout)
        assert set(server.seen.values()) == {1}
    assert len(told["rows"]) == ARMS[path.stem] * len(found.tests)
    assert all(row["over_seeds"]["value"] is not None and row["invalid"] == 0 for row in told["rows"])
    assert sum(row["difference"] is not None for row in told["rows"]) == len(baselines(found)) * len(found.tests)
    assert len(told["choices"]) == (ARMS[path.stem] if path.stem == "tap-table5" else 0)


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
