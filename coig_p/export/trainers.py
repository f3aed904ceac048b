"""The form in which each trainer takes preference data: its columns, its file type, and a check of every batch.

A wrong column name or a null does not stop a trainer: it trains on an empty prompt, or fails
hours later. So a `Form` names the columns and types, and `Form.check` looks at every value
before it is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.pairs.rows import blank, messages
from coig_p.schema import MESSAGES_TYPE

Columns = dict[str, pa.Array]

_MESSAGE = MESSAGES_TYPE.value_type
_COMPLETIONS = pa.list_(pa.struct([("rank", pa.int64()), ("completion", MESSAGES_TYPE), ("reward", pa.float64())]))
_REWARD_MODEL = pa.struct([("style", pa.string()), ("ground_truth", pa.string())])
_EXTRA_INFO = pa.struct([("query_id", pa.string())])
_FACTS: list[tuple[str, pa.DataType]] = [("query_id", pa.string()), ("domain", pa.string())]


@dataclass(frozen=True)
class Form:
    """What one trainer reads.

    Attributes:
        trainer: the name of `coigp export --for`.
        rows: the format it is made of, one of PAIR_SCHEMAS; for "sft" one row a query, the best response.
        schema: the columns of the file.
        file_type: parquet or jsonl.
        make: from a table of PAIR_SCHEMAS[rows] and a system prompt to the columns.
        sides: from the columns to the texts that must differ, where there are two.
        one_file: whether the trainer reads a single file.
    """

    trainer: str
    rows: str
    schema: pa.Schema
    file_type: str
    make: Callable[[pa.Table, str | None], Columns]
    sides: Callable[[pa.Table], tuple[pa.Array, pa.Array]] | None = None
    one_file: bool = False

    def convert(self, rows: pa.Table, system: str | None = None) -> pa.Table:
        """The rows in this form, checked.

        Raises:
            DataError: see `check`.
        """
        columns = self.make(rows.combine_chunks(), system)
        made = pa.table([columns[name] for name in self.schema.names], names=self.schema.names)
        self.check(made)
        return made

    def check(self, rows: pa.Table) -> None:
        """See that the trainer can learn from every row.

        Raises:
            DataError: a column missing or of another type; a null, an empty list, a blank text, a
                number that is not finite; chosen equal to rejected. Names the query_id.
        """
        for field in self.schema:
            if field.name not in rows.column_names:
                raise DataError(f"{self.trainer}: column {field.name!r} is missing; {_all(self.schema)}")
            found = rows.schema.field(field.name).type
            if found != field.type:
                raise DataError(f"{self.trainer}: column {field.name!r} is {found}, not {field.type}")
        extra = [name for name in rows.column_names if name not in self.schema.names]
        if extra:
            raise DataError(f"{self.trainer}: column {extra[0]!r} has no place there; {_all(self.schema)}")
        rows = rows.combine_chunks()
        for name in self.schema.names:
            if rows.num_rows:
                _check_values(rows.column(name).chunk(0), np.arange(rows.num_rows), name, rows, self.trainer)
        if self.sides is not None and rows.num_rows:
            one, other = self.sides(rows)
            same = np.flatnonzero(pc.equal(one, other).to_numpy(zero_copy_only=False))
            if len(same):
                raise DataError(f"{_where(self.trainer, rows, same[0])}: chosen and rejected are the same text")


def find_form(trainer: str, *, conversational: bool = False, system: str | None = None) -> Form:
    """The form for a trainer.

    Args:
        conversational: message lists rather than strings; TRL alone has both.
        system: a system prompt, to know that the form has a place for one.

    Raises:
        UsageError: an unknown trainer, or one that has no such choice.
    """
    if trainer not in FORMS:
        raise UnknownNameError("trainer", trainer, FORMS)
    has_both = f"{trainer}/conversational" in _FORMS
    if conversational and not has_both:
        both = ", ".join(name for name in FORMS if f"{name}/conversational" in _FORMS)
        raise UsageError(f"{trainer} has one form alone: leave out --conversational, which is for {both}")
    if system is not None and not system.strip():
        raise UsageError("the system prompt is blank: leave it out")
    if system is not None and has_both and not conversational:
        raise UsageError(
            f"{trainer} takes plain strings, which have no place for a system prompt: add --conversational"
        )
    form = _FORMS[f"{trainer}/conversational" if conversational else trainer]
    if system is not None and trainer == "llama-factory":
        return replace(form, schema=form.schema.append(pa.field("system", pa.string())))
    return form


def _all(schema: pa.Schema) -> str:
    return f"its columns are {', '.join(schema.names)}"


def _where(trainer: str, rows: pa.Table, row: int) -> str:
    return f"{trainer}: query_id {rows.column('query_id')[int(row)].as_py()!r}"


def _check_values(values: pa.Array, row: Index, name: str, rows: pa.Table, trainer: str) -> None:
    """Look at `values` and all that is inside them; `row[i]` is the row that values[i] belongs to."""

    def refuse(bad: np.ndarray, what: str) -> None:
        at = np.flatnonzero(bad)
        if len(at):
            raise DataError(f"{_where(trainer, rows, row[at[0]])}: {name} is {what}")

    refuse(values.is_null().to_numpy(zero_copy_only=False), "null")
    if pa.types.is_list(values.type):
        lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
        refuse(lengths == 0, "an empty list")
        _check_values(values.flatten(), np.repeat(row, lengths), name, rows, trainer)
    elif pa.types.is_struct(values.type):
        for at, field in enumerate(values.type):
            _check_values(values.field(at), row, f"{name}.{field.name}", rows, trainer)
    elif pa.types.is_string(values.type):
        refuse(blank(values), "blank")
    elif pa.types.is_floating(values.type):
        refuse(~np.isfinite(values.to_numpy(zero_copy_only=False)), "not a finite number")


def _column(rows: pa.Table, name: str) -> pa.Array:
    column = rows.column(name)
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def _facts(rows: pa.Table, *names: str) -> Columns:
    return {name: _column(rows, name) for name in ("query_id", "domain", *names)}


def _constant(text: str, times: int) -> pa.StringArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([text])).cast(pa.string())


def _conversation(turns: list[tuple[str, pa.StringArray]], system: str | None) -> pa.ListArray:
    """One conversation a row, of the turns and before them the system prompt."""
    rows = len(turns[0][1])
    if system is not None:
        turns = [("system", _constant(system, rows)), *turns]
    order = np.arange(len(turns) * rows).reshape(len(turns), rows).T.ravel()  # turn by turn within a row
    parts = [pa.StructArray.from_arrays([_constant(role, rows), text], fields=list(_MESSAGE)) for role, text in turns]
    every = pa.concat_arrays(parts).take(pa.array(order))
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * len(turns))
    return pa.ListArray.from_arrays(offsets, every).cast(MESSAGES_TYPE)


def _prompt(rows: pa.Table, system: str | None) -> pa.ListArray:
    return _conversation([("user", _column(rows, "prompt"))], system)


def _message(text: pa.StringArray) -> pa.StructArray:
    return pa.StructArray.from_arrays([_constant("assistant", len(text)), text], fields=list(_MESSAGE))


def _as_strings(*names: str) -> Callable[[pa.Table, str | None], Columns]:
    return lambda rows, system: _facts(rows, *names)


def _as_messages(answers: tuple[str, ...], *names: str) -> Callable[[pa.Table, str | None], Columns]:
    def make(rows: pa.Table, system: str | None) -> Columns:
        shown = {name: messages("assistant", _column(rows, name)) for name in answers}
        return _facts(rows, *names) | {"prompt": _prompt(rows, system)} | shown

    return make


def _grpo(rows: pa.Table, system: str | None) -> Columns:
    return _facts(rows, "prompt") | {"reference": _column(rows, "completion")}


def _grpo_messages(rows: pa.Table, system: str | None) -> Columns:
    return _grpo(rows, system) | {"prompt": _prompt(rows, system)}


def _llama_factory(rows: pa.Table, system: str | None) -> Columns:
    own = {"instruction": _column(rows, "prompt")}
    if system is not None:
        own["system"] = _constant(system, rows.num_rows)
    return _facts(rows, "chosen", "rejected") | own


def _ms_swift(rows: pa.Table, system: str | None) -> Columns:
    turns = [("user", _column(rows, "prompt")), ("assistant", _column(rows, "chosen"))]
    return _facts(rows) | {"messages": _conversation(turns, system), "rejected_response": _column(rows, "rejected")}


def _axolotl(rows: pa.Table, system: str | None) -> Columns:
    shown = {name: _message(_column(rows, name)) for name in ("chosen", "rejected")}
    return _facts(rows) | {"messages": _prompt(rows, system)} | shown


def _verl(rows: pa.Table, system: str | None) -> Columns:
    size, facts = rows.num_rows, _facts(rows)
    names = [field.name for field in _REWARD_MODEL]
    return facts | {
        "data_source": pc.binary_join_element_wise("coig-p", facts["domain"], "/"),
        "prompt": _prompt(rows, system),
        "ability": facts["domain"],
        "reward_model": pa.StructArray.from_arrays([_constant("model", size), _column(rows, "completion")], names),
        "extra_info": pa.StructArray.from_arrays([facts["query_id"]], ["query_id"]),
    }


def _nemo_rl(rows: pa.Table, system: str | None) -> Columns:
    size = rows.num_rows
    ranked = []
    for rank, side in enumerate(("chosen", "rejected")):
        texts, reward = messages("assistant", _column(rows, side)), _column(rows, f"{side}_score")
        ranked.append(
            pa.StructArray.from_arrays(
                [pa.array(np.full(size, rank)), texts, reward], fields=list(_COMPLETIONS.value_type)
            )
        )
    order = np.arange(2 * size).reshape(2, size).T.ravel()
    both = pa.concat_arrays(ranked).take(pa.array(order))
    offsets = pa.array(np.arange(size + 1, dtype=np.int32) * 2)
    completions = pa.ListArray.from_arrays(offsets, both).cast(_COMPLETIONS)
    return _facts(rows) | {"context": _prompt(rows, system), "completions": completions}


def _last_text(column: pa.Array) -> pa.StringArray:
    """The text itself, or that of a message, or of the last message of a conversation."""
    if pa.types.is_list(column.type):
        ends = column.offsets.to_numpy()[1:] - 1
        column = column.values.take(pa.array(ends))
    return pc.struct_field(column, "content") if pa.types.is_struct(column.type) else column


def _sides(one: str, other: str) -> Callable[[pa.Table], tuple[pa.Array, pa.Array]]:
    return lambda rows: (_last_text(_column(rows, one)), _last_text(_column(rows, other)))


def _nemo_sides(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
    texts = _last_text(pc.struct_field(_column(rows, "completions").flatten(), "completion"))
    return texts[::2], texts[1::2]


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([*columns, *_FACTS])


def _strings(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.string()) for name in names]


def _lists(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, MESSAGES_TYPE) for name in names]


_PAIR = ("prompt", "chosen", "rejected")
_MARGIN = ("margin", pa.float64())
_LABEL = ("label", pa.bool_())
_BOTH = _sides("chosen", "rejected")
_FORMS = {
    "trl-dpo": Form("trl-dpo", "dpo", _schema(*_strings(*_PAIR)), "parquet", _as_strings(*_PAIR), _BOTH),
    "trl-dpo/conversational": Form(
        "trl-dpo", "dpo", _schema(*_lists(*_PAIR)), "parquet", _as_messages(("chosen", "rejected")), _BOTH
    ),
    "trl-reward": Form(
        "trl-reward", "dpo", _schema(*_strings(*_PAIR), _MARGIN), "parquet", _as_strings(*_PAIR, "margin"), _BOTH
    ),
    "trl-reward/conversational": Form(
        "trl-reward",
        "dpo",
        _schema(*_lists(*_PAIR), _MARGIN),
        "parquet",
        _as_messages(("chosen", "rejected"), "margin"),
        _BOTH,
    ),
    "trl-kto": Form(
        "trl-kto",
        "kto",
        _schema(*_strings("prompt", "completion"), _LABEL),
        "parquet",
        _as_strings("prompt", "completion", "label"),
    ),
    "trl-kto/conversational": Form(
        "trl-kto",
        "kto",
        _schema(*_lists("prompt", "completion"), _LABEL),
        "parquet",
        _as_messages(("completion",), "label"),
    ),
    "trl-grpo": Form("trl-grpo", "sft", _schema(*_strings("prompt", "reference")), "parquet", _grpo),
    "trl-grpo/conversational": Form(
        "trl-grpo", "sft", _schema(*_lists("prompt"), *_strings("reference")), "parquet", _grpo_messages
    ),
    "llama-factory": Form(
        "llama-factory", "dpo", _schema(*_strings("instruction", "chosen", "rejected")), "jsonl", _llama_factory, _BOTH
    ),
    "openrlhf": Form(
        "openrlhf",
        "dpo",
        _schema(*_lists(*_PAIR), _MARGIN),
        "parquet",
        _as_messages(("chosen", "rejected"), "margin"),
        _BOTH,
    ),
    "ms-swift": Form(
        "ms-swift",
        "dpo",
        _schema(*_lists("messages"), *_strings("rejected_response")),
        "jsonl",
        _ms_swift,
        _sides("messages", "rejected_response"),
    ),
    "axolotl": Form(
        "axolotl",
        "dpo",
        _schema(*_lists("messages"), ("chosen", _MESSAGE), ("rejected", _MESSAGE)),
        "parquet",
        _axolotl,
        _BOTH,
    ),
    "verl": Form(
        "verl",
        "sft",
        _schema(
            ("data_source", pa.string()),
            ("prompt", MESSAGES_TYPE),
            ("ability", pa.string()),
            ("reward_model", _REWARD_MODEL),
            ("extra_info", _EXTRA_INFO),
        ),
        "parquet",
        _verl,
    ),
    "nemo-rl": Form(
        "nemo-rl",
        "dpo",
        _schema(("context", MESSAGES_TYPE), ("completions", _COMPLETIONS)),
        "jsonl",
        _nemo_rl,
        _nemo_sides,
        one_file=True,
    ),
}
FORMS = tuple(name for name in _FORMS if "/" not in name)
"""The names that `coigp export --for` takes."""
