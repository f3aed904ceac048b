"""A ledger that is written: what is committed outlives the process.

Before a request is sent, its attempt is committed; before its place in the queue is taken by another
one that is sent, its answer is. So a process killed at any moment loses at most what was in flight, and
the next run knows what that was. Attempts and answers may be committed together, all that came in one
turn of an event loop (see `LedgerWriter.in_groups`): an answer is in flight until its turn is over.
A commit is written to the write-ahead log at once, which outlives the process, and a thread brings the
log to the disk ten times a second: a power cut may forget that long.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from coig_p.annotate.asking.ledger.bodies import packed
from coig_p.annotate.asking.ledger.opening import check_files, check_gone, connected, create, damaged
from coig_p.annotate.asking.ledger.reading import Ledger
from coig_p.annotate.asking.ledger.schema import (
    BATCHED,
    FAILED,
    LEDGER,
    LOCK,
    OPEN,
    VERSION,
    Batch,
    Dropped,
    Entry,
    FromBatch,
    Query,
    Reading,
    Taken,
    parts,
)
from coig_p.errors import DataError, UsageError

try:
    import fcntl
except ImportError:  # Windows: two runs of one folder are then for the user to avoid
    fcntl = None  # type: ignore[assignment]

_LARGEST = 2**62
_KEPT = "What was answered before is kept"
_SYNC = 0.1  # seconds between two times that what was committed is brought to the disk
_LOG_PAGES = 8192  # 32 MiB of the log, from which a commit brings it into the database where the thread is behind

_PUT = """
INSERT INTO requests (key, endpoint, kind, domain, query_id, author, ask, characters, state, recipe)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET state = excluded.state, recipe = excluded.recipe"""
_RECIPE = "INSERT OR IGNORE INTO recipes (id, kind, domain, endpoint, text) VALUES (?, ?, ?, ?, ?)"
_BEGIN = "INSERT INTO attempts (id, key, endpoint, at, tokens, bound) VALUES (?, ?, ?, ?, ?, ?)"
_END = "UPDATE attempts SET outcome = ?, seconds = ?, tokens = ?, detail = ? WHERE id = ?"
_TAKE = """
UPDATE requests SET state = ?, reason = ?, score = ?, prompt_tokens = ?, completion_tokens = ?, cost = ?, finish = ?,
    body = ?, at = ?
WHERE key = ?"""
_FAIL = "UPDATE requests SET state = 'failed', reason = ?, at = ? WHERE key = ?"
_IN_BATCH = """
INSERT INTO attempts (id, key, endpoint, at, tokens, bound, outcome, detail)
VALUES (?, ?, ?, ?, 0, 0, ?, 'batch')"""
# What a batch that is no longer out leaves behind: the first where it was sent, both where it was not.
_SENT = "UPDATE requests SET state = 'failed' WHERE state = 'batched' AND key IN (SELECT key FROM attempts)"
_NOT_SENT = "DELETE FROM requests WHERE state = 'batched'"
_OF_BATCH = "AND key IN (SELECT key FROM batched WHERE batch = ?)"

_NONE_CONCLUDED: tuple[str, tuple[()]] = ("DELETE FROM concluded", ())
_SAME = " AND ".join(f"earlier.{name} IS queries.{name}" for name in Query._fields if name not in ("place", "passed"))
_STILL_CONCLUDED = f"""
DELETE FROM concluded WHERE query_id NOT IN (
    SELECT queries.query_id FROM queries JOIN earlier ON earlier.query_id = queries.query_id AND {_SAME})"""

_Work = tuple[str, Sequence[Any] | Mapping[str, Any] | Iterator[Any]]
"""A statement with its values; with an iterator of values it is run for each."""


class LedgerWriter(Ledger):
    """A ledger that one process writes, with its lock held; others may read it meanwhile.

    Attributes:
        upgraded_from: the version that the file had, where it was brought to this one.
        commits: how many there were so far; what was written before it last rose is committed.
    """

    def __init__(
        self, folder: Path, connection: sqlite3.Connection, lock: IO[bytes], now: Callable[[], float] = time.time
    ) -> None:
        super().__init__(folder, connection, now)
        self.upgraded_from: int | None = None
        self.commits = 0
        self._soon: Callable[[Callable[[], None]], object] | None = None
        self._lost: DataError | None = None  # why a group was not committed
        self._lock = lock
        self._write = sqlite3.connect(folder / LEDGER, isolation_level=None)
        self._write.execute("PRAGMA busy_timeout = 60000")
        self._write.execute("PRAGMA synchronous = NORMAL")  # no fsync in a commit, which would hold up all requests
        self._write.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")  # which has one
        self._closed = threading.Event()
        self._unsynced = False
        self._trouble: OSError | sqlite3.Error | None = None
        self._recipes = self._known_recipes()
        self._next_attempt: int = connection.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM attempts").fetchone()[0]
        self._has_stored = self.stored() is not None
        self.recover("lost")
        self._syncing = threading.Thread(target=self._sync, args=(folder / LEDGER,), name="ledger", daemon=True)
        self._syncing.start()

    @classmethod
    def open(cls, folder: Path, *, now: Callable[[], float] = time.time) -> Self:
        """Open the ledger of a run's folder to write it, or make one.

        Raises:
            UsageError: another run is writing it, a file of it is a link, or it is of a newer version.
            DataError: the file is not a ledger, or is damaged.
        """
        folder.mkdir(parents=True, exist_ok=True)
        check_files(folder)
        lock = _locked(folder)
        path = folder / LEDGER
        try:
            check_gone(path)
            if not path.exists():
                create(path)
            connection, version = connected(path, write=True)
            ledger = cls(folder, connection, lock, now)
            ledger.upgraded_from = version if version < VERSION else None
            return ledger
        except sqlite3.DatabaseError as error:
            lock.close()
            raise damaged(path, error) from None
        except BaseException:
            lock.close()
            raise

    def close(self) -> None:
        """Close both connections and give the lock back."""
        with suppress(DataError):  # whoever wrote was told
            self.flush()
        self._closed.set()
        self._syncing.join()
        super().close()
        self._write.close()
        self._lock.close()

    def count_in(self, currency: str | None) -> None:
        """Say in which currency costs are from now on; raise UsageError where they are in another already."""
        row = self._write.execute("SELECT value FROM meta WHERE name = 'currency'").fetchone()
        before = None if row is None else str(row[0])
        if before == currency or currency is None:
            return
        if before is not None:
            raise UsageError(
                f"{self.folder}: its costs are in {before}, and run.currency is {currency}: set it back, "
                "or use another folder"
            )
        self._commit([("INSERT INTO meta VALUES ('currency', ?)", (currency,))])

    @contextmanager
    def in_groups(self, soon: Callable[[Callable[[], None]], object]) -> Iterator[None]:
        """Within it, attempts and answers are committed together, and this object alone knows of them before.

        Args:
            soon: calls what it is given once all that came at the same time is written: `loop.call_soon`.
        """
        self._soon = soon
        try:
            yield
        finally:
            self._soon = None
            self.flush()

    def flush(self) -> None:
        """Commit what was written; raise DataError where it could not be, also where that was tried before."""
        if self._lost is not None:
            raise self._lost
        if self._write.in_transaction:
            self._change((), end=True)

    def _flush_soon(self) -> None:
        with suppress(DataError):  # for the next one who writes, or waits for it
            self.flush()

    # Attempts

    def recover(self, outcome: str, reason: str | None = None) -> dict[str, int]:
        """Close what is in flight with `outcome`; how many attempts that were, by endpoint.

        A request that was sent and has no outcome is failed from then on (for `reason`; default:
        the outcome), and asked again by the next run.
        """
        flying = "SELECT endpoint, COUNT(*) FROM attempts WHERE outcome IS NULL GROUP BY endpoint"
        found = {str(endpoint): int(number) for endpoint, number in self._each(flying)}
        if found or self._row("SELECT 1 FROM requests WHERE state = 'open' LIMIT 1"):
            self._commit(
                [
                    ("UPDATE attempts SET outcome = ? WHERE outcome IS NULL", (outcome,)),
                    ("UPDATE requests SET state = 'failed', reason = ? WHERE state = 'open'", (reason or outcome,)),
                ]
            )
        return found

    def begin(self, entry: Entry, tokens: int, bound: int) -> int:
        """Write an attempt down, and the request that it is at; its number. It may be sent once that is committed.

        Args:
            tokens, bound: the most tokens it may take, and the most it may cost.
        """
        number = self._next_attempt
        self._next_attempt += 1
        values = (number, entry.key, entry.endpoint, self.now(), min(tokens, _LARGEST), min(bound, _LARGEST))
        self._note_down([*self._put(entry, OPEN), (_BEGIN, values)])
        return number

    def answered(self, attempt: int, key: bytes, answer: Taken, seconds: float, tokens: int) -> None:
        """An attempt brought an answer, which took so many tokens."""
        self._note_down([(_END, ("answered", seconds, tokens, None, attempt)), self._take(key, answer)])

    def unanswered(self, attempt: int, outcome: str, seconds: float, tokens: int, detail: str | None = None) -> None:
        """An attempt brought none; its request stays open."""
        self._note_down([(_END, (outcome, seconds, tokens, detail, attempt))])

    def fail(self, key: bytes, reason: str) -> None:
        """A request is given up; the next run asks it again."""
        self._note_down([(_FAIL, (reason, self.now(), key))])

    # Batches

    def put_out(self, entries: Iterable[Entry], batch: Batch | None = None) -> None:
        """Requests are out in a batch file; of `batch`, which a server is to have, before it gets it."""
        work: list[_Work] = []
        for entry in entries:
            work += self._put(entry, BATCHED)
            if batch is not None:
                work.append(("INSERT OR REPLACE INTO batched VALUES (?, ?)", (entry.key, batch.name)))
        if batch is not None:
            values = (batch.name, batch.endpoint, batch.id, batch.number, *parts(batch.bound), batch.at)
            work.append(("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)", values))
        self._commit(work)

    def batch_is_out(self, name: str, id_: str) -> None:
        """A server has a batch, under its own id."""
        self._commit([("UPDATE batches SET id = ? WHERE name = ?", (id_, name))])

    def batch_never_left(self, name: str) -> None:
        """No server ever got a batch: its requests are as if they had not been in it."""
        self._commit([(f"{_SENT} {_OF_BATCH}", (name,)), (f"{_NOT_SENT} {_OF_BATCH}", (name,)), *_gone(name)])

    def batch_is_back(self, name: str, why: str) -> list[bytes]:
        """All that a server had to say of a batch was taken in; the keys of requests that failed.

        Those that it said nothing of failed for the reason `why`.
        """
        found = "SELECT key, endpoint, state FROM batched JOIN requests USING (key) WHERE batch = ?"
        rows = [row for row in self._each(found, (name,)) if row[2] in (BATCHED, FAILED)]
        without = [FromBatch(key, endpoint, None, why) for key, endpoint, state in rows if state == BATCHED]
        self._commit([*self._taken_in(without), *_gone(name)])
        return [key for key, _, _ in rows]

    def take_in(self, answers: Iterable[FromBatch]) -> None:
        """What batch files brought."""
        self._commit(self._taken_in(answers))

    def _taken_in(self, answers: Iterable[FromBatch]) -> list[_Work]:
        work: list[_Work] = []
        for one in answers:
            now = self.now()
            outcome = "error" if one.answer is None else "answered"
            work.append((_IN_BATCH, (self._next_attempt, one.key, one.endpoint, now, outcome)))
            self._next_attempt += 1
            if one.answer is None:
                work.append((_FAIL, (one.why, now, one.key)))
            else:
                work.append(self._take(one.key, one.answer))
        return work

    def forget_batches(self) -> int:
        """What is out in batch files is asked online from now on; how many requests that is."""
        number = sum(one.number for one in self.requests() if one.state == BATCHED)
        gone: list[_Work] = [("DELETE FROM batches", ()), ("DELETE FROM batched", ())]
        self._commit([(_SENT, ()), (_NOT_SENT, ()), *gone, _NONE_CONCLUDED])
        return number

    def read_again(self, readings: Iterable[Reading]) -> None:
        """What is read in stored answers from now on."""
        update = "UPDATE requests SET state = :state, reason = :reason, score = :score WHERE key = :key"
        self._commit([(update, (reading._asdict() for reading in readings)), _NONE_CONCLUDED])

    def set_aside(self, keys: Iterable[bytes]) -> int:
        """Keep what requests brought, but no longer as theirs: they are asked anew. How many there were.

        Nothing of what they cost, said or tried is lost: it stays under other keys, with asks below 0.
        """
        moved = [(key, self._free(key)) for key in dict.fromkeys(keys)]
        self._commit(
            [
                ("CREATE TEMP TABLE aside (old BLOB PRIMARY KEY, new BLOB NOT NULL)", ()),
                ("INSERT INTO aside VALUES (?, ?)", iter(moved)),
                (
                    "UPDATE requests SET ask = -1 - ask, key = (SELECT new FROM aside WHERE old = key) "
                    "WHERE key IN (SELECT old FROM aside)",
                    (),
                ),
                (
                    "UPDATE attempts SET key = (SELECT new FROM aside WHERE old = key) "
                    "WHERE key IN (SELECT old FROM aside)",
                    (),
                ),
                ("DROP TABLE aside", ()),
                _NONE_CONCLUDED,
            ]
        )
        return len(moved)

    def _free(self, key: bytes) -> bytes:
        """A key that no request has, made of another one's."""
        while True:
            key = hashlib.sha256(b"aside" + key).digest()
            if self.state(key) is None:
                return key

    def note(self, name: str, value: str) -> None:
        """Remember something about the run."""
        self._commit([("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))])

    # Queries

    def replace_queries(self, queries: Iterable[Query], dropped: Iterable[Dropped], made_from: str) -> None:
        """Other queries than before, none of which has passed yet."""
        put = f"INSERT INTO queries ({', '.join(Query._fields)}) VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?7, ?8, ?9)"
        self._commit(
            [
                ("CREATE TEMP TABLE earlier AS SELECT * FROM queries", ()),
                ("CREATE INDEX temp.earlier_ids ON earlier (query_id)", ()),
                ("DELETE FROM queries", ()),
                ("DELETE FROM dropped", ()),
                (put, iter(queries)),
                ("INSERT INTO dropped (reason, line) VALUES (?, ?)", iter(dropped)),
                ("INSERT OR REPLACE INTO meta VALUES ('queries', ?)", (made_from,)),
                (_STILL_CONCLUDED, ()),
                ("DROP TABLE earlier", ()),
            ]
        )

    def pass_queries(self, passed: Mapping[int, int | None]) -> None:
        """Whether queries passed (1, 0, or None: not known yet), by their places."""
        if not passed:
            return
        those = ((now, place) for place, now in passed.items())
        self._commit([("UPDATE queries SET passed = ? WHERE place = ?", those)])

    def conclude(self, queries: Mapping[str, str], stored: str) -> None:
        """All requests of some queries have an outcome that stays, and a store was made of what there is.

        Args:
            queries: for each query_id the mark of what made its requests.
            stored: what is to be known of the store, until anything here changes.
        """
        self._commit(
            [
                ("INSERT OR REPLACE INTO concluded VALUES (?, ?)", iter(queries.items())),
                ("INSERT OR REPLACE INTO meta VALUES ('stored', ?)", (stored,)),
            ]
        )
        self._has_stored = True

    def _put(self, entry: Entry, state: str) -> list[_Work]:
        """A request is entered, or gets another state; before the first one of a recipe, that is."""
        recipe = (entry.kind, entry.domain, entry.endpoint, entry.recipe)
        number = self._recipes.get(recipe)
        work: list[_Work] = []
        if number is None:
            number = self._recipes[recipe] = 1 + max(self._recipes.values(), default=0)
            work.append((_RECIPE, (number, *recipe)))
        work.append((_PUT, (*entry[:-1], state, number)))
        return work

    def _known_recipes(self) -> dict[tuple[str, str, str, str], int]:
        found = self._each("SELECT id, kind, domain, endpoint, text FROM recipes")
        return {(kind, domain, endpoint, text): number for number, kind, domain, endpoint, text in found}

    def _take(self, key: bytes, answer: Taken) -> _Work:
        return _TAKE, (*answer[:-1], packed(answer.body), self.now(), key)

    def _commit(self, work: Iterable[_Work]) -> None:
        """Several changes at once, and what was written before: all of them or none, and they outlive this process."""
        if self._lost is not None:
            raise self._lost
        self._change(work, end=True)

    def _note_down(self, work: Iterable[_Work]) -> None:
        """The same, together with what else comes in this turn where commits are in groups."""
        if self._soon is None:
            self._commit(work)
            return
        if self._lost is not None:
            raise self._lost
        first = not self._write.in_transaction
        self._change(work, end=False)
        if first:
            self._soon(self._flush_soon)

    def _change(self, work: Iterable[_Work], *, end: bool) -> None:
        """Changes in the open transaction, or a new one; `end`: it is committed."""
        if self._trouble is not None:
            raise DataError(f"{self.folder / LEDGER}: the disk took nothing more: {self._trouble}. {_KEPT}")
        execute = self._write.execute
        others = self._write.in_transaction
        try:
            try:
                if not others:
                    execute("BEGIN IMMEDIATE")
                    if self._has_stored:
                        execute("DELETE FROM meta WHERE name = 'stored'")
                for sql, values in work:
                    if isinstance(values, (tuple, dict)):
                        execute(sql, values)
                    else:
                        self._write.executemany(sql, values)
                if end:
                    execute("COMMIT")
            except BaseException:
                if self._write.in_transaction:  # SQLite may have ended it
                    execute("ROLLBACK")
                self._recipes = self._known_recipes()
                raise
        except sqlite3.DatabaseError as error:
            known = isinstance(error, sqlite3.OperationalError)
            said = (
                DataError(f"{self.folder / LEDGER}: {error}. {_KEPT}")
                if known
                else damaged(self.folder / LEDGER, error)
            )
            if others:  # whose changes are lost with it
                self._lost = said
            raise said from None
        if end:
            self.commits += 1
            self._has_stored = False
            self._unsynced = True

    def _row(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, also of what is not committed yet."""
        try:
            row: tuple[Any, ...] | None = self._write.execute(sql, values).fetchone()
        except sqlite3.DatabaseError as error:
            raise damaged(self.folder / LEDGER, error) from None
        return row

    def _each(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one; what was written is committed before."""
        self.flush()
        yield from super()._each(sql, values)

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


def _gone(batch: str) -> list[_Work]:
    return [("DELETE FROM batched WHERE batch = ?", (batch,)), ("DELETE FROM batches WHERE name = ?", (batch,))]


def _locked(folder: Path) -> IO[bytes]:
    """Hold the folder's lock until the returned file is closed or the process ends.

    Nothing is written to that file, and what is in it stays.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    stream = os.fdopen(os.open(folder / LOCK, flags, 0o666), "r+b", buffering=0)
    if fcntl is not None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.close()
            raise UsageError(f"{folder}: another run is working here. Wait for it, or stop it first") from None
    return stream
