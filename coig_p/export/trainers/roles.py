"""Tool calls as turns with a role of their own, which some trainers read instead of fields of a message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

Message = Mapping[str, Any]
CALL, RESULT = "call", "result"
"""Who speaks, beside ROLES: an assistant that calls tools, and a tool that answers."""


class NotShown(ValueError):
    """What a message holds and turns of role and text cannot."""


def calls_of(message: Message) -> list[str]:
    """The tool calls of a message, each as JSON text of its name and arguments.

    Raises:
        NotShown: arguments that are not a JSON object.
    """
    return [json.dumps(_call(call["function"]), ensure_ascii=False) for call in message.get("tool_calls") or []]


def in_order(messages: Sequence[Message]) -> list[Message]:
    """The messages, with the results of tools in the order of their calls: without ids it is the order that says
    which result is of which call.

    Raises:
        NotShown: an order cannot say it, or a tool's name is not that of its call.
    """
    found: list[Message] = []
    pending: list[Message] = []
    for are_results, some in groupby(messages, lambda message: bool(message["role"] == "tool")):
        group = list(some)
        if are_results:
            found += _results(pending, group)
            pending = pending[len(group) :]
            continue
        found += group
        for message in group:
            pending = message.get("tool_calls") or pending
    return found


def _results(calls: Sequence[Message], results: list[Message]) -> list[Message]:
    ids, told = [call.get("id") for call in calls], [result.get("tool_call_id") for result in results]
    if len(calls) > 1 and any([*ids, *told]):  # with no id at all, their order is all that is known
        known = [one is not None and ids.count(one) == 1 for one in told]
        places = [ids.index(one) if ok else -1 for one, ok in zip(told, known, strict=True)]
        if sorted(places) != list(range(len(results))):
            raise NotShown("has results of tools whose tool_call_id does not put them in the order of their calls")
        results = [results[places.index(at)] for at in range(len(results))]
    elif len(calls) == 1 and any(ids[0] and one and one != ids[0] for one in told):
        raise NotShown("has a tool's result whose tool_call_id is not that of its call")
    for at, result in enumerate(results):
        call = calls[min(at, len(calls) - 1)] if calls else None
        if result.get("name") and (call is None or call["function"]["name"] != result["name"]):
            raise NotShown("has a tool's name that is not that of its call")
    return results


def check_message(message: Message) -> None:
    """Raise NotShown where a message has what is neither text nor a call; of ids and names of tools see `in_order`."""
    if message.get("reasoning_content"):
        raise NotShown("has a turn with reasoning_content")
    if message.get("name") and message["role"] != "tool":
        raise NotShown("has a turn with a name")


def _call(function: Message) -> dict[str, Any]:
    text = function["arguments"]
    try:
        arguments = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise NotShown("calls a tool with arguments that are no JSON object")
    return {"name": function["name"], "arguments": arguments}
