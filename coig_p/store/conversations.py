"""Which queries are more than one user's text, and what their turns look like as one text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Ints as Lengths
from coig_p.core.arrays import Mask

CALLS = "tool_calls"
"""The field of `extra` that holds what an assistant asks tools for, as in OpenAI's messages."""

ANSWER_FIELDS = (CALLS, "reasoning_content")
"""Those of a response's `extra` that are the answer's; what an import was told to keep may have any other name."""

_FILLED = {CALLS: r'\A\{"tool_calls":\[\{', "reasoning_content": r'\A\{"reasoning_content":"[^"]'}

MESSAGE_FIELDS = (CALLS, "tool_call_id", "name", "reasoning_content")
"""Fields of a message, beside role and content, that chat templates read; they stand in `extra`."""


def transcript(messages: Sequence[Mapping[str, Any]]) -> str:
    """The turns of a conversation as the one text that people read: `query`."""
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def contents(batch: pa.RecordBatch) -> pa.StringArray:
    """What is said before each response, without a name of a role: `query`, or of a conversation its turns' contents.

    Args:
        batch: rows with the columns query and messages.

    Returns:
        A text a row, the contents of turns with a line between them; null where there is no query.
    """
    query, messages = batch.column("query"), batch.column("messages")
    if messages.null_count == len(messages):
        return query
    said = pc.fill_null(pc.struct_field(messages.flatten(), "content"), "")
    sizes = pc.fill_null(pc.list_value_length(messages), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(sizes, dtype=np.int32)]).astype(np.int32)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), said), "\n\n")
    return pc.if_else(messages.is_valid(), joined, query)


def content_lengths(batch: pa.RecordBatch) -> Lengths:
    """Characters of what `contents` gives, without what joins it; 0 where there is no text. One a row."""
    messages = batch.column("messages")
    alone = pc.fill_null(pc.utf8_length(batch.column("query")), 0).to_numpy(zero_copy_only=False)
    if messages.null_count == len(messages):
        return np.asarray(alone)
    said = pc.utf8_length(pc.struct_field(messages.flatten(), "content"))
    sizes = pc.fill_null(pc.list_value_length(messages), 0).to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(messages)), sizes)
    of_turns = np.bincount(row, pc.fill_null(said, 0).to_numpy(zero_copy_only=False), len(messages))
    spoken = messages.is_valid().to_numpy(zero_copy_only=False)
    return np.where(spoken, of_turns, alone).astype(alone.dtype)


def has_calls(extra: pa.StringArray) -> Mask:
    """Which of the `extra` of responses or turns hold tool calls."""
    return _holds(extra, (CALLS,))


def is_more_than_text(extra: pa.StringArray) -> Mask:
    """Which of the `extra` of responses hold anything of the answer beside its text, not only what was kept."""
    return _holds(extra, ANSWER_FIELDS)


def _holds(extra: pa.StringArray, names: Sequence[str]) -> Mask:
    """Which objects of JSON text have a field of these names that is not empty; also which of them cannot be read."""
    found = np.zeros(len(extra), dtype=bool)
    if extra.null_count == len(extra):
        return found
    for name in names:
        named = pc.fill_null(pc.match_substring(extra, f'"{name}":'), False).to_numpy(zero_copy_only=False)
        if not named.any():
            continue
        # Keys are sorted, so that this one mostly comes first, and the rest need not be read.
        starts = pc.fill_null(pc.match_substring_regex(extra, _FILLED[name]), False).to_numpy(zero_copy_only=False)
        found |= starts
        unsure = np.flatnonzero(named & ~found)
        found[unsure] = [_is_filled(text, name) for text in extra.take(pa.array(unsure)).to_pylist()]
    return found


def _is_filled(text: str, name: str) -> bool:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        return True
    return isinstance(given, dict) and bool(given.get(name))


def said_beside(extra: str | None) -> str:
    """What a turn or an answer is beside its text, for comparing: its calls and its reasoning; "" for nothing.

    Equal where two ask tools for the same and reason in the same words. Ids of calls, which no two answers
    share, are not read, and arguments are compared as JSON. What is not the JSON that a store has is itself.
    """
    if not extra:
        return ""
    try:
        held = json.loads(extra)
        calls = [asked_for(call) for call in held.get(CALLS) or []]
        found = {CALLS: calls, "reasoning_content": held.get("reasoning_content")}
        found = {name: value for name, value in found.items() if value}
        return canonical(found) if found else ""
    except (ValueError, TypeError, AttributeError, RecursionError):
        return extra


def asked_for(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call without its id, and with its arguments as JSON: equal where two ask for the same."""
    found = {name: value for name, value in call.items() if name != "id" and value is not None}
    if found.get("type") == "function":  # the only one there is, and what is meant where none is named
        del found["type"]
    function = found.get("function")
    if isinstance(function, dict):
        found["function"] = function | {"arguments": as_one_json(function.get("arguments") or {})}
    return found


def as_one_json(value: Any) -> str:
    """A value, or a JSON text of one, as `canonical` has it; any other text without white space around it."""
    try:
        return canonical(json.loads(value) if isinstance(value, str) else value)
    except (ValueError, RecursionError):
        return str(value).strip()


def canonical(value: Any) -> str:
    """Equal for values that are equal as JSON, whatever the order of their names."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def conversation_masks(batch: pa.RecordBatch) -> tuple[Mask, Mask]:
    """Which queries are more than one user's text, and which of them hold more than text.

    Args:
        batch: rows of RAW_SCHEMA or PAIRING_SCHEMA.

    Returns:
        Two masks over its rows. The first: turns before the response, tool definitions, or an answer with calls of
        tools or reasoning. The second: tool definitions, or a turn or an answer with more in it than text.
    """
    messages, tools, responses = (batch.column(name) for name in ("messages", "tools", "responses"))
    told = tools.is_valid().to_numpy(zero_copy_only=False)
    told = told | _any_of(responses, is_more_than_text(pc.struct_field(responses.flatten(), "extra")))
    turns = messages.flatten()
    more = told | _any_of(messages, pc.struct_field(turns, "extra").is_valid().to_numpy(zero_copy_only=False))
    return told | messages.is_valid().to_numpy(zero_copy_only=False), more


def has_system(batch: pa.RecordBatch) -> Mask:
    """Which queries have a system turn of their own."""
    messages = batch.column("messages")
    told = pc.fill_null(pc.equal(pc.struct_field(messages.flatten(), "role"), "system"), False)
    return _any_of(messages, np.asarray(told.to_numpy(zero_copy_only=False)))


def _any_of(lists: pa.ListArray, mask: Mask) -> Mask:
    """Which lists hold an element that `mask` marks; the mask is over all elements, end to end."""
    if not mask.any():
        return np.zeros(len(lists), dtype=bool)
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(lists)), sizes)
    return np.asarray(np.bincount(row[mask], minlength=len(lists)) > 0)
