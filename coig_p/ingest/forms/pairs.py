"""Released pairs: prompt, chosen, rejected; as text, sharegpt or message lists."""

from __future__ import annotations

from typing import Any

from coig_p.ingest.fields import Fields, Shaped
from coig_p.schema import OVERALL


def pairs(row: Fields) -> Shaped:
    """A chosen and a rejected answer."""
    value = row.common()
    chosen, rejected = row.get("chosen"), row.get("rejected")
    turns: Any = None
    for name in ("conversations", "messages", "context", "query"):
        if row.has(name):
            turns = row.get(name)
            row.names["query"] = row.name(name)
            break
    else:
        # Whole conversations: what both share up to the last message is the prompt.
        row.names["query"] = row.name("chosen")
        if isinstance(chosen, list) and isinstance(rejected, list) and len(chosen) == len(rejected) > 1:
            turns = chosen[:-1] if chosen[:-1] == rejected[:-1] else None
    query = _conversation(turns)
    if row.has("input") and isinstance(query, str):
        extra = row.get("input")
        query = f"{query}\n{extra}" if isinstance(extra, str) and extra.strip() else query
    if row.has("system") and isinstance(query, str):
        system = row.get("system")
        query = f"system: {system}\n\nuser: {query}" if isinstance(system, str) and system.strip() else query
    if turns is not None:
        value["query"] = query
    value["responses"] = []
    scores = []
    for at, (name, answer, won) in enumerate((("chosen", chosen, 1.0), ("rejected", rejected, 0.0))):
        response: dict[str, Any] = {"text": _last_message(answer), "model": None}
        row.names[f"responses[{at}].text"] = row.name(name)
        row.put(response, "model", f"{name}_model", f"responses[{at}].model")
        value["responses"].append(response)
        scores.append(won)
    value["comparisons"] = [
        {
            "first": 0,
            "second": 1,
            "judge": row.judge(),
            "dimension": OVERALL,
            "first_score": scores[0],
            "second_score": scores[1],
        }
    ]
    return row.shaped(value)


def _message(turn: Any) -> tuple[Any, Any]:
    """Role and text of one message, in any of the usual spellings."""
    if not isinstance(turn, dict):
        return None, turn
    role = turn.get("role", turn.get("from"))
    role = {"human": "user", "gpt": "assistant"}.get(str(role), role)
    return role, next((turn[name] for name in ("content", "value", "text") if name in turn), None)


def _conversation(turns: Any) -> Any:
    """A prompt as text: the text alone of one user turn, else each turn with its role."""
    if not isinstance(turns, list):
        return turns
    messages = [_message(turn) for turn in turns]
    if len(messages) == 1 and messages[0][0] in (None, "user"):
        return messages[0][1]
    if not messages or not all(isinstance(text, str) for _, text in messages):
        return turns  # refused as not a string
    return "\n\n".join(f"{role or 'user'}: {text}" for role, text in messages)


def _last_message(answer: Any) -> Any:
    if isinstance(answer, list):
        return _message(answer[-1])[1] if answer else None
    return _message(answer)[1]
