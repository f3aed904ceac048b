"""Many requests to many endpoints at once, each within its limits, until all have an outcome.

An endpoint has as many workers as it may have requests in flight. A worker takes the next request
from the endpoint's own sources and stays with it: attempts with backoff, then further asks where
the answer is unusable. So a slow or broken endpoint holds up no other. Where an endpoint is left its
workers give their requests back and rest; one tries it again as long as others work.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from coig_p.annotate.asking.client import Client, Reply
from coig_p.annotate.asking.costs import Tokens, max_tokens, overbilled, overbilling, taken_tokens, unanswered
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, LedgerWriter, Taken
from coig_p.annotate.asking.limits import (
    LONG_REST,
    MINUTE,
    MOST_INVALID,
    Budget,
    BudgetReached,
    EndpointDown,
    Slot,
    backoff,
)
from coig_p.annotate.asking.port import Port, Taking
from coig_p.annotate.asking.port import Seen as Seen
from coig_p.annotate.asking.request import Outcome, Request, asks
from coig_p.annotate.asking.source import Source

_THROTTLES = 50  # times that one request may be turned away for its rate
_REFUSED = "refused"  # failed, and it would be again
_LATER = "later"  # it is put off
_TOGETHER = 8  # answers that are written down in one turn of the loop
_BREATH = 64  # requests that are done already, between two looks at the loop


class Stopped(Exception):
    """No further request is sent."""


class _Sent(NamedTuple):
    """An attempt that was answered: what it was, which of its endpoint's, what it might take, and its time."""

    key: bytes
    attempt: int
    slot: Slot
    number: int
    most: Tokens
    bound: int
    seconds: float


@dataclass
class Asker:
    """Asks for requests and keeps what came of them in the ledger.

    All waiting goes by the event loop's clock.

    Attributes:
        endpoints: by their names.
        say: called with a line for people.
        heard: called with every answer and what it says.
        connect: makes what sends the requests of an endpoint.
        stopped: why no further request is sent: interrupted, budget or time.
        most_invalid: share of an endpoint's last 100 answers (30 at least) above which it is asked nothing more.
        asked, failed: attempts that were sent, and requests that failed, by endpoint.
        answers: that came, by the kind of their request and their state.
    """

    endpoints: Mapping[str, Endpoint]
    ledger: LedgerWriter
    budget: Budget
    say: Callable[[str], None] = lambda line: None
    heard: Callable[[Request, Outcome], None] = lambda request, found: None
    stopped: str | None = None
    ports: dict[str, Port] = field(default_factory=dict)
    connect: Callable[[Endpoint], Client] = Client
    rng: random.Random = field(default_factory=random.Random)
    most_invalid: float = MOST_INVALID
    asked: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    _waiting: set[asyncio.Task[None]] = field(default_factory=set)
    _workers: set[asyncio.Task[None]] = field(default_factory=set)
    _flying: dict[bytes, asyncio.Future[None]] = field(default_factory=dict)
    _failed: set[bytes] = field(default_factory=set)
    _late: set[bytes] = field(default_factory=set)  # failed in an earlier run: asked after all others
    _busy: int = 0  # workers that are at a request, or may take one
    _in_this_turn: int = 0  # answers that were let through
    _quiet: bool = False  # nobody is, and nothing is to be expected from those who rest

    def open(self, endpoint: Endpoint) -> Port:
        """The port of an endpoint, made at its first use."""
        if endpoint.name not in self.ports:
            port = self.ports[endpoint.name] = Port(endpoint, self.connect(endpoint))
            port.overbills = json.loads(self.ledger.noted(overbilling(endpoint.name)) or "{}")
            port.limit.restore(self.ledger.recent(endpoint.name, MINUTE))
        return self.ports[endpoint.name]

    async def close(self) -> None:
        """Close every connection."""
        for port in self.ports.values():
            await port.client.close()

    def stop(self, why: str) -> None:
        """Send nothing more; what is in flight may still come in."""
        if self.stopped is None:
            self.stopped = why
            for worker in self._waiting:
                worker.cancel()

    def abandon(self) -> None:
        """Wait no longer for what is in flight either."""
        for worker in self._workers:
            worker.cancel()

    def in_flight(self) -> dict[str, int]:
        """How many requests each endpoint is working on."""
        return {name: port.in_flight for name, port in self.ports.items() if port.in_flight}

    def seen(self) -> list[Seen]:
        """What has become of each endpoint so far, in the order of their first use; cheap, at any moment."""
        return [port.seen() for port in self.ports.values()]

    def forgive(self) -> None:
        """Count no request that failed so far: nothing is missing without it."""
        self.failed.clear()
        for port in self.ports.values():
            port.failed = 0

    def wake(self, name: str) -> None:
        """A source of this endpoint may have requests again, or is over."""
        self.ports[name].more.set()

    async def ask_all(self, requests: Mapping[str, Iterator[Request]]) -> None:
        """Bring every request to an outcome, or as far as endpoints, budget and the user let it.

        Args:
            requests: for each endpoint's name what it is asked. Requests that have an outcome
                already cost nothing; failed ones are asked again.
        """
        await self.ask_sources({name: [Source(wanted)] for name, wanted in requests.items()})

    async def ask_sources(self, sources: Mapping[str, Sequence[Source]]) -> None:
        """The same of sources, for each endpoint's name the most urgent first."""
        self._quiet = False
        for name, wanted in sources.items():
            self.open(self.endpoints[name]).sources = wanted
        for name in sources:
            port = self.ports[name]
            for _ in range(port.endpoint.concurrency):
                self._workers.add(asyncio.create_task(self._work(port)))
        self._busy = len(self._workers)
        try:
            waiting = set(self._workers)
            with self.ledger.in_groups(asyncio.get_running_loop().call_soon):
                while waiting:
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
                    for worker in done:
                        if not worker.cancelled():
                            worker.result()
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            self._workers.clear()
            for port in self.ports.values():
                port.sources = ()

    async def _work(self, port: Port) -> None:
        try:
            at = 0
            while self.stopped is None:
                taken = None if port.gate.left is not None else port.take()
                taken = taken or await self._rest(port)
                if taken is None:
                    break
                await self._bring(port, *taken)
                at += 1
                if at % _BREATH == 0:
                    await asyncio.sleep(0)
        except Stopped:
            pass
        except BudgetReached:
            self.stop("budget")
        finally:
            self._busy -= 1
            port.more.set()  # for those who rest: it may be over
            self._look_round()

    async def _bring(self, port: Port, source: Source, request: Request, again: bool) -> None:
        """Bring one request to an outcome, or give it back."""
        try:
            state = await self._conclude(port, request, again)
        except EndpointDown:
            source.give_back(request, again)
            return
        except BaseException:
            source.give_back(request, again)
            raise
        if state == _LATER:
            source.put_off(request)
            return
        failed = state in (FAILED, _REFUSED)
        if not again:
            port.done += 1
        if again != failed:
            port.failed += 1 if failed else -1
            self.failed[port.endpoint.name] = port.failed
        source.land(request, FAILED if failed else state, once_more=state == FAILED and not again)

    async def _rest(self, port: Port) -> Taking | None:
        """Wait for a request to take; None: there will be none."""
        if port.over:
            port.more.set()  # for the one who waits
            return None
        self._busy -= 1
        self._look_round()
        try:
            with self._interruptible():
                async with port.idle:
                    while not (self._quiet or port.over):
                        wait = math.inf if port.gate.left is None else port.gate.again()
                        if wait <= 0:
                            port.gate.come_back()
                        if port.gate.left is None:
                            taken = port.take()
                            if taken is not None or port.over:
                                return taken
                        port.more.clear()
                        self._look_round()
                        try:
                            async with asyncio.timeout(wait if 0 < wait < math.inf else None):
                                await port.more.wait()
                        except TimeoutError:
                            pass
                    return None
        finally:
            self._busy += 1

    def _look_round(self) -> None:
        """Where nobody is at work, and nobody has anything to take, all go home."""
        if not self._busy and all(port.resting for port in self.ports.values()):
            self._quiet = True
            for port in self.ports.values():
                port.more.set()

    async def _conclude(self, port: Port, request: Request, again: bool) -> str:
        """The state of a request once it has an outcome: answered, invalid, failed (or refused), or batched.

        One that failed in an earlier run is put off: an endpoint that refuses many for ever would never get to others.
        """
        state = INVALID
        for ask, asked in asks(self.ledger, request):
            key = asked.key(ask)
            while key in self._flying:  # the same request, from elsewhere
                await asyncio.wait([self._flying[key]])
            known = self.ledger.state(key)
            if known == INVALID:
                continue
            if known in (ANSWERED, BATCHED):
                return known
            if key in self._failed and not again:
                return FAILED
            if known == FAILED and not again and key not in self._late:
                self._late.add(key)
                return _LATER
            landed = self._flying[key] = asyncio.get_running_loop().create_future()
            try:
                state = await self._ask(port, asked, ask, key)
            finally:
                del self._flying[key]
                landed.set_result(None)
            if state in (FAILED, _REFUSED):
                self._failed.add(key)
            if state != INVALID:
                return state
        return state

    async def _ask(self, port: Port, request: Request, ask: int, key: bytes) -> str:
        """Attempts at one request until it has an outcome, which is in the ledger on return."""
        entry = request.entry(ask, key)
        most = request.most()
        bound = port.endpoint.cost(most)
        if bound and (before := port.overbills.get(str(max_tokens(request.parameters)))) is not None:
            port.leave(f"in an earlier run: {before}. To ask it all the same: coigp annotate retry --failed", math.inf)
            self._say_left(port)
            port.check_up()
        clock = asyncio.get_running_loop().time
        failures = throttles = 0
        taken = 0.0
        while True:
            slot = await self._admitted(port, most.both, bound)
            attempt = self.ledger.begin(entry, most.both, bound)
            self.asked[port.endpoint.name] += 1
            port.limit.sent(slot)
            port.sent += 1
            number = port.sent
            port.in_flight += 1
            try:
                await self._committed()
                began = clock()
                reply = await port.client.ask(request.messages, request.parameters)
                seconds = clock() - began
                await self._in_turn()
            except BaseException:  # abandoned: it may be paid
                port.done_with(slot, None)
                self.budget.settle(bound, bound)
                port.cost += bound
                raise
            finally:
                port.in_flight -= 1
            if reply.message is not None:
                return self._keep(port, request, _Sent(key, attempt, slot, number, most, bound, seconds), reply)
            tokens = unanswered(reply.outcome, most.both)
            self.ledger.unanswered(attempt, reply.outcome, seconds, tokens, reply.detail)
            self.budget.settle(bound, unanswered(reply.outcome, bound))
            port.cost += unanswered(reply.outcome, bound)
            port.last = f"{reply.outcome}: {reply.detail}"
            port.heed(slot, number, reply, 0)
            if reply.outcome == "throttled":
                takes = port.throttled(slot, reply.wait)
                port.done_with(slot, tokens)
                throttles += takes
                if throttles >= _THROTTLES:
                    return self._fail(key, reply)
                continue
            port.pace.taken(slot.entered)
            if reply.outcome in ("denied", "broke", "refused"):
                self._turned_down(port, reply)
                port.done_with(slot, tokens)
                failed = self._fail(key, reply)
                return _REFUSED if reply.outcome == "refused" else failed
            port.gate.failure(str(reply.detail))
            port.done_with(slot, tokens)
            self._say_left(port)
            failures += 1
            wait = max(backoff(failures, self.rng), reply.wait or 0.0)
            taken += seconds + wait
            if failures >= port.endpoint.attempts or taken > port.endpoint.deadline:
                return self._fail(key, reply)
            port.check_up()
            with self._interruptible():
                await asyncio.sleep(wait)

    async def _in_turn(self) -> None:
        """Wait until few others are at their answers in this turn of the loop.

        Where many answers come at once, further requests follow the first of them before the last are written
        down. So the server is not left idle, and the next answers come one after another.
        """
        while self._in_this_turn >= _TOGETHER:
            await asyncio.sleep(0)
        if not self._in_this_turn:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._in_this_turn += 1

    def _next_turn(self) -> None:
        self._in_this_turn = 0

    async def _committed(self) -> None:
        """Wait until what was written in this turn of the loop is committed, with all else that came in it."""
        before = self.ledger.commits
        await asyncio.sleep(0)
        if self.ledger.commits == before:
            self.ledger.flush()

    async def _admitted(self, port: Port, tokens: int, bound: int) -> Slot:
        """A place within the endpoint's limits, its breaker and the budget."""
        if self.stopped is None and self.budget.has_room(bound) and port.is_open(tokens):  # as mostly
            await self.budget.reserve(bound)
            return port.enter_at_once(tokens)
        with self._interruptible():
            slot = await port.enter(tokens)
            try:
                await self.budget.reserve(bound)
            except BaseException:
                port.unused(slot)
                raise
        return slot

    def _keep(self, port: Port, request: Request, sent: _Sent, reply: Reply) -> str:
        """Write an answer down, with what it took."""
        message, body = reply.message, reply.body
        assert message is not None
        assert body is not None
        found = request.read(message)
        tokens = taken_tokens(message, sent.most)
        cost = port.endpoint.cost(tokens)
        usage = (message.prompt_tokens, message.completion_tokens)
        answer = Taken(found.state, found.reason, found.score, *usage, cost, message.finish, body)
        self.ledger.answered(sent.attempt, sent.key, answer, sent.seconds, tokens.both)
        self.budget.settle(sent.bound, cost)
        back = port.gate.success()
        port.pace.taken(sent.slot.entered)
        port.heed(sent.slot, sent.number, reply, tokens.both)
        port.done_with(sent.slot, tokens.both)
        port.cost += cost
        self.answers[request.kind, found.state] += 1
        self.heard(request, found)
        if back:
            self.say(f"{port.endpoint.name} answers again")
        why = overbilled(message, sent.most, request.parameters) if sent.bound else None
        if why is not None:
            port.overbills[str(max_tokens(request.parameters))] = why
            self.ledger.note(overbilling(port.endpoint.name), json.dumps(port.overbills))
        why = why or port.answered(found.state, found.reason, self.most_invalid)
        if why is not None:
            port.leave(why, math.inf)
        self._say_left(port)
        return found.state

    def _turned_down(self, port: Port, reply: Reply) -> None:
        """The endpoint will not answer this request, or none."""
        if reply.outcome == "broke":
            port.leave(str(reply.detail), LONG_REST)
        else:
            port.gate.denied(str(reply.detail))
        self._say_left(port)

    def _say_left(self, port: Port) -> None:
        """Say once that an endpoint was left."""
        if port.gate.newly_left():
            rest = port.gate.again()
            what = "is asked nothing more in this run" if rest == math.inf else f"is left for {rest:.0f} s"
            self.say(f"{port.endpoint.name} {what}: {port.gate.left}")

    def _fail(self, key: bytes, reply: Reply) -> str:
        self.ledger.fail(key, f"{reply.outcome}: {reply.detail}")
        return FAILED

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """While nothing is in flight for this worker, `stop` ends its waiting."""
        if self.stopped is not None:
            raise Stopped
        worker = asyncio.current_task()
        assert worker is not None
        self._waiting.add(worker)
        try:
            yield
        except asyncio.CancelledError:
            if self.stopped is not None:
                raise Stopped from None
            raise
        finally:
            self._waiting.discard(worker)
