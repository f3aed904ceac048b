"""TRL's SFTTrainer: each prompt with one response, whose tokens alone count (its `completion_only_loss`)."""

from __future__ import annotations

from coig_p.export.trainers.forms import Form, Trainer, as_messages, as_strings, lists, schema, strings, with_tools
from coig_p.export.trainers.snippets import trl

_MESSAGES = Form(
    "trl-sft", "sft", schema(*lists("prompt", "completion")), "parquet", as_messages(("completion",)), messages=True
)
TRAINER = Trainer(
    form=Form(
        "trl-sft",
        "sft",
        schema(*strings("prompt", "completion")),
        "parquet",
        as_strings("prompt", "completion"),
    ),
    conversational=_MESSAGES,
    tools=with_tools(_MESSAGES, "prompt", "completion"),
    run=trl("SFT", "sft"),
)
