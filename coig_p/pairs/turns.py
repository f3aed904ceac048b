"""Conversations in rows: turn by turn as message lists, or as the one text that a string can hold.

A query is one user's text, or a conversation: turns before the response, tool definitions, or an answer
with calls of tools or reasoning. Message lists show all of it. A string shows the transcript or the last
user turn, where the user said which, and never a tool or reasoning.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, Mask
from coig_p.errors import DataError
from coig_p.schema import CALLS_TYPE, MESSAGES_TYPE, TOOL_MESSAGES_TYPE, TURN_TYPE, row_schema
from coig_p.store.conversations import ANSWER_FIELDS, CALLS, conversation_masks
from coig_p.store.reading import part_of

TEXT, LAST, SKIP = "text", "last", "skip"
_EXTRA_TYPE = pa.struct(
    [
        ("reasoning_content", pa.string()),
        (CALLS, CALLS_TYPE),
        ("tool_call_id", pa.string()),
        ("name", pa.string()),
    ]
)
_OF_TURNS = tuple(one.name for one in _EXTRA_TYPE)
_SHOWN = 80


@dataclass(frozen=True)
class Shape:
    """What rows show: how conversations, and which columns.

    Attributes:
        as_messages: prompts and answers are message lists, not strings.
        with_tools: messages are of TOOL_MESSAGES_TYPE, and rows have a column tools.
        multi_turn: of `PairConfig`, where it has an effect: what a string gives of a conversation. "skip" leaves
            out what rows cannot show: conversations of strings, and of message lists what is more than text.
        columns: of the format's, these alone, in this order; None for all.
    """

    as_messages: bool = False
    with_tools: bool = False
    multi_turn: str | None = None
    columns: tuple[str, ...] | None = None

    def schema(self, form: str) -> pa.Schema:
        """The columns of rows of a format."""
        found = row_schema(form, as_messages=self.as_messages, with_tools=self.with_tools)
        return found if self.columns is None else part_of(found, *self.columns)

    def left_out(self, batch: pa.RecordBatch) -> Mask | None:
        """Which queries of a batch of raw rows are left out; None for none."""
        if self.multi_turn != SKIP:
            return None
        conversations, more = conversation_masks(batch)
        return more if self.as_messages else conversations

    def not_shown(self, batch: pa.RecordBatch) -> Mask:
        """Which queries of a batch of raw rows are more than these rows can show."""
        conversations, more = conversation_masks(batch)
        if self.as_messages:
            return np.zeros_like(more) if self.with_tools else more
        return more if self.multi_turn in (TEXT, LAST) else conversations


def prompt_texts(batch: pa.RecordBatch, shape: Shape) -> pa.StringArray:
    """The prompt of every query as a string; null where a conversation has no user turn to show."""
    query, turns = batch.column("query"), batch.column("messages")
    if shape.multi_turn != LAST or turns.null_count == len(turns):
        return query
    role = pc.struct_field(turns.flatten(), "role")
    users = np.flatnonzero(pc.fill_null(pc.equal(role, "user"), False).to_numpy(zero_copy_only=False))
    last = np.full(len(turns), -1, dtype=np.int64)
    last[row_of(turns)[users]] = users  # in order, so that the last one stays
    content = pc.struct_field(turns.flatten(), "content").take(pa.array(last, mask=last < 0))
    return pc.if_else(turns.is_valid(), content, query)


def prompt_messages(batch: pa.RecordBatch, shape: Shape) -> pa.ListArray:
    """The turns before the response of every query: its conversation, or its text as one user turn.

    Raises:
        DataError: the `extra` of a turn is not what a store has; names the query.
    """
    turns, query = batch.column("messages"), batch.column("query")
    single = turns.is_null().to_numpy(zero_copy_only=False)
    sizes = np.where(single, 1, pc.fill_null(pc.list_value_length(turns), 0).to_numpy(zero_copy_only=False))
    ends = np.cumsum(sizes)
    own = turns.flatten()
    alone = query.filter(pa.array(single))
    user = pa.StructArray.from_arrays(
        [constant("user", len(alone)), alone, pa.nulls(len(alone), pa.string())], fields=list(TURN_TYPE)
    )
    # The user turns stand after all others, and go to where their queries are.
    place = np.arange(int(ends[-1]) if len(ends) else 0)
    is_user = np.zeros(len(place), dtype=bool)
    is_user[(ends - sizes)[single]] = True
    order = np.empty(len(place), dtype=np.int64)
    order[is_user], order[~is_user] = len(own) + np.arange(len(alone)), np.arange(len(own))
    every = pa.concat_arrays([own, user]).take(pa.array(order)) if len(alone) else own
    ids = batch.column("query_id").take(pa.array(np.repeat(np.arange(len(sizes)), sizes)))
    parts = [pc.struct_field(every, field.name) for field in TURN_TYPE]
    return _lists(parts[0], parts[1], parts[2], np.concatenate([[0], ends]), ids, shape)


def answer_messages(
    text: pa.StringArray, extra: pa.StringArray, query_ids: pa.StringArray, shape: Shape
) -> pa.ListArray:
    """Every answer as a list of one assistant's message.

    Args:
        extra, query_ids: of the same length as `text`.

    Raises:
        DataError: the `extra` of an answer is not what a store has; names the query.
    """
    return _lists(
        constant("assistant", len(text)), text, extra, np.arange(len(text) + 1), query_ids, shape, ANSWER_FIELDS
    )


def messages(role: str, text: pa.StringArray) -> pa.ListArray:
    """Each text as a conversation of one message."""
    message = pa.StructArray.from_arrays([constant(role, len(text)), text], fields=list(MESSAGES_TYPE.value_type))
    return pa.ListArray.from_arrays(pa.array(np.arange(len(text) + 1, dtype=np.int32)), message).cast(MESSAGES_TYPE)


def constant(text: str, times: int) -> pa.StringArray:
    """One text again and again."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([text])).cast(pa.string())


def turn_texts(batch: pa.RecordBatch) -> pa.ListArray:
    """All that a model reads before the response, query by query: contents, what turns are beside them, tools."""
    turns, tools, query = (batch.column(name) for name in ("messages", "tools", "query"))
    every = turns.flatten()
    parts, rows = [], []
    row = row_of(turns)
    for name in ("content", "extra"):
        parts.append(pc.struct_field(every, name))
        rows.append(row)
    for text, mask in ((tools, tools.is_valid()), (query, turns.is_null())):
        parts.append(text.filter(mask))
        rows.append(np.flatnonzero(mask.to_numpy(zero_copy_only=False)))
    return grouped(pa.concat_arrays(parts), np.concatenate(rows), batch.num_rows)


def answer_texts(text: pa.StringArray, extra: pa.StringArray) -> pa.ListArray:
    """All of each answer that a model writes: its text, and what it thought and which tools it calls as JSON."""
    beside = pa.array([None if one is None else _beside(one) for one in extra.to_pylist()], pa.string())
    rows = [np.arange(len(text)), np.flatnonzero(beside.is_valid().to_numpy(zero_copy_only=False))]
    return grouped(pa.concat_arrays([text, beside.drop_null()]), np.concatenate(rows), len(text))


def _beside(extra: str) -> str | None:
    try:
        found = {name: value for name, value in json.loads(extra).items() if name in ANSWER_FIELDS and value}
    except (ValueError, AttributeError, RecursionError):
        return None
    return json.dumps(found, ensure_ascii=False) if found else None


def grouped(values: pa.Array, row: Index, rows: int) -> pa.ListArray:
    """Lists of `values`, one for each of `rows` rows, by the row that each value belongs to."""
    sizes = np.bincount(row, minlength=rows)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values.take(pa.array(np.argsort(row, kind="stable"))))


def tool_calls(extra: str) -> list[dict[str, Any]]:
    """The calls in the `extra` of a turn or response; none where it is not the JSON that a store has."""
    try:
        calls = json.loads(extra)[CALLS]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def row_of(lists: pa.ListArray) -> Index:
    """The row that each element of a list column belongs to."""
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists), dtype=np.int64), sizes)


def _lists(
    role: pa.StringArray,
    content: pa.StringArray,
    extra: pa.StringArray,
    offsets: Index,
    query_ids: pa.StringArray,
    shape: Shape,
    fields: tuple[str, ...] = _OF_TURNS,
) -> pa.ListArray:
    kind = TOOL_MESSAGES_TYPE if shape.with_tools else MESSAGES_TYPE
    parts = [role, content]
    if shape.with_tools:
        more = _extras(extra, query_ids, fields)
        parts += [pc.struct_field(more, one.name) for one in list(kind.value_type)[2:]]
    message = pa.StructArray.from_arrays(parts, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), message).cast(kind)


def _extras(extra: pa.StringArray, query_ids: pa.StringArray, fields: tuple[str, ...]) -> pa.StructArray:
    """The fields of every `extra` that messages have, null where it has none."""
    if extra.null_count == len(extra):
        return pa.nulls(len(extra), _EXTRA_TYPE)
    encoded = extra.dictionary_encode()
    parsed = []
    for at, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            parsed.append(_fields(json.loads(text), fields))
        except (ValueError, TypeError, RecursionError) as error:
            problem = str(error) if isinstance(error, TypeError) else f"is not JSON: {error}"
            first = pc.index(encoded.indices, pa.scalar(at, encoded.indices.type)).as_py()
            raise DataError(
                f"query_id {query_ids[first].as_py()!r}: the extra of a turn or answer, {text[:_SHOWN]!r}, {problem}. "
                "Run: coigp check, then coigp clean"
            ) from None
    return pa.array(parsed, _EXTRA_TYPE).take(encoded.indices)


def _fields(extra: Any, fields: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(extra, dict):
        raise TypeError("is no JSON object")
    found = {name: extra[name] for name in fields if extra.get(name) is not None}
    for name, value in found.items():
        if name != CALLS and not isinstance(value, str):
            raise TypeError(f"has a {name} that is no text")
    if CALLS in found:
        found[CALLS] = [_call(call) for call in _list(found[CALLS])] or None
    return found


def _list(calls: Any) -> list[Any]:
    if not isinstance(calls, list):
        raise TypeError(f"has {CALLS} that are no list")
    return calls


def _call(call: Any) -> dict[str, Any]:
    """A call with its arguments as JSON text."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise TypeError("has a tool call without a function's name")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments if arguments is not None else {}, ensure_ascii=False)
    for name in ("id", "type"):
        if not isinstance(call.get(name), str | None):
            raise TypeError(f"has a tool call whose {name} is no text")
    return {
        "id": call.get("id"),
        "type": call.get("type"),
        "function": {"name": function["name"], "arguments": arguments},
    }
