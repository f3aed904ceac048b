"""LLaMA-Factory: alpaca ranking rows as JSON Lines, and a dataset_info.json that names their columns."""

from __future__ import annotations

import json

import pyarrow as pa

from coig_p.export.results import Written
from coig_p.export.trainers.forms import Columns, Form, Trainer, column, constant, facts, schema, sides, strings
from coig_p.export.trainers.snippets import BETA, RATE, command

_NAME = "coig_p"
_SYSTEM = "system"


def _make(rows: pa.Table, system: str | None) -> Columns:
    own = {"instruction": column(rows, "prompt")}
    if system is not None:
        own[_SYSTEM] = constant(system, rows.num_rows)
    return facts(rows, "chosen", "rejected") | own


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
    if _SYSTEM in form.schema.names:
        columns["system"] = _SYSTEM
    entries = {
        _NAME if at == 0 else f"{_NAME}_{name}": {
            "file_name": name,
            "formatting": "alpaca",
            "ranking": True,
            "columns": columns,
        }
        for at, name in enumerate(written.splits)
    }
    return {"dataset_info.json": json.dumps(entries, indent=2) + "\n"}


TRAINER = Trainer(
    form=Form(
        "llama-factory",
        "dpo",
        schema(*strings("instruction", "chosen", "rejected")),
        "jsonl",
        _make,
        sides("chosen", "rejected"),
        system_column=_SYSTEM,
    ),
    run=command(
        f"llamafactory-cli train --stage dpo --do_train true --dataset_dir DIR --dataset {_NAME} "
        f"--pref_beta {BETA} \\\n  --learning_rate {RATE} --num_train_epochs 1 --model_name_or_path MODEL "
        "--template qwen --output_dir out"
    ),
    config_files=_config_files,
)
