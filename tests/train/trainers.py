"""TRL's trainers take our rows, map-style, streamed and exported, and learn: the loss of a tiny model falls.

Run by `make test-train` in an environment of its own; `make test` does not collect this file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conversations import as_json, turn
from datasets import load_dataset
from make import make_store
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer

import coig_p  # noqa: F401
from coig_p.export.write import ExportConfig, export_store
from coig_p.store.conversations import transcript
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


def losses(
    tiny: dict[bool, str], kind: str, rows: Any, out: Path, tokenizer: str | None = None, length: int = 128
) -> list[float]:
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
        max_length=length,
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
        processing_class=AutoTokenizer.from_pretrained(tokenizer or path),
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


@pytest.mark.parametrize(("kind", "form"), FORMATS)
def test_lazy_rows_train_alike(tiny: dict[bool, str], kind: str, form: str, tmp_path: Path) -> None:
    """The same losses to the last digit, and the trainers' own map and filter pass through a view."""
    found = []
    for lazy in (False, True):
        options = {"data_dir": str(BUNDLED), "cache_dir": str(tmp_path / "cache"), "format": form, "lazy": lazy}
        rows = load_dataset("coig-p", "all", split="train", **options)
        found.append(losses(tiny, kind, rows.shuffle(seed=1).select(range(8)), tmp_path / f"out-{lazy}"))
    assert found[0] == found[1]


def test_the_command_line_of_trl_knows_the_name(tiny: dict[bool, str], tmp_path: Path) -> None:
    """`trl dpo` starts accelerate, which starts a Python that loads: none of them is told to import coig_p."""
    own = f"--dataset_name coig-p --dataset_config math --model_name_or_path {tiny[False]} --output_dir {tmp_path}/out"
    more = "--max_steps 2 --use_cpu --bf16 false --report_to none --eval_strategy no --per_device_train_batch_size 2"
    done = subprocess.run(
        [sys.executable, "-m", "coig_p", "run", "--", "trl", "dpo", *own.split(), *more.split()],
        env=os.environ | {"COIGP_STORE": str(BUNDLED), "HF_DATASETS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "train_loss" in done.stdout
    assert list((tmp_path / "out").glob("*.safetensors"))


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


# What a model for tools writes down: the definitions first, a turn's calls after its text.
TOOL_TEMPLATE = (
    "{% if tools %}<|system|>{{ tools | tojson }}<|end|>{% endif %}"
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}{{ call['function']['name'] }}{{ call['function']['arguments'] }}"
    "{% endfor %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def conversations(folder: Path, tools: bool) -> Path:
    """Eight conversations of several turns with two answers each; with `tools` the better one calls a tool."""
    rows = []
    for at in range(8):
        call = {"id": f"c{at}", "type": "function", "function": {"name": "查", "arguments": f'{{"第几题": {at}}}'}}
        messages = [turn("system", "你是助手"), turn("user", f"第{at}题？"), turn("assistant", "哪一页？")]
        if tools:
            messages += [turn("user", "第三页"), turn("assistant", "", tool_calls=[call])]
            messages += [turn("tool", "有五道题", tool_call_id=f"c{at}")]
        messages.append(turn("user", "请解释。"))
        responses = []
        for model, score in (("a", 9.0), ("b", 2.0)):
            scores = [{"judge": "j", "dimension": "overall", "score": score}]
            text = f"{model}认为第{at}题可以这样解。"
            responses.append({"model": model, "sample": 0, "text": text, "extra": None, "scores": scores})
        if tools:
            responses[0] |= {"text": "", "extra": as_json({"tool_calls": [call]})}
        defined = as_json([{"type": "function", "function": {"name": "查", "description": "查一道题"}}])
        rows.append(
            {
                "query_id": f"q{at}",
                "domain": "chat",
                "query": transcript(messages),
                "messages": messages,
                "tools": defined if tools and at % 2 else None,
                "responses": responses,
            }
        )
    return make_store(folder, rows)


@pytest.mark.parametrize("way", ["map", "stream", "export"])
@pytest.mark.parametrize("tools", [False, True], ids=["turns", "tools"])
@pytest.mark.parametrize("kind", list(TRAINERS))
def test_conversations_train(tiny: dict[bool, str], kind: str, tools: bool, way: str, tmp_path: Path) -> None:
    """With the chat template in the tokenizer that reads tools: what it is given is in what is trained on."""
    store = conversations(tmp_path / "store", tools)
    if way == "export" or kind == "kto":  # loading has no message lists for KTO
        export_store(store, tmp_path / "rows", ExportConfig(f"trl-{kind}", conversational=True))
        rows = load_dataset(str(tmp_path / "rows"), split="train", streaming=way == "stream")
    else:
        options = {} if way == "stream" else {"cache_dir": str(tmp_path / "cache")}
        rows = load_dataset(
            "coig-p", "chat", data_dir=str(store), split="train", streaming=way == "stream",
            format="conversational", **options,
        )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(tiny[kind == "reward"])
    tokenizer.chat_template = TOOL_TEMPLATE
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    eight = rows.take(8) if way == "stream" else rows.select(range(8))
    falls(losses(tiny, kind, eight, tmp_path / "out", str(tmp_path / "tokenizer"), length=512))
