"""How often requests are sent where answers cannot be used: counted by ask, so that one that waits is not through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from annotating import endpoint, write_queries, write_run
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples
from tapping import tap_answer, tap_endpoint, write_tap

from coig_p.annotate.asking.ledger import ANSWERED, FAILED, INVALID, Ledger
from coig_p.annotate.config import RunConfig, load_config
from coig_p.annotate.estimating import estimate
from coig_p.annotate.invalid import InvalidShares
from coig_p.annotate.scripted import ScriptedServer, scripted_answer
from coig_p.annotate.stages import run_stages


def shares_of(*counted: tuple[int, str, int]) -> InvalidShares:
    """From asks, states and numbers of answers of one endpoint and one kind."""
    totals = [SimpleNamespace(endpoint="j", kind="judge", ask=ask, state=of, number=n) for ask, of, n in counted]
    return InvalidShares(cast(Ledger, SimpleNamespace(requests=lambda: totals)))


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=200), st.integers(1, 4))
@examples(100)
def test_asks_and_what_is_lost_are_those_of_a_slow_walk(answers: list[tuple[int, bool]], most: int) -> None:
    found = shares_of(*[(ask, INVALID if bad else ANSWERED, 1) for ask, bad in answers])
    shares: list[float] = []
    for at in range(most):  # the answers of this ask, and up to 20 as it is usual at the ask before
        bad = [float(one) for ask, one in answers if ask == at]
        bad += [shares[-1] if shares else 0.0] * (20 - len(bad))
        shares.append(sum(bad) / len(bad))
    for done in range(most):
        expected, left = 0.0, 1.0
        for share in shares[done:]:
            expected, left = expected + left, left * share
        assert found.asks("j", "judge", most, done) == pytest.approx(expected)
    left = 1.0
    for share in shares:
        left *= share
    assert found.lost("j", "judge", most) == pytest.approx(left)


def test_requests_that_wait_for_their_next_ask_are_not_through() -> None:
    found = shares_of((0, INVALID, 33), (0, FAILED, 5))
    assert [found.asks("j", "judge", 3, done) for done in range(3)] == [3, 2, 1]
    assert found.lost("j", "judge", 3) == 1
    assert (found.any("j", "judge"), found.any("j", "query"), found.any("m", "judge")) == (True, False, False)
    assert found.asks("m", "judge", 3) == 1
    found = shares_of((0, ANSWERED, 30), (0, INVALID, 10), (1, ANSWERED, 40), (1, INVALID, 10))
    assert found.asks("j", "judge", 3) == pytest.approx(1 + 0.25 + 0.25 * 0.2)
    assert found.lost("j", "judge", 2) == pytest.approx(0.25 * 0.2)


FEW, EVERY = 22, 30


def asked_thrice(config: RunConfig) -> RunConfig:
    """The run once its requests may be asked three times: those that were invalid wait for their second ask."""
    text = config.path.read_text("utf-8")
    assert text.count("asks = 1\n") == 1
    config.path.write_text(text.replace("asks = 1\n", "asks = 3\n"), encoding="utf-8")
    return load_config(config.path)


def told_and_sent(config: RunConfig) -> tuple[dict[str, int], dict[str, int]]:
    with Ledger.open(config.folder) as ledger:
        told = {name: one.requests for name, one in estimate(config, ledger).items() if one.requests}
    sent = run_stages(config).sent
    with Ledger.open(config.folder) as ledger:
        assert estimate(config, ledger) == {}
    return told, {name: number for name, number in sent.items() if number}


@pytest.mark.parametrize(
    ("silent", "wanted"),
    [
        ("j", {"m": EVERY - FEW, "j": 2 * FEW + 3 * (EVERY - FEW)}),
        ("m", {"m": 2 * FEW + 3 * (EVERY - FEW)}),  # whose responses nobody has to judge
        ("", {"m": EVERY - FEW, "j": EVERY - FEW}),
    ],
)
def test_the_estimate_of_a_run_that_ended_after_first_asks(silent: str, wanted: Any, tmp_path: Path) -> None:
    def answer(request: Mapping[str, Any]) -> str:
        return "" if request["model"] == silent else scripted_answer(request)

    write_queries(tmp_path, EVERY)
    with ScriptedServer(answer) as server:
        ends = [endpoint("m", server.base_url), endpoint("j", server.base_url, generates=False, judges=True)]
        judging = {"judges_per_response": 1, "asks": 1}
        config = write_run(tmp_path, ends, run={"most_invalid": 1.0}, judging=judging)
        run_stages(config, ("queries", "generate", "judge"), limit=FEW)
        assert told_and_sent(asked_thrice(config)) == (wanted, wanted)


def test_the_estimate_of_a_tap_run_that_ended_after_first_asks(tmp_path: Path) -> None:
    def silent(answer: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], str]:
        return lambda request: "都好。" if request["model"] == "j-1" else answer(request)

    with ScriptedServer(silent(tap_answer)) as server:
        ends = [tap_endpoint("w-0", server.base_url, writes=True)]
        ends += [tap_endpoint(f"m-{at}", server.base_url, generates=True) for at in range(4)]
        ends += [tap_endpoint(f"j-{at}", server.base_url, judges=True) for at in range(2)]
        config = write_tap(tmp_path, ends, run={"most_invalid": 1.0}, taxonomy={"rounds": 1}, compare={"asks": 1})
        run_stages(config, ("types", "refine", "prompts", "generate", "select"))
        run_stages(config, ("compare",), limit=1)
        with Ledger.open(config.folder) as ledger:
            first = {one.endpoint: one.number for one in ledger.requests() if one.kind == "compare"}
        assert first["j-1"] == first["j-0"] >= 20
        told, sent = told_and_sent(asked_thrice(config))
        assert told == sent == {"j-0": sent["j-0"], "j-1": 3 * sent["j-0"] + 2 * first["j-1"]}
