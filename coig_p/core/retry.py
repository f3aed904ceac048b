"""How long a server asks to wait before the next request."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

# As the Hub writes it, after a draft of the IETF: "api";r=0;t=55, r requests left, t seconds to the next window.
_SPENT = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)")


def retry_after(headers: Iterable[tuple[str, str]]) -> float | None:
    """Seconds that a server asks to wait: retry-after-ms, Retry-After in seconds or as a date, or ratelimit.

    None where it asks for none; a moment that is past, and a budget that is not spent, ask for none either.
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
        seconds = parsedate_to_datetime(named["retry-after"]).timestamp() - time.time()
        if seconds > 0:
            return seconds
    except (KeyError, ValueError, TypeError, OverflowError):
        pass
    spent = _SPENT.search(named.get("ratelimit", ""))
    return float(spent[1]) if spent and int(spent[1]) else None
