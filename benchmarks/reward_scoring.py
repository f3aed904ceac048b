"""Responses a second of a reward model: one by one, in batches as they come, and as `coigp score` does it.

    python benchmarks/reward_scoring.py [--hidden 128] [--layers 2] [--runs 3]

The model is random and made on the spot; what is scored are all responses of the bundled store. Every way runs in one
process, in turns. On a GPU, where there is one, the body is bfloat16. Needs the extra [train].
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch
from measuring import publish, where
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForSequenceClassification

from coig_p.reward.batching import score_all
from coig_p.reward.local_model import LocalModel
from coig_p.reward.scorer import Asked
from coig_p.reward.templates import ids_of
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs" / "recipes"))
from tiny import make_tiny

Rewards = list[float]
AS_THEY_COME = 16  # responses of a batch


def responses() -> list[Asked]:
    """Every response of the bundled store, after its query."""
    return [
        Asked(({"role": "user", "content": row["query"]},), answer["text"])
        for file in Store.open(BUNDLED).data_files()
        for row in pq.read_table(BUNDLED / file.path, columns=["query", "responses"]).to_pylist()
        for answer in row["responses"]
    ]


def make_model(folder: Path, asked: Sequence[Asked], hidden: int, layers: int) -> LocalModel:
    make_tiny(folder, [turn["content"] for one in asked for turn in one.conversation], reward=True)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, num_key_value_heads=max(1, hidden // 256), max_position_embeddings=8192,
        pad_token_id=tokenizer.pad_token_id, num_labels=1,
    )  # fmt: skip
    Qwen2ForSequenceClassification(config).save_pretrained(folder)
    return LocalModel(str(folder))


def one_by_one(scorer: LocalModel, asked: Sequence[Asked]) -> Rewards:
    """As model cards show it."""
    found = []
    for one in asked:
        ids = torch.tensor([ids_of(scorer.tokenizer, one.conversation)], device=scorer.device)
        with torch.inference_mode():
            found.append(float(scorer.model(input_ids=ids).logits[0, 0]))
    return found


def as_they_come(scorer: LocalModel, asked: Sequence[Asked]) -> Rewards:
    """In batches of so many, in the order given, padded to the longest of each."""
    found: list[float | None] = []
    for low in range(0, len(asked), AS_THEY_COME):
        found += [one.reward for one in scorer.score(asked[low : low + AS_THEY_COME])]
    return [one for one in found if one is not None]


def by_length(scorer: LocalModel, asked: Sequence[Asked]) -> Rewards:
    return [one.reward for one in score_all(scorer, asked) if one.reward is not None]


WAYS: dict[str, Callable[[LocalModel, Sequence[Asked]], Rewards]] = {
    "one by one": one_by_one,
    f"{AS_THEY_COME} at a time, as they come": as_they_come,
    "by length, 16,384 tokens at a time": by_length,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    asked = responses()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        scorer = make_model(Path(name), asked, arguments.hidden, arguments.layers)
        lengths = [len(ids_of(scorer.tokenizer, one.conversation)) for one in asked]
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        rewards: dict[str, Rewards] = {}
        clock = time.perf_counter if scorer.device.type == "cuda" else time.process_time  # others use this machine, too
        for _ in range(arguments.runs):
            for way, score in WAYS.items():
                begin = clock()
                rewards[way] = score(scorer, asked)
                seconds[way].append(clock() - begin)
    million = sum(one.numel() for one in scorer.model.parameters()) / 1e6
    on = torch.cuda.get_device_name() if scorer.device.type == "cuda" else "one thread of a CPU, in processor time"
    first = statistics.median(seconds["one by one"])
    lines = [
        "# Scoring with a reward model",
        "",
        where("torch", "transformers"),
        f"{len(asked):,} responses of {min(lengths):,} to {max(lengths):,} tokens, a model of {million:,.1f} million "
        f"weights, body in {scorer.dtype}, {on}; median of {arguments.runs} runs (spread), in turns.",
        "",
        "| way | time | responses a second | times as fast | furthest from one by one |",
        "|---|---|---|---|---|",
    ]
    for way, took in seconds.items():
        middle = statistics.median(took)
        apart = max(abs(one - other) for one, other in zip(rewards[way], rewards["one by one"], strict=True))
        lines.append(
            f"| {way} | {middle:.2f} s ({min(took):.2f} to {max(took):.2f}) | {len(asked) / middle:,.1f} | "
            f"{first / middle:.2f} | {apart:.0e} |"
        )
    publish("reward_scoring.md", "\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
