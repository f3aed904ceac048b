"""ms-swift's SFT: each conversation with its answer in messages, as JSON Lines. An answer may call tools."""

from __future__ import annotations

import pyarrow as pa

from coig_p.export.results import Written
from coig_p.export.trainers.forms import (
    Columns,
    Form,
    Trainer,
    column,
    facts,
    joined,
    lists,
    prompt,
    row_error,
    schema,
    strings,
    turns,
)
from coig_p.export.trainers.ms_swift import as_turns, config
from coig_p.export.trainers.roles import NotShown, in_order
from coig_p.export.trainers.snippets import command
from coig_p.schema import MESSAGES_TYPE

_NAME = "ms-swift-sft"


def _make(rows: pa.Table, system: str | None) -> Columns:
    return facts(rows) | {"messages": joined(prompt(rows, system), turns(rows, "completion"))}


def _with_tools(rows: pa.Table, system: str | None) -> Columns:
    found = []
    before, answers = prompt(rows, system).to_pylist(), column(rows, "completion").to_pylist()
    for at, (turns_before, answer) in enumerate(zip(before, answers, strict=True)):
        try:
            found.append(as_turns(in_order(turns_before + answer)))
        except NotShown as problem:
            raise row_error(_NAME, rows, at, str(problem), instead="trl-sft") from None
    return facts(rows, "tools") | {"messages": pa.array(found, MESSAGES_TYPE)}


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    return {"sft.yaml": config(written, where, "sft")}


TRAINER = Trainer(
    form=Form(_NAME, "sft", schema(*lists("messages")), "jsonl", _make, messages=True),
    tools=Form(
        _NAME,
        "sft",
        schema(*lists("messages"), *strings("tools")),
        "jsonl",
        _with_tools,
        messages=True,
        may_be_empty=("tools",),
    ),
    run=command("swift sft DIR/sft.yaml --model MODEL --output_dir out"),
    config_files=_config_files,
)
