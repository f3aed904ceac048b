"""A streamed answer put together: server-sent events as one chat completion.

A stream is whole where the server said why the answer ended. One that ends before that, also with
[DONE], as gateways do whose own server was cut off, is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from coig_p.annotate.asking.message import cut, parts_of
from coig_p.annotate.asking.refusals import error_in

DONE = b"[DONE]"
DONE_LINE = re.compile(rb"[\r\n]data: ?\[DONE\]")
"""Says that nothing more comes, though the connection may stay open; `DONE` is in it."""

_DONE = DONE.decode()
_MAY_BE_WRONG = ("error", "Error", "base_resp", "Response")
_BEGINS = re.compile(r"(?:data|event|id|retry)?:")
_LINE = re.compile(r"\r\n|\n|\r")


class StreamEnded(Exception):
    """A stream ended before its answer did; the message says how, in the server's words where it said some."""


def is_stream(content_type: str, text: str) -> bool:
    """Whether a body is events, whatever its header says: no JSON begins as they do."""
    plain = text.lstrip("\ufeff \t\r\n")
    return _BEGINS.match(plain) is not None or (
        content_type.lower().startswith("text/event-stream") and not plain.startswith(("{", "["))
    )


def put_together(text: str) -> dict[str, Any]:
    """The events of a stream as one chat completion, or what a server said was wrong before it answered.

    Raises:
        StreamEnded: it ends before its answer, or with an error in the middle of it.
        ValueError: an event is not JSON, or no chunk of an answer.
    """
    whole: dict[str, Any] = {"object": "chat.completion"}
    written: dict[str, list[str]] = {"content": [], "reasoning_content": [], "refusal": []}
    finish: str | None = None
    usage: Any = None
    for event, data, chunk, last in _events(text.lstrip("\ufeff")):
        if data.strip() == _DONE:
            break
        if last and chunk is None:  # cut off in the middle of it
            break
        if not isinstance(chunk, dict):
            raise ValueError(f"an event of the stream is no chunk of an answer: {data[:200]}")
        if event == "error" or not chunk.get("choices") or not chunk.keys().isdisjoint(_MAY_BE_WRONG):
            problem = {"error": chunk} if event == "error" and not chunk.get("error") else chunk
            trouble = error_in(problem)
            if trouble is not None:
                if any(written.values()):  # some of it may be paid
                    raise StreamEnded(f"the stream ended with an error: {trouble.words}")
                return problem
        for name in ("id", "created", "model"):
            if name in chunk:
                whole.setdefault(name, chunk[name])
        usage = chunk.get("usage") or usage
        choices = chunk.get("choices") or []
        if not isinstance(choices, list):
            raise ValueError(f"an event of the stream is no chunk of an answer: {data[:200]}")
        for choice in choices:
            if not isinstance(choice, dict) or choice.get("index") not in (0, None):
                continue
            if choice.get("error"):
                raise StreamEnded(f"the stream ended with an error: {data[:200]}")
            usage = choice.get("usage") or usage
            _take(choice, written)
            ended = choice.get("finish_reason")
            if ended and (finish is None or not cut(finish)):
                finish = ended if isinstance(ended, str) else json.dumps(ended)
    if finish is None:
        size = sum(map(len, written["content"]))
        raise StreamEnded(f"the stream ended before its answer did, after {size:,} characters")
    message: dict[str, Any] = {"role": "assistant", "content": None}
    message |= {name: _paired("".join(parts)) for name, parts in written.items() if parts}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": finish}]
    return whole | ({} if usage is None else {"usage": usage})


def _take(choice: dict[str, Any], written: dict[str, list[str]]) -> None:
    """What a chunk adds; one that repeats all at the end, as a message, adds nothing."""
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        delta = choice.get("message") if not any(written.values()) else None
    if not isinstance(delta, dict):
        return
    parts = parts_of(delta.get("content"))
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    pieces = {
        "content": parts.text,
        "reasoning_content": reasoning if isinstance(reasoning, str) else parts.thinking,
        "refusal": delta["refusal"] if isinstance(delta.get("refusal"), str) else parts.refusal,
    }
    for name, piece in pieces.items():
        if piece:
            written[name].append(piece)


def _events(text: str) -> Iterator[tuple[str, str, Any, bool]]:
    """Each event's name, data, the JSON in it (None where it is none), and whether the text ends before it does.

    A line that is a JSON object, or [DONE], is an event of its own: servers forget the empty line between two.
    """
    name, lines = "", list[str]()
    for line in _LINE.split(text):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if lines:
                data = "\n".join(lines)
                yield name, data, _json(data), False
            name, lines = "", []
        elif field == "event":
            name = value
        elif field == "data" and value.strip():
            chunk = _json(value) if not lines and value.rstrip().endswith("}") else None
            if chunk is not None or (not lines and value.strip() == _DONE):
                yield name, value, chunk, False
            else:
                lines.append(value)
    if lines:
        data = "\n".join(lines)
        yield name, data, _json(data), True


def _json(data: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _paired(text: str) -> str:
    """With the two halves of a character joined where two events had one each."""
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
