"""The ledger's file: its tables, the states of a request, and what its rows are called in Python.

requests  one row per request that was ever sent: answered, invalid, failed, open while it is in
          flight, batched while it is out in a batch file; the body as it came
attempts  one row per time that a request was sent, also those that came to nothing
queries   the queries of the run, and which of them passed; dropped: the others, as JSON
meta      what the queries were made from; the layout's version
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LEDGER = "ledger.sqlite"
LOCK = ".lock"
VERSION = 1
OPEN, BATCHED, ANSWERED, INVALID, FAILED = "open", "batched", "answered", "invalid", "failed"

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
    key BLOB PRIMARY KEY, endpoint TEXT NOT NULL, kind TEXT NOT NULL, domain TEXT NOT NULL, query_id TEXT NOT NULL,
    author TEXT, ask INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT, score REAL, characters INTEGER NOT NULL,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost INTEGER NOT NULL DEFAULT 0, at REAL, finish TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, endpoint TEXT NOT NULL, at REAL NOT NULL, tokens INTEGER NOT NULL,
    bound INTEGER NOT NULL, outcome TEXT, seconds REAL, detail TEXT);
CREATE INDEX IF NOT EXISTS attempts_open ON attempts (id) WHERE outcome IS NULL;
CREATE TABLE IF NOT EXISTS queries (
    place INTEGER PRIMARY KEY, query_id TEXT UNIQUE NOT NULL, domain TEXT NOT NULL, query TEXT NOT NULL, source TEXT,
    passed INTEGER);
CREATE TABLE IF NOT EXISTS dropped (place INTEGER PRIMARY KEY, reason TEXT NOT NULL, line TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_PART = 10**6


class Entry(NamedTuple):
    """A request as it is entered: `ask` counts from 0, `characters` are those of its messages."""

    key: bytes
    endpoint: str
    kind: str
    domain: str
    query_id: str
    author: str | None
    ask: int
    characters: int


class Entered(NamedTuple):
    """What is known of a request that is in the ledger, before its answer is read."""

    endpoint: str
    kind: str
    domain: str
    query_id: str
    author: str | None
    state: str
    characters: int


class Answer(NamedTuple):
    """What the ledger knows of a request.

    Attributes:
        state: open, batched, answered, invalid or failed.
        reason: why it is invalid or failed.
        score: of a judgement that is answered.
        body: the raw JSON as it came; None where nothing did.
    """

    state: str
    reason: str | None
    score: float | None
    body: str | None


class Taken(NamedTuple):
    """An answer as it is written down: `state` answered or invalid; `cost` in 1/MONEY."""

    state: str
    reason: str | None
    score: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: int
    finish: str | None
    body: str


class FromBatch(NamedTuple):
    """What a batch file brought for a request: an answer, or why there is none."""

    key: bytes
    endpoint: str
    answer: Taken | None
    why: str


class Judged(NamedTuple):
    """A stored answer with what was read in it."""

    key: bytes
    endpoint: str
    kind: str
    domain: str
    query_id: str
    author: str | None
    state: str
    reason: str | None
    score: float | None
    body: str


class Reading(NamedTuple):
    """What is read in a stored answer from now on."""

    key: bytes
    state: str
    reason: str | None
    score: float | None


class Query(NamedTuple):
    """A query of the run; `passed` is None until its quality is known."""

    place: int
    query_id: str
    domain: str
    query: str
    source: str | None
    passed: int | None


class Dropped(NamedTuple):
    """A query that is not of the run: a line of JSON that says why."""

    reason: str
    line: str


class RequestTotals(NamedTuple):
    """Requests of one endpoint, kind, state and ask: how many, how many cut off, and their cost in 1/MONEY."""

    endpoint: str
    kind: str
    state: str
    ask: int
    number: int
    finish: str | None
    cost: int


class AttemptTotals(NamedTuple):
    """Attempts at one endpoint with one outcome (None: in flight), and the most that they may have cost."""

    endpoint: str
    outcome: str | None
    number: int
    bound: int


class UsageTotals(NamedTuple):
    """Answers of one endpoint and kind that say what they took: how many, and sums over them."""

    endpoint: str
    kind: str
    number: int
    prompt_tokens: int
    characters: int
    completion_tokens: int


class RecentAnswers(NamedTuple):
    """How many answers an endpoint gave, and when the first of them came (Unix time)."""

    endpoint: str
    number: int
    first: float


class StateTotals(NamedTuple):
    """How many requests of a kind are in a state for a reason."""

    state: str
    reason: str | None
    number: int


def request_key(
    endpoint: str, model: str, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], ask: int
) -> bytes:
    """The 32 bytes by which a request is known."""
    content = [endpoint, model, list(messages), parameters, ask]
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def sum_of(column: str) -> str:
    """SQL for a sum of money, as two columns for `whole_sum`: in one, SQLite's whole numbers could overflow."""
    return f"COALESCE(SUM({column} / {_PART}), 0), COALESCE(SUM({column} % {_PART}), 0)"


def whole_sum(high: int, low: int) -> int:
    """The sum that `sum_of` asked for."""
    return high * _PART + low
