"""How fast an endpoint may be asked, whether it is up, and how much money is left.

All times are seconds of a monotonic clock, which is the event loop's where something waits for it.
`RateLimit` and `Gate` say how long to wait; `port` waits for both.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MINUTE = 60.0
MOST_INVALID = 0.2  # of an endpoint's answers
_LATE = 1.0  # seconds that a request may be on its way before its server counts it
_OPENS_AFTER = 10  # failures of an endpoint in a row
_COOLDOWN, _LONGEST_COOLDOWN = 5.0, 300.0
_REST, _LONGEST_REST = 30.0, 300.0  # seconds until an endpoint that was left is tried again
LONG_REST = 1800.0  # the same, where somebody has to do something first, such as to pay
_DENIALS, _LATER_DENIALS = 20, 100  # in a row: of an endpoint that answered nothing yet, and of another
_BACKOFF, _LONGEST_BACKOFF = 1.0, 60.0

Clock = Callable[[], float]


@dataclass(slots=True)
class Slot:
    """One request in the window of a limit.

    Attributes:
        entered: when it was let in.
        at: when it stops to be on its way.
    """

    tokens: int
    entered: float = 0.0
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

    def restore(self, recent: Iterable[tuple[float, int]]) -> None:
        """Take in what an earlier run sent: how many seconds ago, and tokens; the oldest first."""
        for ago, tokens in recent:
            at = self.clock() - ago
            self._slots.append(Slot(tokens, at, at + min(_LATE, self.window)))
            self._sum += tokens

    def wait(self, tokens: int) -> float:
        """Seconds until a request of at most so many tokens may be sent, or until that is asked again.

        0: now; infinite: until a request is sent or done.
        """
        self._expire()
        full = self.requests is not None and len(self._slots) >= self.requests
        heavy = self.tokens is not None and self._slots and self._sum + tokens > self.tokens
        if not full and not heavy:
            return 0.0
        first = self._slots[0].at
        return math.inf if first is None else max(0.0, first + self.window - self.clock())

    def take(self, tokens: int) -> Slot:
        """A place for such a request."""
        slot = Slot(tokens, self.clock())
        if self.requests is not None or self.tokens is not None:  # else nobody looks at it
            self._slots.append(slot)
            self._sum += tokens
        return slot

    def sent(self, slot: Slot) -> None:
        """The request leaves now."""
        slot.at = self.clock() + min(_LATE, self.window)

    def done(self, slot: Slot, tokens: int | None) -> None:
        """Its answer is here, or will never be; it took `tokens` (None: nobody knows, so the most)."""
        now = self.clock()
        slot.at = now if slot.at is None else min(slot.at, now)
        if tokens is not None:
            self._sum += tokens - slot.tokens
            slot.tokens = tokens

    def _expire(self) -> None:
        now = self.clock()
        while self._slots and self._slots[0].at is not None and self._slots[0].at + self.window <= now:
            self._sum -= self._slots.popleft().tokens


class EndpointDown(Exception):
    """An endpoint is left; the message says why."""


class Gate:
    """Whether an endpoint may be asked now: pauses that it asked for, a breaker, and whether it was left.

    After ten failures in a row it is shut for a time that doubles from 5 to 300 seconds; then one
    request probes it, and an answer opens it. An endpoint is left that gave no answer at all for
    `give_up` seconds from the first failure in a row on, or that denied everything. It is tried again
    by one request after a rest that doubles from 30 to 300 seconds.
    """

    def __init__(self, give_up: float, *, clock: Clock) -> None:
        self.give_up, self.clock = give_up, clock
        self.left: str | None = None
        self.failures = self.denials = 0
        self._answered = False
        self._since: float | None = None  # of the first failure in a row
        self._until = 0.0
        self._cooldown, self._rest = _COOLDOWN, _REST
        self._again = math.inf  # when it is tried again, once it was left
        self._probing = False
        self._said = False  # that it was left
        self._returning = False  # tried again, and nothing came of that yet

    @property
    def shut(self) -> bool:
        """Whether the breaker is open, as electricians say: no request but a probe gets through."""
        return self._returning or self.failures >= _OPENS_AFTER

    def wait(self) -> float:
        """Seconds until a request may be sent, 0 or less: now, infinite: until a probe has an answer.

        Raises:
            EndpointDown: it was left.
        """
        if self.left is not None:
            raise EndpointDown(self.left)
        wait = self._until - self.clock()
        return math.inf if wait <= 0 and self.shut and self._probing else wait

    def entered(self) -> None:
        """A request gets through."""
        self._probing = self.shut

    def unused(self) -> None:
        """A request that had entered is not sent after all."""
        self._probing = False

    def success(self) -> bool:
        """An answer came; whether it is the first one since the endpoint was tried again."""
        back = self._returning
        self.failures, self.denials, self._since, self._cooldown, self._rest = 0, 0, None, _COOLDOWN, _REST
        self._probing = self._returning = False
        self._answered = True
        return back

    def newly_left(self) -> bool:
        """Whether it was left since this was asked last."""
        newly, self._said = self.left is not None and not self._said, self.left is not None
        return newly

    def pause(self, seconds: float) -> None:
        """Nothing is sent for so long."""
        self._until = max(self._until, self.clock() + seconds)

    def throttled(self, wait: float) -> None:
        """The endpoint turned a request away for its rate, and asks for a pause of so many seconds."""
        now = self.clock()
        self._since = now if self._since is None else self._since
        self.pause(wait)
        self._probing = False
        if now + wait - self._since >= self.give_up:
            self.leave(f"no answer for {now - self._since:.0f} s, and it asks to wait another {wait:.0f}", wait)

    def failure(self, reason: str) -> None:
        """No answer came: a reset, a timeout, a 500."""
        now = self.clock()
        self._since = now if self._since is None else self._since
        self.failures += 1
        if self._returning:
            self.leave(reason)
        if self.failures == _OPENS_AFTER or (self.shut and self._probing):
            self.pause(self._cooldown)
            self._cooldown = min(_LONGEST_COOLDOWN, 2 * self._cooldown)
            self._probing = False
        if self.shut and now - self._since >= self.give_up:
            self.leave(f"no answer for {now - self._since:.0f} s: {reason}")

    def denied(self, reason: str) -> None:
        """It will not answer this request, or perhaps none; it is left once that has gone on for long."""
        self.denials += 1
        self.failures, self._since, self._probing = 0, None, False
        if self._returning:
            self.leave(reason)
        elif self.denials >= (_LATER_DENIALS if self._answered else _DENIALS):
            which = "last" if self._answered else "first"
            self.leave(f"it refused its {which} {self.denials} attempts: {reason}")

    def leave(self, reason: str, rest: float = 0.0) -> None:
        """Ask this endpoint nothing more before a rest of that many seconds at least; infinite: in this run."""
        if self.left is None:
            self.left, self._again = reason, self.clock() + max(self._rest, rest)
            self._rest = min(_LONGEST_REST, 2 * self._rest)
            self._returning = self._probing = False

    def again(self) -> float:
        """Seconds until an endpoint that was left may be tried again."""
        return self._again - self.clock()

    def come_back(self) -> None:
        """Let one request try an endpoint that was left."""
        self.left, self._returning, self._since, self.failures = None, True, None, 0
        self._said = False


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

    def has_room(self, bound: int) -> bool:
        """Whether `bound` can be set aside now."""
        return self.most is None or self.spent + self.reserved + bound <= self.most

    async def reserve(self, bound: int) -> None:
        """Set `bound` aside; wait while what is in flight may leave room, else raise BudgetReached."""
        while not self.has_room(bound):
            assert self.most is not None
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
