"""Entries and answers of a ledger."""

from __future__ import annotations

from coig_p.annotate.asking.ledger import Entry, Taken

URL = "http://127.0.0.1:1/v1"


def entry(at: int) -> Entry:
    return Entry(bytes([at]), "e", "generate", "chat", "q", None, 0, 3)


def answer(cost: int) -> Taken:
    return Taken("answered", None, None, None, None, cost, None, "{}")
