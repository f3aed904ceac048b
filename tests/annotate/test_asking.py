"""Asking without any task of annotation: limits, failures, money and the ledger, on a clock that the tests turn."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turning import turned

from coig_p.annotate import asking as package
from coig_p.annotate.asking.asker import Asker
from coig_p.annotate.asking.client import Client, Reply
from coig_p.annotate.asking.costs import (
    MONEY,
    Tokens,
    bounded,
    check_price,
    max_tokens,
    most_tokens,
    overbilled,
    price,
    taken_in_batch,
    taken_tokens,
    unanswered,
)
from coig_p.annotate.asking.endpoint import Endpoint, in_currency
from coig_p.annotate.asking.ledger import ANSWERED, INVALID, LedgerWriter
from coig_p.annotate.asking.limits import Budget
from coig_p.annotate.asking.message import Message, json_bytes, read_body
from coig_p.annotate.asking.request import Outcome, Request, outcome, user_message
from coig_p.errors import UsageError


def test_asking_knows_no_task() -> None:
    for path in Path(package.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith("coig_p.annotate"):
                    assert name.startswith("coig_p.annotate.asking."), f"{path.name} imports {name}"


# A task of its own


def read(message: Message) -> Outcome:
    good = (message.text or "").startswith("good")
    return Outcome(ANSWERED, text=message.text) if good else Outcome(INVALID, "bad")


def requests(endpoint: Endpoint, number: int, *, asks: int = 1, words: int = 1) -> Iterator[Request]:
    for at in range(number):
        messages = (user_message(f"{at} " + "word" * words),)
        yield Request(endpoint, "translate", "chat", f"q-{at}", messages, {"max_tokens": 50}, read, asks=asks)


@dataclass
class Models(Client):
    """Clients without connections: what each attempt brings is drawn from its request and how often that came."""

    faults: dict[str, float] = field(default_factory=dict)
    slowest: float = 0.0
    came: Counter[str] = field(default_factory=Counter)
    arrivals: list[tuple[float, int]] = field(default_factory=list)
    replies: Counter[str] = field(default_factory=Counter)
    flying: int = 0
    most_flying: int = 0

    def __call__(self, endpoint: Endpoint) -> Models:
        return self

    async def close(self) -> None:
        pass

    async def ask(self, messages: Any, parameters: Any) -> Reply:
        content = messages[-1]["content"]
        self.came[content] += 1
        rng = random.Random(hashlib.sha256(f"{content} {self.came[content]}".encode()).digest())
        latency = rng.uniform(0, self.slowest)
        tokens = (rng.randint(len(content) // 2, len(content)), rng.randint(25, 50))
        outcome = next(
            iter(rng.choices([*self.faults, "good"], [*self.faults.values(), 1 - sum(self.faults.values())]))
        )
        counted = 0 if outcome in ("throttled", "error") else sum(tokens)
        self.arrivals.append((asyncio.get_running_loop().time() + rng.uniform(0, min(latency, 1.0)), counted))
        self.flying += 1
        self.most_flying = max(self.flying, self.most_flying)
        await asyncio.sleep(latency)
        self.flying -= 1
        self.replies[outcome] += 1
        if outcome == "good":
            body = '{"choices": [{"message": {"content": "good"}}]}'
            return Reply("answered", body, Message("good", "stop", None, *tokens))
        if outcome == "bad":
            return Reply("answered", "{}", Message("bad", "stop", None, *tokens))
        wait = rng.choice([None, 3.0]) if outcome in ("throttled", "error") else None
        return Reply(outcome, wait=wait, detail="x")


def ask(
    folder: Path, models: Models, endpoint: Endpoint, number: int, *, start: float = 0.0, **options: Any
) -> tuple[Asker, float]:
    """Have requests asked; the asker, and the time of its clock afterwards."""
    stop_after, budget = options.pop("stop_after", None), options.pop("budget", None)

    async def go() -> tuple[Asker, float]:
        loop = asyncio.get_running_loop()
        with LedgerWriter.open(folder, now=loop.time) as ledger:
            asker = Asker(
                {endpoint.name: endpoint},
                ledger,
                Budget(budget, ledger.spent().most),
                connect=models,
                rng=random.Random(1),
            )
            if stop_after is not None:
                loop.call_later(stop_after, asker.stop, "time")
            await asker.ask_all({endpoint.name: requests(endpoint, number, **options)})
            await asker.close()
            assert asker.budget.reserved == 0
            return asker, loop.time()

    return turned(go(), start)


@pytest.mark.parametrize("seconds", [30, 90])
def test_no_limit_is_passed_as_the_server_sees_it_also_across_runs(seconds: float, tmp_path: Path) -> None:
    most, tokens = 15, 400
    endpoint = Endpoint("e", "m", "http://h/v1", requests_per_minute=most, tokens_per_minute=tokens, attempts=20)
    faults = {"throttled": 0.05, "error": 0.05, "timeout": 0.2, "reset": 0.1, "bad": 0.05}
    models = Models(faults, slowest=8.0)
    first, now = ask(tmp_path, models, endpoint, 80, asks=9, stop_after=seconds)
    assert first.stopped == "time"
    assert 0 < models.replies["good"] < 80
    _, now = ask(tmp_path, models, endpoint, 80, asks=9, start=now)
    assert models.replies["good"] == 80
    assert set(models.replies) == {*faults, "good"}
    arrivals = sorted(models.arrivals)
    for start, _ in arrivals:
        inside = [taken for at, taken in arrivals if start <= at < start + 60]
        assert len(inside) <= most
        assert sum(inside) <= tokens
    assert now < 60 * 30, "and it does not wait much longer than it has to"


@dataclass
class AllAtOnce(Models):
    """It answers the first so many requests in one moment; then it notes how many of them are written down."""

    together: int = 64
    asker: Asker | None = None
    kept: list[int] = field(default_factory=list)
    _full: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, messages: Any, parameters: Any) -> Reply:
        self.flying += 1
        if self.flying > self.together:
            assert self.asker is not None
            self.kept.append(self.asker.answers.total())
        elif self.flying == self.together:
            self._full.set()
        await self._full.wait()
        return Reply("answered", '{"choices": [{"message": {"content": "good"}}]}', Message("good", "stop", None, 1, 1))


def test_of_many_answers_at_once_the_first_are_followed_by_requests_before_the_last_are_kept(tmp_path: Path) -> None:
    endpoint, models = Endpoint("e", "m", "http://h/v1", concurrency=64), AllAtOnce()

    async def go() -> None:
        with LedgerWriter.open(tmp_path) as ledger:
            models.asker = Asker({"e": endpoint}, ledger, Budget(None, 0), connect=models)
            await models.asker.ask_all({"e": requests(endpoint, 128)})

    asyncio.run(go())
    assert len(models.kept) == 64
    assert models.kept[0] < 16, "the server would wait until all 64 are written down"
    assert models.kept[-1] >= 64


@dataclass
class Refusing(Models):
    """It refuses the first so many requests whenever they come."""

    refused: int = 0

    async def ask(self, messages: Any, parameters: Any) -> Reply:
        if int(messages[-1]["content"].split()[0]) < self.refused:
            self.replies["refused"] += 1
            return Reply("refused", detail="400: not this one")
        return await super().ask(messages, parameters)


def test_what_is_refused_for_ever_comes_after_what_was_never_asked(tmp_path: Path) -> None:
    endpoint = Endpoint("e", "m", "http://h/v1", concurrency=2)
    models = Refusing(refused=30)
    first, now = ask(tmp_path, models, endpoint, 30)
    assert first.ports["e"].gate.left is not None, "nothing else came"
    ask(tmp_path, models, endpoint, 60, start=now)
    assert models.replies["good"] == 30
    assert all(models.came[content] == 1 for content in models.came)
    assert models.replies["refused"] >= 20 + 30, "these are asked again, too"


def test_as_many_are_in_flight_as_may_be_and_each_is_asked_once(tmp_path: Path) -> None:
    models = Models(slowest=5.0)
    endpoint = Endpoint("e", "m", "http://h/v1", concurrency=7)
    ask(tmp_path, models, endpoint, 50)
    assert (models.most_flying, set(models.came.values()), len(models.came)) == (7, {1}, 50)
    ask(tmp_path, models, endpoint, 50)
    assert sum(models.came.values()) == 50


def test_an_unusable_answer_is_asked_again_and_then_kept(tmp_path: Path) -> None:
    models = Models({"bad": 1.0})
    endpoint = Endpoint("e", "m", "http://h/v1")
    ask(tmp_path, models, endpoint, 4, asks=3)
    assert set(models.came.values()) == {3}
    ask(tmp_path, models, endpoint, 4, asks=3)
    assert set(models.came.values()) == {3}
    with LedgerWriter.open(tmp_path) as ledger:
        assert {outcome(ledger, one) for one in requests(endpoint, 4, asks=3)} == {Outcome(INVALID, "bad")}
        assert {outcome(ledger, one).state for one in requests(endpoint, 4, asks=4)} == {"pending"}


def test_attempts_end_after_their_number_and_after_the_deadline(tmp_path: Path) -> None:
    models = Models({"error": 1.0}, slowest=1.0)
    endpoint = Endpoint("e", "m", "http://h/v1", attempts=4, give_up=10**6)
    asker, _ = ask(tmp_path / "a", models, endpoint, 5)
    assert set(models.came.values()) == {4 * 2}, "and once more at the end"
    assert (asker.failed, asker.asked) == ({"e": 5}, {"e": 40})
    models = Models({"error": 1.0}, slowest=1.0)
    endpoint = Endpoint("e", "m", "http://h/v1", attempts=10**6, deadline=60.0, give_up=10**6, concurrency=1)
    _, now = ask(tmp_path / "b", models, endpoint, 1)
    assert 2 * 30 < now < 2 * (60 + 60 + 300), "the breaker's rests are not counted"
    assert 2 * 5 < models.replies["error"] < 2 * 60


@pytest.mark.parametrize(("kind", "times"), [("denied", 2), ("refused", 1)])
def test_what_is_turned_away_again_and_again_is_failed(kind: str, times: int, tmp_path: Path) -> None:
    models = Models({kind: 1.0})
    endpoint = Endpoint("e", "m", "http://h/v1", attempts=2, give_up=10**6, concurrency=1)
    asker, _ = ask(tmp_path, models, endpoint, 1)
    assert (models.replies, asker.failed) == ({kind: times}, {"e": 1})


def test_an_endpoint_that_refuses_all_it_is_asked_is_left(tmp_path: Path) -> None:
    models = Models({"refused": 1.0})
    asker, _ = ask(tmp_path, models, Endpoint("e", "m", "http://h/v1", concurrency=1), 100)
    assert models.replies == {"refused": 20}
    assert str(asker.ports["e"].gate.left).startswith("it refused its first 20 attempts")


def test_one_that_is_down_is_left_after_give_up(tmp_path: Path) -> None:
    models = Models({"unreachable": 1.0}, slowest=0.1)
    asker, now = ask(tmp_path, models, Endpoint("e", "m", "http://h/v1", give_up=900.0, attempts=10**6), 100)
    assert "no answer for" in str(asker.ports["e"].gate.left)
    assert 900 <= now < 900 + 300 + 60
    assert models.replies["unreachable"] < 60, "it is hardly asked while it is down"


def test_a_budget_is_kept_with_attempts_that_may_be_paid(tmp_path: Path) -> None:
    models = Models({"timeout": 0.3, "error": 0.3}, slowest=3.0)
    settings: dict[str, Any] = {"input_price": Decimal("10"), "output_price": Decimal("30"), "attempts": 50}
    endpoint = Endpoint("e", "m", "http://h/v1", **settings)
    most = next(requests(endpoint, 1)).most()
    budget = 20 * endpoint.cost(most)
    asker, _ = ask(tmp_path, models, endpoint, 100, budget=budget)
    assert asker.stopped == "budget"
    with LedgerWriter.open(tmp_path) as ledger:
        spent = ledger.spent()
    assert budget - endpoint.cost(most) * 2 < spent.most <= budget
    assert spent.most == asker.budget.spent
    timeouts = sum(endpoint.cost(one.most()) * number for one, number in _timeouts(endpoint, models))
    assert spent.may_be_paid == timeouts > 0


def _timeouts(endpoint: Endpoint, models: Models) -> Iterator[tuple[Request, int]]:
    """How often each request timed out, drawn once more."""
    again = Models(models.faults)

    async def times(one: Request, number: int) -> int:
        return [(await again.ask(one.messages, {})).outcome for _ in range(number)].count("timeout")

    for one in requests(endpoint, 100):
        yield one, turned(times(one, models.came[one.messages[0]["content"]]))


# Costs


@given(st.integers(0, 2**22), st.integers(0, 2**22), st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_price_is_exact(prompt: int, answer: int, input_price: int, output_price: int) -> None:
    """Prices in steps of a millionth, against fractions."""
    prices = Decimal(input_price) / 10**6, Decimal(output_price) / 10**6
    for value in prices:
        check_price("price", value)
    exact = (Fraction(input_price, 10**6) * prompt + Fraction(output_price, 10**6) * answer) / 10**6 * MONEY
    assert price(Tokens(prompt, answer), *prices) == exact


@given(
    st.integers(0, 2**22),
    st.integers(0, 2**22),
    st.integers(0, 2**22),
    st.tuples(*[st.integers(0, 10**9)] * 3),
    st.integers(0, 100),
    st.none() | st.decimals("0.000001", 1000, allow_nan=False, places=6),
)
def test_costs_of_an_endpoint_are_exact_whatever_its_currency(
    prompt: int, cached: int, answer: int, millionths: tuple[int, int, int], discount: int, rate: Decimal | None
) -> None:
    """Cached tokens, batches and rates, against fractions; a converted price is rounded up to a millionth, once."""
    cached, millionths = min(prompt, cached), tuple(sorted(millionths))  # type: ignore[assignment]
    cheap, usual, output = (Decimal(one) / 10**6 for one in millionths)
    settings: dict[str, Any] = {"input_price": usual, "output_price": output, "cached_input_price": cheap}
    settings["batch_discount"] = Decimal(discount) / 100
    endpoint = Endpoint("e", "m", "http://h/v1", **settings, currency=None if rate is None else "USD")
    endpoint = in_currency(endpoint, "CNY", {} if rate is None else {"USD": rate})

    def up(price: Fraction) -> Fraction:
        return Fraction(-(-price * 10**6 // 1), 10**6)

    for batch in (False, True):
        share = 1 - Fraction(discount, 100) if batch else 1
        each = [up(up(Fraction(one, 10**6) * Fraction(rate or 1)) * share) for one in millionths]
        exact = (each[1] * (prompt - cached) + each[0] * cached + each[2] * answer) / 10**6 * MONEY
        assert endpoint.cost(Tokens(prompt, answer, cached), batch=batch) == exact
        assert endpoint.cost(Tokens(prompt, answer, cached), batch=batch) <= endpoint.cost(Tokens(prompt, answer))


@pytest.mark.parametrize(
    ("usage", "cached"),
    [
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}, 4),
        ({"prompt_tokens": 9, "prompt_tokens_details": None, "prompt_cache_hit_tokens": 5}, 5),
        ({"prompt_tokens": 9, "cached_tokens": 6}, 6),
        ({"prompt_tokens": 9, "cache_read_input_tokens": 7}, 7),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 8}}, 8),
        ({"prompt_tokens": 9, "cached_tokens": 99}, 9),
        ({"prompt_tokens": 9, "cached_tokens": "4"}, 0),
        ({"cached_tokens": 4}, 0),
        ({"prompt_tokens": 9}, 0),
    ],
)
def test_cached_tokens_as_servers_name_them(usage: dict[str, Any], cached: int) -> None:
    message = read_body(json.dumps({"choices": [{"message": {"content": "x"}}], "usage": usage}))
    assert message.cached_tokens == cached


@pytest.mark.parametrize(
    ("usage", "parameters", "words"),
    [
        ((10, 50), {"max_tokens": 50}, None),
        ((10, 51), {"max_tokens": 50}, "it bills 51 tokens for an answer of at most 50 (max_tokens)"),
        ((10, 51), {"max_tokens": 50, "max_completion_tokens": 60}, None),
        ((10, 4097), {}, None),
        ((None, None), {"max_tokens": 50}, None),
        ((100 + 1024, 5), {}, None),
        ((100 + 1025, 5), {}, "it bills 1,125 tokens for a prompt that has at most 100"),
    ],
)
def test_an_answer_that_is_billed_too_much(
    usage: tuple[int | None, int | None], parameters: dict[str, Any], words: str | None
) -> None:
    found = overbilled(Message("x", "stop", None, *usage), Tokens(100, 50), parameters)
    assert (found or "").startswith(words or "\0" if found else ""), found
    assert (found is None) == (words is None)


def test_a_stream_counts_what_it_thought_where_it_does_not_say() -> None:
    assert taken_tokens(Message("回", "stop", None, 7, None, "想想"), Tokens(100, 50)) == (7, 9, 0)


def test_prices_that_cannot_be_kept_are_refused() -> None:
    for bad in ("-0.1", "1000000.1", "0.0000001"):
        with pytest.raises(UsageError, match="with at most 6 decimals"):
            check_price("input_price", Decimal(bad))


@given(st.lists(st.text(), max_size=4), st.none() | st.integers(1, 9000))
def test_no_request_takes_more_than_its_bound(texts: list[str], limit: int | None) -> None:
    messages = [user_message(text) for text in texts]
    parameters = {} if limit is None else {"max_tokens": limit}
    most = most_tokens(messages, parameters)
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    assert most == (size + 16 * (len(texts) + 1), limit or 4096, 0)
    assert max_tokens({**parameters, "max_completion_tokens": 7}) == 7


def test_what_does_not_say_what_it_took_counts_with_the_most() -> None:
    most = Tokens(100, 4)
    assert taken_tokens(Message("回答", None, None, 30, 900), most) == (30, 900, 0)
    assert taken_tokens(Message("回答", None, None, None, None), most) == (100, 4, 0)
    assert taken_tokens(Message("回", None, None, None, None), most) == (100, 3, 0)
    assert taken_tokens(Message(None, None, None, 7, None), most) == (7, 0, 0)
    assert taken_in_batch(Message("回答", None, None, None, None), 5) == (15, 6, 0)
    assert taken_in_batch(Message("回答", None, None, 8, 9), 5) == (8, 9, 0)
    paid = {name: unanswered(name, 5) for name in ("timeout", "reset", "broken", "lost", "abandoned")}
    free = {name: unanswered(name, 5) for name in ("answered", "throttled", "error", "unreachable", "refused", None)}
    assert (set(paid.values()), set(free.values())) == ({5}, {0})
    assert [bounded(Decimal(p), given) for p in (0, 1) for given in ({}, {"max_tokens": 3})] == [
        True,
        True,
        False,
        True,
    ]


@given(st.recursive(st.none() | st.text() | st.integers(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)))
def test_any_value_is_json_in_utf8(value: Any) -> None:
    assert json.loads(json_bytes(value).decode("utf-8")) == value


def test_half_a_surrogate_pair_stays_escaped() -> None:
    assert json_bytes(["一", "\ud83d"]) == b'["\\u4e00", "\\ud83d"]'
    assert read_body(json_bytes({"choices": [{"message": {"content": "\ud83d"}}]}).decode()).text == "\ud83d"
