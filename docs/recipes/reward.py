"""A reward model (Bradley-Terry) by TRL, on pairs: streamed from a store, or exported.

    python docs/recipes/reward.py                                          # a tiny model, the bundled store
    python docs/recipes/reward.py --store STORE --model MODEL --out reward # yours, with the settings of COIG-P's CRM
    torchrun --nproc-per-node 8 docs/recipes/reward.py --data EXPORT --model MODEL --out reward --resume

EXPORT is what `coigp export STORE --for trl-reward --out EXPORT` wrote. Needs the extra [train]. `coigp reward train`
has TaP's and Cheems' losses too, which TRL's options do not give, and a held-out accuracy beside baselines.
"""

from __future__ import annotations

import sys
from typing import Any

from recipe import Recipe, Run, end, main, parser_of
from transformers import Trainer
from trl import RewardConfig, RewardTrainer

from coig_p.export.settings import Preset
from coig_p.reward.transformer import load_base


def settings(preset: Preset) -> dict[str, Any]:
    """The numbers of a preset."""
    own = preset.reward
    return {
        "learning_rate": own.learning_rate, "epochs": own.epochs, "schedule": own.schedule, "warmup": own.warmup,
        "weight_decay": own.weight_decay, "max_length": own.max_length,
    }  # fmt: skip


def make(run: Run) -> Trainer:
    """The trainer. A pair with a response beyond max_length is left out."""
    stream = run.rows.stream
    if "margin" in (stream.column_names or ()):
        # The trainer would demand this margin, in points on the judges' scale, between two logits.
        stream = stream.remove_columns("margin")
    tokenizer = run.tokenizer()
    # A pad token of its own: with pad = eos the token before the end would be scored, later and elsewhere.
    model, _ = load_base(run.model, tokenizer, seed=run.settings["seed"])
    return RewardTrainer(
        model=model.classifier,
        args=RewardConfig(**run.arguments(), max_length=run.settings["max_length"]),
        train_dataset=stream,
        processing_class=tokenizer,
    )


RECIPE = Recipe("reward", ("trl-reward", "trl-dpo", "openrlhf"), True, settings, make)
PARSER = parser_of(RECIPE, __doc__ or "")

if __name__ == "__main__":
    code = main(RECIPE, PARSER)
    end()
    sys.exit(code)
