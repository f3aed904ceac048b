"""Retry-After in all its forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from coig_p.core import retry
from coig_p.core.retry import retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "time", NOW.timestamp)


def test_seconds_milliseconds_and_dates() -> None:
    assert retry_after([("Retry-After", "7")]) == 7
    assert retry_after([("RETRY-AFTER", " .5 ")]) == 0.5
    assert retry_after([("retry-after-ms", "1500"), ("retry-after", "9")]) == 1.5
    later = format_datetime(NOW + timedelta(seconds=100), usegmt=True)
    assert retry_after([("Date", "x"), ("Retry-After", later)]) == 100


@pytest.mark.parametrize("odd", ["", "soon", "-1", "0", "nan", "inf", "1e400", "Fri, 02 Jan 2026 03:03:35 GMT"])
def test_what_asks_for_no_wait_is_none(odd: str) -> None:
    assert retry_after([("Retry-After", odd)]) is None
    assert retry_after([("retry-after-ms", odd), ("Retry-After", "9")]) == 9
    assert retry_after([]) is None
