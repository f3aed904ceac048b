"""What a chat completion says, and whether it can be used."""

from __future__ import annotations

import json
from typing import NamedTuple

from coig_p.core.thinking import told
from coig_p.ingest.values import Rejected, text_at

_MOST_TOKENS = 2**22  # more than any model's context: a server that claims more is not believed


_WHOLE = frozenset({"stop", "end_turn", "end-of-turn", "stop_sequence", "eos", "eos_token"})
"""Reasons to finish by which an answer is whole. Any other, also one that nobody knows, cut it."""


def cut(finish: str | None) -> str | None:
    """A reason to finish, where it cuts an answer; None where the answer is whole, or no reason is given."""
    return None if finish is None or finish.lower() in _WHOLE else finish


class Message(NamedTuple):
    """What a body says: the text (None where there is none), why it ended, and tokens where it says.

    Attributes:
        reasoning: what the model thought, where the server tells it apart from the text.
    """

    text: str | None
    finish: str | None
    refusal: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    reasoning: str | None = None

    @property
    def cut(self) -> str | None:
        """Why the text is not whole, as the server calls it; None where it is."""
        return cut(self.finish)


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
        reasoning = message.get("reasoning_content", message.get("reasoning"))
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no choices[0].message: {error!r}") from None
    if text is not None and not isinstance(text, str):
        raise ValueError("choices[0].message.content is not text")
    prompt, completion = (n if isinstance(n, int) and 0 <= n <= _MOST_TOKENS else None for n in counts)
    ended = encodable(finish) if isinstance(finish, str) else None
    return Message(
        text,
        ended,
        refusal if isinstance(refusal, str) else None,
        prompt,
        completion,
        reasoning if isinstance(reasoning, str) else None,
    )


def usable_text(message: Message) -> tuple[str | None, str | None]:
    """What a message says, without its thinking; or why it says nothing.

    The reasons: refusal, empty, unfinished (it was still thinking), or not storable as UTF-8.
    """
    if message.text is None and message.refusal:
        return None, "refusal"
    said = told(message.text or "").said
    if said is None:
        return None, "unfinished"
    try:
        return text_at({"text": said}, "text"), None
    except Rejected as rejected:
        return None, "empty" if rejected.reason == "blank" else rejected.reason


def thinking(message: Message) -> str:
    """What the model thought: what the server tells apart, and what stands in the text before what is said."""
    return encodable("\n".join(filter(None, [message.reasoning, told(message.text or "").thinking])))


def encodable(text: str) -> str:
    """With a question mark for half a surrogate pair, which no file takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def json_bytes(value: object) -> bytes:
    """A value as JSON in UTF-8; where it has half a surrogate pair, that and all beyond ASCII is escaped."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
