"""Generated conversations as raw rows, and what each should look like as message lists, spelled out in plain Python."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from coig_p.store.conversations import transcript

Row = dict[str, Any]

_TEXTS = st.sampled_from(["你好", "1+1？", "user: hi\n\nassistant: yo", " 空格 ", "\u00e9", "换\n行", "x" * 50])
_ARGUMENTS = st.sampled_from(['{"a": 1}', "{}", '{"城市": "杭州", "天": [1, 2]}'])
_NAMES = st.sampled_from(["get_weather", "搜索"])


def as_json(value: Any) -> str:
    """JSON text as a store has it."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def turn(role: str, content: str, **extra: Any) -> Row:
    """A turn as it is stored."""
    return {"role": role, "content": content, "extra": as_json(extra) if extra else None}


@st.composite
def calls(draw: st.DrawFn) -> list[Row]:
    """One or two tool calls, as an assistant's message has them."""
    found = []
    for at in range(draw(st.integers(1, 2))):
        call: Row = {"function": {"name": draw(_NAMES), "arguments": draw(_ARGUMENTS)}}
        if draw(st.booleans()):
            call |= {"id": f"call-{at}", "type": "function"}
        found.append(call)
    return found


@st.composite
def turns(draw: st.DrawFn, tools: bool) -> list[Row]:
    """The turns before a response: perhaps a system prompt, then users, assistants and tools in any order that ends
    in a user or a tool.
    """
    found = [turn("system", draw(_TEXTS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        found.append(turn("user", draw(_TEXTS)))
        if tools and draw(st.booleans()):
            asked = draw(calls())
            found.append(turn("assistant", draw(st.sampled_from(["", "我查一下"])), tool_calls=asked))
            found += [turn("tool", draw(_TEXTS), tool_call_id=call["id"]) for call in asked if "id" in call]
        thought = {"reasoning_content": draw(_TEXTS)} if tools and draw(st.booleans()) else {}
        found.append(turn("assistant", draw(_TEXTS), **thought))
    return [*found, turn("user", draw(_TEXTS), **({"name": "小明"} if tools and draw(st.booleans()) else {}))]


@st.composite
def conversation_rows(draw: st.DrawFn, *, tools: bool = True, most_queries: int = 4) -> list[Row]:
    """Raw rows of which some are one user's text, some conversations, and with `tools` some that hold them."""
    rows = []
    for number in range(draw(st.integers(1, most_queries))):
        own = draw(turns(tools)) if draw(st.booleans()) else None
        responses = []
        for at in range(draw(st.integers(2, 3))):
            extra: Row = {"temperature": 1} if draw(st.booleans()) else {}
            text = f"回答{at}" * draw(st.integers(1, 3))
            if tools and draw(st.integers(0, 3)) == 0:
                extra |= {"tool_calls": [*draw(calls()), {"function": {"name": f"f{at}", "arguments": "{}"}}]}
                text = draw(st.sampled_from(["", text]))
            if tools and draw(st.integers(0, 3)) == 0:
                extra["reasoning_content"] = "想一想"
            scores = [{"judge": "j", "dimension": "overall", "score": float(2 + 3 * at)}]
            kept = as_json(extra) if extra else None
            responses.append({"model": f"m{at}", "sample": 0, "text": text, "extra": kept, "scores": scores})
        defined = [{"type": "function", "function": {"name": "get_weather"}}]
        rows.append(
            {
                "query_id": f"q{number}",
                "domain": draw(st.sampled_from(["math", "chat"])),
                "query": transcript(own) if own else draw(_TEXTS),
                "messages": own,
                "tools": as_json(defined) if tools and draw(st.booleans()) else None,
                "responses": responses,
            }
        )
    return sorted(rows, key=lambda row: row["domain"])


def has_more(response: Row) -> bool:
    extra = json.loads(response["extra"] or "{}")
    return bool(extra.get("tool_calls") or extra.get("reasoning_content"))


def is_conversation(row: Row) -> bool:
    return bool(row["messages"] or row["tools"] or any(map(has_more, row["responses"])))


def holds_more(row: Row) -> bool:
    return bool(
        row["tools"] or any(map(has_more, row["responses"])) or any(one["extra"] for one in row["messages"] or [])
    )


def message(role: str, content: str, extra: Row | None, with_tools: bool) -> Row:
    """A message as a loaded row has it."""
    if not with_tools:
        return {"role": role, "content": content}
    extra = extra or {}
    asked = [
        {"id": call.get("id"), "type": call.get("type"), "function": call["function"]}
        for call in extra.get("tool_calls") or []
    ]
    return {
        "role": role,
        "content": content,
        "reasoning_content": extra.get("reasoning_content"),
        "tool_calls": asked or None,
        "tool_call_id": extra.get("tool_call_id"),
        "name": extra.get("name"),
    }


def prompt_of(row: Row, with_tools: bool) -> list[Row]:
    own = row["messages"] or [turn("user", row["query"])]
    return [message(one["role"], one["content"], json.loads(one["extra"] or "null"), with_tools) for one in own]


def answer_of(response: Row, with_tools: bool) -> list[Row]:
    extra = json.loads(response["extra"] or "{}")
    own = {name: extra[name] for name in ("tool_calls", "reasoning_content") if name in extra}
    return [message("assistant", response["text"], own, with_tools)]


def conversational_pairs(rows: list[Row], with_tools: bool) -> list[Row]:
    """Every pair at threshold 2 of rows whose later responses score higher, as format="conversational" gives it."""
    found = []
    for row in rows:
        answers = row["responses"]
        for low in range(len(answers)):
            for high in range(low + 1, len(answers)):
                pair = {
                    "prompt": prompt_of(row, with_tools),
                    "chosen": answer_of(answers[high], with_tools),
                    "rejected": answer_of(answers[low], with_tools),
                    "query_id": row["query_id"],
                    "domain": row["domain"],
                }
                found.append(pair | ({"tools": row["tools"]} if with_tools else {}))
    return found
