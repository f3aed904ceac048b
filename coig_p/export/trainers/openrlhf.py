"""OpenRLHF: pairs as message lists, with their margin.

Its RewardDataset gives the chat template messages and nothing else (0.11.2): there is no place for tools.
"""

from __future__ import annotations

from coig_p.export.trainers.forms import MARGIN, PAIR, Form, Trainer, as_messages, lists, schema, sides
from coig_p.export.trainers.snippets import BETA, RATE, command

TRAINER = Trainer(
    form=Form(
        "openrlhf",
        "dpo",
        schema(*lists(*PAIR), MARGIN),
        "parquet",
        as_messages(("chosen", "rejected"), "margin"),
        sides("chosen", "rejected"),
        messages=True,
    ),
    run=command(
        "deepspeed --module openrlhf.cli.train_dpo --data.dataset DIR --data.prompt_key prompt "
        "--data.chosen_key chosen \\\n  --data.rejected_key rejected --data.apply_chat_template "
        f"--model.beta {BETA} --adam.lr {RATE} --train.max_epochs 1 \\\n  --model.model_name_or_path MODEL"
    ),
)
