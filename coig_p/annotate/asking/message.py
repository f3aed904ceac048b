"""What a chat completion says, and whether it can be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from coig_p.core.thinking import told
from coig_p.ingest.values import Rejected, text_at

_MOST_TOKENS = 2**22  # more than any model's context: a server that claims more is not believed


_MOST_DIGITS = 640  # of a whole number; Python reads so many wherever it is
_WHOLE = frozenset({"stop", "end_turn", "end-of-turn", "stop_sequence", "eos", "eos_token"})
"""Reasons to finish by which an answer is whole. Any other, also one that nobody knows, cut it."""


def cut(finish: str | None) -> str | None:
    """A reason to finish, where it cuts an answer; None where the answer is whole, or no reason is given."""
    return None if finish is None or finish.lower() in _WHOLE else finish


class Message(NamedTuple):
    """What a body says: the text (None where there is none), why it ended, and tokens where it says.

    Attributes:
        reasoning: what the model thought, where the server tells it apart from the text.
        cached_tokens: those of the prompt that the server had at hand.
        beyond: the usage names more tokens than any model has; none of it is believed.
    """

    text: str | None
    finish: str | None
    refusal: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    reasoning: str | None = None
    cached_tokens: int = 0
    beyond: bool = False

    @property
    def cut(self) -> str | None:
        """Why the text is not whole, as the server calls it; None where it is."""
        return cut(self.finish)


class Usage(NamedTuple):
    """Tokens as a server counts them: see `Message`."""

    prompt: int | None = None
    answer: int | None = None
    cached: int = 0
    beyond: bool = False


def read_body(body: str) -> Message:
    """A chat completion's first choice, or an answer with vectors; raise ValueError where the body is neither."""
    value = read_json(body)
    return read_embeddings(value) if _are_vectors(value) else read_value(value)


def read_json(body: str) -> Any:
    """The value of a body, which may begin with a byte order mark; raise ValueError where it is not JSON."""
    try:
        return _READER.decode(body.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("JSON of too many levels") from None


def _whole_number(digits: str) -> int | float:
    """Infinity where there are more digits than Python reads, as where a real number is too large."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


_READER = json.JSONDecoder(parse_int=_whole_number)


def read_value(value: Any) -> Message:
    """The same of JSON that is read already."""
    try:
        choice = value["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        usage = usage_of(value)
        finish = choice.get("finish_reason")
        reasoning = message.get("reasoning_content", message.get("reasoning"))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"no choices[0].message: {error!r}") from None
    parts = parts_of(content)
    thought = reasoning if isinstance(reasoning, str) else None
    ended = None if finish in (None, "") else encodable(finish if isinstance(finish, str) else json.dumps(finish))
    return Message(
        parts.text,
        ended,
        refusal if isinstance(refusal, str) else parts.refusal,
        usage.prompt,
        usage.answer,
        thought if parts.thinking is None else parts.thinking if thought is None else f"{thought}\n{parts.thinking}",
        usage.cached,
        usage.beyond,
    )


def _are_vectors(value: Any) -> bool:
    return isinstance(value, dict) and "choices" not in value and isinstance(value.get("data"), list)


def read_embeddings(value: Any) -> Message:
    """An answer with vectors, whose text is JSON of each one's index and what it is; raise ValueError where it is none.

    Whether they are what was asked for, `embeddings.vectors_in` says: what was paid is kept, whatever is in it.
    """
    if not _are_vectors(value):
        raise ValueError("no data: a list of embeddings")
    usage = usage_of(value)
    listed = [
        [one.get("index"), one.get("embedding")] if isinstance(one, dict) else [None, one] for one in value["data"]
    ]
    return Message(json.dumps(listed), None, None, usage.prompt, 0, beyond=usage.beyond)


class Parts(NamedTuple):
    """What a content holds, by what it is; None where there is nothing of a kind."""

    text: str | None = None
    thinking: str | None = None
    refusal: str | None = None


def parts_of(content: Any) -> Parts:
    """A content in whatever form: text, nothing, or a list of parts; raise ValueError where it holds anything else."""
    if content is None or isinstance(content, str):
        return Parts(content)
    found: dict[str, list[str]] = {}
    for part in content if isinstance(content, list) else [content]:
        kind, text = _part(part)
        found.setdefault(kind, []).append(text)
    joined = {kind: "".join(texts) for kind, texts in found.items()}
    return Parts(joined.get("text"), joined.get("thinking"), joined.get("refusal"))


def _part(part: Any) -> tuple[str, str]:
    """What kind a part is of, and its text."""
    if isinstance(part, str):
        return "text", part
    if isinstance(part, dict):
        kind = part.get("type", "text")
        if kind in ("text", "output_text") and isinstance(part.get("text"), str):
            return "text", part["text"]
        if kind == "refusal" and isinstance(part.get("refusal"), str):
            return "refusal", part["refusal"]
        if kind in ("thinking", "reasoning", "reasoning_text", "redacted_thinking", "summary_text"):
            inner = next((part[name] for name in ("thinking", "text", "reasoning", "summary") if name in part), "")
            return "thinking", inner if isinstance(inner, str) else parts_of(inner).text or ""
        raise ValueError(f"choices[0].message.content has a part that is not text: {str(kind)[:40]}")
    raise ValueError("choices[0].message.content is not text")


def usage_of(value: Mapping[str, Any]) -> Usage:
    """What a chat completion says that it took.

    What a model thought counts as its answer, also where a server adds it only to the total.
    """
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return Usage()
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    answer = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    details = usage.get("prompt_tokens_details", usage.get("input_tokens_details"))
    cached = _count(details if isinstance(details, dict) else {}, "cached_tokens")
    if cached is None:
        cached = _count(usage, "prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
    if max(prompt or 0, answer or 0, total or 0) > _MOST_TOKENS:
        return Usage(beyond=True)
    if prompt is not None and answer is not None and total is not None:
        answer = max(answer, total - prompt)
    return Usage(prompt, answer, min(cached or 0, prompt or 0))


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    """The first of some names that holds a number of tokens."""
    for name in names:
        number = usage.get(name)
        if type(number) is int and number >= 0:  # as nearly all are
            return number
        if isinstance(number, (int, float)) and not isinstance(number, bool) and number >= 0 and number == number // 1:
            return int(number)
    return None


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


_JSON = json.JSONEncoder(ensure_ascii=False)


def json_bytes(value: object) -> bytes:
    """A value as JSON in UTF-8; where it has half a surrogate pair, that and all beyond ASCII is escaped."""
    try:
        return _JSON.encode(value).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
