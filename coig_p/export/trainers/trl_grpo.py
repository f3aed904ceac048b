"""TRL's GRPOTrainer: each prompt once, with the best response as reference.

Its tools are functions that it calls, given to the trainer; those of a row are not read (TRL 1.16).
"""

from __future__ import annotations

import json

import pyarrow as pa

from coig_p.export.results import Written
from coig_p.export.trainers.forms import (
    Columns,
    Form,
    Trainer,
    column,
    facts,
    last_text,
    lists,
    prompt,
    schema,
    strings,
)


def _strings(rows: pa.Table, system: str | None) -> Columns:
    return facts(rows, "prompt") | {"reference": column(rows, "completion")}


def _messages(rows: pa.Table, system: str | None) -> Columns:
    return facts(rows) | {"prompt": prompt(rows, system), "reference": last_text(column(rows, "completion"))}


def _run(written: Written, where: str) -> str:
    return f"""```python
from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer


def reward(completions, reference, **columns):  # yours: a reward model, a rule, ...
    return [float(text.strip() == wanted.strip()) for text, wanted in zip(completions, reference)]


prompts = load_dataset({json.dumps(where)}, split="{next(iter(written.splits))}")
GRPOTrainer(model=model, reward_funcs=reward, args=GRPOConfig(output_dir="out"), train_dataset=prompts).train()
```
"""


TRAINER = Trainer(
    form=Form("trl-grpo", "sft", schema(*strings("prompt", "reference")), "parquet", _strings),
    conversational=Form(
        "trl-grpo", "sft", schema(*lists("prompt"), *strings("reference")), "parquet", _messages, messages=True
    ),
    run=_run,
)
