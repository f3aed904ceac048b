"""TRL's trainers take our rows, map-style, streamed and exported, and learn: the loss of a tiny model falls.

Run by `make test-train` in an environment of its own; `make test` does not collect this file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer

import coig_p  # noqa: F401
from coig_p.export.write import ExportConfig, export_store
from coig_p.store.locate import BUNDLED

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "recipes"))
from tiny import make_tiny  # noqa: E402

STEPS = 12
torch.set_num_threads(1)  # matrices this small are slower on several


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, str]:
    rows = load_dataset("coig-p", "all-raw", data_dir=str(BUNDLED), split="train", streaming=True)
    texts = [text for row in rows for text in (row["query"], *(answer["text"] for answer in row["responses"]))]
    folder = tmp_path_factory.mktemp("models")
    return {reward: make_tiny(folder / str(reward), texts, reward=reward) for reward in (False, True)}


TRAINERS = {
    "dpo": (DPOTrainer, DPOConfig, {"beta": 0.1}),
    "kto": (KTOTrainer, KTOConfig, {"beta": 0.1}),
    "reward": (RewardTrainer, RewardConfig, {}),
}


def losses(tiny: dict[bool, str], kind: str, rows: Any, out: Path) -> list[float]:
    trainer_class, config_class, own = TRAINERS[kind]
    path = tiny[kind == "reward"]
    torch.manual_seed(0)
    auto = AutoModelForSequenceClassification if kind == "reward" else AutoModelForCausalLM
    args = config_class(
        output_dir=str(out),
        per_device_train_batch_size=8,
        learning_rate=5e-3,
        lr_scheduler_type="constant",
        max_steps=STEPS,
        max_length=128,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **own,
    )
    trainer = trainer_class(
        model=auto.from_pretrained(path),
        args=args,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(path),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def falls(found: list[float]) -> None:
    """Every step sees the same eight rows, so that a model that learns has a smaller loss each time."""
    assert len(found) == STEPS
    assert sum(found[-3:]) < 0.9 * sum(found[:3]), found


FORMATS = [("dpo", "dpo"), ("dpo", "conversational"), ("reward", "reward"), ("kto", "kto")]


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "stream"])
@pytest.mark.parametrize(("kind", "form"), FORMATS)
def test_loaded_rows_train(tiny: dict[bool, str], kind: str, form: str, streaming: bool, tmp_path: Path) -> None:
    options = {} if streaming else {"cache_dir": str(tmp_path / "cache")}
    rows = load_dataset(
        "coig-p",
        "all",
        data_dir=str(BUNDLED),
        split="train",
        streaming=streaming,
        format=form,
        shuffle_seed=0,
        **options,
    )
    eight = rows.take(8) if streaming else rows.select(range(8))
    falls(losses(tiny, kind, eight, tmp_path / "out"))


@pytest.mark.parametrize("conversational", [False, True], ids=["strings", "messages"])
@pytest.mark.parametrize("kind", list(TRAINERS))
def test_exports_train(tiny: dict[bool, str], kind: str, conversational: bool, tmp_path: Path) -> None:
    """Streamed by the stock library, with max_steps as shards.json tells it for one epoch."""
    found = export_store(BUNDLED, tmp_path / "rows", ExportConfig(f"trl-{kind}", conversational=conversational))
    epoch = found.splits["train"].epoch
    assert epoch is not None
    assert epoch.max_steps[8] >= STEPS
    rows = load_dataset(str(tmp_path / "rows"), split="train", streaming=True)
    falls(losses(tiny, kind, rows.take(8), tmp_path / "out"))


@pytest.mark.parametrize("conversational", [False, True], ids=["strings", "messages"])
def test_grpo_reads_prompts_and_passes_the_reference_on(
    tiny: dict[bool, str], conversational: bool, tmp_path: Path
) -> None:
    export_store(BUNDLED, tmp_path / "rows", ExportConfig("trl-grpo", conversational=conversational))
    seen: list[tuple[str, str]] = []

    def reward(completions: list[Any], reference: list[str], **columns: Any) -> list[float]:
        seen.extend(zip(columns["query_id"], reference, strict=True))
        return [float(len(str(one)) % 7) for one in completions]

    args = GRPOConfig(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=8,
        max_steps=2,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    rows = load_dataset(str(tmp_path / "rows"), split="train", cache_dir=str(tmp_path / "cache"))
    model = AutoModelForCausalLM.from_pretrained(tiny[False])
    tokenizer = AutoTokenizer.from_pretrained(tiny[False])
    GRPOTrainer(model=model, reward_funcs=reward, args=args, train_dataset=rows, processing_class=tokenizer).train()
    known = {row["query_id"]: row["reference"] for row in rows}
    assert len(seen) == 8
    assert all(known[query_id] == reference for query_id, reference in seen)


@pytest.mark.parametrize("recipe", ["dpo", "reward"])
def test_recipes_run_as_they_stand(recipe: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "docs" / "recipes" / f"{recipe}.py"), "--max-steps", "30"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    first, last = map(float, re.findall(r"\d\.\d+", done.stdout.splitlines()[-1]))
    assert last < first


def test_two_ranks_train_on_shards_of_their_own(tmp_path: Path) -> None:
    recipe = str(ROOT / "docs" / "recipes" / "dpo.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", recipe]
    done = subprocess.run(
        [*launch, "--world-size", "2", "--max-steps", "4"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4 steps on") == 2
