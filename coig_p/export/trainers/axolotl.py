"""Axolotl: the prompt as messages, each answer as one message, and the datasets block that reads them.

Of every message its DPO chat_template strategy reads role and content alone (0.19.0): there is no place for tools.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import yaml

from coig_p.export.results import Written
from coig_p.export.trainers.forms import (
    MESSAGE,
    Columns,
    Form,
    Trainer,
    facts,
    lists,
    prompt,
    schema,
    sides,
    turns,
)
from coig_p.export.trainers.handoffs import preset
from coig_p.export.trainers.snippets import command


def _make(rows: pa.Table, system: str | None) -> Columns:
    shown = {name: turns(rows, name).flatten() for name in ("chosen", "rejected")}
    return facts(rows) | {"messages": prompt(rows, system)} | shown


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    names = list(written.splits)
    own = preset(written).dpo
    config: dict[str, Any] = {"rl": "dpo", "rl_beta": own.beta, "learning_rate": own.learning_rate}
    config["sequence_len"] = own.max_length
    config |= {"num_epochs": own.epochs, "lr_scheduler": own.schedule}
    config |= {"warmup_ratio": own.warmup} if own.warmup < 1 else {"warmup_steps": int(own.warmup)}
    config["datasets"] = [_block(names[0], where)]
    if len(names) > 1:
        config["test_datasets"] = [_block(names[1], where)]
    return {"axolotl.yaml": yaml.safe_dump(config, sort_keys=False)}


def _block(split: str, where: str) -> dict[str, Any]:
    return {
        "path": where,
        "split": split,
        "type": "chat_template.default",
        "field_messages": "messages",
        "field_chosen": "chosen",
        "field_rejected": "rejected",
        "message_property_mappings": {"role": "role", "content": "content"},
    }


TRAINER = Trainer(
    form=Form(
        "axolotl",
        "dpo",
        schema(*lists("messages"), ("chosen", MESSAGE), ("rejected", MESSAGE)),
        "parquet",
        _make,
        sides("chosen", "rejected"),
        messages=True,
    ),
    run=command(
        "# axolotl.yaml is the datasets block: put your model and the rest of your config into it\n"
        "axolotl train DIR/axolotl.yaml --base-model MODEL"
    ),
    config_files=_config_files,
)
