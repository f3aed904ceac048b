"""GRPO on the prompts of a store or of an export, rewarded by a reward model.

    python docs/recipes/grpo.py                                            # tiny models, the bundled store
    coigp reward train STORE --half 1 --model BASE --out crm
    python docs/recipes/grpo.py --data EXPORT --model MODEL --reward-model crm --out grpo

EXPORT is what `coigp export STORE --for trl-grpo --conversational --out EXPORT` wrote. The reward model is one that
`coigp reward train` or reward.py made, or any of one label with a chat template. Needs the extra [train].
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from accelerate import PartialState
from datasets import Dataset
from recipe import Recipe, Run, end, main, parser_of
from rows import Rows
from transformers import AutoModelForCausalLM, Trainer
from trl import GRPOConfig, GRPOTrainer

from coig_p.errors import DataError, UsageError
from coig_p.export.settings import Preset
from coig_p.reward.base import check_base
from coig_p.reward.training import train_transformer
from coig_p.reward.training_config import TrainConfig
from coig_p.reward.transformer import load_base, load_tokenizer
from coig_p.store.locate import BUNDLED


def settings(preset: Preset) -> dict[str, Any]:
    """TaP's for PPO, which has a critic besides: neither paper runs GRPO."""
    own = preset.ppo
    return {
        "beta": own.kl, "learning_rate": own.learning_rate, "epochs": own.epochs, "schedule": own.schedule,
        "warmup": own.warmup, "generations": 8, "response_length": own.response_length,
    }  # fmt: skip


def make(run: Run) -> Trainer:
    """The trainer, on rows in memory: its sampler repeats each prompt, in the order of the export."""
    model, tokenizer = reward_model(run)
    sizes = {"num_generations": run.settings["generations"], "max_completion_length": run.settings["response_length"]}
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(run.model),
        reward_funcs=[model],
        reward_processing_classes=[tokenizer],
        args=GRPOConfig(**run.arguments(), **sizes, beta=run.settings["beta"], shuffle_dataset=False),
        train_dataset=Dataset(pa.concat_tables(pq.read_table(file) for file in run.rows.files)),
        processing_class=run.tokenizer(),
    )


def reward_model(run: Run) -> tuple[Any, Any]:
    """The reward model and its tokenizer, which has a pad token of its own; a tiny one where nothing is named at all.

    Raises:
        CoigPError: it is none, or not whole.
    """
    name = run.options.reward_model
    if name is None:
        if run.options.data or run.options.store or run.options.model:
            raise UsageError(
                "--reward-model is missing: a tiny one is trained only where neither --model nor --store nor --data is "
                "named. Name what coigp reward train made, or any of one label"
            )
        name = str(run.folder / "reward")
        with PartialState().main_process_first():
            if not Path(name).exists():
                tiny = TrainConfig(learning_rate=1e-3, batch_pairs=16, epochs=1, held_out=0, device="cpu", save_every=0)
                train_transformer(BUNDLED, name, run.model, config=tiny)
    check_base(name, None)
    tokenizer = load_tokenizer(name)
    model, is_new = load_base(name, tokenizer)
    if is_new:
        raise UsageError(
            f"--reward-model {name}: it has no head, so it is no reward model. coigp reward train makes one"
        )
    return model.classifier.eval(), tokenizer


def steps(rows: Rows, settings: dict[str, Any]) -> int:
    """Of all epochs; an epoch's last prompts make no step where they are too few.

    Raises:
        UsageError: the answers to a prompt do not fill a step.
        DataError: there are fewer prompts than a step takes.
    """
    answers = settings["batch_size"] * settings["world_size"] * settings["gradient_accumulation"]
    if answers % settings["generations"]:
        raise UsageError(
            f"a step has {answers} answers ({settings['batch_size']} on each of {settings['world_size']} ranks, "
            f"{settings['gradient_accumulation']} times), no multiple of --generations {settings['generations']}"
        )
    found = rows.told["rows"] * settings["generations"] // answers
    if not found:
        raise DataError(f"{rows.told['rows']} prompts are fewer than a step takes: give a smaller --batch-size")
    return int(found) * int(settings["epochs"])


TINY = {"learning_rate": 1e-3, "generations": 4, "response_length": 16}
RECIPE = Recipe("grpo", ("trl-grpo",), False, settings, make, TINY, steps, measure="reward", batch_size=8)
PARSER = parser_of(
    RECIPE,
    __doc__ or "",
    (
        "--reward-model",
        {
            "metavar": "DIR",
            "help": "needed where --model, --store or --data is named; else a tiny one, trained on the spot",
        },
    ),
    ("--generations", {"type": int, "help": "of each prompt; default: 8, of a tiny model 4"}),
    ("--response-length", {"type": int, "help": "tokens that are written at most; default: 1024, of a tiny model 16"}),
)

if __name__ == "__main__":
    code = main(RECIPE, PARSER)
    end()
    sys.exit(code)
