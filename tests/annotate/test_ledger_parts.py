"""The ledger's keys, attempts and locks."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from parts import answer, entry

from coig_p.annotate.asking.ledger import LEDGER, Ledger, LedgerWriter, request_key
from coig_p.errors import DataError, UsageError


def test_the_key_tells_every_part_apart_and_nothing_else() -> None:
    base: tuple[Any, ...] = ("e", "m", [{"role": "user", "content": "一"}], {"a": 1, "b": 2}, 0)
    same = request_key("e", "m", [{"content": "一", "role": "user"}], {"b": 2, "a": 1}, 0)
    assert same == request_key(*base)
    others = [("f", *base[1:]), ("e", "n", *base[2:]), (*base[:2], [], *base[3:]), (*base[:3], {}, 0), (*base[:4], 1)]
    assert len({request_key(*other) for other in [base, *others]}) == 6


def test_what_was_in_flight_at_the_end_is_known_at_the_next_start(tmp_path: Path) -> None:
    with LedgerWriter.open(tmp_path) as ledger:
        attempts = [ledger.begin(entry(at), 10, 100) for at in range(5)]
        ledger.answered(attempts[0], bytes([0]), answer(30), 0.1, 7)
        ledger.unanswered(attempts[1], "timeout", 0.1, 10)
    with LedgerWriter.open(tmp_path) as ledger:
        assert {one.outcome: one.number for one in ledger.attempts()} == {"answered": 1, "timeout": 1, "lost": 3}
        assert ledger.spent() == (30, 400)
        assert [ledger.state(bytes([at])) for at in range(6)] == ["answered", *["failed"] * 4, None]


def test_the_attempts_of_a_window_are_known_by_their_age(tmp_path: Path) -> None:
    now = [0.0]
    with LedgerWriter.open(tmp_path, now=lambda: now[0]) as ledger:
        for at, moment in enumerate((0, 10, 20, 50)):
            now[0] = moment
            ledger.begin(entry(at)._replace(endpoint="f" if at == 2 else "e"), 10 + at, 100)
        now[0] = 65
        assert ledger.recent("e", 60) == [(55, 11), (15, 13)]
        assert ledger.recent("f", 60) == [(45, 12)]


def test_a_forgotten_batch_leaves_what_was_sent_once_as_failed(tmp_path: Path) -> None:
    with LedgerWriter.open(tmp_path) as ledger:
        ledger.unanswered(ledger.begin(entry(0), 10, 100), "error", 0.1, 0)
        ledger.fail(bytes([0]), "error")
        ledger.put_out([entry(0), entry(1)])
        assert [ledger.state(bytes([at])) for at in range(2)] == ["batched", "batched"]
        assert ledger.forget_batches() == 2
        assert [ledger.state(bytes([at])) for at in range(2)] == ["failed", None]


def test_one_run_at_a_time_and_no_strangers_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was asked yet"):
        Ledger.open(tmp_path)
    with LedgerWriter.open(tmp_path), pytest.raises(UsageError, match="another run is working"):
        LedgerWriter.open(tmp_path)
    with sqlite3.connect(tmp_path / LEDGER) as connection:
        connection.execute("UPDATE meta SET value = '9'")
    connection.close()
    for kind in (Ledger, LedgerWriter):
        with pytest.raises(UsageError, match="version 9"):
            kind.open(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / LEDGER).write_bytes(b"not a database" * 100)
    for kind in (Ledger, LedgerWriter):
        with pytest.raises(DataError, match="is not a ledger"):
            kind.open(tmp_path / "other")
