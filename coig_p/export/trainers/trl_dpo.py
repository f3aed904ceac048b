"""TRL's DPOTrainer: prompt, chosen, rejected, as strings or as message lists.

Its `tokenize_fn` hands a row's `tools`, decoded where they are JSON text, to the chat template (TRL 1.16), as do
those of RewardTrainer and KTOTrainer.
"""

from __future__ import annotations

from coig_p.export.trainers.forms import (
    PAIR,
    Form,
    Trainer,
    as_messages,
    as_strings,
    lists,
    schema,
    sides,
    strings,
    with_tools,
)
from coig_p.export.trainers.snippets import trl

_SIDES = sides("chosen", "rejected")
_MESSAGES = Form(
    "trl-dpo", "dpo", schema(*lists(*PAIR)), "parquet", as_messages(("chosen", "rejected")), _SIDES, messages=True
)
TRAINER = Trainer(
    form=Form("trl-dpo", "dpo", schema(*strings(*PAIR)), "parquet", as_strings(*PAIR), _SIDES),
    conversational=_MESSAGES,
    tools=with_tools(_MESSAGES, *PAIR),
    run=trl("DPO", "dpo"),
)
