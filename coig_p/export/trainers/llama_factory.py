"""LLaMA-Factory: alpaca ranking rows as JSON Lines, and a dataset_info.json that names their columns.

Conversations are in its sharegpt form: turns of human or observation and of gpt or function_call, strictly in turn,
the system prompt and the tools in columns of their own, "" where there are none. Its SharegptDatasetConverter
(0.9.5) skips a row whose turns do not alternate, with a warning; here such a row is an error.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Mask
from coig_p.export.results import Written
from coig_p.export.trainers.forms import (
    Columns,
    Form,
    Trainer,
    column,
    facts,
    row_error,
    schema,
    sides,
    strings,
    turns,
)
from coig_p.export.trainers.handoffs import hugging_face, preset, said_of, yaml_file
from coig_p.export.trainers.roles import Message, NotShown, calls_of, check_message, in_order
from coig_p.export.trainers.snippets import command
from coig_p.pairs.turns import constant

NAME = "coig_p"
_TRAINER = "llama-factory"
SYSTEM = "system"
TURN = pa.struct([("from", pa.string()), ("value", pa.string())])
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
_FROM = {"user": "human", "assistant": "gpt", "tool": "observation"}


def _make(rows: pa.Table, system: str | None) -> Columns:
    own = {"instruction": column(rows, "prompt")}
    if system is not None:
        own[SYSTEM] = constant(system, rows.num_rows)
    return facts(rows, "chosen", "rejected") | own


def sharegpt(
    trainer: str, answers: tuple[str, ...], rows: pa.Table, system: str | None, *, instead: str = "trl-dpo"
) -> dict[str, list[Any]]:
    """Of each row "system", the turns before its answers as "conversations", and each of `answers` as one turn.

    Raises:
        DataError: what those turns cannot say; names the query.
    """
    found: dict[str, list[Any]] = {name: [] for name in (SYSTEM, "conversations", *answers)}
    given = [turns(rows, "prompt", "user"), *(turns(rows, name) for name in answers)]
    for at, (before, *said) in enumerate(zip(*(one.to_pylist() for one in given), strict=True)):
        try:
            own = [message["content"] for message in before[:1] if message["role"] == "system"]
            shown = [_turn(message) for message in in_order(before[len(own) :])]
            if not _alternate([message["role"] for message in before]):
                raise NotShown("has turns that do not alternate between user, or one tool's result, and assistant")
            for name, (answer,) in zip(answers, said, strict=True):
                found[name].append(_turn(answer))
        except NotShown as problem:
            texts = "" if "tools" in rows.column_names else ", or give strings of them with --multi-turn text"
            raise row_error(trainer, rows, at, str(problem), texts, instead=instead) from None
        found[SYSTEM].append((own or [system or ""])[0])
        found["conversations"].append(shown)
    return found


def _conversations(rows: pa.Table, system: str | None) -> Columns:
    found = sharegpt(_TRAINER, ("chosen", "rejected"), rows, system)
    return facts(rows) | {name: pa.array(found[name], kind) for name, kind in _SHAREGPT}


def _alternate(roles: list[str]) -> bool:
    """Whether turns, after a system turn, are in turn of a user, or a tool, and of the assistant, who answers last."""
    said = roles[1:] if roles[:1] == ["system"] else roles
    return len(said) % 2 == 1 and all(
        role != "system" and (role == "assistant") == bool(place % 2) for place, role in enumerate(said)
    )


def shows(turns: pa.ListArray) -> Mask:
    """Which conversations, a column of turns as a store has them, alternate as they must."""
    said = turns.to_pylist()
    return np.array([one is None or _alternate([turn["role"] for turn in one]) for one in said], dtype=bool)


def _with_tools(rows: pa.Table, system: str | None) -> Columns:
    return _conversations(rows, system) | {"tools": pc.fill_null(column(rows, "tools"), "")}


def _turn(message: Message) -> dict[str, str]:
    """A message as one turn; several calls are one JSON list, as its FunctionFormatter reads them."""
    check_message(message)
    if message["role"] == "system":
        raise NotShown("has a system turn that is not its first")
    calls = calls_of(message)
    if not calls:
        return {"from": _FROM[message["role"]], "value": message["content"]}
    if message["content"].strip():
        raise NotShown("has a turn with text beside a tool call")
    return {"from": "function_call", "value": calls[0] if len(calls) == 1 else f"[{', '.join(calls)}]"}


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    prompt = {"messages": "conversations"} if form.messages else {"prompt": "instruction"}
    info = dataset_info(form, written, prompt | {"chosen": "chosen", "rejected": "rejected"}, {"ranking": True})
    # The reward model is trained on the same rows: of a pair it reads both answers and nothing else.
    dpo = config(written, where, "dpo", pref_beta=preset(written).dpo.beta, pref_loss="sigmoid")
    return info | {"dpo.yaml": dpo, "rm.yaml": config(written, where, "rm")}


def config(written: Written, where: str, stage: str, **more: Any) -> str:
    """A config of LLaMA-Factory's for a stage, with the numbers of the preset."""
    of = preset(written)
    kind, settings = {
        "dpo": ("DPO", of.dpo), "kto": ("KTO", of.dpo), "rm": ("A reward model", of.reward), "sft": ("SFT", of.sft)
    }[stage]  # fmt: skip
    run = f"llamafactory-cli train {stage}.yaml model_name_or_path=MODEL template=qwen output_dir=OUT"
    values = {
        "model_name_or_path": "MODEL", "template": "qwen", "stage": stage, "do_train": True, "finetuning_type": "full",
        "dataset_dir": where, "dataset": NAME, "cutoff_len": settings.max_length, "output_dir": "out", **more,
        **hugging_face(settings),
    }  # fmt: skip
    return yaml_file(said_of(kind, of, run), values)


def run_of(*stages: str) -> str:
    """The lines that train, each with its config."""
    return "\n".join(
        f"llamafactory-cli train DIR/{stage}.yaml model_name_or_path=MODEL template=qwen output_dir=out-{stage}"
        for stage in stages
    )


def dataset_info(form: Form, written: Written, columns: dict[str, str], more: dict[str, Any]) -> dict[str, str]:
    """dataset_info.json, with an entry for each split.

    Args:
        columns: its names for columns -> ours; of system and tools, where there are any, the names are the same.
        more: of every entry.
    """
    columns = columns | {name: name for name in (SYSTEM, "tools") if name in form.schema.names}
    entry = {"formatting": "sharegpt" if form.messages else "alpaca", **more, "columns": columns}
    if form.messages:
        entry["tags"] = _TAGS
    entries = {
        NAME if at == 0 else f"{NAME}_{name}": {"file_name": name, **entry} for at, name in enumerate(written.splits)
    }
    return {"dataset_info.json": json.dumps(entries, indent=2) + "\n"}


_SHAREGPT = [("conversations", pa.list_(TURN)), ("chosen", TURN), ("rejected", TURN), (SYSTEM, pa.string())]


TRAINER = Trainer(
    form=Form(
        _TRAINER,
        "dpo",
        schema(*strings("instruction", "chosen", "rejected")),
        "jsonl",
        _make,
        sides("chosen", "rejected"),
        system_column=SYSTEM,
    ),
    run=command(run_of("dpo", "rm")),
    conversational=Form(
        _TRAINER,
        "dpo",
        schema(*_SHAREGPT),
        "jsonl",
        _conversations,
        sides("chosen", "rejected"),
        messages=True,
        shows=shows,
        may_be_empty=(SYSTEM,),
    ),
    tools=Form(
        _TRAINER,
        "dpo",
        schema(*_SHAREGPT, *strings("tools")),
        "jsonl",
        _with_tools,
        sides("chosen", "rejected"),
        messages=True,
        may_be_empty=(SYSTEM, "tools"),
    ),
    by_itself=True,
    config_files=_config_files,
)
