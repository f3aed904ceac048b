"""TRL's DPOTrainer: prompt, chosen, rejected, as strings or as message lists."""

from __future__ import annotations

from coig_p.export.trainers.forms import PAIR, Form, Trainer, as_messages, as_strings, lists, schema, sides, strings
from coig_p.export.trainers.snippets import DPO, trl

_SIDES = sides("chosen", "rejected")
TRAINER = Trainer(
    form=Form("trl-dpo", "dpo", schema(*strings(*PAIR)), "parquet", as_strings(*PAIR), _SIDES),
    conversational=Form(
        "trl-dpo", "dpo", schema(*lists(*PAIR)), "parquet", as_messages(("chosen", "rejected")), _SIDES
    ),
    run=trl("DPO", DPO),
)
