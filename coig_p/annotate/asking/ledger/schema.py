"""The ledger's file: its tables, the states of a request, and what its rows are called in Python.

requests  one row per request that was ever sent: answered, invalid, failed, open while it is in
          flight, batched while it is out in a batch file; the body as it came (see `bodies`)
attempts  one row per time that a request was sent, also those that came to nothing
recipes   with what requests were made: prompt, parameters and model, as a task tells them
totals    requests counted and summed; tried: attempts. Triggers keep them in every transaction that
          changes a request or an attempt, so that no reader has to go over millions of rows. What is
          open is left out: it is few rows that an index finds (see `COUNTED`), and it would be counted
          under two states within a second
batches   files of requests that are out at a server; batched: which requests are in which
queries   the queries of the run, and which of them passed; dropped: the others, as JSON
concluded queries whose requests all have an outcome that stays, each with the mark of what made them
meta      what the queries were made from, and the store; the layout's version
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LEDGER = "ledger.sqlite"
LOCK = ".lock"
VERSION = 3
OPEN, BATCHED, ANSWERED, INVALID, FAILED = "open", "batched", "answered", "invalid", "failed"

_PART = 10**6
_OLDEST = """
CREATE TABLE requests (
    key BLOB PRIMARY KEY, endpoint TEXT NOT NULL, kind TEXT NOT NULL, domain TEXT NOT NULL, query_id TEXT NOT NULL,
    author TEXT, ask INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT, score REAL, characters INTEGER NOT NULL,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost INTEGER NOT NULL DEFAULT 0, at REAL, finish TEXT, body);
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL, endpoint TEXT NOT NULL, at REAL NOT NULL, tokens INTEGER NOT NULL,
    bound INTEGER NOT NULL, outcome TEXT, seconds REAL, detail TEXT);
CREATE INDEX attempts_open ON attempts (id) WHERE outcome IS NULL;
CREATE TABLE queries (
    place INTEGER PRIMARY KEY, query_id TEXT UNIQUE NOT NULL, domain TEXT NOT NULL, query TEXT NOT NULL, source TEXT,
    passed INTEGER);
CREATE TABLE dropped (place INTEGER PRIMARY KEY, reason TEXT NOT NULL, line TEXT NOT NULL);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_SAME = "endpoint, kind, domain, recipe, state, ask, finish"
_SUMS = ("number", "high", "low", "told", "prompt_tokens", "characters", "completion_tokens")


def _counted(row: str, sign: str) -> str:
    """SQL that adds a row of `requests` to its totals, or takes it away."""
    told = f"({row}.prompt_tokens IS NOT NULL AND {row}.completion_tokens IS NOT NULL)"
    sums = ["1", f"{row}.cost / {_PART}", f"{row}.cost % {_PART}", told]
    sums += [f"{told} * COALESCE({row}.{name}, 0)" for name in _SUMS[4:]]
    return f"""INSERT INTO totals VALUES (
        {row}.endpoint, {row}.kind, {row}.domain, COALESCE({row}.recipe, 0), {row}.state, {row}.ask,
        COALESCE({row}.finish, ''), {", ".join(f"{sign}({each})" for each in sums)})
    ON CONFLICT ({_SAME}) DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS)};"""


def _tried(row: str, sign: str) -> str:
    """The same for `attempts`."""
    sums = [f"{sign}({each})" for each in ("1", f"{row}.bound / {_PART}", f"{row}.bound % {_PART}")]
    return f"""INSERT INTO tried VALUES ({row}.endpoint, COALESCE({row}.outcome, ''), {", ".join(sums)})
    ON CONFLICT (endpoint, outcome) DO UPDATE
        SET number = number + excluded.number, high = high + excluded.high, low = low + excluded.low;"""


def _summed(table: str, recipe: str) -> str:
    """SQL for rows of a table, summed as `totals` has them; what follows it says which, and groups them."""
    told = "(prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL)"
    sums = ["COUNT(*)", f"SUM(cost / {_PART})", f"SUM(cost % {_PART})", f"SUM({told})"]
    sums += [f"SUM({told} * COALESCE({name}, 0))" for name in _SUMS[4:]]
    about = f"endpoint, kind, domain, {recipe}, state, ask, COALESCE(finish, '')"
    return f"SELECT {about}, {', '.join(sums)} FROM {table}"


_TRIED = f"SELECT endpoint, COALESCE(outcome, ''), COUNT(*), SUM(bound / {_PART}), SUM(bound % {_PART})"
_SUMMED = f"""
CREATE {{temp}} TABLE recipes (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, domain TEXT NOT NULL, endpoint TEXT NOT NULL, text TEXT NOT NULL,
    UNIQUE (kind, domain, endpoint, text));
CREATE {{temp}} TABLE totals (
    endpoint TEXT NOT NULL, kind TEXT NOT NULL, domain TEXT NOT NULL, recipe INTEGER NOT NULL, state TEXT NOT NULL,
    ask INTEGER NOT NULL, finish TEXT NOT NULL, {", ".join(f"{name} INTEGER NOT NULL" for name in _SUMS)},
    PRIMARY KEY ({_SAME})) WITHOUT ROWID;
CREATE {{temp}} TABLE tried (
    endpoint TEXT NOT NULL, outcome TEXT NOT NULL, number INTEGER NOT NULL, high INTEGER NOT NULL, low INTEGER NOT NULL,
    PRIMARY KEY (endpoint, outcome)) WITHOUT ROWID;
CREATE {{temp}} TABLE batches (
    name TEXT PRIMARY KEY, endpoint TEXT NOT NULL, id TEXT, number INTEGER NOT NULL, high INTEGER NOT NULL,
    low INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE {{temp}} TABLE batched (key BLOB PRIMARY KEY, batch TEXT NOT NULL) WITHOUT ROWID;
CREATE {{temp}} TABLE concluded (query_id TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO totals {_summed("main.requests", "0")} WHERE state <> 'open' GROUP BY 1, 2, 3, 4, 5, 6, 7;
INSERT INTO tried {_TRIED} FROM main.attempts WHERE outcome IS NOT NULL GROUP BY 1, 2;
"""

COUNTED = f"""(
SELECT * FROM totals WHERE state <> 'open' UNION ALL
{_summed("requests", "COALESCE(recipe, 0)")} WHERE state = 'open' GROUP BY 1, 2, 3, 4, 5, 6, 7)"""
TRIED = f"""(
SELECT * FROM tried WHERE outcome <> '' UNION ALL {_TRIED} FROM attempts WHERE outcome IS NULL GROUP BY 1, 2)"""
"""All requests and all attempts counted, for what reads them. Version 2 had open ones in its totals too."""

_TRIGGERS = f"""
CREATE TRIGGER request_comes AFTER INSERT ON requests WHEN NEW.state <> 'open' BEGIN {_counted("NEW", "+")} END;
CREATE TRIGGER request_goes AFTER DELETE ON requests WHEN OLD.state <> 'open' BEGIN {_counted("OLD", "-")} END;
CREATE TRIGGER request_was AFTER UPDATE ON requests WHEN OLD.state <> 'open' BEGIN {_counted("OLD", "-")} END;
CREATE TRIGGER request_is AFTER UPDATE ON requests WHEN NEW.state <> 'open' BEGIN {_counted("NEW", "+")} END;
CREATE TRIGGER attempt_comes AFTER INSERT ON attempts WHEN NEW.outcome IS NOT NULL BEGIN {_tried("NEW", "+")} END;
CREATE TRIGGER attempt_goes AFTER DELETE ON attempts WHEN OLD.outcome IS NOT NULL BEGIN {_tried("OLD", "-")} END;
CREATE TRIGGER attempt_was AFTER UPDATE ON attempts WHEN OLD.outcome IS NOT NULL BEGIN {_tried("OLD", "-")} END;
CREATE TRIGGER attempt_is AFTER UPDATE ON attempts WHEN NEW.outcome IS NOT NULL BEGIN {_tried("NEW", "+")} END;
INSERT OR REPLACE INTO meta VALUES ('version', '{VERSION}');
"""

_FROM_1 = f"""
ALTER TABLE requests ADD COLUMN recipe INTEGER;
ALTER TABLE queries ADD COLUMN messages TEXT;
ALTER TABLE queries ADD COLUMN license TEXT;
ALTER TABLE queries ADD COLUMN original TEXT;
CREATE INDEX requests_open ON requests (key) WHERE state = 'open';
CREATE INDEX requests_batched ON requests (key) WHERE state = 'batched';
{_SUMMED.format(temp="")} {_TRIGGERS}
"""
_FROM_2 = f"""
DROP TRIGGER request_comes;
DROP TRIGGER request_goes;
DROP TRIGGER request_changes;
DROP TRIGGER attempt_comes;
DROP TRIGGER attempt_goes;
DROP TRIGGER attempt_changes;
DELETE FROM totals WHERE state = 'open';
DELETE FROM tried WHERE outcome = '';
{_TRIGGERS}
"""
UPGRADES = {1: _FROM_1, 2: _FROM_2}
"""For each older version SQL that makes this one of it, in a transaction. Texts stay as they are: see `bodies`."""

CREATE = f"{_OLDEST} {_FROM_1}"
"""SQL that makes an empty ledger."""

READ_OLD = f"""
{_SUMMED.format(temp="TEMP")}
CREATE TEMP VIEW requests AS SELECT *, NULL AS recipe FROM main.requests;
CREATE TEMP VIEW queries AS SELECT *, NULL AS messages, NULL AS license, NULL AS original FROM main.queries;
"""
"""SQL with which one connection reads version 1 as if it were of today; the file stays as it is."""


class Entry(NamedTuple):
    """A request as it is entered: `ask` counts from 0, `characters` are those of its messages.

    `recipe` says with what it was made: see `asking.request.Request`.
    """

    key: bytes
    endpoint: str
    kind: str
    domain: str
    query_id: str
    author: str | None
    ask: int
    characters: int
    recipe: str = ""


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


class Batch(NamedTuple):
    """A file of requests that is out at a server.

    Attributes:
        name: ours, by which it is known again.
        id: the server's; None where it is not known whether the server has it.
        number: of its requests; bound: the most that they may cost in all, in 1/MONEY.
        at: when it was made, in Unix time.
    """

    name: str
    endpoint: str
    id: str | None
    number: int
    bound: int
    at: float


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


class Told(NamedTuple):
    """A request with all that is known of it; `cost` in 1/MONEY, `at` Unix time, `body` the raw JSON as it came.

    An `ask` below 0 was set aside, so that the request could be asked anew: -1 was the first.
    """

    query_id: str
    domain: str
    author: str | None
    endpoint: str
    ask: int
    state: str
    reason: str | None
    score: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: int
    finish: str | None
    at: float | None
    body: str | None


class Paid(NamedTuple):
    """What an answer was to: `recipe` as `Entry` has it."""

    kind: str
    query_id: str
    author: str | None
    endpoint: str
    score: float | None
    recipe: str


class Reading(NamedTuple):
    """What is read in a stored answer from now on."""

    key: bytes
    state: str
    reason: str | None
    score: float | None


class Query(NamedTuple):
    """A query of the run.

    Attributes:
        query: as people read it.
        passed: None until its quality is known.
        messages: of a conversation its turns, as JSON with role and content; None for one user's text.
        license: of its source, where that is known for this query.
        original: what it was translated from.
    """

    place: int
    query_id: str
    domain: str
    query: str
    source: str | None
    passed: int | None
    messages: str | None = None
    license: str | None = None
    original: str | None = None

    @property
    def turns(self) -> tuple[Mapping[str, str], ...]:
        """What is asked, as the messages of a chat."""
        return ({"role": "user", "content": self.query},) if self.messages is None else tuple(json.loads(self.messages))

    @property
    def shown(self) -> str | tuple[Mapping[str, str], ...]:
        """What fills a slot of a prompt: the text, or the turns of a conversation."""
        return self.query if self.messages is None else self.turns


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


class RecipeTotals(NamedTuple):
    """Requests of one kind, domain, endpoint and recipe that are in one state: how many, and their cost in 1/MONEY.

    `recipe` is "" of requests that version 1 of the ledger had.
    """

    kind: str
    domain: str
    endpoint: str
    recipe: str
    state: str
    number: int
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


class InvalidTotals(NamedTuple):
    """Answers of one endpoint and kind to a first ask (0), a second one ...: how many, and those that are invalid."""

    endpoint: str
    kind: str
    ask: int
    number: int
    invalid: int


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


_JSON = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"))


def request_key(
    endpoint: str, model: str, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], ask: int
) -> bytes:
    """The 32 bytes by which a request is known."""
    content = [endpoint, model, list(messages), parameters, ask]
    return hashlib.sha256(_JSON.encode(content).encode()).digest()


def parts(money: int) -> tuple[int, int]:
    """A sum of money as two columns have it: see `whole_sum`."""
    return divmod(money, _PART)


def whole_sum(high: int, low: int) -> int:
    """A sum of money that is kept in two columns: in one, SQLite's whole numbers could overflow."""
    return high * _PART + low
