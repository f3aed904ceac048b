"""What comes of a server that misbehaves: of one attempt, and of a request with its accounts."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from misbehaving import ALL, MisbehavingServer, misbehaving
from refusing import TEXT, Misbehaviour
from turning import TurnedLoop

pytest.importorskip("aiohttp", reason="annotation needs the extra [annotate]")

from coig_p.annotate.asking.asker import Asker
from coig_p.annotate.asking.client import Client, Reply
from coig_p.annotate.asking.costs import Tokens
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.events import StreamEnded, put_together
from coig_p.annotate.asking.ledger import ANSWERED, FAILED, LedgerWriter
from coig_p.annotate.asking.limits import Budget
from coig_p.annotate.asking.message import Message, read_body
from coig_p.annotate.asking.refusals import error_in, outcome_of
from coig_p.annotate.asking.request import Outcome, Request, user_message

QUERY = "信用卡欠费、余额不足怎么办？"
MAY_BE_PAID = ("timeout", "reset", "broken")
AGAIN = ("throttled", "error", *MAY_BE_PAID)


@pytest.fixture(scope="module")
def server() -> Iterator[MisbehavingServer]:
    with misbehaving() as found:
        yield found


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def endpoint(server: MisbehavingServer, one: Misbehaviour) -> Endpoint:
    prices: dict[str, Any] = {"input_price": Decimal(2), "output_price": Decimal("8.5")}
    return Endpoint("e", "m", server.base_url(one.name), timeout=60.0, stream=one.stream, concurrency=1, **prices)


def request(asked: Endpoint) -> Request:
    def read(message: Message) -> Outcome:
        return Outcome(ANSWERED, text=message.text)

    return Request(asked, "generate", "chat", "q", (user_message(QUERY),), {"max_tokens": 100}, read)


class Flying:
    """Makes clients, and knows whether an answer of the server is still to come."""

    def __init__(self, server: MisbehavingServer) -> None:
        self.server, self.flying = server, 0
        self.replies: list[Reply] = []

    def busy(self) -> bool:
        return self.flying > 0 and not self.server.hung.is_set()

    def __call__(self, endpoint: Endpoint) -> Client:
        flying = self

        class Counted(Client):
            async def ask(self, messages: Any, parameters: Any) -> Reply:
                flying.flying += 1
                try:
                    reply = await super().ask(messages, parameters)
                finally:
                    flying.flying -= 1
                flying.server.hung.clear()
                flying.replies.append(reply)
                return reply

        return Counted(endpoint)


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len(ALL) == len({one.name for one in ALL}) >= 40


def asked_for(asked: Endpoint, folder: Path, server: MisbehavingServer) -> list[Reply]:
    """Have one request asked, and the replies of its attempts."""

    async def go(flying: Flying) -> list[Reply]:
        with LedgerWriter.open(folder, now=asyncio.get_running_loop().time) as ledger:
            asker = Asker({"e": asked}, ledger, Budget(None, 0), connect=flying, rng=random.Random(1))
            await asker.ask_all({"e": iter([request(asked)])})
            await asker.close()
            assert asker.budget.reserved == 0
            assert asker.budget.spent == ledger.spent().most
        return flying.replies

    server.hung.clear()
    flying = Flying(server)
    with asyncio.Runner(loop_factory=lambda: TurnedLoop(flying.busy)) as runner:
        return runner.run(go(flying))


@pytest.mark.parametrize("one", ALL, ids=[one.name for one in ALL])
def test_a_misbehaviour_and_what_comes_of_it(one: Misbehaviour, server: MisbehavingServer, tmp_path: Path) -> None:
    asked = endpoint(server, one)
    replies = asked_for(asked, tmp_path, server)
    first = replies[0]
    assert (first.outcome, first.wait) == (one.outcome, one.wait), first
    if first.outcome == "answered":
        assert first.message is not None
        assert (first.message.text, first.detail) == (TEXT, None)
        assert read_body(str(first.body)) == first.message, "what is kept reads the same"
    else:
        assert (first.body, first.message) == (None, None)
        assert one.says in str(first.detail)
        assert "\x1b" not in str(first.detail)
    assert server.came[one.name] == len(replies), "nothing is sent that is not counted"
    sent = server.bodies[one.name]
    assert [body.get("stream") for body in sent] == [True if one.stream else None] * len(sent)

    most = request(asked).most()
    with LedgerWriter.open(tmp_path) as ledger:
        spent, state = ledger.spent(), ledger.state(request(asked).key(0))
        outcomes = {tried.outcome: tried.number for tried in ledger.attempts()}
    if one.outcome == "answered":
        took = Tokens(most.prompt, len(TEXT.encode())) if one.took is None else Tokens(*one.took)
        assert (state, outcomes, spent.paid) == (ANSWERED, {"answered": 1}, asked.cost(took))
    elif one.outcome in AGAIN:
        assert (state, outcomes) == (ANSWERED, {one.outcome: 1, "answered": 1})
        assert spent.paid == asked.cost(Tokens(7, 5))
    elif one.outcome in ("refused", "broke"):
        assert (state, outcomes, spent.paid) == (FAILED, {one.outcome: 1}, 0)
    assert spent.may_be_paid == (asked.cost(most) if one.outcome in MAY_BE_PAID else 0)


def test_a_server_without_stream_options_streams_without_its_usage(tmp_path: Path) -> None:
    one = next(one for one in ALL if one.name == "stream-options-unknown")
    with misbehaving() as server:
        asked_for(endpoint(server, one), tmp_path, server)
        sent = server.bodies[one.name]
    assert [body.get("stream_options") for body in sent] == [{"include_usage": True}, None]


# Anything at all


def json_values(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.text()
    return st.recursive(leaves, lambda some: st.lists(some) | st.dictionaries(keys, some))


KEYS = ["code", "error", "message", "choices", "delta", "content", "type", "usage", "details", "index"]
JSON = json_values(st.sampled_from(KEYS) | st.text())
PIECE = {"choices": [{"delta": {"content": "x"}}]}


@given(JSON, st.integers(100, 599), st.text())
def test_any_json_says_what_went_wrong_or_nothing(value: Any, status: int, asked: str) -> None:
    for body in (value, {"error": value}, {"error": [value]}, {"choices": [value], "base_resp": value}):
        found = error_in(body)
        if found is not None:
            assert found.words
            outcome_of(status, found, None, asked)


@given(st.lists(JSON | st.just(PIECE)), st.sampled_from(["\n\n", "\r\n\r\n", "\n"]))
def test_any_events_are_an_answer_or_an_end(values: list[Any], blank: str) -> None:
    text = "".join(f"data: {json.dumps(value)}{blank}" for value in values)
    for given_text in (text, text[: len(text) // 2]):
        try:
            whole = put_together(given_text)
        except (StreamEnded, ValueError):
            continue
        assert error_in(whole) or read_body(json.dumps(whole)).finish


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1), st.data())
def test_a_stream_torn_anywhere_says_the_same(text: str, data: st.DataObject) -> None:
    """Characters beyond the first 65,536 torn into two halves, as some servers do."""
    units = text.encode("utf-16-le")
    cuts = sorted({0, len(units), *(2 * at for at in data.draw(st.lists(st.integers(0, len(units) // 2))))})
    pieces = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in pairwise(cuts)]
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    whole = put_together("".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n")
    assert read_body(json.dumps(whole))[:2] == (text, "stop")
