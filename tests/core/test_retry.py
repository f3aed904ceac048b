"""How long a server asks to wait, in every form that one is known to say it in."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from coig_p.core import retry
from coig_p.core.retry import retry_after

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"RETRY-AFTER": " .5 "}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, None),
        ({"ratelimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api"; r = 0; t = 55; x=1'}, 55),
        ({"ratelimit": '"api";r=3;t=55'}, None),  # requests are left: this is not why it failed
        ({"ratelimit": '"api";r=0;t=0'}, None),
        ({"ratelimit": "nonsense"}, None),
        ({"Retry-After": "soon", "ratelimit": '"api";r=0;t=55'}, 55),
        ({"Retry-After": "7", "ratelimit": '"api";r=0;t=55'}, 7),
        ({}, None),
    ],
)
def test_every_form(headers: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "time", lambda: NOW)
    assert retry_after(headers.items()) == seconds


@pytest.mark.parametrize("odd", ["", "soon", "-1", "0", "nan", "inf", "1e400"])
def test_what_asks_for_no_wait_is_none(odd: str) -> None:
    assert retry_after([("Retry-After", odd)]) is None
    assert retry_after([("retry-after-ms", odd), ("Retry-After", "9")]) == 9
