"""What an export's rows make of the configs beside them: told by the command, in the README, and in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run
from make import make_rows, make_store

from coig_p.export.settings import Settings
from coig_p.export.trainers import TRAINERS
from coig_p.export.trainers.handoffs import whole_run
from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.splits import SplitConfig


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("stores") / "store", make_rows({"chat": 12, "math": 12}))


def export(store: Path, out: Path, trainer: str, **options: Any) -> dict[str, Any]:
    return export_store(store, out, ExportConfig(trainer, **options)).to_dict()


@pytest.mark.parametrize(
    ("trainer", "file"), [("openrlhf", "dpo.sh"), ("openrlhf-ppo", "ppo.sh"), ("verl", "verl.yaml")]
)
def test_a_warm_up_that_fills_the_training_is_said_and_written_down(
    store: Path, tmp_path: Path, trainer: str, file: str
) -> None:
    shown = run("export", store, "--for", trainer, "--preset", "tap", "--out", tmp_path / "out")
    assert f"note: {file}: the 50 warm-up steps of the preset are no fewer than all" in shown.stdout
    assert "NOTE: the 50 warm-up steps" in (tmp_path / "out" / file).read_text("utf-8")
    assert "the 50 warm-up steps" in (tmp_path / "out" / "README.md").read_text("utf-8")
    told = json.loads(
        run("export", store, "--for", trainer, "--preset", "tap", "--out", tmp_path / "o", "--json").stdout
    )
    assert any("50 warm-up steps" in note for note in told["notes"])


def test_a_warm_up_that_ends_is_no_note(store: Path, tmp_path: Path) -> None:
    assert "notes" not in export(store, tmp_path / "out", "openrlhf")
    assert "NOTE" not in (tmp_path / "out" / "dpo.sh").read_text("utf-8")
    few, many = (whole_run("x", Settings(1e-6, 1, warmup=50), steps) for steps in (50, 51))
    assert few
    assert not many


def test_verl_neither_validates_on_what_it_trains_on_nor_has_an_empty_loader(store: Path, tmp_path: Path) -> None:
    found = {}
    for name, splits in (("alone", SplitConfig()), ("tested", SplitConfig(test_size=0.3))):
        told = export(store, tmp_path / name, "verl", splits=splits)
        config = yaml.safe_load((tmp_path / name / "verl.yaml").read_text("utf-8"))
        rows = told["splits"]["train"]["rows"]
        assert rows < 128
        assert config["data"]["train_batch_size"] == rows
        assert config["actor_rollout_ref"]["actor"]["ppo_mini_batch_size"] == rows
        assert any(f"{rows} rows are fewer than the 128 of a step" in note for note in told["notes"])
        found[name] = config["trainer"].get("val_before_train", True), config["trainer"].get("test_freq", 1)
        assert (name == "alone") == any("validation is off" in note for note in told["notes"])
    assert found == {"alone": (False, -1), "tested": (True, 1)}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_same_relative_place_gives_the_same_bytes_in_any_folder(
    trainer: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("one", "other folder"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        export_store(store, Path("out"), ExportConfig(trainer))
        found.append({path.name: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()})
    assert found[0] == found[1]


def test_the_readme_says_where_relative_paths_begin(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (Path("out"), tmp_path / "absolute"):
        export_store(store, out, ExportConfig("ms-swift"))
        text = (out / "README.md").read_text("utf-8")
        assert ("start from there" in text) == (not out.is_absolute())
