"""ms-swift: the chosen conversation in messages and the other answer beside it, as JSON Lines."""

from __future__ import annotations

import pyarrow as pa

from coig_p.export.trainers.forms import (
    Columns,
    Form,
    Trainer,
    column,
    conversation,
    facts,
    lists,
    schema,
    sides,
    strings,
)
from coig_p.export.trainers.snippets import BETA, RATE, command


def _make(rows: pa.Table, system: str | None) -> Columns:
    turns = [("user", column(rows, "prompt")), ("assistant", column(rows, "chosen"))]
    return facts(rows) | {"messages": conversation(turns, system), "rejected_response": column(rows, "rejected")}


TRAINER = Trainer(
    form=Form(
        "ms-swift",
        "dpo",
        schema(*lists("messages"), *strings("rejected_response")),
        "jsonl",
        _make,
        sides("messages", "rejected_response"),
    ),
    run=command(
        f"swift rlhf --rlhf_type dpo --dataset DIR/train/*.jsonl --beta {BETA} --learning_rate {RATE} "
        "\\\n  --num_train_epochs 1 --model MODEL --output_dir out"
    ),
)
