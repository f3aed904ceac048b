"""How fast an endpoint may be asked, whether it is up, and how much money is left.

All times are seconds of a monotonic clock, which is the event loop's where something waits for it.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MINUTE = 60.0
_LATE = 1.0  # seconds that a request may be on its way before its server counts it
_OPENS_AFTER = 10  # failures of an endpoint in a row
_COOLDOWN, _LONGEST_COOLDOWN = 5.0, 300.0
_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0

Clock = Callable[[], float]


@dataclass
class Slot:
    """One request in the window of a limit; `at` is when it stops to be on its way."""

    tokens: int
    at: float | None = None


class RateLimit:
    """So many requests and tokens in any `window` seconds, as the server sees them.

    The server counts a request at some moment between its sending and its answer. So it leaves our
    window only `window` seconds after its answer, or after `_LATE` seconds on its way. Until its
    answer says how many tokens it took, it counts with the most that it may take.
    """

    def __init__(self, requests: int | None, tokens: int | None, *, clock: Clock, window: float = MINUTE) -> None:
        self.requests, self.tokens, self.window, self.clock = requests, tokens, window, clock
        self._slots: deque[Slot] = deque()
        self._sum = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    def restore(self, recent: Iterable[tuple[float, int]]) -> None:
        """Take in what an earlier run sent: how many seconds ago, and tokens; the oldest first."""
        for ago, tokens in recent:
            self._slots.append(Slot(tokens, self.clock() - ago + min(_LATE, self.window)))
            self._sum += tokens

    async def take(self, tokens: int) -> Slot:
        """Wait, first come first served, until a request of at most so many tokens may be sent."""
        async with self._turn:
            while True:
                self._expire()
                full = self.requests is not None and len(self._slots) >= self.requests
                heavy = self.tokens is not None and self._slots and self._sum + tokens > self.tokens
                if not full and not heavy:
                    slot = Slot(tokens)
                    self._slots.append(slot)
                    self._sum += tokens
                    return slot
                await self._wait()

    def sent(self, slot: Slot) -> None:
        """The request leaves now."""
        slot.at = self.clock() + min(_LATE, self.window)
        self._changed.set()

    def done(self, slot: Slot, tokens: int | None) -> None:
        """Its answer is here, or will never be; it took `tokens` (None: nobody knows, so the most)."""
        now = self.clock()
        slot.at = now if slot.at is None else min(slot.at, now)
        if tokens is not None:
            self._sum += tokens - slot.tokens
            slot.tokens = tokens
        self._changed.set()

    def _expire(self) -> None:
        now = self.clock()
        while self._slots and self._slots[0].at is not None and self._slots[0].at + self.window <= now:
            self._sum -= self._slots.popleft().tokens

    async def _wait(self) -> None:
        first = self._slots[0].at if self._slots else None
        wait = None if first is None else max(0.0, first + self.window - self.clock())
        self._changed.clear()
        try:
            async with asyncio.timeout(wait):
                await self._changed.wait()
        except TimeoutError:
            pass


class EndpointDown(Exception):
    """An endpoint is left for this run; the message says why."""


class Gate:
    """Whether an endpoint may be asked now: pauses that it asked for, and a breaker.

    After ten failures in a row it is shut for a time that doubles from 5 to 300 seconds; then one
    request probes it, and an answer opens it. An endpoint that gave no answer at all for `give_up`
    seconds from the first failure in a row on, or said that it never will, is left for this run.
    """

    def __init__(self, give_up: float, *, clock: Clock) -> None:
        self.give_up, self.clock = give_up, clock
        self.left: str | None = None
        self.failures = 0
        self._since: float | None = None  # of the first failure in a row
        self._until = 0.0
        self._cooldown = _COOLDOWN
        self._probing = False
        self._changed = asyncio.Event()

    @property
    def shut(self) -> bool:
        """Whether the breaker is open, as electricians say: no request but a probe gets through."""
        return self.failures >= _OPENS_AFTER

    async def enter(self) -> None:
        """Wait until a request may be sent; raise EndpointDown where none ever may."""
        while True:
            if self.left is not None:
                raise EndpointDown(self.left)
            wait = self._until - self.clock()
            if wait <= 0 and not (self.shut and self._probing):
                self._probing = self.shut
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(wait if wait > 0 else None):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def unused(self) -> None:
        """A request that had entered is not sent after all."""
        self._probing = False
        self._changed.set()

    def success(self) -> None:
        """An answer came."""
        self.failures, self._since, self._cooldown, self._probing = 0, None, _COOLDOWN, False
        self._changed.set()

    def throttled(self, wait: float) -> None:
        """The endpoint asks for a pause of so many seconds."""
        now = self.clock()
        self._since = now if self._since is None else self._since
        self._until = max(self._until, now + wait)
        self._probing = False
        if now + wait - self._since >= self.give_up:
            self.leave(f"no answer for {now - self._since:.0f} s, and it asks to wait another {wait:.0f}")
        self._changed.set()

    def failure(self, reason: str) -> None:
        """No answer came: a reset, a timeout, a 500."""
        now = self.clock()
        self._since = now if self._since is None else self._since
        self.failures += 1
        if self.failures == _OPENS_AFTER or (self.shut and self._probing):
            self._until = max(self._until, now + self._cooldown)
            self._cooldown = min(_LONGEST_COOLDOWN, 2 * self._cooldown)
            self._probing = False
        if self.shut and now - self._since >= self.give_up:
            self.leave(f"no answer for {now - self._since:.0f} s: {reason}")
        self._changed.set()

    def leave(self, reason: str) -> None:
        """Ask this endpoint nothing more in this run."""
        self.left = self.left or reason
        self._changed.set()


class BudgetReached(Exception):
    """The next request could pass the budget."""


class Budget:
    """Money in whole units of 1/MONEY: spent, reserved for what is in flight, and the most there is.

    A request reserves the most that it may cost, and is sent only where that fits, so that the
    total never passes the budget.
    """

    def __init__(self, most: int | None, spent: int) -> None:
        self.most, self.spent, self.reserved = most, spent, 0
        self._changed = asyncio.Event()

    async def reserve(self, bound: int) -> None:
        """Set `bound` aside; wait while what is in flight may leave room, else raise BudgetReached."""
        while self.most is not None and self.spent + self.reserved + bound > self.most:
            if not self.reserved or self.spent + bound > self.most:
                raise BudgetReached
            self._changed.clear()
            await self._changed.wait()
        self.reserved += bound

    def settle(self, bound: int, cost: int) -> None:
        """A request that had reserved `bound` cost `cost`."""
        self.reserved -= bound
        self.spent += cost
        self._changed.set()


def backoff(failures: int, rng: random.Random) -> float:
    """Seconds before the next attempt: uniform up to a bound that doubles from 1 to 60."""
    return rng.uniform(0, min(_LONGEST_BACKOFF, _BACKOFF * 2 ** min(failures - 1, 10)))
