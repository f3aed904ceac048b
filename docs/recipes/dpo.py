"""DPO on pairs streamed from a store.

    python docs/recipes/dpo.py                                  # a tiny model made on the spot, the bundled store
    python docs/recipes/dpo.py --model MODEL --store STORE      # yours; the paper's settings
    torchrun --nproc-per-node 8 docs/recipes/dpo.py --model MODEL --store STORE --world-size 8

Needs the extra [train]. Prints the loss of the first and last third.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from accelerate import PartialState
from datasets import load_dataset
from tiny import make_tiny
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

import coig_p  # noqa: F401  registers "coig-p"
from coig_p.store.locate import BUNDLED

# COIG-P's settings: one epoch, beta .1, a learning rate of 1e-6, or 1e-7 where the model is
# aligned already. A tiny random model needs a larger one to learn anything in a minute.
BETA, LEARNING_RATE, TINY_LEARNING_RATE = 0.1, 1e-6, 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="Default: a tiny one, made on the spot.")
    parser.add_argument("--store", default=str(BUNDLED), help="A directory or org/name. Default: the bundled one.")
    parser.add_argument("--config", default="all", help="A domain, or all.")
    parser.add_argument("--threshold", type=float, default=2)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--max-steps", type=int, help="Default: one epoch.")
    parser.add_argument("--world-size", type=int, default=1)
    parser.add_argument("--out", help="Where checkpoints go. Default: a temporary folder.")
    arguments = parser.parse_args()

    options = {"data_dir": arguments.store, "threshold": arguments.threshold, "split": "train", "streaming": True}
    stream = load_dataset(
        "coig-p",
        arguments.config,
        format="conversational",
        shuffle_seed=0,  # the same rows in the same order every time; another seed for another epoch
        world_size=arguments.world_size,
        **options,
    )
    # A streamed epoch has no length, so the trainer needs max_steps. `coigp export` writes it to shards.json.
    rows = sum(1 for _ in load_dataset("coig-p", arguments.config, **options))
    steps = arguments.max_steps or max(1, rows // (arguments.batch_size * arguments.world_size))
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or make_tiny(
            Path(folder) / "model", (turn["content"] for row in stream for turn in row["prompt"] + row["chosen"])
        )
        training = DPOConfig(
            output_dir=arguments.out or f"{folder}/out",
            beta=BETA,
            learning_rate=LEARNING_RATE if arguments.model else TINY_LEARNING_RATE,
            per_device_train_batch_size=arguments.batch_size,
            max_steps=steps,
            max_length=1024,
            logging_steps=max(1, steps // 10),
            save_strategy="steps" if arguments.out else "no",
            report_to=[],
            disable_tqdm=arguments.model is None,
            use_cpu=arguments.model is None,
            bf16=arguments.model is not None,
            gradient_checkpointing=arguments.model is not None,
            accelerator_config={"dispatch_batches": False},  # each rank reads its own shards
        )
        trainer = DPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(model),
            args=training,
            train_dataset=stream,
            processing_class=AutoTokenizer.from_pretrained(model),
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        third = -(-len(losses) // 3)
        first, last = (sum(part) / third for part in (losses[:third], losses[-third:]))
        print(f"{steps} steps on {rows} pairs: loss {first:.4f} in the first third, {last:.4f} in the last")


if __name__ == "__main__":
    main()
    # Gloo's threads end with the group of processes, and that once nothing else holds it: the trainer did. One that is
    # left may come to Python while the interpreter ends, which aborts this rank, and the launcher says that it failed.
    PartialState().destroy_process_group()
