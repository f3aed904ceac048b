"""Judge data through TRL's SFT and back: the tiny model learns it, and what it writes is read as a verdict.

Run by `make test-train`, like trainers.py beside it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import load_dataset
from judge_server import Said, serve, shown
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from coig_p.pairs.config import PairConfig
from coig_p.reward.bench.convert import convert_store
from coig_p.reward.bench.form import read_bench
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
    """From a store to judge data, from there to a model, whose answers `coigp bench run --judge` reads."""
    from commands import run

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
    model = AutoModelForCausalLM.from_pretrained(tiny)
    trainer = SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    trained = trainer.model.eval()
    prompts = {json.dumps(shown(row["prompt"][0]["content"]), sort_keys=True): row["prompt"] for row in rows}
    wrote: dict[str, str] = {}

    def judge(seen: dict[str, str], turns: int) -> str | Said:
        prompt = prompts.get(json.dumps(seen, sort_keys=True))
        if prompt is None:
            return Said("not one of those that it was trained on", status=400)
        text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt").input_ids
        made = trained.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        said = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        wrote[seen["first"]] = said
        return str(said)

    convert_store(BUNDLED, tmp_path / "bench", PairConfig(strategy="best_worst"), domains=("math",))
    with serve(judge) as server:
        words = ("--judge", server.base_url, "--judge-model", "tiny", "--out", tmp_path / "results")
        run("bench", "run", tmp_path / "bench", *words)
    assert len(wrote) == 2
    found = read_results(tmp_path / "results", read_bench(tmp_path / "bench"))
    said = [one for result in found.results for one in result.verdicts or () if one.raw is not None]
    assert len(said) == 2
    for one in said:
        assert one.verdict == parse_verdict(str(one.raw))[0]
        assert one.verdict in ("first", "second")
