"""An event loop whose clock the tests turn: it stands while somebody works, and jumps when all wait for it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

from coig_p.annotate.asking.client import Client


class TurnedLoop(asyncio.SelectorEventLoop):
    """Time passes only where nothing but a timer is left to happen; then it is that timer's at once.

    `busy` says whether an answer is still to come from outside the loop, such as another thread's server.
    """

    def __init__(self, busy: Callable[[], bool] = lambda: False, start: float = 0.0) -> None:
        self.turned = start
        super().__init__(_Selector(self, busy))

    def time(self) -> float:
        return self.turned


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: TurnedLoop, busy: Callable[[], bool]) -> None:
        super().__init__()
        self.loop, self.busy = loop, busy

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        while self.busy():
            found = super().select(0.002)  # in real time: another thread works
            if found:
                return found
        found = super().select(0)
        if not found:
            self.loop.turned += timeout
        return found


def turned(work: Any, start: float = 0.0) -> Any:
    """Run a coroutine that talks to nobody outside its loop."""
    with asyncio.Runner(loop_factory=lambda: TurnedLoop(start=start)) as runner:
        return runner.run(work)


class Turned:
    """Makes loops for runs against a server in other threads, of which some requests hang for ever.

    Attributes:
        hung: how many requests the server has left hanging so far.
    """

    def __init__(self, monkeypatch: Any) -> None:
        self.hung: Callable[[], int] = lambda: 0
        self.flying = self.timeouts = 0
        ask = Client.ask

        async def counted(client: Client, *request: Any) -> Any:
            self.flying += 1
            try:
                reply = await ask(client, *request)
            finally:
                self.flying -= 1
            self.timeouts += reply.outcome == "timeout"
            return reply

        monkeypatch.setattr(Client, "ask", counted)

    def loop(self) -> TurnedLoop:
        """One whose clock jumps where every request in flight hangs."""
        return TurnedLoop(lambda: self.flying > self.hung() - self.timeouts)
