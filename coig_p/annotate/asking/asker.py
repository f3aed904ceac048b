"""Many requests to many endpoints at once, each within its limits, until all have an outcome.

An endpoint has as many workers as it may have requests in flight. A worker takes the next request
from the endpoint's own iterator and stays with it: attempts with backoff, then further asks where
the answer is unusable. So a slow or broken endpoint holds up no other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from coig_p.annotate.asking.client import Client, Reply
from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, MAY_BE_PAID, Ledger
from coig_p.annotate.asking.limits import MINUTE, Budget, BudgetReached, EndpointDown, Gate, RateLimit, Slot, backoff
from coig_p.annotate.config import Endpoint, RunConfig
from coig_p.annotate.tasks.requests import Request, verdict

_THROTTLES = 50  # times that one request may be turned away for its rate
_REFUSALS = 20  # of an endpoint that answered nothing yet, then it is left
_BREATH = 64  # requests that are done already, between two looks at the loop


class Stopped(Exception):
    """No further request is sent."""


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


class _Sent(NamedTuple):
    """An attempt that was answered: what it was, what it might have taken, and how long it took."""

    key: bytes
    attempt: int
    slot: Slot
    most: tuple[int, int]
    bound: int
    seconds: float


@dataclass
class Asker:
    """Asks for requests and keeps what came of them in the ledger.

    Attributes:
        say: called with a line for people.
        advance: called with 1 for every request that is concluded.
        stopped: why no further request is sent: interrupted, budget or time.
        asked, failed: attempts that were sent, and requests that failed, by endpoint.
    """

    config: RunConfig
    ledger: Ledger
    budget: Budget
    say: Callable[[str], None] = lambda line: None
    advance: Callable[[int], None] = lambda requests: None
    stopped: str | None = None
    ports: dict[str, Port] = field(default_factory=dict)
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
            limit = RateLimit(endpoint.requests_per_minute, endpoint.tokens_per_minute, window=MINUTE)
            now = time.time()
            limit.restore((max(0.0, now - at), tokens) for at, tokens in self.ledger.recent(endpoint.name, MINUTE))
            self.ports[endpoint.name] = Port(endpoint, Client(endpoint), limit, Gate(endpoint.give_up))
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

    async def ask_all(self, requests: Mapping[str, Iterator[Request]]) -> None:
        """Bring every request to an outcome, or as far as endpoints, budget and the user let it.

        Args:
            requests: for each endpoint's name what it is asked. Requests that have an outcome
                already cost nothing; failed ones are asked again.
        """
        for name, wanted in requests.items():
            port = self.open(self.config.by_name[name])
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
            self.advance(1)

    async def _conclude(self, port: Port, request: Request) -> None:
        for ask in range(self.config.judging.asks):
            key = request.key(ask)
            while key in self._flying:  # the same request, from elsewhere
                await asyncio.wait([self._flying[key]])
            state = self.ledger.state(key)
            if state == INVALID:
                continue
            if state in (ANSWERED, BATCHED) or key in self._failed:
                return
            landed = self._flying[key] = asyncio.get_running_loop().create_future()
            try:
                state = await self._ask(port, request, ask, key)
            finally:
                del self._flying[key]
                landed.set_result(None)
            if state == FAILED:
                self._failed.add(key)
                self.failed[port.endpoint.name] += 1
            if state != INVALID:
                return

    async def _ask(self, port: Port, request: Request, ask: int, key: bytes) -> str:
        """Attempts at one request until it has an outcome, which is in the ledger on return."""
        about = request.about(ask, key)
        most = request.most()
        bound = port.endpoint.cost(*most)
        failures = throttles = 0
        taken = 0.0
        while True:
            slot = await self._admitted(port, sum(most), bound)
            attempt = self.ledger.begin(about, sum(most), bound)
            self.asked[port.endpoint.name] += 1
            port.limit.sent(slot)
            began = time.monotonic()
            port.in_flight += 1
            try:
                reply = await port.client.ask(request.messages, request.parameters)
            except BaseException:  # abandoned: it may be paid
                port.limit.done(slot, None)
                self.budget.settle(bound, bound)
                raise
            finally:
                port.in_flight -= 1
            seconds = time.monotonic() - began
            if reply.message is not None:
                return await self._keep(port, request, _Sent(key, attempt, slot, most, bound, seconds), reply)
            paid = reply.outcome in MAY_BE_PAID
            self.ledger.end(attempt, reply.outcome, seconds, sum(most) if paid else 0, reply.detail)
            self.budget.settle(bound, bound if paid else 0)
            port.limit.done(slot, None if paid else 0)
            if reply.outcome == "throttled":
                throttles += 1
                port.gate.throttled(backoff(throttles, self.rng) if reply.wait is None else reply.wait)
                if throttles >= _THROTTLES:
                    return await self._fail(key, reply)
                continue
            if reply.outcome in ("leave", "refused"):
                self._refused(port, reply)
                return await self._fail(key, reply)
            port.gate.failure(str(reply.detail))
            failures += 1
            wait = max(backoff(failures, self.rng), reply.wait or 0.0)
            taken += seconds + wait
            if failures >= port.endpoint.attempts or taken > port.endpoint.deadline:
                return await self._fail(key, reply)
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

    async def _keep(self, port: Port, request: Request, sent: _Sent, reply: Reply) -> str:
        """Write an answer down, with what it took."""
        message = reply.message
        assert message is not None
        found = verdict(self.config, request.kind, request.domain, message)
        # Without a word on usage, a token is taken to be a byte: rather too much than too little.
        prompt = sent.most[0] if message.prompt_tokens is None else message.prompt_tokens
        written = len((message.text or "").encode("utf-8", "surrogatepass"))
        completion = min(written, sent.most[1]) if message.completion_tokens is None else message.completion_tokens
        cost = port.endpoint.cost(prompt, completion)
        row = {
            "state": found.state,
            "reason": found.reason,
            "score": found.score,
            "prompt_tokens": message.prompt_tokens,
            "completion_tokens": message.completion_tokens,
            "cost": cost,
            "finish": message.finish,
            "body": reply.body,
        }
        self.ledger.end(sent.attempt, "answered", sent.seconds, prompt + completion, request=(sent.key, row))
        self.budget.settle(sent.bound, cost)
        port.limit.done(sent.slot, prompt + completion)
        port.gate.success()
        port.answers += 1
        return found.state

    def _refused(self, port: Port, reply: Reply) -> None:
        """The endpoint will not answer this request, or none: then leave it."""
        port.refused += 1
        if reply.outcome == "leave":
            port.gate.leave(str(reply.detail))
        elif port.refused >= _REFUSALS and not port.answers:
            port.gate.leave(f"it refused its first {port.refused} requests: {reply.detail}")
        else:
            port.gate.success()

    async def _fail(self, key: bytes, reply: Reply) -> str:
        reason = f"{reply.outcome}: {reply.detail}"
        failed = "UPDATE requests SET state = 'failed', reason = ?, at = ? WHERE key = ?"
        self.ledger.commit([(failed, (reason, time.time(), key))])
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
