"""What a chat completion says, and whether it can be used."""

from __future__ import annotations

import json
from typing import NamedTuple

from coig_p.ingest.values import Rejected, text_at

_MOST_TOKENS = 2**22  # more than any model's context: a server that claims more is not believed


class Message(NamedTuple):
    """What a body says: the text (None where there is none), why it ended, and tokens where it says."""

    text: str | None
    finish: str | None
    refusal: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


def read_body(body: str) -> Message:
    """A chat completion's first choice; raise ValueError where the body is none."""
    try:
        value = json.loads(body)
        choice = value["choices"][0]
        message = choice["message"]
        text = message.get("content")
        usage = value.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        finish, refusal = choice.get("finish_reason"), message.get("refusal")
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no choices[0].message: {error!r}") from None
    if text is not None and not isinstance(text, str):
        raise ValueError("choices[0].message.content is not text")
    tokens = [count if isinstance(count, int) and 0 <= count <= _MOST_TOKENS else None for count in counts]
    ended = encodable(finish) if isinstance(finish, str) else None
    return Message(text, ended, refusal if isinstance(refusal, str) else None, *tokens)


def usable_text(message: Message) -> tuple[str | None, str | None]:
    """A message's text, or why it has none: refusal, empty, or not storable as UTF-8."""
    if message.text is None and message.refusal:
        return None, "refusal"
    if message.finish == "content_filter":
        return None, "refusal"
    try:
        return text_at({"text": message.text or ""}, "text"), None
    except Rejected as rejected:
        return None, "empty" if rejected.reason == "blank" else rejected.reason


def encodable(text: str) -> str:
    """With a question mark for half a surrogate pair, which no file takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def json_bytes(value: object) -> bytes:
    """A value as JSON in UTF-8; where it has half a surrogate pair, that and all beyond ASCII is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
