"""What an export hands over is accepted by the other tools' own parsers, with the papers' numbers.

Run by `make test-handoffs`, which gives each tool an environment of its own in .handoffs (5 GB); without one its tests
are skipped. `make test` does not collect this file.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coig_p.export.settings import PRESETS, Preset
from coig_p.export.write import ExportConfig, export_store
from coig_p.store.locate import BUNDLED

ROOT = Path(__file__).resolve().parents[2]
PLACES = Path(os.environ.get("COIGP_HANDOFFS", ROOT / ".handoffs"))
READ = Path(__file__).parent / "handoffs" / "read.py"
BOTH = pytest.mark.parametrize("preset", list(PRESETS))


def python_of(tool: str) -> Path:
    found = PLACES / tool / "bin" / "python"
    if not found.exists():
        pytest.skip(f"{tool} is not installed in {PLACES}: make test-handoffs")
    return found


def read(tool: str, *words: object, folder: Path) -> dict[str, Any]:
    """What the tool's own parser makes of these words; what it writes besides is in `folder`."""
    command = [str(python_of(tool)), str(READ), tool, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), cwd=folder)
    assert done.returncode == 0, done.stderr
    return told_in(done.stdout)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}


def told_in(printed: str) -> dict[str, Any]:
    (line,) = [line for line in printed.splitlines() if line.startswith("READ ")]
    found: dict[str, Any] = json.loads(line.removeprefix("READ "))
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ms-swift takes for a Qwen2: it reads the config of a model while it parses."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 32, "vocab_size": 600}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def export(trainer: str, preset: str, out: Path) -> Preset:
    export_store(BUNDLED, out, ExportConfig(trainer, preset=preset))
    return PRESETS[preset]


def same(found: dict[str, Any], settings: Any) -> None:
    assert found["learning_rate"] == settings.learning_rate
    assert found["epochs"] == settings.epochs
    assert found["schedule"] == settings.schedule
    assert found["weight_decay"] == settings.weight_decay
    assert found["max_length"] == settings.max_length
    assert found["type"] == "full"


STAGES = [
    ("llama-factory", "dpo"),
    ("llama-factory", "rm"),
    ("llama-factory-kto", "kto"),
    ("llama-factory-sft", "sft"),
]


@BOTH
@pytest.mark.parametrize(("trainer", "stage"), STAGES)
def test_llama_factory_reads_its_config(trainer: str, stage: str, preset: str, model: Path, tmp_path: Path) -> None:
    python_of("llama-factory")
    of = export(trainer, preset, tmp_path / "rows")
    here = ["bf16=false", "use_cpu=true"]  # no GPU
    config = tmp_path / "rows" / f"{stage}.yaml"
    found = read(
        "llama-factory", config, f"model_name_or_path={model}", f"output_dir={tmp_path}/o", *here, folder=tmp_path
    )
    settings = {"dpo": of.dpo, "kto": of.dpo, "rm": of.reward, "sft": of.sft}[stage]
    same(found, settings)
    assert found["stage"] == stage
    assert found["dataset"] == ["coig_p"]
    assert set(found["dataset"]) <= set(json.loads((Path(found["dataset_dir"]) / "dataset_info.json").read_text()))
    if stage in ("dpo", "kto"):
        assert found["beta"] == settings.beta


@BOTH
@pytest.mark.parametrize(
    ("trainer", "kind"), [("ms-swift", "dpo"), ("ms-swift", "rm"), ("ms-swift-kto", "kto"), ("ms-swift-sft", "sft")]
)
def test_ms_swift_reads_its_config(trainer: str, kind: str, preset: str, model: Path, tmp_path: Path) -> None:
    python_of("ms-swift")
    of = export(trainer, preset, tmp_path / "rows")
    command = "sft" if kind == "sft" else "rlhf"
    words = ["--model", model, "--model_type", "qwen2", "--template", "qwen", "--output_dir", tmp_path / "o"]
    here = ["--bf16", "false", "--use_cpu", "true"]  # no GPU
    found = read("ms-swift", command, tmp_path / "rows" / f"{kind}.yaml", *words, *here, folder=tmp_path)
    settings = {"dpo": of.dpo, "kto": of.dpo, "rm": of.reward, "sft": of.sft}[kind]
    same(found, settings)
    assert found["rlhf_type"] == (None if kind == "sft" else kind)
    assert found["warmup"] == settings.warmup
    assert [Path(path).is_file() for path in found["dataset"]] == [True]
    if kind in ("dpo", "kto"):
        assert found["beta"] == settings.beta


def scripted(script: Path, *words: str, folder: Path) -> dict[str, Any]:
    """What OpenRLHF's parser makes of a script, which finds it in the place of deepspeed and python3."""
    python = python_of("openrlhf")
    folder.mkdir()
    for name in ("deepspeed", "python3"):
        shift = f'module=${{2##*.}}\nshift 2\nexec {python} {READ} openrlhf "$module" "$@"\n'
        (folder / name).write_text(f"#!/bin/sh\n{shift}")
        (folder / name).chmod(stat.S_IRWXU)
    env = environment() | {"PATH": f"{folder}:/usr/bin:/bin"}
    done = subprocess.run(["sh", str(script), *words], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return told_in(done.stdout)


@BOTH
@pytest.mark.parametrize("kind", ["dpo", "rm"])
def test_openrlhf_reads_its_arguments(kind: str, preset: str, tmp_path: Path) -> None:
    python_of("openrlhf")
    rows = tmp_path / "rows of pairs"  # a path with spaces
    of = export("openrlhf", preset, rows)
    found = scripted(rows / f"{kind}.sh", "my model", "out", "--train.seed", "7", folder=tmp_path / "bin")
    settings = {"dpo": of.dpo, "rm": of.reward}[kind]
    assert found["model"]["model_name_or_path"] == "my model"
    assert found["data"]["dataset"] == str(rows)
    assert found["train"]["seed"] == 7
    assert found["train"]["max_epochs"] == settings.epochs
    assert found["adam"]["lr"] == settings.learning_rate
    assert found["lr_scheduler"] == settings.schedule
    steps = settings.epochs * -(-269 // 128)
    assert found["lr_warmup_ratio"] == (settings.warmup if settings.warmup < 1 else min(1, settings.warmup / steps))
    assert found["data"]["max_len"] == settings.max_length
    if kind == "dpo":
        assert found["model"]["beta"] == settings.beta
    else:
        assert not found["model"]["margin_loss_enable"]  # `margin` is in points of the judges


@BOTH
def test_openrlhf_reads_what_ppo_takes(preset: str, tmp_path: Path) -> None:
    python_of("openrlhf")
    own = export("openrlhf-ppo", preset, tmp_path / "rows").ppo
    found = scripted(tmp_path / "rows" / "ppo.sh", "policy", "rm", "out", folder=tmp_path / "bin")
    assert (found["actor"]["adam"]["lr"], found["critic"]["adam"]["lr"]) == (1e-6, 5e-6)
    assert found["actor"]["adam"]["lr"] == own.learning_rate
    assert found["algo"]["kl"]["init_coef"] == own.kl == 0.05
    assert found["train"]["num_episodes"] == 2
    assert found["actor"]["model_name_or_path"] == "policy"
    assert found["reward"]["model_name_or_path"] == "rm"
    assert found["critic"]["model_name_or_path"] == "rm"  # as it fills in itself


@BOTH
def test_verl_reads_its_config(preset: str, model: Path, tmp_path: Path) -> None:
    python_of("verl")
    own = export("verl", preset, tmp_path / "rows").ppo
    overrides = [f"actor_rollout_ref.model.path={model}", f"reward.reward_model.model_path={model}"]
    found = read("verl", "--config-path", tmp_path / "rows", "--config-name", "verl", *overrides, folder=tmp_path)
    assert (found["actor"]["lr"], found["critic"]["lr"]) == (own.learning_rate, own.critic_learning_rate)
    assert (found["actor"]["lr_warmup_steps"], found["critic"]["lr_scheduler_type"]) == (50, "cosine")
    assert found["algorithm"]["kl_ctrl"]["kl_coef"] == own.kl
    assert found["algorithm"]["use_kl_in_reward"]
    assert found["algorithm"]["adv_estimator"] == "gae"
    assert found["trainer"]["total_epochs"] == own.epochs
    assert found["reward"]["enable"]
    assert found["critic_path"] == str(model)
    assert all(Path(path).is_file() for path in found["data"]["train_files"])


@pytest.mark.parametrize("tool", ["llama-factory", "openrlhf", "verl", "ms-swift"])
def test_the_versions_are_those_that_the_documents_name(tool: str) -> None:
    folder = python_of(tool).parents[1]
    wanted = (READ.parent / f"{tool}.txt").read_text().splitlines()[0].removeprefix("# ")
    name, version = wanted.split("==")
    (site,) = folder.glob("lib/python*/site-packages")
    (found,) = importlib.metadata.distributions(name=name, path=[str(site)])
    assert found.version == version
    assert version in (ROOT / "docs" / "trainers.md").read_text("utf-8")
