"""Tool calls as turns with a role of their own, which some trainers read instead of fields of a message."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def check_message(message: Message) -> None:
    """Raise NotShown where a message has what is neither text nor a call; ids and names of tools say where
    calls and results belong, which their order says, too.
    """
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
