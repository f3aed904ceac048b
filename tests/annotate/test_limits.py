"""Limits, budgets, breakers and costs, on a clock of their own."""

from __future__ import annotations

import asyncio
import math
import random
from decimal import Decimal
from pathlib import Path

import pytest
from annotating import endpoint, pool, write_run
from hypothesis import given
from hypothesis import strategies as st
from parts import URL, answer, entry
from turning import turned

from coig_p import annotate
from coig_p.annotate.asking.costs import MONEY, Tokens
from coig_p.annotate.asking.ledger import LedgerWriter
from coig_p.annotate.asking.limits import Budget, BudgetReached, EndpointDown, Gate, RateLimit, backoff
from coig_p.errors import UsageError


@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(0, 30)), min_size=1, max_size=40),
    st.integers(1, 6),
    st.integers(0, 9),
)
def test_no_window_holds_more_than_the_limit_however_late_requests_arrive(
    requests: list[tuple[int, float]], most: int, seed: int
) -> None:
    """Arrivals anywhere between sending and min(answer, a second later): still within both limits."""
    rng = random.Random(seed)
    arrivals: list[tuple[float, int]] = []

    async def one(limit: RateLimit, tokens: int, latency: float) -> None:
        async with turn:
            while (wait := limit.wait(tokens)) > 0:
                changed.clear()
                try:
                    async with asyncio.timeout(None if wait == math.inf else wait):
                        await changed.wait()
                except TimeoutError:
                    pass
            slot = limit.take(tokens)
        limit.sent(slot)
        changed.set()
        now = asyncio.get_running_loop().time()
        arrivals.append((now + rng.uniform(0, min(latency, 1.0)), tokens))
        await asyncio.sleep(latency)
        limit.done(slot, None)
        changed.set()

    turn, changed = asyncio.Lock(), asyncio.Event()

    async def all_of_them() -> None:
        limit = RateLimit(most, 100, clock=asyncio.get_running_loop().time)
        await asyncio.gather(*(one(limit, *request) for request in requests))

    turned(all_of_them())
    assert len(arrivals) == len(requests)
    for start, _ in arrivals:
        inside = [tokens for at, tokens in arrivals if start <= at < start + 60]
        assert len(inside) <= most
        assert sum(inside) <= 100 or len(inside) == 1


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_limit_knows_what_an_earlier_run_sent() -> None:
    clock = Clock()
    limit = RateLimit(3, 100, clock=clock)
    limit.restore([(50.0, 10), (20.0, 60)])
    assert limit.wait(10) == 0
    limit.sent(limit.take(10))
    assert limit.wait(10) == 60 - 50 + 1, "the first one leaves the window a second late"
    clock.now = 11
    assert limit.wait(10) == 0
    limit.take(10)
    assert limit.wait(40) == 60 - 20 + 1 - 11
    clock.now = 60 - 20 + 1
    assert limit.wait(40) == 0


def test_a_limit_waits_for_what_is_not_sent_yet() -> None:
    limit = RateLimit(1, None, clock=Clock())
    slot = limit.take(1)
    assert limit.wait(1) == math.inf
    limit.sent(slot)
    assert limit.wait(1) == 61
    limit.done(slot, 1)
    assert limit.wait(1) == 60


def test_the_breaker_opens_probes_and_gives_up() -> None:
    clock = Clock()
    gate = Gate(100, clock=clock)

    def enters() -> bool:
        if gate.wait() > 0:
            return False
        gate.entered()
        return True

    for _ in range(9):
        assert enters()
        gate.failure("x")
    assert enters()
    gate.success()
    for _ in range(10):
        gate.failure("x")
    assert not enters()
    clock.now = 5
    assert enters()
    assert not enters(), "only one request probes"
    gate.failure("x")
    clock.now += 5
    assert not enters(), "the second pause is twice as long"
    clock.now += 5
    assert enters()
    gate.success()
    assert enters()
    assert enters()
    for _ in range(10):
        gate.failure("x")
    clock.now += 101
    assert enters()
    gate.failure("still down")
    with pytest.raises(EndpointDown, match="no answer for 101 s: still down"):
        gate.wait()


def test_an_endpoint_that_was_left_is_tried_again_by_one_request() -> None:
    clock = Clock()
    gate = Gate(100, clock=clock)
    gate.leave("x")
    assert gate.again() == 30
    for rest in (60, 120, 240, 300, 300):
        clock.now += gate.again()
        gate.come_back()
        assert gate.wait() <= 0
        gate.entered()
        assert gate.wait() == math.inf, "one alone"
        gate.denied("still")
        assert (gate.left, gate.again()) == ("still", rest)
    clock.now += 300
    gate.come_back()
    gate.entered()
    assert gate.success()
    assert gate.wait() <= 0
    gate.leave("y")
    assert gate.again() == 30
    gate.come_back()
    gate.leave("for good", math.inf)
    assert gate.again() == math.inf


@pytest.mark.parametrize(("answered", "most"), [(False, 20), (True, 100)])
def test_an_endpoint_is_left_once_it_denies_everything(answered: bool, most: int) -> None:
    gate = Gate(100, clock=Clock())
    if answered:
        gate.success()
    for _ in range(most - 1):
        gate.denied("no")
    gate.success()
    for _ in range(99):
        gate.denied("no")
        assert gate.left is None
    gate.denied("no")
    assert gate.left == "it refused its last 100 attempts: no"


def test_a_pause_that_the_server_asks_for_holds_everybody() -> None:
    clock = Clock()
    gate = Gate(100, clock=clock)
    gate.throttled(30)
    assert gate.wait() == 30
    clock.now = 30
    gate.throttled(60)  # 30 seconds without an answer so far, and then 90
    assert gate.wait() == 60
    clock.now = 90
    gate.throttled(60)
    with pytest.raises(EndpointDown, match="asks to wait another 60"):
        gate.wait()
    assert gate.again() == 60, "not before the server said so"


def test_costs_of_any_size_add_up(tmp_path: Path) -> None:
    large = 2**62
    with LedgerWriter.open(tmp_path) as ledger:
        for at in range(5):
            attempt = ledger.begin(entry(at), 10, large * 4)
            if at < 3:
                ledger.answered(attempt, bytes([at]), answer(large), 0.1, 7)
    with LedgerWriter.open(tmp_path) as ledger:
        assert ledger.spent() == (3 * large, 2 * large)


def test_costs_of_a_folder_stay_in_one_currency(tmp_path: Path) -> None:
    with LedgerWriter.open(tmp_path) as ledger:
        for currency in (None, "CNY", "CNY", None):
            ledger.count_in(currency)
    with LedgerWriter.open(tmp_path) as ledger:
        with pytest.raises(UsageError, match=r"its costs are in CNY, and run\.currency is USD"):
            ledger.count_in("USD")
        ledger.count_in("CNY")


def test_prices_in_another_currency_are_the_runs_once_they_are_read(tmp_path: Path) -> None:
    dear = endpoint("a", URL, judges=True, input_price=0.27, output_price=1.1, cached_input_price=0.07, currency="USD")
    config = write_run(
        tmp_path,
        [dear, endpoint("b", URL, judges=True, output_price=8)],
        run={"currency": "CNY", "max_cost": 50.0},
        rates={"USD": 7.1234},
        judging={"judges_per_response": 1},
    )
    one, other = config.endpoints
    prices = (one.input_price, one.output_price, one.cached_input_price, other.output_price)
    assert prices == (Decimal("1.923318"), Decimal("7.835740"), Decimal("0.498638"), Decimal(8))
    assert (config.currency, config.max_cost) == ("CNY", 50 * MONEY)
    assert one.cost(Tokens(1000, 10, 400)) == (600 * 1923318 + 400 * 498638 + 10 * 7835740)


def test_a_variable_that_is_not_set_is_an_error_before_the_first_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COIGP_TEST_KEY", raising=False)
    config = write_run(tmp_path, pool(URL, 3, 3, headers={"api-key": {"env": "COIGP_TEST_KEY"}}))
    with pytest.raises(UsageError, match="the environment variable COIGP_TEST_KEY is not set"):
        annotate.run_stages(config)
    assert not config.folder.exists()


def test_a_key_that_no_header_can_hold_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_run(tmp_path, pool(URL, 3, 3, key_env="COIGP_TEST_KEY"))
    for bad in ("密钥", "sk-a\nb", "sk a"):
        monkeypatch.setenv("COIGP_TEST_KEY", bad)
        with pytest.raises(UsageError, match="COIGP_TEST_KEY holds a space or letter"):
            config.endpoints[0].key()


def test_a_budget_waits_for_what_is_in_flight_and_then_says_no() -> None:
    async def work() -> None:
        budget = Budget(100, 10)
        await budget.reserve(60)
        second = asyncio.create_task(budget.reserve(60))
        await asyncio.sleep(0)
        assert not second.done()
        budget.settle(60, 20)
        await second
        budget.settle(60, 60)
        with pytest.raises(BudgetReached):
            await budget.reserve(11)
        await budget.reserve(10)

    asyncio.run(work())


def test_backoff_is_random_and_bounded() -> None:
    rng = random.Random(0)
    waits = [backoff(failures, rng) for failures in (1, 2, 3, 50) for _ in range(50)]
    assert len(set(waits)) == 200
    assert max(waits[:50]) <= 1
    assert max(waits) <= 60
