"""ms-swift's KTO: each conversation with its answer in messages, and a label, as JSON Lines.

Its KTOPreprocessor (4.6.0) asserts that the last turn is the assistant's, so that an answer that calls a tool, whose
turns are of role tool_call, has no place.
"""

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

_NAME = "ms-swift-kto"
_LABEL = ("label", pa.bool_())


def _make(rows: pa.Table, system: str | None) -> Columns:
    return facts(rows, "label") | {"messages": joined(prompt(rows, system), turns(rows, "completion"))}


def _with_tools(rows: pa.Table, system: str | None) -> Columns:
    found = []
    before, answers = prompt(rows, system).to_pylist(), column(rows, "completion").to_pylist()
    for at, (turns_before, answer) in enumerate(zip(before, answers, strict=True)):
        try:
            if answer[-1].get("tool_calls"):
                raise NotShown("has an answer that calls a tool")
            found.append(as_turns(in_order(turns_before + answer)))
        except NotShown as problem:
            raise row_error(_NAME, rows, at, str(problem), instead="trl-kto") from None
    return facts(rows, "tools", "label") | {"messages": pa.array(found, MESSAGES_TYPE)}


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    return {"kto.yaml": config(written, where, "kto")}


TRAINER = Trainer(
    form=Form(_NAME, "kto", schema(*lists("messages"), _LABEL), "jsonl", _make, messages=True, label="label"),
    tools=Form(
        _NAME,
        "kto",
        schema(*lists("messages"), _LABEL, *strings("tools")),
        "jsonl",
        _with_tools,
        messages=True,
        may_be_empty=("tools",),
        label="label",
    ),
    run=command("swift rlhf DIR/kto.yaml --model MODEL --output_dir out"),
    config_files=_config_files,
)
