"""TRL's RewardTrainer: pairs with their margin, as strings or as message lists."""

from __future__ import annotations

from coig_p.export.trainers.forms import (
    MARGIN,
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
    "trl-reward",
    "dpo",
    schema(*lists(*PAIR), MARGIN),
    "parquet",
    as_messages(("chosen", "rejected"), "margin"),
    _SIDES,
    messages=True,
)
TRAINER = Trainer(
    form=Form("trl-reward", "dpo", schema(*strings(*PAIR), MARGIN), "parquet", as_strings(*PAIR, "margin"), _SIDES),
    conversational=_MESSAGES,
    tools=with_tools(_MESSAGES, *PAIR),
    run=trl("Reward", "reward"),
)
