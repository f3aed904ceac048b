"""What requests cost: a budget that is never passed, and servers that bill more than they said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from annotating import check_accounts, pool, select, write_run
from answering import GOOD, answering

pytest.importorskip("aiohttp", reason="annotation needs the extra [annotate]")

from coig_p.annotate.asking.ledger import LedgerWriter
from coig_p.annotate.retrying import retry
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import exit_code, run_stages


def test_a_budget_is_never_passed_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(
            tmp_path, pool(server.base_url, 4, 3, input_price=10.0, output_price=30.0), run={"max_cost": 0.2}
        )
        report = run_stages(config)
        assert (report.stopped, exit_code(report)) == ("budget", 1)
        assert 0.1e12 < report.cost.paid <= 0.2e12
        sent = sum(server.seen.values())
        assert run_stages(config).sent == {}
        report = run_stages(config, max_cost=10**14)
        assert report.stopped is None
        assert sum(server.seen.values()) == 12 * 4 * 3 > sent
        assert max(server.seen.values()) == 1
    found = check_accounts(config)
    tokens = select(config, "SELECT SUM(prompt_tokens), SUM(completion_tokens) FROM requests")[0]
    assert report.cost == (tokens[0] * 10 * 10**6 + tokens[1] * 30 * 10**6, 0)
    assert found["cost"] == pytest.approx((tokens[0] * 10 + tokens[1] * 30) / 1e6)


@pytest.mark.parametrize(
    ("tokens", "words", "cost"),
    [
        (9000, "it bills 9,000 tokens for an answer of at most 64 (max_tokens)", 9000),
        (2**39, "it bills more tokens for an answer than any model has", None),
    ],
)
def test_a_server_that_bills_too_much_is_stopped_at_its_first_answer(
    tokens: int, words: str, cost: int | None, tmp_path: Path
) -> None:
    server, seen = answering(200, {}, json.dumps({**GOOD, "usage": {"prompt_tokens": 5, "completion_tokens": tokens}}))
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        config = write_run(tmp_path, pool(url, 3, 3, input_price=10, output_price=10, concurrency=1))
        report = run_stages(config, ("generate",))
    finally:
        server.shutdown()
        server.server_close()
    assert len(seen) == 3, "one request to each endpoint"
    assert exit_code(report) == 3
    assert len(report.left) == 3
    assert all(why.startswith(words) for why in report.left.values())
    check_accounts(config)
    assert select(config, "SELECT COUNT(*) FROM requests WHERE state = 'answered'") == [(3,)]
    if cost is not None:
        assert report.cost.paid == 3 * (5 + cost) * 10 * 10**6, "what is billed is counted"


def test_a_server_that_billed_too_much_is_asked_again_only_once_that_is_told(tmp_path: Path) -> None:
    server, seen = answering(200, {}, json.dumps({**GOOD, "usage": {"prompt_tokens": 5, "completion_tokens": 100}}))
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        prices = {"input_price": 10, "output_price": 10, "concurrency": 1}
        config = write_run(tmp_path, pool(url, 3, 3, **prices))
        run_stages(config, ("generate",))
        again = run_stages(config, ("generate",))
        assert len(seen) == 3, "the next run asks none of them"
        assert all("in an earlier run: it bills 100 tokens" in why for why in again.left.values())
        with LedgerWriter.open(config.folder) as ledger:
            retry(config, ledger, ("failed",), ("m-0",))
        run_stages(config, ("generate",))
        assert len(seen) == 4, "one of them was told to be asked"
        raised = write_run(tmp_path, pool(url, 3, 3, parameters={"max_tokens": 200}, **prices))
        report = run_stages(raised, ("generate",), say=print)
    finally:
        server.shutdown()
        server.server_close()
    assert report.left == {}
    check_accounts(config)


def test_what_is_free_is_not_overbilled(tmp_path: Path) -> None:
    server, seen = answering(200, {}, json.dumps({**GOOD, "usage": {"prompt_tokens": 5, "completion_tokens": 9000}}))
    try:
        config = write_run(tmp_path, pool(f"http://127.0.0.1:{server.server_port}/v1", 3, 3))
        report = run_stages(config, ("generate",))
    finally:
        server.shutdown()
        server.server_close()
    assert (len(seen), report.left) == (36, {})
