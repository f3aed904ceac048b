"""Texts and turns that cases of other kinds are made of, and the same rows in other formats."""

from __future__ import annotations

from typing import Any

from casebook import Case, Wanted, twins_of

DOMAIN = ("--domain", "chat")
Q, Q2 = "中国的首都是哪里？", "水的沸点是多少？"
A, B, C = "是北京。", "是上海。", "不知道。"
U, V = {"role": "user", "content": Q}, {"role": "assistant", "content": "您问的是今天吗？"}
W = {"role": "user", "content": "是的，今天。"}
S = {"role": "system", "content": "请简短回答。"}
THREE = (("user", Q), ("assistant", "您问的是今天吗？"), ("user", "是的，今天。"))
SYSTEM = ("system", "请简短回答。")
BEIJING = {"type": "function", "function": {"name": "capital", "arguments": '{"country": "中国"}'}}


def says(text: str, role: str = "assistant") -> dict[str, str]:
    return {"role": role, "content": text}


def gpt(text: str, sender: str = "gpt") -> dict[str, str]:
    return {"from": sender, "value": text}


def sides(verdict: Any, name: str = "winner", first: str = "response_a", second: str = "response_b") -> dict[str, Any]:
    return {"prompt": Q, first: A, second: B, name: verdict}


def winner(*verdicts: Any, name: str = "winner", first: str = "response_a", second: str = "response_b") -> list[Any]:
    """A row a verdict, each about a query of its own."""
    return [sides(one, name, first, second) | {"prompt": f"{Q}{at}"} for at, one in enumerate(verdicts)]


def told(*by: float | None) -> tuple[Wanted, ...]:
    """How much the first of each of those rows is better; None where nothing was said."""
    return tuple(Wanted(f"{Q}{at}", (A, B), () if one is None else ((A, B, one),)) for at, one in enumerate(by))


def in_other_formats(kinds: dict[str, Case]) -> list[tuple[str, str]]:
    """Each case whose rows other formats can hold, with each of those formats."""
    return [
        (about, kind) for about, case in kinds.items() if isinstance(case.rows, list) for kind in twins_of(case.rows)
    ]
