"""LLaMA-Factory's SFT: each prompt with one response; alpaca rows, or sharegpt of conversations that end in it."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from coig_p.export.results import Written
from coig_p.export.trainers.forms import Columns, Form, Trainer, column, facts, schema, strings
from coig_p.export.trainers.llama_factory import SYSTEM, TURN, config, dataset_info, run_of, sharegpt, shows
from coig_p.export.trainers.snippets import command
from coig_p.pairs.turns import constant

_TRAINER = "llama-factory-sft"


def _make(rows: pa.Table, system: str | None) -> Columns:
    own = {"instruction": column(rows, "prompt"), "output": column(rows, "completion")}
    if system is not None:
        own[SYSTEM] = constant(system, rows.num_rows)
    return facts(rows) | own


def _conversations(rows: pa.Table, system: str | None) -> Columns:
    found = sharegpt(_TRAINER, ("completion",), rows, system, instead="trl-sft")
    both = zip(found["conversations"], found["completion"], strict=True)
    whole = pa.array([[*before, answer] for before, answer in both], pa.list_(TURN))
    return facts(rows) | {"conversations": whole, SYSTEM: pa.array(found[SYSTEM], pa.string())}


def _with_tools(rows: pa.Table, system: str | None) -> Columns:
    return _conversations(rows, system) | {"tools": pc.fill_null(column(rows, "tools"), "")}


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    columns = {"messages": "conversations"} if form.messages else {"prompt": "instruction", "response": "output"}
    return dataset_info(form, written, columns, {}) | {"sft.yaml": config(written, where, "sft")}


_SHAREGPT = [("conversations", pa.list_(TURN)), *strings(SYSTEM)]
_MESSAGES = Form(
    _TRAINER,
    "sft",
    schema(*_SHAREGPT),
    "jsonl",
    _conversations,
    messages=True,
    shows=shows,
    may_be_empty=(SYSTEM,),
)
TRAINER = Trainer(
    form=Form(_TRAINER, "sft", schema(*strings("instruction", "output")), "jsonl", _make, system_column=SYSTEM),
    run=command(run_of("sft")),
    conversational=_MESSAGES,
    tools=replace(
        _MESSAGES,
        schema=schema(*_SHAREGPT, *strings("tools")),
        make=_with_tools,
        shows=None,
        may_be_empty=(SYSTEM, "tools"),
    ),
    by_itself=True,
    config_files=_config_files,
)
