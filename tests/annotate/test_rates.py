"""Rates that adapt to what a server takes, and endpoints that fail in part: on a clock that the tests turn."""

from __future__ import annotations

import asyncio
import math
import random
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from turning import turned

from coig_p.annotate.asking.asker import Asker
from coig_p.annotate.asking.client import Client, RateHints, Reply
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.ledger import ANSWERED, INVALID, LEDGER, LedgerWriter
from coig_p.annotate.asking.limits import Budget
from coig_p.annotate.asking.message import Message
from coig_p.annotate.asking.pace import Pace
from coig_p.annotate.asking.request import Outcome, Request, user_message
from coig_p.errors import DataError

Limit = Callable[[float], float | None]
"""From a time to None, the request is taken, or to the seconds until one would be."""


def bucket(rate: float, size: float) -> Limit:
    """Tokens that come back steadily, up to `size` of them."""
    tokens, last = size, 0.0

    def take(now: float) -> float | None:
        nonlocal tokens, last
        tokens, last = min(size, tokens + (now - last) * rate), now
        if tokens < 1 - 1e-9:
            return (1 - tokens) / rate
        tokens -= 1
        return None

    return take


def window(most: int, seconds: float) -> Limit:
    """So many in any seconds."""
    taken: deque[float] = deque()

    def take(now: float) -> float | None:
        while taken and taken[0] <= now - seconds:
            taken.popleft()
        if len(taken) >= most:
            return taken[0] + seconds - now
        taken.append(now)
        return None

    return take


class Server(Client):
    """Answers after `latency` what its limit lets in, and says 429 to the rest; `reply` may say otherwise."""

    def __init__(
        self,
        limit: Limit = lambda now: None,
        *,
        latency: float = 0.05,
        wait: Callable[[float], float | None] = lambda seconds: None,
        reply: Callable[[str, int, float], Reply | None] = lambda content, times, now: None,
    ) -> None:
        self.limit, self.latency, self.wait, self.reply = limit, latency, wait, reply
        self.came: Counter[str] = Counter()
        self.taken: list[float] = []
        self.throttled = 0

    def __call__(self, endpoint: Endpoint) -> Server:
        return self

    async def close(self) -> None:
        pass

    async def ask(self, messages: Any, parameters: Any) -> Reply:
        now, content = asyncio.get_running_loop().time(), messages[-1]["content"]
        self.came[content] += 1
        given = self.reply(content, self.came[content], now)
        if given is not None:
            await asyncio.sleep(self.latency)
            return given
        seconds = self.limit(now)
        if seconds is not None:
            self.throttled += 1
            await asyncio.sleep(0.005)
            return Reply("throttled", wait=self.wait(seconds), detail="429: slow down")
        self.taken.append(now)
        await asyncio.sleep(self.latency)
        return good()


def good(text: str = "good", hints: RateHints | None = None) -> Reply:
    return Reply("answered", "{}", Message(text, "stop", None, 1, 1), hints=hints)


def read(message: Message) -> Outcome:
    usable = message.text == "good"
    return Outcome(ANSWERED, text=message.text) if usable else Outcome(INVALID, "none")


def requests(endpoint: Endpoint, number: int, asks: int = 1) -> Iterator[Request]:
    for at in range(number):
        messages = (user_message(f"q-{at}"),)
        yield Request(endpoint, "translate", "chat", f"q-{at}", messages, {"max_tokens": 9}, read, asks=asks)


def ask(
    folder: Path, servers: dict[str, Server], numbers: dict[str, int], *, seconds: float | None = None, **options: Any
) -> tuple[Asker, float, list[str]]:
    """Have each server asked so often; the asker, the time it took, and what it said."""
    settings = {"concurrency": options.pop("concurrency", 16), "give_up": options.pop("give_up", 900.0)}
    endpoints = {name: Endpoint(name, "m", "http://h/v1", **settings) for name in servers}
    lines: list[str] = []

    async def go() -> tuple[Asker, float, list[str]]:
        loop = asyncio.get_running_loop()
        with LedgerWriter.open(folder, now=loop.time) as ledger:
            asker = Asker(
                endpoints,
                ledger,
                Budget(None, 0),
                connect=lambda endpoint: servers[endpoint.name],
                rng=random.Random(1),
                say=lines.append,
            )
            if seconds is not None:
                loop.call_later(seconds, asker.stop, "time")
            await asker.ask_all(
                {name: requests(endpoints[name], number, **options) for name, number in numbers.items()}
            )
            await asker.close()
            return asker, loop.time(), lines

    found: tuple[Asker, float, list[str]] = turned(go())
    return found


class Forgetful:
    """A ledger that keeps nothing, where only the pace matters: the real one takes most of the time."""

    commits = 0

    def in_groups(self, soon: Any) -> Any:
        return nullcontext()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: [] if name == "recent" else None


WAITS: dict[str, Callable[[float], float | None]] = {
    "none": lambda seconds: None,
    "exact": lambda seconds: seconds,
    "whole": lambda seconds: float(math.ceil(seconds)),
}


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("workers", [16, 64])
@pytest.mark.parametrize("rate", [2, 10, 100])
@pytest.mark.parametrize("kind", ["bucket", "window", "long window"])
def test_what_a_server_allows_is_used(kind: str, rate: int, workers: int, wait: str) -> None:
    seconds = 40.0 if rate < 100 else 25.0
    limits = {"bucket": bucket(rate, rate), "window": window(rate, 1), "long window": window(rate * 10, 10)}
    server = Server(limits[kind], wait=WAITS[wait])
    endpoint = Endpoint("e", "m", "http://h/v1", concurrency=workers)

    async def go() -> None:
        ledger: Any = Forgetful()
        asker = Asker({"e": endpoint}, ledger, Budget(None, 0), connect=lambda one: server, rng=random.Random(1))
        asyncio.get_running_loop().call_later(seconds, asker.stop, "time")
        await asker.ask_all({"e": requests(endpoint, 10**5)})

    turned(go())
    assert len(server.taken) >= 0.8 * rate * seconds
    assert server.throttled <= 64 + 0.5 * len(server.taken), "and it is not asked in vain all the time"


def test_a_server_that_takes_all_is_not_held_back(tmp_path: Path) -> None:
    server = Server()
    asker, seconds, _ = ask(tmp_path, {"e": server}, {"e": 320})
    assert seconds == pytest.approx(20 * 0.05)
    assert asker.seen()[0].rate is None


def test_a_pace_remembers_only_the_last_seconds() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    for at in range(10_000):
        now[0] = at / 4
        pace.sent()
    pace.turned_away(now[0], None)
    assert pace.rate == pytest.approx(0.9 * 4, abs=0.2)
    assert len(pace._kept) < 100


def test_the_rate_in_effect_is_seen_and_grows_with_what_the_server_takes(tmp_path: Path) -> None:
    small, large = bucket(5, 5), bucket(50, 50)
    server = Server(lambda now: small(now) if now < 60 else large(now))
    asker, _, _ = ask(tmp_path, {"e": server}, {"e": 10**5}, seconds=150)
    assert 60 * 40 < (asker.seen()[0].rate or 0) < 60 * 60
    late = sum(at > 100 for at in server.taken)
    assert late > 0.8 * 50 * 50


def test_a_server_that_takes_nothing_for_long_is_hardly_asked(tmp_path: Path) -> None:
    server = Server(lambda now: None if now > 300 else 300 - now)
    asker, seconds, _ = ask(tmp_path, {"e": server}, {"e": 100})
    assert len(server.taken) == 100
    assert server.throttled < 16 + 300 / 2
    assert seconds < 330
    assert not asker.failed


def test_headers_that_say_nothing_is_left_are_heeded(tmp_path: Path) -> None:
    """A server that takes 16 in each 7 seconds, and says with every answer how many are left of them."""
    taken: Counter[int] = Counter()

    def reply(content: str, times: int, now: float) -> Reply:
        taken[int(now / 7)] += 1
        return good(hints=RateHints(requests_left=16.0 - taken[int(now / 7)], requests_reset=7 - now % 7))

    _, seconds, _ = ask(tmp_path, {"e": Server(reply=reply)}, {"e": 160})
    assert taken == dict.fromkeys(range(10), 16)
    assert seconds == pytest.approx(9 * 7, abs=0.2)


def test_headers_that_always_say_nothing_is_left_are_not_believed(tmp_path: Path) -> None:
    server = Server(reply=lambda content, times, now: good(hints=RateHints(requests_left=0.0, requests_reset=60.0)))
    _, seconds, _ = ask(tmp_path, {"e": server}, {"e": 200}, concurrency=1)
    assert seconds < 5 * 60 + 200 * 0.05


# Endpoints that fail in part


def denied(detail: str = "403: flagged") -> Reply:
    return Reply("denied", detail=detail)


def test_a_request_that_is_denied_fails_alone_and_is_asked_again_last(tmp_path: Path) -> None:
    order: list[str] = []

    def reply(content: str, times: int, now: float) -> Reply | None:
        order.append(content)
        return denied() if content in ("q-0", "q-7") and (times == 1 or content == "q-7") else None

    asker, _, _ = ask(tmp_path, {"e": Server(reply=reply)}, {"e": 50}, concurrency=2)
    assert order[-2:] == ["q-0", "q-7"]
    assert Counter(order).most_common(3)[2][1] == 1
    seen = asker.seen()[0]
    assert (asker.failed, seen.failed, seen.done, seen.left, seen.last) == (
        {"e": 1},
        1,
        50,
        None,
        "denied: 403: flagged",
    )
    with LedgerWriter.open(tmp_path) as ledger:
        states = {one.state: one.number for one in ledger.outcomes("translate")}
    assert states == {"answered": 49, "failed": 1}


def test_one_that_denies_everything_is_left_and_tried_again_while_others_work(tmp_path: Path) -> None:
    broken = Server(reply=lambda content, times, now: denied("401: no key") if now < 100 else None)
    slow = Server(latency=10.0)
    asker, seconds, lines = ask(tmp_path, {"a": broken, "b": slow}, {"a": 200, "b": 48}, concurrency=2)
    assert not asker.seen()[0].left
    assert len(broken.taken) == 200
    assert (len(slow.taken), asker.failed) == (48, {"a": 0})
    assert lines == [
        "a is left for 30 s: it refused its first 20 attempts: 401: no key",
        "a is left for 60 s: 401: no key",
        "a is left for 120 s: 401: no key",
        "a answers again",
    ]
    assert seconds == pytest.approx(240)


def test_a_run_does_not_wait_for_those_that_were_left(tmp_path: Path) -> None:
    broken = Server(reply=lambda content, times, now: denied())
    asker, seconds, _ = ask(tmp_path, {"a": broken, "b": Server()}, {"a": 200, "b": 16})
    assert seconds < 5
    assert "it refused its first" in str(asker.seen()[0].left)


def test_one_that_is_out_of_money_is_left_at_once_with_its_words(tmp_path: Path) -> None:
    broke = Server(reply=lambda content, times, now: Reply("broke", detail="402: pay first") if now > 1 else None)
    asker, _, lines = ask(tmp_path, {"a": broke, "b": Server()}, {"a": 400, "b": 160}, concurrency=4)
    assert asker.seen()[0].left == "402: pay first"
    assert asker.failed["a"] <= 4
    assert lines == ["a is left for 1800 s: 402: pay first"]


def test_one_whose_answers_are_too_often_invalid_is_paused_and_others_go_on(tmp_path: Path) -> None:
    def reply(content: str, times: int, now: float) -> Reply | None:
        return good("bad") if int(content[2:]) % 4 == 0 else None

    asker, _, lines = ask(tmp_path, {"a": Server(reply=reply), "b": Server()}, {"a": 100, "b": 100}, concurrency=1)
    assert str(asker.seen()[0].left).endswith("answers could not be used, this one for: none")
    assert sum(asker.answers.values()) == asker.ports["a"].sent + 100
    assert 30 <= asker.ports["a"].sent <= 40
    assert len(lines) == 1
    assert lines[0].startswith("a is asked nothing more in this run: ")
    assert asker.ports["b"].gate.left is None


@pytest.mark.parametrize(("share", "sent"), [(0.24, 33), (0.28, 120), (1.0, 120)])
def test_the_share_of_invalid_answers_is_of_the_last_hundred(share: float, sent: int, tmp_path: Path) -> None:
    def reply(content: str, times: int, now: float) -> Reply | None:
        return good("bad") if int(content[2:]) % 4 == 0 else None

    server = Server(reply=reply)
    endpoint = Endpoint("e", "m", "http://h/v1", concurrency=1)

    async def go() -> int:
        with LedgerWriter.open(tmp_path, now=asyncio.get_running_loop().time) as ledger:
            asker = Asker({"e": endpoint}, ledger, Budget(None, 0), connect=lambda one: server, most_invalid=share)
            await asker.ask_all({"e": requests(endpoint, 120)})
            return asker.ports["e"].sent

    assert turned(go()) == sent


@pytest.mark.parametrize(("share", "every", "sent"), [(0.2, 5, 200), (0.19, 5, 30), (0.29, 0, 200), (0.28, 0, 99)])
def test_a_share_that_is_just_the_limit_is_no_larger_one(share: float, every: int, sent: int, tmp_path: Path) -> None:
    """One answer in five, the last of each five; or 29 of every hundred, behind 71 that can be used."""

    def reply(content: str, times: int, now: float) -> Reply | None:
        at = int(content[2:])
        return good("bad") if (at % 5 == 4 if every else at % 100 >= 71) else None

    server = Server(reply=reply)
    endpoint = Endpoint("e", "m", "http://h/v1", concurrency=1)

    async def go() -> int:
        with LedgerWriter.open(tmp_path, now=asyncio.get_running_loop().time) as ledger:
            asker = Asker({"e": endpoint}, ledger, Budget(None, 0), connect=lambda one: server, most_invalid=share)
            await asker.ask_all({"e": requests(endpoint, 200)})
            return asker.ports["e"].sent

    assert turned(go()) == sent


# Commits in groups


def test_what_comes_in_one_turn_is_committed_together_before_any_of_it_is_sent(tmp_path: Path) -> None:
    """Another connection, as after a kill, sees each attempt before it is sent, and each answer before the next."""
    seen: list[tuple[int, int]] = []

    def reply(content: str, times: int, now: float) -> Reply | None:
        with closing(sqlite3.connect(tmp_path / LEDGER)) as other:
            begun, answered = other.execute("SELECT COUNT(*), SUM(outcome IS NOT NULL) FROM attempts").fetchone()
        seen.append((begun, answered or 0))
        return None

    server = Server(reply=reply)
    endpoint = Endpoint("e", "m", "http://h/v1", concurrency=8)

    async def go() -> int:
        with LedgerWriter.open(tmp_path, now=asyncio.get_running_loop().time) as ledger:
            asker = Asker({"e": endpoint}, ledger, Budget(None, 0), connect=lambda one: server)
            before = ledger.commits
            await asker.ask_all({"e": requests(endpoint, 64)})
            return ledger.commits - before

    assert turned(go()) <= 2 * 64 / 8 + 2
    assert seen == [(8 * turn + 8, 8 * turn) for turn in range(8) for _ in range(8)]


def test_a_group_that_the_disk_does_not_take_ends_the_run_with_one_error(tmp_path: Path) -> None:
    server = Server()
    endpoint = Endpoint("e", "m", "http://h/v1", concurrency=8)

    async def go() -> None:
        with LedgerWriter.open(tmp_path, now=asyncio.get_running_loop().time) as ledger:
            ledger._write.execute("PRAGMA max_page_count = 40")
            asker = Asker({"e": endpoint}, ledger, Budget(None, 0), connect=lambda one: server)
            await asker.ask_all({"e": requests(endpoint, 10**4)})

    with pytest.raises(DataError, match="full"):
        turned(go())
    with LedgerWriter.open(tmp_path) as ledger:
        answered = sum(one.number for one in ledger.requests() if one.state == ANSWERED)
    assert len(server.taken) - 16 <= answered < len(server.taken) < 10**4
