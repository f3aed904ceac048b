"""Conversations that are exported, with tools and without, and their rows by the query that each is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conversations import as_json, turn
from exporting import rows_of

from coig_p.export.write import ExportConfig, export_store
from coig_p.pairs.config import PairConfig
from coig_p.store.conversations import transcript

Row = dict[str, Any]
CALLS = [{"id": "c1", "type": "function", "function": {"name": "查天气", "arguments": '{"城": "杭州"}'}}]
TWO_CALLS = [*CALLS, {"function": {"name": "now", "arguments": ""}}]
TOOLS = as_json([{"type": "function", "function": {"name": "查天气"}}])
SYSTEM = "你是一个有用的助手。"


def answers(*good_extra: Row) -> list[Row]:
    found = []
    for model, text, score in (("a", "好的回答。", 9.0), ("b", "坏的回答。", 2.0)):
        scores = [{"judge": "j", "dimension": "overall", "score": score}]
        found.append({"model": model, "sample": 0, "text": text, "extra": None, "scores": scores})
    for extra in good_extra:
        found[0] |= {"text": "", "extra": as_json(extra)}
    return found


def raw(query_id: str, messages: list[Row] | None, *good_extra: Row, **fields: Any) -> Row:
    query = transcript(messages) if messages else f"问题{query_id}"
    own = {"query_id": query_id, "domain": "chat", "query": query, "messages": messages, "tools": None}
    return own | {"responses": answers(*good_extra)} | fields


ONE = raw("one", None)
MANY = raw("many", [turn("system", "自己的"), turn("user", "一"), turn("assistant", "二"), turn("user", "三")])
NO_SYSTEM = raw("no-system", [turn("user", "一"), turn("assistant", "二"), turn("user", "三")])
WITH_TOOLS = raw(
    "tools",
    [
        turn("user", "杭州天气？"),
        turn("assistant", "", tool_calls=CALLS),
        turn("tool", "晴", tool_call_id="c1"),
        turn("assistant", "晴。"),
        turn("user", "几点？"),
    ],
    {"tool_calls": TWO_CALLS, "kept": 1},
    tools=TOOLS,
)
TEXT_ROWS = [ONE, MANY, NO_SYSTEM]
ALL_ROWS = [*TEXT_ROWS, WITH_TOOLS]


def export(store: Path, out: Path, trainer: str, multi_turn: str | None = None, **options: Any) -> dict[str, Row]:
    """The rows of an export by their query_id."""
    conversational = trainer.startswith("trl-") and multi_turn not in ("text", "last")
    options = {"conversational": conversational, **options}
    export_store(store, out, ExportConfig(trainer, PairConfig(multi_turn=multi_turn), **options))
    found = rows_of(out)
    return {row["query_id"] + ("-bad" if False in (row.get("label"), row.get("kto_tag")) else ""): row for row in found}
