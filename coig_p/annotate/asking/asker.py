"""Many requests to many endpoints at once, each within its limits, until all have an outcome.

An endpoint has as many workers as it may have requests in flight. A worker takes the next request
from the endpoint's own iterator and stays with it: attempts with backoff, then further asks where
the answer is unusable. So a slow or broken endpoint holds up no other.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from coig_p.annotate.asking.client import Client, Reply
from coig_p.annotate.asking.costs import Tokens, overbilled, taken_tokens, unanswered
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, LedgerWriter, Taken
from coig_p.annotate.asking.limits import MINUTE, Budget, BudgetReached, EndpointDown, Gate, RateLimit, Slot, backoff
from coig_p.annotate.asking.request import Outcome, Request, asks

_THROTTLES = 50  # times that one request may be turned away for its rate
_REFUSALS = 20  # of an endpoint that answered nothing yet, then it is left
_BREATH = 64  # requests that are done already, between two looks at the loop


class Stopped(Exception):
    """No further request is sent."""


class Seen(NamedTuple):
    """What has become of an endpoint in this run so far.

    Attributes:
        done: requests that have an outcome now, also those that had one before.
        rate: requests a minute in effect; None where nothing limits them.
        invalid, failed: answers that cannot be used, and requests that failed.
        last: the server's last words about a request that it did not answer.
        cost: of this run, in 1/MONEY, with attempts that may be paid.
        left: why it was left or is paused; None where it is asked.
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


@dataclass
class Port:
    """An endpoint while it is being asked."""

    endpoint: Endpoint
    client: Client
    limit: RateLimit
    gate: Gate
    answers: int = 0
    refused: int = 0
    in_flight: int = 0
    done: int = 0
    invalid: int = 0
    failed: int = 0
    last: str | None = None
    cost: int = 0

    def seen(self) -> Seen:
        """What has become of it so far."""
        name, rate = self.endpoint.name, self.endpoint.requests_per_minute
        return Seen(
            name, self.done, self.in_flight, rate, self.invalid, self.failed, self.last, self.cost, self.gate.left
        )


class _Sent(NamedTuple):
    """An attempt that was answered: what it was, what it might have taken, and how long it took."""

    key: bytes
    attempt: int
    slot: Slot
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
        advance: called with 1 for every request that is concluded.
        heard: called with every answer and what it says.
        connect: makes what sends the requests of an endpoint.
        stopped: why no further request is sent: interrupted, budget or time.
        asked, failed: attempts that were sent, and requests that failed, by endpoint.
    """

    endpoints: Mapping[str, Endpoint]
    ledger: LedgerWriter
    budget: Budget
    say: Callable[[str], None] = lambda line: None
    advance: Callable[[int], None] = lambda requests: None
    heard: Callable[[Request, Outcome], None] = lambda request, found: None
    stopped: str | None = None
    ports: dict[str, Port] = field(default_factory=dict)
    connect: Callable[[Endpoint], Client] = Client
    rng: random.Random = field(default_factory=random.Random)
    asked: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    _waiting: set[asyncio.Task[None]] = field(default_factory=set)
    _workers: set[asyncio.Task[None]] = field(default_factory=set)
    _flying: dict[bytes, asyncio.Future[None]] = field(default_factory=dict)
    _failed: set[bytes] = field(default_factory=set)

    def open(self, endpoint: Endpoint) -> Port:
        """The port of an endpoint, made at its first use."""
        if endpoint.name not in self.ports:
            clock = asyncio.get_running_loop().time
            limit = RateLimit(endpoint.requests_per_minute, endpoint.tokens_per_minute, clock=clock)
            limit.restore(self.ledger.recent(endpoint.name, MINUTE))
            gate = Gate(endpoint.give_up, clock=clock)
            self.ports[endpoint.name] = Port(endpoint, self.connect(endpoint), limit, gate)
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

    async def ask_all(self, requests: Mapping[str, Iterator[Request]]) -> None:
        """Bring every request to an outcome, or as far as endpoints, budget and the user let it.

        Args:
            requests: for each endpoint's name what it is asked. Requests that have an outcome
                already cost nothing; failed ones are asked again.
        """
        for name, wanted in requests.items():
            port = self.open(self.endpoints[name])
            for _ in range(port.endpoint.concurrency):
                self._workers.add(asyncio.create_task(self._work(port, wanted)))
        try:
            waiting = set(self._workers)
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

    async def _work(self, port: Port, requests: Iterator[Request]) -> None:
        for at, request in enumerate(requests):
            if self.stopped is not None:
                return
            if at % _BREATH == 0:
                await asyncio.sleep(0)
            try:
                await self._conclude(port, request)
            except (EndpointDown, Stopped):
                return
            except BudgetReached:
                self.stop("budget")
                return
            port.done += 1
            self.advance(1)

    async def _conclude(self, port: Port, request: Request) -> None:
        for ask, asked in asks(self.ledger, request):
            key = asked.key(ask)
            while key in self._flying:  # the same request, from elsewhere
                await asyncio.wait([self._flying[key]])
            state = self.ledger.state(key)
            if state == INVALID:
                continue
            if state in (ANSWERED, BATCHED) or key in self._failed:
                return
            landed = self._flying[key] = asyncio.get_running_loop().create_future()
            try:
                state = await self._ask(port, asked, ask, key)
            finally:
                del self._flying[key]
                landed.set_result(None)
            if state == FAILED:
                self._failed.add(key)
                self.failed[port.endpoint.name] += 1
                port.failed += 1
            if state != INVALID:
                return

    async def _ask(self, port: Port, request: Request, ask: int, key: bytes) -> str:
        """Attempts at one request until it has an outcome, which is in the ledger on return."""
        entry = request.entry(ask, key)
        most = request.most()
        bound = port.endpoint.cost(most)
        clock = asyncio.get_running_loop().time
        failures = throttles = 0
        taken = 0.0
        while True:
            slot = await self._admitted(port, most.both, bound)
            attempt = self.ledger.begin(entry, most.both, bound)
            self.asked[port.endpoint.name] += 1
            port.limit.sent(slot)
            began = clock()
            port.in_flight += 1
            try:
                reply = await port.client.ask(request.messages, request.parameters)
            except BaseException:  # abandoned: it may be paid
                port.limit.done(slot, None)
                self.budget.settle(bound, bound)
                port.cost += bound
                raise
            finally:
                port.in_flight -= 1
            seconds = clock() - began
            if reply.message is not None:
                return self._keep(port, request, _Sent(key, attempt, slot, most, bound, seconds), reply)
            tokens = unanswered(reply.outcome, most.both)
            self.ledger.unanswered(attempt, reply.outcome, seconds, tokens, reply.detail)
            self.budget.settle(bound, unanswered(reply.outcome, bound))
            port.cost += unanswered(reply.outcome, bound)
            port.last = f"{reply.outcome}: {reply.detail}"
            port.limit.done(slot, tokens)
            if reply.outcome == "throttled":
                throttles += 1
                port.gate.throttled(backoff(throttles, self.rng) if reply.wait is None else reply.wait)
                if throttles >= _THROTTLES:
                    return self._fail(key, reply)
                continue
            if reply.outcome in ("denied", "broke", "refused"):
                self._refused(port, reply)
                return self._fail(key, reply)
            port.gate.failure(str(reply.detail))
            failures += 1
            wait = max(backoff(failures, self.rng), reply.wait or 0.0)
            taken += seconds + wait
            if failures >= port.endpoint.attempts or taken > port.endpoint.deadline:
                return self._fail(key, reply)
            with self._interruptible():
                await asyncio.sleep(wait)

    async def _admitted(self, port: Port, tokens: int, bound: int) -> Slot:
        """A place within the endpoint's limits, its breaker and the budget."""
        with self._interruptible():
            slot = await port.limit.take(tokens)
            try:
                await port.gate.enter()
                try:
                    await self.budget.reserve(bound)
                except BaseException:
                    port.gate.unused()
                    raise
            except BaseException:
                port.limit.done(slot, 0)
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
        port.limit.done(sent.slot, tokens.both)
        port.gate.success()
        port.answers += 1
        port.invalid += found.state == INVALID
        self.heard(request, found)
        port.cost += cost
        why = overbilled(message, sent.most, request.parameters) if sent.bound else None
        if why is not None:
            port.gate.leave(why)
        return found.state

    def _refused(self, port: Port, reply: Reply) -> None:
        """The endpoint will not answer this request, or none: then leave it."""
        port.refused += 1
        if reply.outcome in ("denied", "broke"):
            port.gate.leave(str(reply.detail))
        elif port.refused >= _REFUSALS and not port.answers:
            port.gate.leave(f"it refused its first {port.refused} requests: {reply.detail}")
        else:
            port.gate.success()

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
