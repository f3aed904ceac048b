"""How fast a server takes requests, found out from those that it turns away for their rate.

Additive increase, multiplicative decrease. Nothing is held back until the first request is turned
away. From then on requests go at a pace: at most what the server took in the last seconds, a little
less each time that one is turned away, and slowly more while none is. A pace that is only a guess
from the first burst doubles quickly instead, until the server objects. Where it takes nothing at all,
one request after another probes it, ever less often.

All times are seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

_BUCKET = 0.25  # seconds whose requests are counted together
_HORIZON = 10.0  # seconds over which it is counted what the server takes
_LESS = 0.9  # of the pace, once a request is turned away
_TOLERATED = 0.03  # share of requests turned away that slows nothing down: clocks are not exact
_DOUBLES = 0.5  # seconds in which a guess doubles
_CAREFUL = 4.0  # seconds more for each second of pause that the server asks for
_SURE, _SURE_DOUBLES = 20.0, 20.0  # requests a second at first from which a guess is a good one, and doubles slowly
_MORE = 0.01  # of the limit that was found, each second
_BACK_TO = 0.7  # share of what was taken from the limit that comes back
_BACK = 3.0  # seconds in which it comes back half way to that limit
_LONG = 10.0  # seconds without any turned away after which that grows
_HOLD, _HOLD_FACTOR = 1.0, 20.0  # seconds without an increase after a decrease; for each second of pause
_BURST = 0.03  # seconds of the pace that may be caught up, where the loop was late
_PROBES, _LONGEST_PROBE = 0.25, 4.0  # seconds between requests to a server that takes nothing
_PROMPT = 0.5  # seconds in which a server turns a request away, if it does


class Pace:
    """Requests a second at one server.

    Attributes:
        rate: in effect; None where nothing was turned away yet.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.rate: float | None = None
        self._guessed = True  # the rate was never found too high at a steady pace
        self._doubles = _DOUBLES
        self._middle = 0.0
        self._limit = 0.0  # the rate that was found too high last
        self._next = 0.0  # when the next request may go
        self._began: float | None = None
        self._slowed = -1.0  # when the rate was last lowered
        self._resumed = -1.0  # when requests went again after that
        self._paused = -1.0
        self._hold = 0.0  # until when it is not raised
        self._raised = 0.0
        self._kept: Counter[int] = Counter()  # requests that were sent and not turned away, by bucket
        self._cycle = 0  # of these, since the rate was lowered last
        self._turned: Counter[int] = Counter()
        self._answered = -1.0  # the latest sending of a request that was answered
        self._locked = 0  # pauses in a row in which nothing was taken
        self._probing = False
        self._probed = 0.0

    def wait(self) -> float:
        """Seconds until a request may go; 0 or less: now."""
        return self._next - self.clock()

    def sent(self) -> None:
        """A request goes now."""
        now = self.clock()
        bucket = int(now / _BUCKET)
        if bucket not in self._kept:
            self._forget(now)
        self._kept[bucket] += 1
        self._cycle += 1
        if self._began is None:
            self._began = now
        if self.rate is None:
            return
        late = now - self._next
        if late < _BURST:
            self._raise(now)
        self._next = max(self._next, now - _BURST) + 1 / self.rate
        if self._locked:
            self._next, self._probing, self._probed = now + _PROMPT, True, now

    def taken(self, sent: float) -> None:
        """What was sent then is answered, in whatever way but for its rate."""
        self._answered = max(self._answered, sent)
        if self._probing:
            self._unlock()

    def turned_away(self, sent: float, wait: float | None) -> bool:
        """What was sent then is turned away for its rate; `wait`: for how long the server asks to wait.

        Returns:
            Whether the server takes others meanwhile.
        """
        now = self.clock()
        bucket = int(sent / _BUCKET)
        self._kept[bucket] -= 1
        self._cycle -= sent > self._slowed
        self._turned[bucket] += 1
        kept = self._taken_lately(now)
        asked = 0.0 if wait is None else wait
        if self.rate is None:
            self.rate = max(_LESS * kept, 0.1)
            self._doubles = _DOUBLES + _CAREFUL * asked if kept < _SURE else _SURE_DOUBLES
            self._slow(now, asked)
            return True
        if sent <= self._paused:  # sent before we knew
            if self._guessed:
                self.rate = max(min(self.rate, _LESS * kept), 0.1)
                self._doubles = _DOUBLES + _CAREFUL * asked if kept < _SURE else _SURE_DOUBLES
            self._next = max(self._next, now + asked)
            return True
        if not self._takes(now):
            self._locked += 1
            self._pause(now, max(asked, min(_LONGEST_PROBE, _PROBES * 2 ** (self._locked - 1))))
            return False
        self._unlock()
        if wait is None and self._share_kept() >= 1 - _TOLERATED:
            return True
        self._limit = self.rate
        took = max(0, self._cycle) / max(_BUCKET, now - self._resumed)
        self.rate = max(min(_LESS * self.rate, (took * self.rate) ** 0.5), 0.1)
        self._middle = self.rate + _BACK_TO * (self._limit - self.rate)
        self._guessed = False
        self._hold = now + max(_HOLD, _HOLD_FACTOR * asked)
        self._slow(now, asked)
        return True

    def _slow(self, now: float, asked: float) -> None:
        self._slowed, self._cycle, self._resumed = now, 0, now + asked
        self._pause(now, asked)

    def _pause(self, now: float, seconds: float) -> None:
        self._paused = now
        self._next = max(self._next, now + seconds)
        self._raised = max(self._raised, self._next)
        self._probing = False

    def _unlock(self) -> None:
        now = self.clock()
        if self._probing:
            assert self.rate is not None
            self._next = min(self._next, max(now, self._probed + 1 / self.rate))
        self._locked, self._probing, self._raised = 0, False, now

    def _takes(self, now: float) -> bool:
        """Whether something that was sent since the rate was lowered last was taken, or seems to be."""
        if self._answered > self._slowed:
            return True
        first, last = int(max(self._slowed, now - _HORIZON) / _BUCKET) + 1, int((now - _PROMPT) / _BUCKET)
        return any(self._kept[bucket] > 0 for bucket in range(first, last))

    def _raise(self, now: float) -> None:
        assert self.rate is not None
        since = min(now - self._raised, _BUCKET + 1 / self.rate)
        self._raised = now
        if since <= 0:
            return
        if self._guessed:
            self.rate *= 2 ** (since / self._doubles)
        else:
            self.rate += since * max(0.0, self._middle - self.rate) / _BACK
            steady = now - self._hold
            if steady > 0:
                self.rate += since * _MORE * self._limit * (1 + (steady / _LONG) ** 2)

    def _taken_lately(self, now: float) -> float:
        """Requests a second that were sent in the last seconds and not turned away."""
        assert self._began is not None
        self._forget(now)
        return sum(self._kept.values()) / max(1.0, min(now - self._began, _HORIZON))

    def _forget(self, now: float) -> None:
        first = int((now - _HORIZON) / _BUCKET)
        for counts in (self._kept, self._turned):
            for bucket in [one for one in counts if one < first]:
                del counts[bucket]

    def _share_kept(self) -> float:
        """Of what was sent in the last seconds how much was not turned away."""
        kept = sum(self._kept.values())
        return kept / max(1, kept + sum(self._turned.values()))
