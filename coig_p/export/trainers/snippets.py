"""What the lines that run a trainer have in common."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from functools import partial

from coig_p.export.results import Written

BETA, RATE = 0.1, "1e-6"  # COIG-P's own settings; 1e-7 for models that are already aligned
SFT_RATE = "1e-5"
DPO = f"\n    beta={BETA},\n    learning_rate={RATE},  # 1e-7 where the model is aligned already"


def trl(trainer: str, extra: str) -> Callable[[Written, str], str]:
    """A script for one of TRL's trainers, with these arguments besides."""
    return partial(_trl, trainer, extra)


def command(text: str) -> Callable[[Written, str], str]:
    """A line for the shell, in which DIR is where the export is."""
    return partial(_command, text)


def _trl(trainer: str, extra: str, written: Written, where: str) -> str:
    name, split = next(iter(written.splits.items()))
    steps = split.epoch.max_steps[4] if split.epoch else split.rows // 4
    return f"""```python
from datasets import load_dataset
from trl import {trainer}Config, {trainer}Trainer

stream = load_dataset({json.dumps(where)}, split="{name}", streaming=True)
# One epoch: max_steps from shards.json for this batch size. The shards are shuffled already.
args = {trainer}Config(
    output_dir="out",
    per_device_train_batch_size=4,
    max_steps={max(1, steps)},{extra}
    accelerator_config={{"dispatch_batches": False}},
)
{trainer}Trainer(model=model, args=args, train_dataset=stream, processing_class=tokenizer).train()
```
"""


def _command(text: str, written: Written, where: str) -> str:
    # The place is ours, the rest of a command constant: nothing that a model wrote gets in.
    return f"```sh\n{text.replace('DIR', shlex.quote(where))}\n```\n"
