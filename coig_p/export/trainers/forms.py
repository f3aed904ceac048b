"""The form in which a trainer takes preference data: its columns, its file type, and a check of every batch.

A wrong column name or a null does not stop a trainer: it trains on an empty prompt, or fails
hours later. So a `Form` names the columns and types, and `Form.check` looks at every value
before it is written. What forms have in common stands below; each trainer's own is in its file.
All functions are named ones of a module, so that a form can be sent to another process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, Mask
from coig_p.errors import DataError
from coig_p.export.results import Written
from coig_p.pairs.rows import blank
from coig_p.pairs.turns import constant, grouped, messages, row_of
from coig_p.schema import MESSAGES_TYPE, TOOL_MESSAGES_TYPE
from coig_p.store.conversations import asked_for, canonical

Columns = dict[str, pa.Array]
Make = Callable[[pa.Table, str | None], Columns]
Sides = Callable[[pa.Table], tuple[pa.Array, pa.Array]]

MESSAGE = MESSAGES_TYPE.value_type
PAIR = ("prompt", "chosen", "rejected")
MARGIN = ("margin", pa.float64())
# What need not be said in messages with a place for tool calls, in these calls, and in the function that is called.
_OPTIONAL = {
    "tool_calls": {"reasoning_content", "tool_calls", "tool_call_id", "name"},
    "function": {"id", "type"},
    "arguments": {"arguments"},
}
_FACTS: list[tuple[str, pa.DataType]] = [("query_id", pa.string()), ("domain", pa.string())]


@dataclass(frozen=True)
class Form:
    """What one trainer reads.

    Attributes:
        trainer: the name of `coigp export --for`.
        rows: the format it is made of, one of PAIR_SCHEMAS; for "sft" one row a query, the best response or, with
            `response_of`, that of one model.
        schema: the columns of the file.
        file_type: parquet or jsonl.
        make: from a table of PAIR_SCHEMAS[rows] and a system prompt to the columns; its texts are message lists
            where `messages` says so.
        sides: from the columns to the texts that must differ, where there are two.
        messages: it is made of message lists, so that conversations are given turn by turn. A system prompt
            then stands before the turns of rows that have none of their own.
        shows: which conversations, a column of turns as a store has them, it can show, where some have an order that it
            cannot; with `multi_turn` "skip" the others are left out, else they are an error.
        one_file: whether the trainer reads a single file.
        system_column: a column of its own for a system prompt, where one is given.
        may_be_empty: columns that are null, or "", where a row has nothing to say there.
        label: the column that says whether the row's one answer is good, where there is one. Rows of either label are
            then mixed as evenly as can be.
    """

    trainer: str
    rows: str
    schema: pa.Schema
    file_type: str
    make: Make
    sides: Sides | None = None
    messages: bool = False
    shows: Callable[[pa.ListArray], Mask] | None = None
    one_file: bool = False
    system_column: str | None = None
    may_be_empty: tuple[str, ...] = ()
    label: str | None = None

    @property
    def whole(self) -> str:
        """The trainer, with --conversational, that shows every turn of the same rows, whatever they are."""
        if self.rows == "sft":
            return "trl-sft"
        return "trl-dpo" if self.label is None else "trl-kto"

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
                number that is not finite; chosen equal to rejected. Names the query_id. A message that calls
                tools may have no text, and only what such a message needs is never null.
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
            if rows.num_rows and name not in self.may_be_empty:
                _check_values(rows.column(name).chunk(0), np.arange(rows.num_rows), name, rows, self.trainer)
        if self.sides is not None and rows.num_rows:
            one, other = self.sides(rows)
            same = np.flatnonzero(pc.equal(one, other).to_numpy(zero_copy_only=False))
            if len(same):
                raise DataError(f"{_where(self.trainer, rows, same[0])}: chosen and rejected are the same text")


def no_files(form: Form, written: Written, where: str) -> dict[str, str]:
    """For a trainer that reads nothing beside the rows."""
    return {}


def no_notes(written: Written) -> tuple[str, ...]:
    """For a trainer whose files say nothing that depends on the rows."""
    return ()


@dataclass(frozen=True)
class Trainer:
    """One trainer: the form of its rows, and how it is run.

    Attributes:
        form: with plain strings, where it has both.
        run: the part of the export's README that runs it, given what was written and where.
        conversational: the form with message lists, of a trainer that takes either.
        tools: the form with message lists and a place for tools, of a trainer that has one.
        by_itself: whether `conversational` is taken where there are conversations, and not on demand.
        config_files: the small files that it reads beside the rows, by name.
        notes: what the rows make of these files, that nobody would expect.
    """

    form: Form
    run: Callable[[Written, str], str]
    conversational: Form | None = None
    tools: Form | None = None
    by_itself: bool = False
    config_files: Callable[[Form, Written, str], Mapping[str, str]] = no_files
    notes: Callable[[Written], tuple[str, ...]] = no_notes

    @property
    def name(self) -> str:
        """The name of `coigp export --for`."""
        return self.form.trainer


def schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """These columns, and after them query_id and domain, which every form has."""
    return pa.schema([*columns, *_FACTS])


def strings(*names: str) -> list[tuple[str, pa.DataType]]:
    """Columns of plain text."""
    return [(name, pa.string()) for name in names]


def lists(*names: str) -> list[tuple[str, pa.DataType]]:
    """Columns of message lists."""
    return [(name, MESSAGES_TYPE) for name in names]


def column(rows: pa.Table, name: str) -> pa.Array:
    """A column of a table that has one chunk at most."""
    found = rows.column(name)
    return found.chunk(0) if found.num_chunks else pa.array([], found.type)


def facts(rows: pa.Table, *names: str) -> Columns:
    """query_id, domain, and these columns as they are."""
    return {name: column(rows, name) for name in ("query_id", "domain", *names)}


def prompt(rows: pa.Table, system: str | None) -> pa.ListArray:
    """The turns before each response, after the system prompt where they have none of their own."""
    found = turns(rows, "prompt", "user")
    if system is None:
        return found
    own = found.flatten()
    row = row_of(found)
    is_system = pc.equal(own.field("role"), "system").to_numpy(zero_copy_only=False)
    at = np.flatnonzero(np.bincount(row[is_system], minlength=len(found)) == 0)
    texts = {"role": constant("system", len(at)), "content": constant(system, len(at))}
    parts = [texts.get(field.name, pa.nulls(len(at), field.type)) for field in own.type]
    given = pa.StructArray.from_arrays(parts, fields=list(own.type))
    # The sort of `grouped` is stable: what comes first stays first.
    return grouped(pa.concat_arrays([given, own]), np.concatenate([at, row]), len(found)).cast(found.type)


def turns(rows: pa.Table, name: str, role: str = "assistant") -> pa.ListArray:
    """A column as message lists: as it is, or each of its texts as one message."""
    found = column(rows, name)
    return messages(role, found) if pa.types.is_string(found.type) else found


def joined(first: pa.ListArray, second: pa.ListArray) -> pa.ListArray:
    """The messages of both, row by row."""
    row = np.concatenate([row_of(first), row_of(second)])
    return grouped(pa.concat_arrays([first.flatten(), second.flatten()]), row, len(first)).cast(first.type)


def as_strings(*names: str) -> Make:
    """Makes these columns as they are."""
    return partial(_as_strings, names)


def as_messages(answers: tuple[str, ...], *names: str) -> Make:
    """Makes a prompt and `answers` into message lists, and these other columns as they are."""
    return partial(_as_messages, answers, names)


def with_tools(form: Form, *names: str) -> Form:
    """The form where messages may call tools, with a column `tools` after these columns of message lists."""
    columns = []
    for one in form.schema:
        columns.append((one.name, TOOL_MESSAGES_TYPE if one.name in names else one.type))
        if one.name == names[-1]:
            columns.append(("tools", pa.string()))
    return replace(form, schema=pa.schema(columns), make=partial(_with_tools, form.make), may_be_empty=("tools",))


def sides(one: str, other: str) -> Sides:
    """Reads the last text of two columns, and what tools it calls."""
    return partial(_sides, one, other)


def last_text(column: pa.Array) -> pa.StringArray:
    """The text itself, or that of the last message; with its calls and reasoning, if any."""
    if pa.types.is_list(column.type):
        ends = column.offsets.to_numpy()[1:] - 1
        column = column.values.take(pa.array(ends))
    if not pa.types.is_struct(column.type):
        return column
    text = pc.struct_field(column, "content" if "content" in _names(column.type) else "value")
    beside = []
    if "tool_calls" in _names(column.type):
        called = pc.struct_field(column, "tool_calls").to_pylist()
        beside.append(pa.array([canonical([asked_for(call) for call in calls or ()]) for calls in called], pa.string()))
    if "reasoning_content" in _names(column.type):
        beside.append(pc.fill_null(pc.struct_field(column, "reasoning_content"), ""))
    return pc.binary_join_element_wise(text, *beside, "\n") if beside else text


def row_error(
    trainer: str, rows: pa.Table, row: int, problem: str, ways: str = "", *, instead: str = "trl-dpo"
) -> DataError:
    """The error of a row that a trainer's form cannot show.

    Args:
        ways: out of it, beside those that are always there.
        instead: the trainer that shows all of such rows (see `Form.whole`).
    """
    return DataError(
        f"{_where(trainer, rows, row)} {problem}, which {trainer} cannot read. Export --for {instead} "
        f"--conversational, which shows every turn, or leave such queries out with --multi-turn skip{ways}"
    )


def _as_strings(names: tuple[str, ...], rows: pa.Table, system: str | None) -> Columns:
    return facts(rows, *names)


def _as_messages(answers: tuple[str, ...], names: tuple[str, ...], rows: pa.Table, system: str | None) -> Columns:
    return facts(rows, *names) | {"prompt": prompt(rows, system)} | {name: turns(rows, name) for name in answers}


def _with_tools(make: Make, rows: pa.Table, system: str | None) -> Columns:
    return make(rows, system) | {"tools": column(rows, "tools")}


def _sides(one: str, other: str, rows: pa.Table) -> tuple[pa.Array, pa.Array]:
    return last_text(column(rows, one)), last_text(column(rows, other))


def _names(kind: pa.StructType) -> set[str]:
    return {field.name for field in kind}


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
        optional = {name for known in _OPTIONAL.keys() & _names(values.type) for name in _OPTIONAL[known]}
        for at, field in enumerate(values.type):
            found, own, inside = values.field(at), row, f"{name}.{field.name}"
            if field.name in optional and pa.types.is_string(field.type):
                continue
            needed = None
            if field.name in optional:
                needed = found.is_valid()
            elif field.name == "content" and "tool_calls" in optional:
                refuse(found.is_null().to_numpy(zero_copy_only=False), "without content")
                needed = values.field("tool_calls").is_null()  # a call needs no text beside it
            if needed is not None:
                found, own = found.filter(needed), row[needed.to_numpy(zero_copy_only=False)]
            _check_values(found, own, inside, rows, trainer)
    elif pa.types.is_string(values.type):
        refuse(blank(values), "blank")
    elif pa.types.is_floating(values.type):
        refuse(~np.isfinite(values.to_numpy(zero_copy_only=False)), "not a finite number")
