"""A ledger that is read, also while a run is writing it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from coig_p.annotate.asking.costs import MAY_BE_PAID, Spent
from coig_p.annotate.asking.ledger.bodies import Damaged, unpacked
from coig_p.annotate.asking.ledger.opening import check_files, check_gone, connected, damaged
from coig_p.annotate.asking.ledger.schema import (
    COUNTED,
    LEDGER,
    TRIED,
    Answer,
    AttemptTotals,
    Batch,
    Dropped,
    Entered,
    InvalidTotals,
    Judged,
    Paid,
    Query,
    RecentAnswers,
    RecipeTotals,
    RequestTotals,
    StateTotals,
    Told,
    UsageTotals,
    whole_sum,
)
from coig_p.errors import UsageError

_AT_ONCE = 256
_QUERY = ", ".join(Query._fields)
_LONGEST = 900.0  # seconds of an attempt that `lately` looks for


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
        check_gone(path)
        if not path.is_file():
            raise UsageError(f"{path}: nothing was asked yet. Start with `coigp annotate run`")
        return cls(folder, connected(path)[0])

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
        row = self._row("SELECT state, reason, score, body FROM requests WHERE key = ?", (key,))
        return None if row is None else Answer(row[0], row[1], row[2], self._text(row[3]))

    def state(self, key: bytes) -> str | None:
        """One of the five states, or None where a request was never sent."""
        row = self._row("SELECT state FROM requests WHERE key = ?", (key,))
        return None if row is None else str(row[0])

    def entered(self, key: bytes) -> Entered | None:
        """What a request is about, or None where it was never sent."""
        found = "SELECT endpoint, kind, domain, query_id, author, state, characters FROM requests WHERE key = ?"
        row = self._row(found, (key,))
        return None if row is None else Entered(*row)

    # All of them

    def spent(self) -> Spent:
        """What all requests cost so far; what is out in a batch at a server may be paid."""
        paid = self._row(f"SELECT COALESCE(SUM(high), 0), COALESCE(SUM(low), 0) FROM {COUNTED}")
        marks = ", ".join("?" * len(MAY_BE_PAID))
        may = f"SELECT COALESCE(SUM(high), 0), COALESCE(SUM(low), 0) FROM tried WHERE outcome IN ({marks})"
        out = sum(batch.bound for batch in self.batches())
        return Spent(whole_sum(*paid or (0, 0)), whole_sum(*self._row(may, MAY_BE_PAID) or (0, 0)) + out)

    def batches(self) -> list[Batch]:
        """What is out at servers, the oldest first."""
        found = "SELECT name, endpoint, id, number, high, low, at FROM batches ORDER BY at, name"
        return [
            Batch(name, endpoint, id_, number, whole_sum(high, low), at)
            for name, endpoint, id_, number, high, low, at in self._each(found)
        ]

    def recent(self, endpoint: str, seconds: float) -> list[tuple[float, int]]:
        """How many seconds ago the endpoint's attempts of the last seconds were made, and their tokens.

        Answers of batches have no part in it: no limit counts them.
        """
        now, found = self.now(), []
        last = "SELECT at, tokens, endpoint, detail IS 'batch' FROM attempts ORDER BY id DESC"
        for at, tokens, name, batched in self._each(last):
            if at < now - seconds:
                break
            if name == endpoint and not batched:
                found.append((max(0.0, now - at), tokens))
        return found[::-1]

    def requests(self) -> list[RequestTotals]:
        """Every request, counted by endpoint, kind, state, ask and why its answer ended."""
        grouped = (
            f"SELECT endpoint, kind, state, ask, SUM(number), NULLIF(finish, ''), SUM(high), SUM(low) FROM {COUNTED} "
            "GROUP BY 1, 2, 3, 4, 6 HAVING SUM(number) > 0"
        )
        return [
            RequestTotals(endpoint, kind, state, ask, number, finish, whole_sum(high, low))
            for endpoint, kind, state, ask, number, finish, high, low in self._each(grouped)
        ]

    def recipes(self) -> list[RecipeTotals]:
        """Every request, counted by what it was made with and its state."""
        grouped = (
            "SELECT totals.kind, totals.domain, totals.endpoint, COALESCE(text, ''), state, SUM(number), SUM(high), "
            f"SUM(low) FROM {COUNTED} AS totals LEFT JOIN recipes ON recipes.id = recipe "
            "GROUP BY 1, 2, 3, 4, 5 HAVING SUM(number) > 0"
        )
        return [
            RecipeTotals(kind, domain, endpoint, text, state, number, whole_sum(high, low))
            for kind, domain, endpoint, text, state, number, high, low in self._each(grouped)
        ]

    def attempts(self) -> list[AttemptTotals]:
        """Every attempt, counted by endpoint and outcome."""
        return [
            AttemptTotals(endpoint, outcome or None, number, whole_sum(high, low))
            for endpoint, outcome, number, high, low in self._each(f"SELECT * FROM {TRIED} WHERE number > 0")
        ]

    def outcomes(self, kind: str) -> list[StateTotals]:
        """The requests of a kind, counted by state and reason."""
        found = "SELECT state, reason, COUNT(*) FROM requests WHERE kind = ? GROUP BY 1, 2"
        return [StateTotals(*row) for row in self._each(found, (kind,))]

    def any_answered(self, kind: str) -> bool:
        """Whether a request of a kind has a usable answer."""
        found = "SELECT 1 FROM totals WHERE kind = ? AND state = 'answered' AND number > 0 LIMIT 1"
        return self._row(found, (kind,)) is not None

    def lately(self, seconds: float) -> list[RecentAnswers]:
        """The answers of the last seconds, by endpoint. One that took longer than a quarter of an hour is not seen."""
        since, found = self.now() - seconds, dict[str, list[float]]()
        last = "SELECT endpoint, outcome, at, at + COALESCE(seconds, 0) FROM attempts ORDER BY id DESC"
        for endpoint, outcome, began, ended in self._each(last):
            if began < since - _LONGEST:
                break
            if outcome == "answered" and ended > since:
                found.setdefault(endpoint, []).append(ended)
        return [RecentAnswers(endpoint, len(times), min(times)) for endpoint, times in found.items()]

    def usage(self) -> list[UsageTotals]:
        """What answers took, where they say, by endpoint and kind."""
        sums = (
            "SELECT endpoint, kind, SUM(told), SUM(prompt_tokens), SUM(characters), SUM(completion_tokens) "
            f"FROM {COUNTED} GROUP BY 1, 2 HAVING SUM(told) > 0"
        )
        return [UsageTotals(*row) for row in self._each(sums)]

    def invalid(self) -> list[InvalidTotals]:
        """How many answers there are, and how many of them cannot be used, by endpoint, kind and ask."""
        counts = (
            "SELECT endpoint, kind, ask, COUNT(*), SUM(state = 'invalid') FROM requests "
            "WHERE state IN ('answered', 'invalid') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        return [InvalidTotals(*row) for row in self._each(counts)]

    def judged(self, *, kinds: Sequence[str]) -> Iterator[Judged]:
        """Every answer of some kinds that is stored, one by one in constant memory."""
        stored = (
            "SELECT key, endpoint, kind, domain, query_id, author, state, reason, score, body FROM requests "
            f"WHERE kind IN ({', '.join('?' * len(kinds))}) AND body IS NOT NULL AND state IN ('answered', 'invalid')"
        )
        for row in self._each(stored, kinds):
            found = Judged(*row)
            yield found._replace(body=str(self._text(found.body)))

    def judgements(self, kind: str) -> Iterator[Told]:
        """All that was ever said to requests of a kind, also what was asked in other words than today's; one by one."""
        stored = (
            "SELECT query_id, domain, author, endpoint, ask, state, reason, score, prompt_tokens, completion_tokens, "
            "cost, finish, at, body FROM requests WHERE kind = ? ORDER BY rowid"
        )
        for row in self._each(stored, (kind,)):
            found = Told(*row)
            yield found._replace(body=self._text(found.body))

    def paid(self) -> Iterator[Paid]:
        """The first asks that brought an answer, in the order in which they were sent."""
        made = dict(self._each("SELECT id, text FROM recipes"))
        found = (
            "SELECT kind, query_id, author, endpoint, score, recipe FROM requests "
            "WHERE ask = 0 AND state IN ('answered', 'invalid') ORDER BY rowid"
        )
        for kind, query_id, author, endpoint, score, recipe in self._each(found):
            yield Paid(kind, query_id, author, endpoint, score, str(made.get(recipe, "")))

    def noted(self, name: str) -> str | None:
        """What `LedgerWriter.note` was told last under a name."""
        row = self._row("SELECT value FROM meta WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    # Queries

    def only_first(self, number: int | None) -> None:
        """From now on this object knows only the run's first queries, whether they passed or not; None: all."""
        found = "SELECT MAX(place) FROM (SELECT place FROM queries ORDER BY place LIMIT ?)"
        row = self._row(found, (-1 if number is None else number,))
        self.last = Ledger.last if number is None or row is None or row[0] is None else int(row[0])

    def queries(self, *, passed: bool = True, unless: Collection[str] = ()) -> Iterator[Query]:
        """The queries in their order: those that passed, or all. Other reads may happen in between.

        Args:
            unless: leave out those that are concluded with one of these marks: see `concluded`.
        """
        place = -1
        which = ("passed = 1 AND " if passed else "") + _not_under(unless)
        some = (
            f"SELECT {_QUERY} FROM queries WHERE place > ? AND place <= ? AND {which} ORDER BY place LIMIT {_AT_ONCE}"
        )
        while found := [Query(*row) for row in self._each(some, (place, self.last, *unless))]:
            yield from found
            place = found[-1].place

    def query(self, query_id: str) -> Query | None:
        """One query; None where the run has none of that id."""
        row = self._row(f"SELECT {_QUERY} FROM queries WHERE query_id = ?", (query_id,))
        return None if row is None else Query(*row)

    def query_at(self, place: int) -> Query:
        """The query at a place, which there is."""
        row = self._row(f"SELECT {_QUERY} FROM queries WHERE place = ?", (place,))
        assert row is not None
        return Query(*row)

    def count_queries(self, *, passed: bool = True, unless: Collection[str] = ()) -> int:
        """How many queries passed, or there are; see `queries`."""
        which = ("passed = 1 AND " if passed else "") + _not_under(unless)
        counted = f"SELECT COUNT(*) FROM queries WHERE place <= ? AND {which}"
        return sum(number for (number,) in self._each(counted, (self.last, *unless)))

    def concluded(self, marks: Collection[str]) -> Iterator[str]:
        """The ids of queries that are concluded with one of these marks."""
        marked = f"SELECT query_id FROM concluded WHERE mark IN ({', '.join('?' * len(marks))})"
        for (query_id,) in self._each(marked, tuple(marks)):
            yield str(query_id)

    def count_known(self) -> int:
        """How many queries are known to pass, or not to."""
        return sum(number for (number,) in self._each("SELECT COUNT(*) FROM queries WHERE passed IS NOT NULL"))

    def count_possible(self, *, unless: Collection[str] = ()) -> int:
        """How many queries passed or may still pass; see `queries`."""
        counted = f"SELECT COUNT(*) FROM queries WHERE place <= ? AND passed IS NOT 0 AND {_not_under(unless)}"
        return sum(number for (number,) in self._each(counted, (self.last, *unless)))

    def dropped(self) -> Iterator[Dropped]:
        """What was dropped when the queries were collected, in its order."""
        for row in self._each("SELECT reason, line FROM dropped ORDER BY place"):
            yield Dropped(*row)

    def made_from(self) -> str | None:
        """What the queries were made from, as `replace_queries` was told; None before that."""
        return self.noted("queries")

    def stored(self) -> str | None:
        """What `LedgerWriter.conclude` was told of the store; None where something has changed since."""
        return self.noted("stored")

    # Below here is what every read goes through

    def _row(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, where it has one."""
        with self._whole():
            row: tuple[Any, ...] | None = self._read.execute(sql, values).fetchone()
            return row

    def _each(self, sql: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query one by one."""
        with self._whole(), closing(self._read.cursor()) as cursor:
            yield from cursor.execute(sql, values)

    def _text(self, body: str | bytes | None) -> str | None:
        """A stored body as it came."""
        with self._whole():
            return None if body is None else unpacked(body)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Damage that a read comes upon is one error that says so."""
        try:
            yield
        except (sqlite3.DatabaseError, Damaged) as error:
            raise damaged(self.folder / LEDGER, error) from None


def _not_under(marks: Collection[str]) -> str:
    """SQL for queries that are not concluded with one of so many marks."""
    if not marks:
        return "1"
    concluded = f"SELECT 1 FROM concluded WHERE query_id = queries.query_id AND mark IN ({', '.join('?' * len(marks))})"
    return f"NOT EXISTS ({concluded})"
