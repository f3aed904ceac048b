"""TRL's KTOTrainer: each response once, labelled, the labels mixed evenly."""

from __future__ import annotations

import pyarrow as pa

from coig_p.export.trainers.forms import (
    Form,
    Trainer,
    as_messages,
    as_strings,
    lists,
    schema,
    strings,
    with_tools,
)
from coig_p.export.trainers.snippets import trl

_LABEL = ("label", pa.bool_())
_MESSAGES = Form(
    "trl-kto",
    "kto",
    schema(*lists("prompt", "completion"), _LABEL),
    "parquet",
    as_messages(("completion",), "label"),
    messages=True,
    label="label",
)
TRAINER = Trainer(
    form=Form(
        "trl-kto",
        "kto",
        schema(*strings("prompt", "completion"), _LABEL),
        "parquet",
        as_strings("prompt", "completion", "label"),
        label="label",
    ),
    conversational=_MESSAGES,
    tools=with_tools(_MESSAGES, "prompt", "completion"),
    run=trl("KTO", "dpo"),
)
