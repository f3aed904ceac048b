"""ms-swift: the chosen conversation in messages and the other answer beside it, as JSON Lines.

Where there are tools, the rejected conversation is whole, too, in `rejected_messages`: a call is a turn of role
tool_call, its result one of tool_response, and `tools` are JSON text (its RowPreprocessor, 4.6.0).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from coig_p.export.results import Written
from coig_p.export.trainers.forms import (
    Columns,
    Form,
    Trainer,
    column,
    facts,
    joined,
    last_text,
    lists,
    prompt,
    row_error,
    schema,
    sides,
    strings,
    turns,
)
from coig_p.export.trainers.handoffs import hugging_face, preset, said_of, yaml_file
from coig_p.export.trainers.roles import Message, NotShown, calls_of, check_message, in_order
from coig_p.export.trainers.snippets import command
from coig_p.schema import MESSAGES_TYPE
from coig_p.store.conversations import canonical

_NAME = "ms-swift"


def _make(rows: pa.Table, system: str | None) -> Columns:
    whole = joined(prompt(rows, system), turns(rows, "chosen"))
    return facts(rows) | {"messages": whole, "rejected_response": last_text(column(rows, "rejected"))}


def _with_tools(rows: pa.Table, system: str | None) -> Columns:
    before = prompt(rows, system).to_pylist()
    own: Columns = facts(rows, "tools")
    for name, side in (("messages", "chosen"), ("rejected_messages", "rejected")):
        found = []
        for at, (turns_before, answer) in enumerate(zip(before, column(rows, side).to_pylist(), strict=True)):
            try:
                found.append(as_turns(in_order(turns_before + answer)))
            except NotShown as problem:
                raise row_error(_NAME, rows, at, str(problem)) from None
        own[name] = pa.array(found, MESSAGES_TYPE)
    return own


def as_turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """An assistant's text and each of its calls as turns that follow each other: who reads them takes them for one.

    Raises:
        NotShown: what such turns cannot say.
    """
    found: list[dict[str, Any]] = []
    for at, message in enumerate(messages):
        check_message(message)
        calls = calls_of(message)
        if message["content"] or not calls:
            role = "tool_response" if message["role"] == "tool" else message["role"]
            found.append({"role": role, "content": message["content"]})
        elif at and messages[at - 1]["role"] == "assistant":
            raise NotShown("has a turn of calls alone right after another turn of the assistant")
        found += [{"role": "tool_call", "content": call} for call in calls]
    return found


def _whole_sides(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
    both = (rows.column(name).to_pylist() for name in ("messages", "rejected_messages"))
    chosen, rejected = (pa.array([_compared(one) for one in side], pa.string()) for side in both)
    return chosen, rejected


def _compared(turns: list[dict[str, Any]] | None) -> str:
    """Turns as text that is equal where they say the same: how the JSON of a call is spelled makes no difference."""
    return canonical(
        [
            [one["role"], json.loads(one["content"]) if one["role"] == "tool_call" else one["content"]]
            for one in turns or ()
        ]
    )


def config(written: Written, where: str, kind: str) -> str:
    """A config of ms-swift's, with the numbers of the preset: it takes the place of the options of its command."""
    of = preset(written)
    said, settings = {
        "dpo": ("DPO", of.dpo), "kto": ("KTO", of.dpo), "rm": ("A reward model", of.reward), "sft": ("SFT", of.sft)
    }[kind]  # fmt: skip
    own: dict[str, Any] = {} if kind == "sft" else {"rlhf_type": kind}
    own |= {"beta": settings.beta} if kind in ("dpo", "kto") else {}
    files, *others = ([f"{where}/{shard.path}" for shard in split.shards] for split in written.splits.values())
    values: dict[str, Any] = {
        **own, "model": "MODEL", "tuner_type": "full", "dataset": files, "max_length": settings.max_length,
        "output_dir": "out", **hugging_face(settings),
    }  # fmt: skip
    if others:
        values["val_dataset"] = others[0]
    return yaml_file(said_of(said, of, f"swift {'sft' if kind == 'sft' else 'rlhf'} {kind}.yaml --model MODEL"), values)


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    return {f"{kind}.yaml": config(written, where, kind) for kind in ("dpo", "rm")}


TRAINER = Trainer(
    form=Form(
        _NAME,
        "dpo",
        schema(*lists("messages"), *strings("rejected_response")),
        "jsonl",
        _make,
        sides("messages", "rejected_response"),
        messages=True,
    ),
    tools=Form(
        _NAME,
        "dpo",
        schema(*lists("messages", "rejected_messages"), *strings("tools")),
        "jsonl",
        _with_tools,
        _whole_sides,
        messages=True,
        may_be_empty=("tools",),
    ),
    run=command(
        "swift rlhf DIR/dpo.yaml --model MODEL --output_dir out-dpo\n"
        "swift rlhf DIR/rm.yaml --model MODEL --output_dir out-rm"
    ),
    config_files=_config_files,
)
