"""What the headers of an answer say of a server's rate limits."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NamedTuple

_A_YEAR = 366 * 86400.0
# As OpenAI, Azure, Mistral and Cerebras name them, Anthropic (what before which), OpenRouter and the IETF (no what).
_NAMED = re.compile(
    r"^(?:x-|anthropic-)?ratelimit-(?:(?P<before>requests|tokens)-)?(?P<which>limit|remaining|reset)"
    r"(?:-(?P<what>requests|request|req|tokens))?(?:-(?P<window>second|minute|hour|day|month))?$"
)
_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|[dhms])")
_DURATION = re.compile(rf"(?:{_PARTS.pattern})+")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_UNIX, _UNIX_MILLISECONDS = 1e9, 1e12  # no reset is as many seconds away; a moment is


class RateHints(NamedTuple):
    """A server's rate limits as it states them; None for each that it does not.

    Attributes:
        requests_left, tokens_left: until the next reset.
        requests_reset, tokens_reset: seconds until all of the limit is there again.
        requests_limit, tokens_limit: in a window that the server knows: mostly a minute, of some a day.
    """

    requests_left: float | None = None
    requests_reset: float | None = None
    tokens_left: float | None = None
    tokens_reset: float | None = None
    requests_limit: float | None = None
    tokens_limit: float | None = None


_FIELDS = {"limit": "limit", "remaining": "left", "reset": "reset"}


def rate_hints(headers: Iterable[tuple[str, str]]) -> RateHints | None:
    """What headers say of rate limits; None where they say nothing that can be read.

    Where there are several of a kind, the one of the shorter window counts.
    """
    given = list(headers)
    if not any("ratelimit-" in name.lower() for name, _ in given):
        return None
    named = {name.lower(): value.strip() for name, value in given}
    limits = [(place, name) for name in named if (place := _place(name)) is not None]
    found: dict[str, float] = {}
    # Those of a day first, so that those of a minute, or of no named window, take their place.
    for place, name in sorted(limits):
        value = named[name]
        read = seconds_until(value, named.get("date")) if place.is_reset else _number(value)
        if read is not None:
            found[place.field] = read
    return RateHints(**found) if found else None


class _Place(NamedTuple):
    """Where a header's value belongs; those of a long window sort first."""

    is_short: bool
    field: str
    is_reset: bool


@lru_cache(maxsize=256)
def _place(name: str) -> _Place | None:
    match = _NAMED.match(name)
    if match is None:
        return None
    what = "tokens" if "tokens" in (match["before"], match["what"]) else "requests"
    long = match["window"] in ("hour", "day", "month")
    return _Place(not long, f"{what}_{_FIELDS[match['which']]}", match["which"] == "reset")


def seconds_until(value: str, date: str | None = None) -> float | None:
    """A time as servers write it, in seconds from now; 0 for one that is past, None for what is none.

    It reads seconds ("1", "0.5"), durations ("6m0s", "20ms", "1h2m3.5s"), Unix times in seconds and
    in milliseconds, and dates of ISO 8601 and of HTTP.

    Args:
        date: the server's own clock as it shows it, from which moments count; default: this machine's.
    """
    value = value.strip()
    number = _number(value)
    if number is not None and number < _UNIX:
        seconds: float | None = number
    elif _DURATION.fullmatch(value):
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PARTS.findall(value))
    else:
        moment = _moment(value) if number is None else number / 1000 if number >= _UNIX_MILLISECONDS else number
        now = _moment(date or "")
        seconds = None if moment is None else moment - (time.time() if now is None else now)
    return None if seconds is None or seconds > _A_YEAR else max(0.0, seconds)


def _moment(value: str) -> float | None:
    """A date of ISO 8601 or of HTTP as Unix time."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _number(value: str) -> float | None:
    """A number of 0 or more; one below counts as 0, as some servers go into debt. A limit of -1 is none."""
    try:
        number = float(value)
    except ValueError:
        return None
    return None if not math.isfinite(number) or number == -1 else max(0.0, number)
