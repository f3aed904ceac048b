"""Training a reward model on queries with 15 responses: each response once a step, or pairs as rows, ours and TRL's.

    python benchmarks/reward_training.py [--queries 20] [--runs 3]

All three see the same pairs, in batches of about as many, with one thread on a CPU. The model is made on the spot: two
layers of width 64. Seconds are of the whole call: reading, tokenizing, training; TRL's without reading the store.
Beside it how far the gradient of a step of whole queries is from that of its pairs as rows. Needs the extra [train].
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from measuring import Measured, PeakMemory, in_own_process, median, progress, publish, spread, where

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs" / "recipes")]
RESPONSES, PAIRS = 15, 105
WORDS = "好是的不在有我他这中大来上国个到说们天地人和春夏秋冬山水火土金木日月"
WAYS = ("query", "pair", "trl")
NAMES = {"query": "whole queries", "pair": "pairs as rows", "trl": "pairs as rows, TRL's RewardTrainer"}


def make(folder: Path, queries: int) -> None:
    """A store of so many queries with 15 responses, of 15 scores, and a model."""
    from make import make_store
    from tiny import make_tiny
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    rng = random.Random(0)

    def text(least: int, most: int) -> str:
        return "".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))

    def response(at: int) -> dict[str, object]:
        scores = [{"judge": "j", "dimension": "overall", "score": at * 0.5}]
        return {"model": f"m{at}", "text": text(20, 120), "scores": scores}

    make_store(
        folder / "store",
        [
            {
                "query_id": f"q{at}",
                "domain": "chat",
                "query": text(15, 40),
                "responses": [response(one) for one in range(RESPONSES)],
            }
            for at in range(queries)
        ],
    )
    make_tiny(folder / "model", [WORDS], reward=True)
    config = Qwen2Config.from_pretrained(folder / "model")
    wider = {"hidden_size": 64, "intermediate_size": 128, "layer_types": None}
    Qwen2ForSequenceClassification(Qwen2Config(**{**config.to_dict(), **wider})).save_pretrained(folder / "model")


def measure(way: str, folder: Path) -> Measured:
    import torch

    torch.set_num_threads(1)
    import transformers  # noqa: F401

    begin = time.perf_counter()
    with PeakMemory() as memory, contextlib.redirect_stdout(sys.stderr):  # TRL tells of its steps there
        by_trl(folder) if way == "trl" else ours(folder, way)
    return {"seconds": time.perf_counter() - begin, "memory": memory.grown()}


def ours(folder: Path, batch: str) -> None:
    from coig_p.pairs.config import PairConfig
    from coig_p.reward.training import train_transformer
    from coig_p.reward.training_config import TrainConfig

    config = TrainConfig(batch=batch, batch_pairs=PAIRS, held_out=0, save_every=0, device="cpu", learning_rate=1e-3)
    pairs = PairConfig(threshold=0.5)
    with tempfile.TemporaryDirectory() as out:
        train_transformer(folder / "store", f"{out}/out", str(folder / "model"), pairs, config)


def by_trl(folder: Path) -> None:
    from datasets import load_dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig, RewardTrainer

    import coig_p  # noqa: F401

    rows = load_dataset(
        "coig-p", "chat", data_dir=str(folder / "store"), threshold=0.5, format="conversational", split="train",
        streaming=True,
    ).remove_columns("margin")  # fmt: skip
    number = sum(1 for _ in rows)
    with tempfile.TemporaryDirectory() as out:
        options = RewardConfig(
            output_dir=out, per_device_train_batch_size=PAIRS, max_steps=-(-number // PAIRS), learning_rate=1e-3,
            max_length=4096, report_to=[], use_cpu=True, bf16=False, disable_tqdm=True, save_strategy="no",
            gradient_checkpointing=False,
        )  # fmt: skip
        model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
        tokenizer = AutoTokenizer.from_pretrained(folder / "model")
        RewardTrainer(model=model, args=options, train_dataset=rows, processing_class=tokenizer).train()


def difference(folder: Path) -> float:
    """Of the gradients of one step, the largest beside the largest of the gradient itself."""
    import torch

    from coig_p.pairs.config import PairConfig
    from coig_p.reward.bench.from_store import select_items
    from coig_p.reward.losses import Loss
    from coig_p.reward.passes import inputs_of, summed_loss
    from coig_p.reward.steps import steps_of
    from coig_p.reward.tokens import tokenized
    from coig_p.reward.training_pairs import read_training_pairs
    from coig_p.reward.transformer import load_base, load_tokenizer
    from coig_p.store.store import Store

    store = Store.open(folder / "store")
    taken = read_training_pairs(store, *select_items(store, PairConfig(threshold=0.5), (), None))
    tokenizer = load_tokenizer(str(folder / "model"))
    model, _ = load_base(str(folder / "model"), tokenizer)
    found = tokenized(taken.items[:1], tokenizer, 4096)
    gradients = []
    for batch in ("query", "pair"):
        model.zero_grad()
        (step,) = steps_of(found.pairs, batch, PAIRS, 16_384, 0, 0)
        for forward in step.forwards:
            inputs = inputs_of(forward, found.tokens, tokenizer.pad_token_id, Loss())
            (summed_loss(model, inputs, Loss())[0] / step.pairs).backward()
        gradients.append(torch.cat([part.grad.flatten() for part in model.parameters()]))
    one, other = gradients
    return float((one - other).abs().max() / other.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--measure", nargs=2)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure[0], Path(arguments.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, arguments.queries)
        runs: dict[str, list[Measured]] = {way: [] for way in WAYS}
        for at in range(arguments.runs):
            for way in WAYS:
                progress(f"run {at + 1}: {NAMES[way]}")
                runs[way].append(in_own_process(way, folder))
        apart = difference(folder)
    fastest = median(runs["query"], "seconds")
    pairs = arguments.queries * PAIRS
    lines = [
        "# Training a reward model on queries with 15 responses",
        "",
        where("torch", "transformers", "trl"),
        f"{arguments.queries} queries, {pairs:,} pairs, one epoch in float32, one thread; "
        f"median of {arguments.runs} runs.",
        "",
        "| a step is | time | pairs a second | times as long | memory |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        seconds = median(runs[way], "seconds")
        lines.append(
            f"| {NAMES[way]} | {spread(runs[way], 'seconds')} | {pairs / seconds:,.0f} | {seconds / fastest:.1f} | "
            f"{median(runs[way], 'memory') / 2**20:,.0f} MiB |"
        )
    lines += [
        "",
        f"Gradients of one step, whole queries against pairs as rows: {apart:.0e} apart, of the "
        "largest; float32 has 1e-07.",
        "",
    ]
    publish("reward_training.md", "\n".join(lines))


if __name__ == "__main__":
    main()
