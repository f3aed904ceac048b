"""An endpoint while it is being asked: who may send when, and what has become of it."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from coig_p.annotate.asking.client import Client, Reply
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.ledger import INVALID
from coig_p.annotate.asking.limits import EndpointDown, Gate, RateLimit, Slot
from coig_p.annotate.asking.pace import Pace
from coig_p.annotate.asking.request import Request
from coig_p.annotate.asking.source import Source

_SHORTEST = 1e-6  # seconds that a wait takes at least: a float's last digit must not be waited for again and again
_LAST_ANSWERS, _ANSWERS_NEEDED = 100, 30  # of which it is counted how many are invalid
_FRESH = 2.0  # seconds after which headers say nothing of now
_LONGEST_RESET = 60.0  # seconds that headers alone can hold requests back


class Seen(NamedTuple):
    """What has become of an endpoint in this run so far.

    Attributes:
        done: requests that have an outcome now, also those that had one before.
        rate: requests a minute in effect; None where nothing limits them.
        invalid, failed: answers that cannot be used, and requests that failed.
        last: the server's last words about a request that it did not answer.
        cost: of this run, in 1/MONEY, with attempts that may be paid.
        left: why it was left or is paused; None where it is asked.
        over: whether nothing is left to ask it, what failed and is asked once more among it.
    """

    name: str
    done: int
    in_flight: int
    rate: float | None
    invalid: int
    failed: int
    last: str | None
    cost: int
    left: str | None
    over: bool = False


class Taking(NamedTuple):
    """A request that was taken from a source; `again`: it was asked before, and failed."""

    source: Source
    request: Request
    again: bool


class Port:
    """An endpoint with its connections, its limits, and the sources of what it is asked.

    Attributes:
        more: set when there may be something to take, or to do.
        idle: held by the one worker that waits for that.
        overbills: why it keeps to no budget, by the max_tokens with which that was seen, also in earlier runs.
    """

    def __init__(self, endpoint: Endpoint, client: Client) -> None:
        clock = asyncio.get_running_loop().time
        self.endpoint, self.client, self.clock = endpoint, client, clock
        self.limit = RateLimit(endpoint.requests_per_minute, endpoint.tokens_per_minute, clock=clock)
        self.gate, self.pace = Gate(endpoint.give_up, clock=clock), Pace(clock)
        self.more, self.idle = asyncio.Event(), asyncio.Lock()
        self.sources: Sequence[Source] = ()
        self.in_flight = self.sent = self.done = self.invalid = self.failed = self.cost = 0
        self.last: str | None = None
        self.overbills: dict[str, str] = {}
        self._turn, self._changed = asyncio.Lock(), asyncio.Event()
        self._in_line = 0  # who waits for a turn, or has it
        self._usable: deque[bool] = deque(maxlen=_LAST_ANSWERS)
        self._holds = 0  # pauses for headers in a row, each after a single request
        self._held_at = 0  # requests that were sent when headers last held others back

    # What it is asked

    def take(self) -> Taking | None:
        """The next request of the first source that has one."""
        for source in self.sources:
            taken = source.take()
            if taken is not None:
                return Taking(source, *taken)
        return None

    @property
    def over(self) -> bool:
        """Whether nothing is left to ask it."""
        return all(source.over for source in self.sources)

    @property
    def resting(self) -> bool:
        """Whether nobody will take a request before somebody sets `more`."""
        return self.gate.left is not None or self.over or not self.more.is_set()

    # When it is asked

    def is_open(self, tokens: int) -> bool:
        """Whether a request of at most so many tokens may be sent at once, with nobody before it.

        Raises:
            EndpointDown: it was left.
        """
        return not self._in_line and self._wait(tokens) <= 0

    async def enter(self, tokens: int) -> Slot:
        """Wait, first come first served, until a request of at most so many tokens may be sent.

        Raises:
            EndpointDown: it was left.
        """
        self._in_line += 1
        try:
            async with self._turn:
                while (wait := self._wait(tokens)) > 0:
                    self._changed.clear()
                    try:
                        async with asyncio.timeout(None if wait == math.inf else max(wait, _SHORTEST)):
                            await self._changed.wait()
                    except TimeoutError:
                        pass
                return self.enter_at_once(tokens)
        finally:
            self._in_line -= 1

    def enter_at_once(self, tokens: int) -> Slot:
        """The same for a request to which it is open."""
        self.gate.entered()
        self.pace.sent()
        return self.limit.take(tokens)

    def _wait(self, tokens: int) -> float:
        return max(self.gate.wait(), self.limit.wait(tokens), self.pace.wait())

    def unused(self, slot: Slot) -> None:
        """A request that had entered is not sent after all."""
        self.gate.unused()
        self.done_with(slot, 0)

    def done_with(self, slot: Slot, tokens: int | None) -> None:
        """A request is over; see `RateLimit.done`."""
        self.limit.done(slot, tokens)
        self._changed.set()

    def throttled(self, slot: Slot, wait: float | None) -> bool:
        """A request was turned away for its rate; whether the server takes others meanwhile."""
        takes = self.pace.turned_away(slot.entered, wait)
        self.gate.throttled(wait or 0.0)
        return takes

    def leave(self, reason: str, rest: float = 0.0) -> None:
        """See `Gate.leave`; nobody waits for a turn any more."""
        self.gate.leave(reason, rest)
        self._changed.set()

    def check_up(self) -> None:
        """Raise EndpointDown where it was left."""
        if self.gate.left is not None:
            raise EndpointDown(self.gate.left)

    def heed(self, slot: Slot, sent: int, reply: Reply, tokens: int) -> None:
        """Send nothing more before the reset that a reply's headers name, where they say that nothing is left.

        Args:
            sent: how many requests had been sent, this one among them.
            tokens: that it took, as the next one may.
        """
        hints = reply.hints
        if hints is None or self._holds > 2:  # a server that always says so
            return
        age = self.clock() - slot.entered
        later = self.sent - sent if age < _FRESH else 0
        waits = [
            reset
            for left, reset, needed in (
                (hints.requests_left, hints.requests_reset, 1 + later),
                (hints.tokens_left, hints.tokens_reset, max(1, tokens)),
            )
            if left is not None and reset is not None and left < needed
        ]
        wait = min(_LONGEST_RESET, max(waits, default=0.0)) - age  # counted from the earliest moment
        if wait > 0:
            few = self.sent - self._held_at <= 1 and hints.requests_limit != 1
            self._holds = self._holds + 1 if few and self.sent > self._held_at else self._holds
            self._held_at = self.sent
            self.gate.pause(wait)
        elif not waits:
            self._holds = 0

    # What has become of it

    def answered(self, state: str, reason: str | None, most_invalid: float) -> str | None:
        """Count an answer; why no more are wanted, where too many of the last ones were invalid."""
        self._usable.append(state != INVALID)
        if state != INVALID:
            return None
        self.invalid += 1
        bad, number = self._usable.count(False), len(self._usable)
        # A quotient is rounded as the limit was: 29 of 100 are no more than .29, and .29 * 100 is less than 29.
        if number < _ANSWERS_NEEDED or bad / number <= most_invalid:
            return None
        return f"{bad} of its last {number} answers could not be used, this one for: {reason}"

    def seen(self) -> Seen:
        """What has become of it so far."""
        limits = [self.endpoint.requests_per_minute, None if self.pace.rate is None else 60 * self.pace.rate]
        rate = min((limit for limit in limits if limit is not None), default=None)
        return Seen(
            self.endpoint.name,
            self.done,
            self.in_flight,
            None if rate is None else float(rate),
            self.invalid,
            self.failed,
            self.last,
            self.cost,
            self.gate.left,
            self.over,
        )
