"""One request over real sockets: every way it can end, and what is sent with it."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from turning import TurnedLoop

pytest.importorskip("aiohttp", reason="annotation needs the extra [annotate]")

from coig_p.annotate.asking import client as module
from coig_p.annotate.asking.client import Client, RateHints, Reply
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.errors import UsageError

GOOD = {"choices": [{"message": {"content": "回答"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}
HELLO = [{"role": "user", "content": "你好"}]


def http(status: str, body: bytes | object = b"", **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Raw:
    """Says the same bytes to every request, and keeps what came; None: nothing for ever, b"": the end."""

    def __init__(self, answer: bytes | None, *, ends: bool = False, hangs: bool = False) -> None:
        self.answer, self.ends, self.hangs = answer, ends, hangs or answer is None
        self.hung = False
        self.port = self.connections = 0
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.until = 1  # requests that must be there before the first is answered
        self.there = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next(
                    (line[15:] for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
                )
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(int(length)))
                if len(self.heads) >= self.until:
                    self.there.set()
                await self.there.wait()
                writer.write(self.answer or b"")
                self.hung = self.hangs
                if self.ends:
                    await writer.drain()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def header(self, name: str, at: int = 0) -> str | None:
        """The one header of this name that a request had."""
        found = [
            line.partition(": ")[2] for line in self.heads[at].split("\r\n") if line.lower().startswith(f"{name}:")
        ]
        assert len(found) <= 1
        return found[0] if found else None


Work = Callable[[Client, Raw], Any]


async def one(client: Client, server: Raw) -> Reply:
    return await client.ask(HELLO, {"max_tokens": 5})


def asked(
    answer: bytes | None,
    work: Work = one,
    *,
    url: str = "http://127.0.0.1:{port}/v1",
    tls: ssl.SSLContext | None = None,
    ends: bool = False,
    hangs: bool = False,
    **settings: Any,
) -> tuple[Any, Raw, float]:
    """What `work` gives with a client of a raw server, the server, and the seconds that passed."""
    servers: list[Raw] = []

    async def go() -> Any:
        raw = Raw(answer, ends=ends, hangs=hangs)
        servers.append(raw)
        listening = await asyncio.start_server(raw, "127.0.0.1", 0, ssl=tls)
        raw.port = listening.sockets[0].getsockname()[1]
        try:
            client = Client(Endpoint("e", "m", url.format(port=raw.port), **settings))
            try:
                return await work(client, raw), raw, asyncio.get_running_loop().time()
            finally:
                await client.close()
        finally:
            listening.close()
            for writer in raw.writers:
                writer.transport.abort()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: TurnedLoop(lambda: not (servers and servers[0].hung))) as runner:
        return runner.run(go())


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_an_answer_comes_as_it_is_and_only_our_headers_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COIGP_TEST_KEY", "sk-secret")
    reply, server, _ = asked(http("200 OK", GOOD), key_env="COIGP_TEST_KEY")
    assert reply.outcome == "answered"
    assert json.loads(reply.body) == GOOD
    assert reply.message == ("回答", "stop", None, 3, None, None, 0, False)
    assert server.heads[0].startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert json.loads(server.bodies[0]) == {"model": "m", "messages": HELLO, "max_tokens": 5}
    assert "你好".encode() in server.bodies[0]
    names = {line.partition(":")[0].lower() for line in server.heads[0].split("\r\n")[1:] if line}
    ours = {"accept", "content-type", "user-agent", "authorization"}
    assert names == ours | {"host", "content-length", "accept-encoding"}
    assert server.header("authorization") == "Bearer sk-secret"
    assert str(server.header("user-agent")).startswith("coig-p/")


def test_a_connection_is_used_again_and_no_cookie_goes_back() -> None:
    async def thrice(client: Client, server: Raw) -> Any:
        return [(await one(client, server)).outcome for _ in range(3)]

    outcomes, server, _ = asked(http("200 OK", GOOD, Set_Cookie="who=you; Path=/"), thrice)
    assert outcomes == ["answered"] * 3
    assert (server.connections, len(server.heads)) == (1, 3)
    assert server.header("cookie", 2) is None


def test_two_hundred_requests_are_in_flight_at_once() -> None:
    async def all_at_once(client: Client, server: Raw) -> Any:
        server.until = 200
        return await asyncio.gather(*(one(client, server) for _ in range(200)))

    replies, server, _ = asked(http("200 OK", GOOD), all_at_once, concurrency=200)
    assert {reply.outcome for reply in replies} == {"answered"}
    assert server.connections == 200


@pytest.mark.parametrize(
    ("status", "body", "headers", "outcome", "wait", "detail"),
    [
        ("401 Unauthorized", {"error": {"message": "no such key"}}, {}, "denied", None, "401: no such key"),
        ("402 Payment Required", {}, {}, "broke", None, "402: {}"),
        ("404 Not Found", {"message": "no model"}, {}, "denied", None, "404: no model"),
        ("405 Method Not Allowed", b"", {}, "denied", None, "405: Method Not Allowed"),
        ("429 Too Many", {"error": {"message": "slow"}}, {"Retry_After": "7"}, "throttled", 7.0, "429: slow"),
        ("429 Too Many", {"error": {"message": "slow"}}, {}, "throttled", None, "429: slow"),
        ("429 Too Many", {"error": {"code": "insufficient_quota", "message": "no"}}, {}, "broke", None, "429: no"),
        ("503 Busy", b"<p>\n\n busy </p>", {"retry_after_ms": "500"}, "throttled", 0.5, "503: <p> busy </p>"),
        ("503 Busy", b"busy", {}, "error", None, "503: busy"),
        ("500 Oops", {"error": {"message": "oops"}}, {"Retry_After": "3"}, "error", 3.0, "500: oops"),
        ("408 Late", b"", {}, "error", None, "408: Late"),
        ("409 Conflict", b"", {}, "error", None, "409: Conflict"),
        ("425 Early", b"", {}, "error", None, "425: Early"),
        ("400 Bad", {"error": {"message": "too long"}}, {}, "refused", None, "400: too long"),
        ("400 Bad", b"\xff", {}, "refused", None, "400: \ufffd"),
        ("400 Bad", [1], {}, "refused", None, "400: [1]"),
        ("422 Odd", b"[" * 100_000, {}, "refused", None, "422: " + "[" * 295),
        ("302 Found", b"", {"Location": "http://x/y"}, "denied", None, "302: moved to http://x/y: set base_url to"),
        ("304 Not Modified", b"", {}, "denied", None, "304: Not Modified"),
    ],
)
def test_statuses(
    status: str, body: Any, headers: dict[str, str], outcome: str, wait: float | None, detail: str
) -> None:
    reply, server, _ = asked(http(status, body, **headers))
    assert (reply.outcome, reply.wait, reply.message) == (outcome, wait, None)
    assert reply.detail is not None
    assert reply.detail.startswith(detail)
    assert len(server.heads) == 1


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_ITS_END = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"", "reset"),
        (http("200 OK", GOOD)[:-9], "reset"),
        (CHUNKED + b"40\r\n{", "reset"),
        (b"SMTP ready\r\n\r\n", "reset"),
        (UNTIL_ITS_END + json.dumps(GOOD, ensure_ascii=False).encode()[:-9], "reset"),
        (UNTIL_ITS_END + b'{"choices": [{"message": {"content": "\xe5\x9b', "reset"),
        (UNTIL_ITS_END + json.dumps(GOOD).encode(), "answered"),
        (UNTIL_ITS_END + b"<html>busy</html>", "broken"),
        (http("200 OK", b"x" * 50, Content_Encoding="gzip"), "reset"),
        (http("200 OK", b'{"choices": ['), "broken"),
        (http("200 OK", b""), "broken"),
        (http("200 OK", {"choices": []}), "broken"),
        (http("200 OK", b'{"choices": [{"message": {"content": "\xff"}}]}'), "broken"),
        (http("200 OK", b"[" * 100_000), "broken"),
        (http("200 OK", gzip.compress(json.dumps(GOOD).encode()), Content_Encoding="gzip"), "answered"),
        (CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(json.dumps(GOOD)), json.dumps(GOOD).encode()), "answered"),
    ],
)
def test_bodies_that_end_early_or_say_nothing(answer: bytes, outcome: str) -> None:
    reply, _, _ = asked(answer, ends=True)
    assert reply.outcome == outcome, reply
    assert (reply.detail is None) == (outcome == "answered")


@pytest.mark.parametrize("answer", [None, http("200 OK", GOOD)[:40], http("200 OK", GOOD)[:-9]])
def test_silence_is_a_timeout_also_in_the_middle_of_an_answer(answer: bytes | None) -> None:
    reply, _, seconds = asked(answer, hangs=True, timeout=70.5)
    assert reply == Reply("timeout", detail="no answer in 70.5 s")
    assert seconds == pytest.approx(70.5)


def test_an_answer_without_an_end_is_broken_and_its_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 10_000)

    async def twice(client: Client, server: Raw) -> Any:
        return await one(client, server), await one(client, server)

    replies, server, _ = asked(http("200 OK", b" " * 10**7), twice)
    assert replies[0] == replies[1] == Reply("broken", detail="an answer of more than 10,000 bytes")
    assert server.connections == 2
    packed = http("200 OK", gzip.compress(bytes(10**8)), Content_Encoding="gzip")
    (reply, _), server, _ = asked(packed, twice)
    assert reply.outcome in ("broken", "reset")  # older versions of aiohttp find it before we do
    assert server.connections == 2
    reply, _, _ = asked(http("400 Bad", b"long " * 10_000))
    assert reply.outcome == "refused"


def test_where_nobody_listens_nothing_was_sent() -> None:
    async def go(client: Client, server: Raw) -> Reply:
        reply = await one(client, server)
        assert not server.heads
        return reply

    reply, _, _ = asked(b"", go, url="http://127.0.0.1:1/v1")
    assert reply.outcome == "unreachable"
    assert "127.0.0.1:1" in str(reply.detail)


def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parent / "self_signed.pem")
    reply, server, _ = asked(http("200 OK", GOOD), url="https://127.0.0.1:{port}/v1", tls=context)
    assert reply.outcome == "unreachable"
    assert "CERTIFICATE_VERIFY_FAILED" in str(reply.detail)
    assert not server.heads


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_environments_proxy_is_used_and_its_exceptions_are_kept(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go(client: Client, server: Raw) -> Any:
        monkeypatch.setenv(name, f"http://me:pass@127.0.0.1:{server.port}")
        endpoint = Endpoint("e", "m", "http://models.invalid/v1")
        through = Client(endpoint)
        monkeypatch.setenv("NO_PROXY", "models.invalid")
        direct = Client(endpoint)
        try:
            return await one(through, server), await one(direct, server)
        finally:
            await through.close()
            await direct.close()

    (through, direct), server, _ = asked(http("200 OK", GOOD), go)
    assert (through.outcome, direct.outcome) == ("answered", "unreachable")
    assert [head.partition("\r\n")[0] for head in server.heads] == [
        "POST http://models.invalid/v1/chat/completions HTTP/1.1"
    ]
    assert server.header("proxy-authorization") == "Basic bWU6cGFzcw=="


def test_a_proxy_that_lets_nothing_through_was_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go(client: Client, server: Raw) -> Any:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{server.port}")
        through = Client(Endpoint("e", "m", "https://models.invalid/v1"))
        try:
            return await one(through, server)
        finally:
            await through.close()

    reply, server, _ = asked(http("407 Proxy Authentication Required"), go)
    assert reply.outcome == "unreachable"
    assert server.heads[0].startswith("CONNECT models.invalid:443")
    assert server.header("authorization") is None


def test_a_proxy_of_another_kind_is_a_usage_error_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://me:hush@127.0.0.1:1")
    with pytest.raises(UsageError, match="HTTP_PROXY names a socks5 proxy") as caught:
        asked(b"")
    assert "hush" not in str(caught.value)


def test_a_netrc_does_not_replace_our_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("default login me password hush\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    reply, server, _ = asked(http("200 OK", GOOD))
    assert reply.outcome == "answered"
    assert server.header("authorization") == "Bearer none"


def test_half_a_surrogate_pair_is_sent_escaped() -> None:
    async def go(client: Client, server: Raw) -> Reply:
        return await client.ask([{"role": "user", "content": "半个\ud83d"}], {})

    reply, server, _ = asked(http("200 OK", GOOD), go)
    assert reply.outcome == "answered"
    assert json.loads(server.bodies[0].decode("utf-8"))["messages"][0]["content"] == "半个\ud83d"


@pytest.mark.parametrize("status", ["200 OK", "400 Bad"])
def test_a_key_that_a_server_repeats_is_not_kept(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COIGP_TEST_KEY", "sk-secret")
    reply, _, _ = asked(http(status, {**GOOD, "message": "you said sk-secret"}), key_env="COIGP_TEST_KEY")
    assert "sk-secret" not in str(reply)
    assert "you said ***" in str(reply)


def test_an_abandoned_request_ends_its_connection() -> None:
    async def go(client: Client, server: Raw) -> Any:
        asking = asyncio.create_task(one(client, server))
        await server.there.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        server.hung = False
        server.answer = http("200 OK", GOOD)
        return await one(client, server)

    reply, server, _ = asked(None, go)
    assert reply.outcome == "answered"
    assert server.connections == 2


@pytest.mark.parametrize("url", ["http://a..b/v1", "http://" + "a" * 70 + ".b/v1"])
def test_an_address_that_is_none_ends_as_an_outcome(url: str) -> None:
    reply, _, _ = asked(b"", url=url)
    assert reply.outcome in ("unreachable", "broken")


SECRET = "s3cret/key=="


def test_headers_and_query_of_an_endpoint_go_with_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COIGP_TEST_KEY", SECRET)
    settings: dict[str, Any] = {
        "headers": {"api-key": {"env": "COIGP_TEST_KEY"}, "X-Region": "cn-north", "user-agent": "mine"},
        "query": {"api-version": "2024-10-21", "who": "a&b=c", "sig": {"env": "COIGP_TEST_KEY"}},
    }
    reply, server, _ = asked(http("200 OK", GOOD), **settings)
    assert reply.outcome == "answered"
    line = server.heads[0].partition("\r\n")[0]
    assert line.startswith("POST /v1/chat/completions?api-version=2024-10-21&who=a%26b%3Dc&sig=s3cret/key%3D%3D HTTP")
    assert [server.header(name) for name in ("api-key", "x-region", "user-agent")] == [SECRET, "cn-north", "mine"]
    assert server.header("authorization") is None, "one kind of key is enough"
    assert server.header("content-type") == "application/json"


@pytest.mark.parametrize(
    ("settings", "authorization"),
    [
        ({}, "Bearer none"),
        ({"headers": {"x-region": "cn"}}, "Bearer none"),
        ({"key_env": "COIGP_TEST_KEY", "headers": {"x-org": {"env": "COIGP_TEST_ORG"}}}, f"Bearer {SECRET}"),
        ({"headers": {"Authorization": {"env": "COIGP_TEST_BASIC"}}}, "Basic abc"),
        ({"query": {"key": {"env": "COIGP_TEST_KEY"}}}, None),
    ],
)
def test_what_authorization_is_sent(
    settings: dict[str, Any], authorization: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("KEY", SECRET), ("ORG", "org-1"), ("BASIC", "Basic abc")):
        monkeypatch.setenv(f"COIGP_TEST_{name}", value)
    _, server, _ = asked(http("200 OK", GOOD), **settings)
    assert server.header("authorization") == authorization


@pytest.mark.parametrize("said", [SECRET, "s3cret%2Fkey%3D%3D", "s3cret/key%3D%3D"])
@pytest.mark.parametrize("answer", ["200 OK", "400 Bad", "302 Found"])
def test_no_secret_that_a_server_repeats_is_kept(said: str, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COIGP_TEST_KEY", SECRET)
    body = http(answer, {**GOOD, "message": f"you said {said}."}, Location=f"http://h/?sig={said}")
    reply, _, _ = asked(body, query={"sig": {"env": "COIGP_TEST_KEY"}})
    assert "s3cret" not in str(reply)
    assert "***" in str(reply)


def test_a_value_too_short_for_a_secret_stays_in_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COIGP_TEST_REGION", "north")
    headers = {"x-region": {"env": "COIGP_TEST_REGION"}}
    reply, _, _ = asked(http("200 OK", {"choices": [{"message": {"content": "a north wind"}}]}), headers=headers)
    assert reply.message.text == "a north wind"
    reply, _, _ = asked(http("400 Bad", {"message": "no model in north"}), headers=headers)
    assert reply.detail == "400: no model in ***"


@pytest.mark.parametrize(("value", "words"), [(None, "is not set"), ("密钥", "holds a space or letter")])
def test_a_variable_that_cannot_be_sent_is_a_usage_error(
    value: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COIGP_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("COIGP_TEST_KEY", value)
    with pytest.raises(UsageError, match=f"COIGP_TEST_KEY {words}"):
        asked(b"", query={"key": {"env": "COIGP_TEST_KEY"}})


@pytest.mark.parametrize("status", ["200 OK", "429 Slow", "500 Oops"])
def test_any_answer_says_what_is_left_of_its_rate(status: str) -> None:
    limits = {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}
    reply, _, _ = asked(http(status, GOOD if status == "200 OK" else b"", **limits))
    assert reply.hints == RateHints(requests_left=3, requests_reset=360)
    reply, _, _ = asked(http(status, GOOD if status == "200 OK" else b""))
    assert reply.hints is None
