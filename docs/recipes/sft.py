"""Supervised finetuning on one response a query: of a store, the best, or the rows of an export.

    python docs/recipes/sft.py                                             # a tiny model, the bundled store
    python docs/recipes/sft.py --data EXPORT --model MODEL --out sft
    torchrun --nproc-per-node 8 docs/recipes/sft.py --data EXPORT --model MODEL --out sft --resume

EXPORT is what `coigp export STORE --for trl-sft --out EXPORT` wrote, with --response-of and --one-per as TaP has it.
Of a store the same is exported first, to rows/ in the folder of the run. Needs the extra [train].
"""

from __future__ import annotations

import sys
from typing import Any

from recipe import Recipe, Run, end, main, parser_of
from transformers import AutoModelForCausalLM, Trainer
from trl import SFTConfig, SFTTrainer

from coig_p.export.settings import Preset


def settings(preset: Preset) -> dict[str, Any]:
    """No paper gives these numbers: they are ours, in either preset."""
    own = preset.sft
    return {
        "learning_rate": own.learning_rate, "epochs": own.epochs, "schedule": own.schedule, "warmup": own.warmup,
        "max_length": own.max_length,
    }  # fmt: skip


def make(run: Run) -> Trainer:
    """The trainer. The response's tokens alone count; what is longer than max_length is cut at its end."""
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(run.model),
        args=SFTConfig(**run.arguments(), max_length=run.settings["max_length"], completion_only_loss=True),
        train_dataset=run.rows.stream,
        processing_class=run.tokenizer(),
    )


RECIPE = Recipe("sft", ("trl-sft",), False, settings, make)
PARSER = parser_of(RECIPE, __doc__ or "")

if __name__ == "__main__":
    code = main(RECIPE, PARSER)
    end()
    sys.exit(code)
