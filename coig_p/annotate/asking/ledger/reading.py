"""A ledger that is read, also while a run is writing it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from coig_p.annotate.asking.costs import MAY_BE_PAID, Spent
from coig_p.annotate.asking.ledger.schema import (
    LEDGER,
    LOCK,
    VERSION,
    Answer,
    AttemptTotals,
    Dropped,
    Entered,
    Judged,
    Query,
    RecentAnswers,
    RequestTotals,
    StateTotals,
    UsageTotals,
    sum_of,
    whole_sum,
)
from coig_p.errors import DataError, UsageError
from coig_p.store.places import check_kept

_AT_ONCE = 256


class Ledger:
    """An open ledger. Each method reads what is committed when it is called.

    Attributes:
        now: Unix time; tests turn one of their own.
        last: the place of the last query that `queries` and `count_queries` know of: see `only_first`.
    """

    last: int = 2**62

    def __init__(self, folder: Path, connection: sqlite3.Connection, now: Callable[[], float] = time.time) -> None:
        self.folder, self.now, self._read = folder, now, connection

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the ledger of a run's folder.

        Raises:
            UsageError: there is none to read, a file of it is a link, or it is of a newer version.
            DataError: the file is not a ledger.
        """
        check_files(folder)
        path = folder / LEDGER
        if not path.is_file():
            raise UsageError(f"{path}: nothing was asked yet. Start with `coigp annotate run`")
        return cls(folder, connected(path))

    def close(self) -> None:
        """Close the connection."""
        self._read.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # One request

    def get(self, key: bytes) -> Answer | None:
        """What is known of a request, or None where it was never sent."""
        row = self._read.execute("SELECT state, reason, score, body FROM requests WHERE key = ?", (key,)).fetchone()
        return None if row is None else Answer(*row)

    def state(self, key: bytes) -> str | None:
        """One of the five states, or None where a request was never sent."""
        row = self._read.execute("SELECT state FROM requests WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def entered(self, key: bytes) -> Entered | None:
        """What a request is about, or None where it was never sent."""
        row = self._read.execute(
            "SELECT endpoint, kind, domain, query_id, author, state, characters FROM requests WHERE key = ?", (key,)
        ).fetchone()
        return None if row is None else Entered(*row)

    # All of them

    def spent(self) -> Spent:
        """What all requests cost so far."""
        paid = self._read.execute(f"SELECT {sum_of('cost')} FROM requests").fetchone()
        marks = ", ".join("?" * len(MAY_BE_PAID))
        may = f"SELECT {sum_of('bound')} FROM attempts WHERE outcome IN ({marks})"
        return Spent(whole_sum(*paid), whole_sum(*self._read.execute(may, MAY_BE_PAID).fetchone()))

    def recent(self, endpoint: str, seconds: float) -> list[tuple[float, int]]:
        """How many seconds ago the endpoint's attempts of the last seconds were made, and their tokens."""
        now, found = self.now(), []
        for at, tokens, name in self._each("SELECT at, tokens, endpoint FROM attempts ORDER BY id DESC"):
            if at < now - seconds:
                break
            if name == endpoint:
                found.append((max(0.0, now - at), tokens))
        return found[::-1]

    def requests(self) -> list[RequestTotals]:
        """Every request, counted by endpoint, kind, state, ask and why its answer ended."""
        grouped = (
            f"SELECT endpoint, kind, state, ask, finish, COUNT(*), {sum_of('cost')} FROM requests "
            "GROUP BY 1, 2, 3, 4, 5"
        )
        return [
            RequestTotals(endpoint, kind, state, ask, number, finish, whole_sum(high, low))
            for endpoint, kind, state, ask, finish, number, high, low in self._each(grouped)
        ]

    def attempts(self) -> list[AttemptTotals]:
        """Every attempt, counted by endpoint and outcome."""
        grouped = f"SELECT endpoint, outcome, COUNT(*), {sum_of('bound')} FROM attempts GROUP BY 1, 2"
        return [
            AttemptTotals(endpoint, outcome, number, whole_sum(high, low))
            for endpoint, outcome, number, high, low in self._each(grouped)
        ]

    def outcomes(self, kind: str) -> list[StateTotals]:
        """The requests of a kind, counted by state and reason."""
        found = "SELECT state, reason, COUNT(*) FROM requests WHERE kind = ? GROUP BY 1, 2"
        return [StateTotals(*row) for row in self._each(found, (kind,))]

    def any_answered(self, kind: str) -> bool:
        """Whether a request of a kind has a usable answer."""
        found = "SELECT 1 FROM requests WHERE kind = ? AND state = 'answered' LIMIT 1"
        return self._read.execute(found, (kind,)).fetchone() is not None

    def lately(self, seconds: float) -> list[RecentAnswers]:
        """The answers of the last seconds, by endpoint."""
        found = (
            "SELECT endpoint, COUNT(*), MIN(at) FROM requests "
            "WHERE at > ? AND state IN ('answered', 'invalid') GROUP BY 1"
        )
        return [RecentAnswers(*row) for row in self._each(found, (self.now() - seconds,))]

    def usage(self) -> list[UsageTotals]:
        """What answers took, where they say, by endpoint and kind."""
        sums = (
            "SELECT endpoint, kind, COUNT(*), SUM(prompt_tokens), SUM(characters), SUM(completion_tokens) "
            "FROM requests WHERE prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL GROUP BY 1, 2"
        )
        return [UsageTotals(*row) for row in self._each(sums)]

    def judged(self, *, kinds: Sequence[str]) -> Iterator[Judged]:
        """Every answer of some kinds that is stored, one by one in constant memory."""
        stored = (
            "SELECT key, endpoint, kind, domain, query_id, author, state, reason, score, body FROM requests "
            f"WHERE kind IN ({', '.join('?' * len(kinds))}) AND body IS NOT NULL AND state IN ('answered', 'invalid')"
        )
        for row in self._each(stored, kinds):
            yield Judged(*row)

    # Queries

    def only_first(self, number: int | None) -> None:
        """From now on this object knows only the run's first queries, whether they passed or not; None: all."""
        found = "SELECT MAX(place) FROM (SELECT place FROM queries ORDER BY place LIMIT ?)"
        place = self._read.execute(found, (-1 if number is None else number,)).fetchone()[0]
        self.last = Ledger.last if number is None or place is None else int(place)

    def queries(self, *, passed: bool = True) -> Iterator[Query]:
        """The queries in their order: those that passed, or all. Other reads may happen in between."""
        place = -1
        which = "AND passed = 1" if passed else ""
        some = f"SELECT * FROM queries WHERE place > ? AND place <= ? {which} ORDER BY place LIMIT {_AT_ONCE}"
        while found := [Query(*row) for row in self._read.execute(some, (place, self.last)).fetchall()]:
            yield from found
            place = found[-1].place

    def query(self, query_id: str) -> Query | None:
        """One query; None where the run has none of that id."""
        row = self._read.execute("SELECT * FROM queries WHERE query_id = ?", (query_id,)).fetchone()
        return None if row is None else Query(*row)

    def count_queries(self, *, passed: bool = True) -> int:
        """How many queries passed, or there are."""
        which = " AND passed = 1" if passed else ""
        found = f"SELECT COUNT(*) FROM queries WHERE place <= ?{which}"
        return int(self._read.execute(found, (self.last,)).fetchone()[0])

    def count_possible(self) -> int:
        """How many queries passed or may still pass."""
        found = "SELECT COUNT(*) FROM queries WHERE place <= ? AND passed IS NOT 0"
        return int(self._read.execute(found, (self.last,)).fetchone()[0])

    def dropped(self) -> Iterator[Dropped]:
        """What was dropped when the queries were collected, in its order."""
        for row in self._each("SELECT reason, line FROM dropped ORDER BY place"):
            yield Dropped(*row)

    def made_from(self) -> str | None:
        """What the queries were made from, as `replace_queries` was told; None before that."""
        row = self._read.execute("SELECT value FROM meta WHERE name = 'queries'").fetchone()
        return None if row is None else str(row[0])

    def _each(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one."""
        with closing(self._read.cursor()) as cursor:
            yield from cursor.execute(sql, values)


def check_files(folder: Path) -> None:
    """Raise UsageError where a file of a ledger, or one that SQLite has beside it, is a link or no file."""
    for name in (LOCK, LEDGER, *(f"{LEDGER}-{kind}" for kind in ("wal", "shm", "journal"))):
        check_kept(folder / name, "a run")


def connected(path: Path, *, setup: str = "") -> sqlite3.Connection:
    """A connection to a ledger, whose version was looked at.

    Args:
        setup: SQL that runs first.

    Raises:
        UsageError: it is of a newer version.
        DataError: it is not a ledger.
    """
    connection = None
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA busy_timeout = 60000")
        if setup:
            connection.executescript(setup)
        version = int(connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0])
    except (sqlite3.DatabaseError, TypeError) as error:
        if connection is not None:
            connection.close()
        raise DataError(f"{path} is not a ledger, or is damaged: {error}") from None
    if version > VERSION:
        connection.close()
        raise UsageError(f"{path} is of version {version}: pip install -U coig-p")
    return connection
