"""Judge data through TRL's SFT and back: the tiny model learns it, and what it writes is read as a verdict.

Run by `make test-train`, like trainers.py beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import run
from datasets import load_dataset
from judge_server import shown
from serving_model import serving
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

from coig_p.pairs.config import PairConfig
from coig_p.reward.bench.convert import convert_store
from coig_p.reward.bench.form import read_bench, write_bench
from coig_p.reward.bench.results import read_results
from coig_p.reward.judging.config import COMPARE, bundled_prompt
from coig_p.reward.judging.data import JudgeDataConfig, write_judge_data
from coig_p.reward.judging.verdicts import MARKS, parse_verdict
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "recipes"))
from tiny import make_tiny  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    texts = [bundled_prompt(COMPARE).text, *MARKS.values()] * 20
    return make_tiny(tmp_path_factory.mktemp("models") / "judge", texts)


def rows_of(out: Path, form: str) -> Any:
    pairs = PairConfig(strategy="best_worst")
    write_judge_data(Store.open(BUNDLED), out, pairs, JudgeDataConfig(form), domains=("math",))
    return load_dataset(str(out), split="train", cache_dir=str(out.with_name("cache")))


@pytest.mark.parametrize("form", ["messages", "prompt-completion"])
def test_sft_takes_the_rows_and_learns_the_verdict(tiny: str, form: str, tmp_path: Path) -> None:
    """Nothing is added or lost on the way: what is trained on ends with the verdict; the loss falls."""
    rows = rows_of(tmp_path / "data", form).select(range(4))
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    torch.manual_seed(0)
    args = SFTConfig(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        max_steps=6,
        max_length=None,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny), args=args, train_dataset=rows, processing_class=tokenizer
    )
    read = []
    for ids in trainer.train_dataset["input_ids"]:
        text = tokenizer.decode(ids)
        asked, _, answered = text.rpartition("<|assistant|>")
        assert shown(asked)["query"]
        read.append(parse_verdict(answered.replace("<|end|>", ""))[0])
    assert read == rows["verdict"]
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0], losses


def test_a_model_that_was_trained_judges_a_benchmark(tiny: str, tmp_path: Path) -> None:
    """From a store to judge data, a model, `transformers serve`, and what it says read by `coigp bench run --judge`."""
    rows = rows_of(tmp_path / "data", "prompt-completion").select(range(2))
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    torch.manual_seed(0)
    args = SFTConfig(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        max_steps=30,
        max_length=None,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    # The server reads what a Qwen says by Qwen's own marks, which the tiny tokenizer does not have.
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=1024,
            bos_token_id=None,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    trainer = SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    tokenizer.save_pretrained(tmp_path / "model")

    pairs = PairConfig(strategy="best_worst")
    convert_store(BUNDLED, tmp_path / "all", pairs, domains=("math",))
    found = read_bench(tmp_path / "all")
    (query,) = set(rows["query_id"])
    items = [item for item in found.items if item.id == query]
    write_bench(tmp_path / "bench", items, name="one", preset="pairs", source=found.source)
    with serving(tmp_path / "model") as url:
        judge = JUDGE.format(url=url, model=tmp_path / "model")
        (tmp_path / "judge.toml").write_text(judge, encoding="utf-8")
        run("bench", "run", tmp_path / "bench", "--judge", tmp_path / "judge.toml", "--out", tmp_path / "results")
    (result,) = read_results(tmp_path / "results").results
    assert result.verdicts is not None
    assert len(result.verdicts) == 2
    for one in result.verdicts:
        assert one.verdict == parse_verdict(str(one.raw))[0]
        assert one.verdict in ("first", "second"), one.raw


JUDGE = """
[endpoint]
name = "tiny"
model = "{model}"
base_url = "{url}"
parameters = {{ temperature = 0, max_tokens = 12 }}
"""
