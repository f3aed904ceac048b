"""What the lines that run a trainer have in common."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from functools import partial

from coig_p.export.results import Written
from coig_p.export.settings import preset_of


def trl(trainer: str, stage: str) -> Callable[[Written, str], str]:
    """A script for one of TRL's trainers, with the numbers of a preset for `stage`: dpo, reward or sft."""
    return partial(_trl, trainer, stage)


def command(text: str) -> Callable[[Written, str], str]:
    """A line for the shell, in which DIR is where the export is."""
    return partial(_command, text)


def _trl(trainer: str, stage: str, written: Written, where: str) -> str:
    name, split = next(iter(written.splits.items()))
    of = preset_of(written.preset)
    own = {"dpo": of.dpo, "reward": of.reward, "sft": of.sft}[stage]
    steps = own.epochs * (split.epoch.max_steps[4] if split.epoch else split.rows // 4)
    told = f"  # {of.other_rate}" if stage == "dpo" and written.preset is None else ""
    beta = f"\n    beta={own.beta}," if stage == "dpo" else ""
    stream = f'load_dataset({json.dumps(where)}, split="{name}", streaming=True)'
    if stage == "reward" and "margin" in written.columns:
        # TRL would subtract it, in points on the judges' scale, from a difference of two logits.
        stream += '.remove_columns("margin")'
    return f"""```python
from datasets import load_dataset
from trl import {trainer}Config, {trainer}Trainer

stream = {stream}
# Epochs: {own.epochs}; max_steps of one from shards.json for this batch size. The shards are shuffled already.
args = {trainer}Config(
    output_dir="out",
    per_device_train_batch_size=4,
    max_steps={max(1, steps)},{beta}
    learning_rate={own.learning_rate:g},{told}
    lr_scheduler_type="{own.schedule}",
    warmup_steps={own.warmup:g},
    max_length={own.max_length},
    accelerator_config={{"dispatch_batches": False}},
)
{trainer}Trainer(model=model, args=args, train_dataset=stream, processing_class=tokenizer).train()
```
"""


def _command(text: str, written: Written, where: str) -> str:
    # The place is ours, the rest of a command constant: nothing that a model wrote gets in.
    return f"```sh\n{text.replace('DIR', shlex.quote(where))}\n```\n"
