"""How a user ends what is being asked, with nothing lost that is in flight."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from coig_p.annotate.asking.asker import Asker


@contextmanager
def stopped_by_signals(asker: Asker) -> Iterator[None]:
    """Ctrl-C sends nothing more and waits for what is in flight; a second one abandons that."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        flying = asker.in_flight()
        words = ", ".join(f"{name} {number}" for name, number in flying.items()) or "none"
        if asker.stopped != "interrupted":
            asker.stopped = None
            asker.stop("interrupted")
            asker.say(f"stopping; in flight, waited for: {words}. Again Ctrl-C abandons them")
        else:
            asker.say(f"abandoned, and perhaps paid: {words}")
            asker.abandon()

    added = []
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(name, interrupted)
            added.append(name)
        except (NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            pass
    try:
        yield
    finally:
        for name in added:
            loop.remove_signal_handler(name)
