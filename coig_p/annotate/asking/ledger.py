"""Every request and every answer, in SQLite: what was answered once is never paid again.

A request's key is the SHA-256 of its endpoint's name, model, messages and parameters and of which
ask it is (an unusable answer is asked again as a request of its own). Before a request is sent, its
attempt is committed; before its place in the queue is free again, its answer is. So a process killed
at any moment loses at most what was in flight, and the next run knows what that was. A commit is
written to the write-ahead log at once, which outlives the process, and a thread brings the log to
the disk ten times a second: a power cut may forget that long.

    requests  one row per request that was ever sent: answered, invalid, failed, open while it is in
              flight, batched while it is out in a batch file; the body as it came
    attempts  one row per time that a request was sent, also those that came to nothing
    queries   the queries of the run, and which of them passed; dropped: the others, as JSON
    meta      what the queries were made from; the layout's version
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from coig_p.errors import DataError, UsageError

try:
    import fcntl
except ImportError:  # Windows: two runs of one folder are then for the user to avoid
    fcntl = None  # type: ignore[assignment]

LEDGER = "ledger.sqlite"
OPEN, BATCHED, ANSWERED, INVALID, FAILED = "open", "batched", "answered", "invalid", "failed"
MAY_BE_PAID = ("timeout", "reset", "broken", "lost", "abandoned")
"""Outcomes of attempts that brought no answer and may have cost something all the same."""

PUT = """
INSERT INTO requests (key, endpoint, kind, domain, query_id, author, ask, characters, state)
VALUES (:key, :endpoint, :kind, :domain, :query_id, :author, :ask, :characters, :state)
ON CONFLICT (key) DO UPDATE SET state = excluded.state"""
"""Enters a request, or gives it another state."""

_END = "UPDATE attempts SET outcome = ?, seconds = ?, tokens = ?, detail = ? WHERE id = ?"

Values = tuple[Any, ...] | Mapping[str, Any]

_LARGEST = 2**62
_SYNC = 0.1  # seconds between two times that what was committed is brought to the disk
_VERSION = 1
_SCHEMA = """
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


class Query(NamedTuple):
    """A query of the run; `passed` is None until its quality is known."""

    place: int
    query_id: str
    domain: str
    query: str
    source: str | None
    passed: int | None


def request_key(
    endpoint: str, model: str, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], ask: int
) -> bytes:
    """The 32 bytes by which a request is known."""
    content = [endpoint, model, list(messages), parameters, ask]
    text = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


_PART = 10**6


def sum_of(column: str) -> str:
    """SQL for a sum of money, as two columns for `whole_sum`: in one, SQLite's whole numbers could overflow."""
    return f"COALESCE(SUM({column} / {_PART}), 0), COALESCE(SUM({column} % {_PART}), 0)"


def whole_sum(high: int, low: int) -> int:
    """The sum that `sum_of` asked for."""
    return high * _PART + low


class Ledger:
    """An open ledger. One process writes; others may read it meanwhile."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: Any) -> None:
        self.folder, self._read, self._lock = folder, connection, lock
        self._write: sqlite3.Connection | None = None
        self._syncing: threading.Thread | None = None
        self._closed = threading.Event()
        self._unsynced = False
        self._trouble: OSError | sqlite3.Error | None = None
        self._next_attempt = 0

    @classmethod
    def open(cls, folder: Path, *, write: bool = False) -> Ledger:
        """Open the ledger of a run's folder, to write with its lock held.

        Raises:
            UsageError: there is none to read, another run is writing it, or it is of a newer version.
            DataError: the file is not a ledger.
        """
        path = folder / LEDGER
        if not write and not path.is_file():
            raise UsageError(f"{path}: nothing was asked yet. Start with `coigp annotate run`")
        lock = None
        if write:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _locked(folder)
        try:
            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("PRAGMA busy_timeout = 60000")
            if write:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
                connection.execute("INSERT OR IGNORE INTO meta VALUES ('version', ?)", (str(_VERSION),))
            version = int(connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0])
        except (sqlite3.DatabaseError, TypeError) as error:
            raise DataError(f"{path} is not a ledger, or is damaged: {error}") from None
        if version > _VERSION:
            raise UsageError(f"{path} is of version {version}: pip install -U coig-p")
        ledger = cls(folder, connection, lock)
        if write:
            ledger._open_writer(path)
        return ledger

    def _open_writer(self, path: Path) -> None:
        self._write = sqlite3.connect(path, isolation_level=None)
        self._write.execute("PRAGMA busy_timeout = 60000")
        self._write.execute("PRAGMA synchronous = NORMAL")  # no fsync in a commit, which would hold up all requests
        self._next_attempt = self._read.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM attempts").fetchone()[0]
        self.recover("lost")
        self._syncing = threading.Thread(target=self._sync, args=(path,), name="ledger", daemon=True)
        self._syncing.start()

    def _sync(self, path: Path) -> None:
        """Bring what was committed to the disk, again and again, and the log's content into the database."""
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            while not self._closed.wait(_SYNC):
                if not self._unsynced:
                    continue
                self._unsynced = False
                try:
                    # A checkpoint syncs too, but not while somebody reads an older state.
                    with open(f"{path}-wal", "rb") as log:
                        os.fsync(log.fileno())
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                except (OSError, sqlite3.Error) as error:  # a full or broken disk: for the next commit to say
                    self._trouble = error
                    return

    def close(self) -> None:
        """Close both connections and give the lock back."""
        self._closed.set()
        if self._syncing is not None:
            self._syncing.join()
        for connection in (self._read, self._write):
            if connection is not None:
                connection.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Writing

    def recover(self, outcome: str, reason: str | None = None) -> dict[str, int]:
        """Close what is in flight with `outcome`; how many attempts that were, by endpoint.

        A request that was sent and has no outcome is failed from then on (for `reason`; default:
        the outcome), and asked again by the next run.
        """
        connection = self._writer()
        found = dict(
            connection.execute("SELECT endpoint, COUNT(*) FROM attempts WHERE outcome IS NULL GROUP BY endpoint")
        )
        if found:
            connection.execute("UPDATE attempts SET outcome = ? WHERE outcome IS NULL", (outcome,))
        connection.execute(
            "UPDATE requests SET state = 'failed', reason = ? WHERE state = 'open'", (reason or outcome,)
        )
        return found

    def begin(self, about: Mapping[str, Any], tokens: int, bound: int) -> int:
        """Commit an attempt, and the request that it is at, before it is sent; its number.

        Args:
            about: key, endpoint, kind, domain, query_id, author, ask and characters of the request.
            tokens, bound: the most tokens it may take, and the most it may cost.
        """
        number = self._next_attempt
        self._next_attempt += 1
        attempt = "INSERT INTO attempts (id, key, endpoint, at, tokens, bound) VALUES (?, ?, ?, ?, ?, ?)"
        values = (number, about["key"], about["endpoint"], time.time(), min(tokens, _LARGEST), min(bound, _LARGEST))
        self.commit([(PUT, {**about, "state": OPEN}), (attempt, values)])
        return number

    def end(
        self,
        attempt: int,
        outcome: str,
        seconds: float,
        tokens: int,
        detail: str | None = None,
        *,
        request: tuple[bytes, Mapping[str, Any]] | None = None,
    ) -> None:
        """What became of an attempt, and with it of its request.

        Args:
            request: its key, and values for columns of `requests`.
        """
        work: list[tuple[str, Values]] = [(_END, (outcome, seconds, tokens, detail, attempt))]
        if request is not None:
            key, values = request
            sets = ", ".join(f"{name} = :{name}" for name in values)
            work.append(
                (f"UPDATE requests SET {sets}, at = :at WHERE key = :key", {**values, "key": key, "at": time.time()})
            )
        self.commit(work)

    def commit(self, work: Sequence[tuple[str, Values]]) -> None:
        """Several changes at once: all of them or none, and they outlive this process."""
        if self._trouble is not None:
            raise sqlite3.OperationalError(f"the disk took nothing more: {self._trouble}")
        connection = self._writer()
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in work:
                connection.execute(sql, values)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        self._unsynced = True

    def _writer(self) -> sqlite3.Connection:
        if self._write is None:
            raise UsageError(f"{self.folder / LEDGER} is open for reading alone")
        return self._write

    # Reading

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Every row of a query whose result is small."""
        return self._read.execute(sql, values).fetchall()

    def each(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one, in constant memory."""
        with closing(self._read.cursor()) as cursor:
            yield from cursor.execute(sql, values)

    def get(self, key: bytes) -> Answer | None:
        """What is known of a request, or None where it was never sent."""
        row = self._read.execute("SELECT state, reason, score, body FROM requests WHERE key = ?", (key,)).fetchone()
        return None if row is None else Answer(*row)

    def state(self, key: bytes) -> str | None:
        """One of the five states, or None where a request was never sent."""
        row = self._read.execute("SELECT state FROM requests WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def spent(self) -> tuple[int, int]:
        """What the answers cost, and what attempts without an answer may have cost at most."""
        paid = self._read.execute(f"SELECT {sum_of('cost')} FROM requests").fetchone()
        marks = ", ".join("?" * len(MAY_BE_PAID))
        may = f"SELECT {sum_of('bound')} FROM attempts WHERE outcome IN ({marks})"
        return whole_sum(*paid), whole_sum(*self._read.execute(may, MAY_BE_PAID).fetchone())

    def recent(self, endpoint: str, seconds: float) -> list[tuple[float, int]]:
        """When the endpoint's attempts of the last seconds were made (Unix time), and their tokens."""
        newest = self.each("SELECT at, tokens, endpoint FROM attempts ORDER BY id DESC")
        since, found = time.time() - seconds, []
        for at, tokens, name in newest:
            if at < since:
                break
            if name == endpoint:
                found.append((at, tokens))
        return found[::-1]

    def queries(self, *, passed: bool = True) -> Iterator[Query]:
        """The queries in their order: those that passed, or all. Other reads may happen in between."""
        place = -1
        where = "AND passed = 1" if passed else ""
        while True:
            found = self.rows(f"SELECT * FROM queries WHERE place > ? {where} ORDER BY place LIMIT 256", (place,))
            if not found:
                return
            yield from (Query(*row) for row in found)
            place = found[-1][0]

    def meta(self, name: str) -> str | None:
        """A remark of the run's, or None."""
        row = self._read.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])


def _locked(folder: Path) -> Any:
    """Hold the folder's lock until the returned file is closed or the process ends."""
    stream = (folder / ".lock").open("w")
    if fcntl is not None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.close()
            raise UsageError(f"{folder}: another run is working here. Wait for it, or stop it first") from None
    return stream
