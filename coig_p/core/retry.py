"""How long a server asks to wait before the next request."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime


def retry_after(headers: Iterable[tuple[str, str]]) -> float | None:
    """Seconds that a server asks to wait: retry-after-ms, or Retry-After in seconds or as a date.

    None where it asks for none; a moment that is past asks for none either.
    """
    named = {name.lower(): value.strip() for name, value in headers}
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(named[name]) / scale
        except (KeyError, ValueError):
            continue
        if 0 < seconds < float("inf"):
            return seconds
    try:
        until = parsedate_to_datetime(named["retry-after"])
        seconds = until.timestamp() - time.time()
        return seconds if seconds > 0 else None
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
