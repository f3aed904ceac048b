"""LLaMA-Factory's KTO: each response once with `kto_tag`, true or false; alpaca rows, or sharegpt of conversations.

The conversation ends in the answer. Its converters (0.9.5) take a row for one of KTO where the tag is a JSON boolean,
and its FeedbackDatasetProcessor knows the label by which of two answers is not empty: none may be.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from coig_p.export.results import Written
from coig_p.export.trainers.forms import Columns, Form, Trainer, column, facts, schema, strings
from coig_p.export.trainers.handoffs import preset
from coig_p.export.trainers.llama_factory import SYSTEM, TURN, config, dataset_info, run_of, sharegpt, shows
from coig_p.export.trainers.snippets import command
from coig_p.pairs.turns import constant

_TRAINER = "llama-factory-kto"
_TAG = "kto_tag"
_LABEL = (_TAG, pa.bool_())


def _make(rows: pa.Table, system: str | None) -> Columns:
    own = {"instruction": column(rows, "prompt"), "output": column(rows, "completion"), _TAG: column(rows, "label")}
    if system is not None:
        own[SYSTEM] = constant(system, rows.num_rows)
    return facts(rows) | own


def _conversations(rows: pa.Table, system: str | None) -> Columns:
    found = sharegpt(_TRAINER, ("completion",), rows, system, instead="trl-kto")
    both = zip(found["conversations"], found["completion"], strict=True)
    whole = pa.array([[*before, answer] for before, answer in both], pa.list_(TURN))
    own = {"conversations": whole, _TAG: column(rows, "label"), SYSTEM: pa.array(found[SYSTEM], pa.string())}
    return facts(rows) | own


def _with_tools(rows: pa.Table, system: str | None) -> Columns:
    return _conversations(rows, system) | {"tools": pc.fill_null(column(rows, "tools"), "")}


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    columns = {"messages": "conversations"} if form.messages else {"prompt": "instruction", "response": "output"}
    info = dataset_info(form, written, columns | {_TAG: _TAG}, {})
    return info | {"kto.yaml": config(written, where, "kto", pref_beta=preset(written).dpo.beta)}


_SHAREGPT = [("conversations", pa.list_(TURN)), _LABEL, *strings(SYSTEM)]
_MESSAGES = Form(
    _TRAINER,
    "kto",
    schema(*_SHAREGPT),
    "jsonl",
    _conversations,
    messages=True,
    shows=shows,
    may_be_empty=(SYSTEM,),
    label=_TAG,
)
TRAINER = Trainer(
    form=Form(
        _TRAINER,
        "kto",
        schema(*strings("instruction", "output"), _LABEL),
        "jsonl",
        _make,
        system_column=SYSTEM,
        label=_TAG,
    ),
    run=command(run_of("kto")),
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
