"""DPO on pairs: streamed from a store, or exported.

    python docs/recipes/dpo.py                                             # a tiny model, the bundled store
    python docs/recipes/dpo.py --store STORE --model MODEL --out dpo       # yours, with COIG-P's settings
    python docs/recipes/dpo.py --data EXPORT --model MODEL --out dpo --preset tap --resume
    torchrun --nproc-per-node 8 docs/recipes/dpo.py --store STORE --model MODEL --out dpo

EXPORT is what `coigp export STORE --for trl-dpo --out EXPORT` wrote. Needs the extra [train].
"""

from __future__ import annotations

import sys
from typing import Any

from recipe import Recipe, Run, end, main, parser_of
from transformers import AutoModelForCausalLM, Trainer
from trl import DPOConfig, DPOTrainer

from coig_p.export.settings import Preset


def settings(preset: Preset) -> dict[str, Any]:
    """The numbers of a preset."""
    own = preset.dpo
    return {
        "beta": own.beta, "learning_rate": own.learning_rate, "epochs": own.epochs, "schedule": own.schedule,
        "warmup": own.warmup, "max_length": own.max_length,
    }  # fmt: skip


def make(run: Run) -> Trainer:
    """The trainer. What is longer than max_length is cut at its end; a prompt that fills it is left out."""
    return DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(run.model),
        args=DPOConfig(**run.arguments(), beta=run.settings["beta"], max_length=run.settings["max_length"]),
        train_dataset=run.rows.stream,
        processing_class=run.tokenizer(),
    )


RECIPE = Recipe("dpo", ("trl-dpo", "trl-reward", "openrlhf"), True, settings, make)
PARSER = parser_of(RECIPE, __doc__ or "")

if __name__ == "__main__":
    code = main(RECIPE, PARSER)
    end()
    sys.exit(code)
