"""A server that misbehaves as servers do, each way with what must come of it. It knows nothing of the package.

The first part of a path names what its first request is answered with; every later one is answered
well. `SENDS` are bytes, or `HANG` (nothing more until the server ends) or `RESET` (of the connection);
after the last the connection ends.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any, NamedTuple

HANG, RESET = object(), object()
TEXT = "好的回答"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


class Misbehaviour(NamedTuple):
    """How a request is answered, and what must come of it.

    Attributes:
        outcome: of the attempt.
        says: a part of the words that are kept of it; of an answer its text.
        wait: seconds that it asks to wait.
        took: tokens of prompt and answer that an answer must count with; None for its most.
        stream: whether it is asked for a stream.
    """

    name: str
    sends: tuple[Any, ...]
    outcome: str
    says: str
    wait: float | None = None
    took: tuple[int, int] | None = (7, 5)
    stream: bool = False


def http(status: str, body: Any, headers: Mapping[str, str] | None = None, *, length: bool = True) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    given = {"Content-Type": "application/json", "Connection": "close"}
    given |= {"Content-Length": str(len(content))} if length else {}
    lines = [f"{name}: {value}" for name, value in (given | dict(headers or {})).items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + content


def good(message: Any = None, *, finish: Any = "stop", usage: Any = USAGE, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message or {"role": "assistant", "content": TEXT}, "finish_reason": finish}
    return {"id": "x-1", "object": "chat.completion", "choices": [choice], "usage": usage, **more}


def content(value: Any) -> dict[str, Any]:
    return good({"role": "assistant", "content": value})


def error(status: str, code: Any, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> bytes:
    return http(status, {"error": {"message": message, "code": code, **more}}, headers)


def chunk(delta: Any = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": "x-1", "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


HALF = (chunk({"role": "assistant", "content": ""}), chunk({"content": TEXT[:2]}))
REST = (chunk({"content": TEXT[2:]}), chunk(finish="stop"), {"id": "x-1", "choices": [], "usage": USAGE})
DONE = "[DONE]"


def events(*values: Any, line: str = "\n", blank: str = "\n", space: str = " ") -> bytes:
    """Events of a stream; text that begins with a colon is a comment."""
    found = []
    for value in values:
        data = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        found.append((data if data.startswith((":", "event:")) else f"data:{space}{data}") + line + blank)
    return "".join(found).encode()


def stream(*parts: bytes, kind: str = "text/event-stream", ends: bool = True) -> bytes:
    """Events in chunks of HTTP; without their end where the connection breaks."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    return head + chunks + (b"0\r\n\r\n" if ends else b"")


def streams(name: str, sends: Any, outcome: str, says: str, **more: Any) -> Misbehaviour:
    return Misbehaviour(name, sends if isinstance(sends, tuple) else (sends,), outcome, says, stream=True, **more)


def of(name: str, sends: Any, outcome: str, says: str, **more: Any) -> Misbehaviour:
    return Misbehaviour(name, sends if isinstance(sends, tuple) else (sends,), outcome, says, **more)


BODIES = (
    of("bom", http("200 OK", b"\xef\xbb\xbf" + json.dumps(good()).encode()), "answered", TEXT),
    of("blank-lines-first", http("200 OK", b"\n\n \n" + json.dumps(good()).encode()), "answered", TEXT),
    of(
        "gbk-and-says-so",
        http(
            "200 OK", json.dumps(good(), ensure_ascii=False).encode("gbk"), {"Content-Type": "text/json; charset=gbk"}
        ),
        "answered",
        TEXT,
    ),
    of(
        "utf8-and-says-latin1",
        http("200 OK", good(), {"Content-Type": "text/plain; charset=ISO-8859-1"}),
        "answered",
        TEXT,
    ),
    of(
        "parts",
        http("200 OK", content([{"type": "text", "text": TEXT[:2]}, {"type": "text", "text": TEXT[2:]}])),
        "answered",
        TEXT,
    ),
    of("parts-of-plain-text", http("200 OK", content([TEXT[:1], TEXT[1:]])), "answered", TEXT),
    of("one-part-alone", http("200 OK", content({"type": "text", "text": TEXT})), "answered", TEXT),
    of(
        "parts-with-thinking",
        http(
            "200 OK",
            content(
                [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "想一想"}]},
                    {"type": "text", "text": TEXT},
                ]
            ),
        ),
        "answered",
        TEXT,
    ),
    of("a-picture", http("200 OK", content([{"type": "image_url", "image_url": {"url": "x"}}])), "broken", "image_url"),
    of("a-number", http("200 OK", content(8)), "broken", "not text"),
    of("error-null", http("200 OK", good() | {"error": None, "code": 0, "message": "success"}), "answered", TEXT),
    of(
        "code-0", http("200 OK", good(error={"code": 0, "message": ""}, base_resp={"status_code": 0})), "answered", TEXT
    ),
    of("no-usage", http("200 OK", good(usage=None)), "answered", TEXT, took=None),
    of(
        "usage-of-nonsense",
        http("200 OK", good(usage={"prompt_tokens": "七", "completion_tokens": -1})),
        "answered",
        TEXT,
        took=None,
    ),
    of(
        "usage-in-fractions",
        http("200 OK", good(usage={"prompt_tokens": 7.0, "completion_tokens": 5.0})),
        "answered",
        TEXT,
    ),
    of(
        "thinking-only-in-the-total",
        http("200 OK", good(usage={**USAGE, "total_tokens": 40})),
        "answered",
        TEXT,
        took=(7, 33),
    ),
    of("error-with-200", http("200 OK", {"error": {"message": "the model is overheated"}}), "error", "overheated"),
    of("error-as-text-with-200", http("200 OK", {"error": "the model is overheated"}), "error", "overheated"),
    of(
        "error-with-200-and-half-an-answer",
        http("200 OK", good(error={"message": "upstream lost", "code": 502})),
        "broken",
        "upstream lost",
    ),
    of(
        "error-of-the-choice",
        http(
            "200 OK",
            {
                **good(usage=None),
                "choices": [{"message": {"content": "半"}, "error": {"code": 502, "message": "lost the provider"}}],
            },
        ),
        "error",
        "lost the provider",
    ),
    of("overloaded-with-200", http("200 OK", {"error": {"message": "later", "code": 429}}), "throttled", "later"),
    of("no-key-with-200", http("200 OK", {"error": {"code": "invalid_api_key", "message": "who"}}), "denied", "who"),
    of(
        "sensitive-with-200",
        http("200 OK", {"choices": None, "base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}}),
        "refused",
        "new_sensitive",
    ),
    of(
        "too-fast-with-200",
        http("200 OK", {"error_code": 18, "error_msg": "Open api qps request limit reached"}),
        "throttled",
        "qps request",
    ),
    of("a-page", http("200 OK", b"<html><title>Sign in</title>", {"Content-Type": "text/html"}), "broken", "Sign in"),
    of("an-empty-body", http("200 OK", b""), "broken", "Expecting value"),
    of("no-content", http("204 No Content", b""), "broken", "Expecting value"),
    of("no-choices", http("200 OK", {"choices": []}), "broken", "no choices[0].message"),
    of("a-list", http("200 OK", [1, 2]), "broken", "no choices[0].message"),
    of("not-utf8", http("200 OK", b'{"choices": "\xff"}'), "broken", "utf-8"),
    of("deep", http("200 OK", b"[" * 100_000), "broken", "too many levels"),
    of("half-a-body", http("200 OK", good())[:-9], "reset", ""),
    of("half-a-body-without-length", http("200 OK", json.dumps(good()).encode()[:-9], length=False), "reset", ""),
    of("no-answer-at-all", b"", "reset", ""),
    of("not-http", b"SMTP ready\r\n\r\n", "reset", ""),
    of("a-reset", (RESET,), "reset", ""),
    of("a-reset-in-the-body", (http("200 OK", good())[:-9], RESET), "reset", ""),
    of("silence", (HANG,), "timeout", "no answer in 60 s"),
    of("silence-in-the-body", (http("200 OK", good())[:-9], HANG), "timeout", "no answer in 60 s"),
    of("not-the-gzip-it-says", http("200 OK", b"x" * 50, {"Content-Encoding": "gzip"}), "reset", ""),
)

NO_MONEY = (
    of(
        "402", error("402 Payment Required", "invalid_request_error", "Insufficient Balance"), "broke", "Insufficient B"
    ),
    of("402-empty", http("402 Payment Required", b""), "broke", "402: Payment Required"),
    of("402-with-200", http("200 OK", {"error": {"code": 402, "message": "add some"}}), "broke", "add some"),
    of(
        "credit-balance",
        http(
            "400 Bad Request",
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "Your credit balance is too low to access the API.",
                },
            },
        ),
        "broke",
        "credit balance is too low",
    ),
    of(
        "insufficient-quota",
        error("429 Too Many Requests", "insufficient_quota", "You exceeded your current quota"),
        "broke",
        "exceeded your current quota",
    ),
    of(
        "hard-limit",
        error("400 Bad Request", "billing_hard_limit_reached", "Billing hard limit has been reached"),
        "broke",
        "hard limit",
    ),
    of(
        "arrearage",
        http(
            "400 Bad Request",
            {
                "code": "Arrearage",
                "message": "Access denied, please make sure your account is in good standing.",
                "request_id": "r",
            },
        ),
        "broke",
        "good standing",
    ),
    of(
        "free-tier-only",
        error("403 Forbidden", "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted."),
        "broke",
        "free tier",
    ),
    of(
        "free-quota",
        http(
            "429 Too Many Requests", {"code": "Throttling.AllocationQuota", "message": "Free allocated quota exceeded."}
        ),
        "broke",
        "Free allocated quota",
    ),
    of(
        "overdue-bill",
        http("429 Too Many Requests", {"code": "PrepaidBillOverdue", "message": "The prepaid bill is overdue."}),
        "broke",
        "prepaid bill",
    ),
    of("1113", error("429 Too Many Requests", "1113", "您的账户已欠费，请充值后重试。"), "broke", "请充值"),
    of("1113-in-words-alone", http("429 Too Many Requests", {"msg": "余额不足或无可用资源包"}), "broke", "余额不足"),
    of(
        "exceeded-current-quota",
        http(
            "429 Too Many Requests",
            {
                "error": {
                    "type": "exceeded_current_quota_error",
                    "message": "Your account is suspended, please check your plan and billing details",
                }
            },
        ),
        "broke",
        "suspended",
    ),
    of(
        "account-overdue",
        error(
            "403 Forbidden",
            "AccountOverdueError",
            "The request failed because your account has an overdue balance.",
            type="Forbidden",
        ),
        "broke",
        "overdue balance",
    ),
    of(
        "30001",
        http("403 Forbidden", {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
        "broke",
        "balance is insufficient",
    ),
    of(
        "total-limit-with-200",
        http("200 OK", {"error_code": 19, "error_msg": "Open api total request limit reached"}),
        "broke",
        "total request limit",
    ),
    of(
        "base-resp-1008",
        http("200 OK", {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
        "broke",
        "insufficient balance",
    ),
    of(
        "arrears",
        http("200 OK", {"Response": {"Error": {"Code": "FailedOperation.ServiceStopArrears", "Message": "欠费停服"}}}),
        "broke",
        "欠费停服",
    ),
    of(
        "pack-exhausted",
        http(
            "200 OK",
            {
                "Response": {
                    "Error": {"Code": "FailedOperation.FreeResourcePackExhausted", "Message": "免费资源包余量已用尽"}
                }
            },
        ),
        "broke",
        "余量已用尽",
    ),
    of(
        "user-quota",
        error("403 Forbidden", "insufficient_user_quota", "用户额度不足, 剩余额度: 0"),
        "broke",
        "额度不足",
    ),
    of(
        "spending-limit",
        http("403 Forbidden", {"error": "Your team has reached its monthly spending limit"}),
        "broke",
        "spending limit",
    ),
    streams("no-money-in-a-stream", stream(events({"error": {"code": "1113", "message": "欠费"}})), "broke", "欠费"),
)

TOO_FAST = (
    of("429", http("429 Too Many Requests", b""), "throttled", "Too Many Requests"),
    of(
        "429-retry-after",
        error("429 Too Many Requests", None, "slow", {"Retry-After": "7"}),
        "throttled",
        "slow",
        wait=7,
    ),
    of(
        "429-says-when",
        error(
            "429 Too Many Requests",
            "rate_limit_exceeded",
            "Rate limit reached. Please try again in 6m0s. Add a payment method in your billing settings.",
        ),
        "throttled",
        "Rate limit",
        wait=360,
    ),
    of(
        "429-says-when-in-ms",
        error("429 Too Many Requests", None, "Please try again in 20ms."),
        "throttled",
        "20ms",
        wait=0.02,
    ),
    of(
        "429-says-when-in-words",
        error(
            "429 Too Many Requests",
            "rate_limit_reached_error",
            "request reached max rpm, please try again after 1 seconds",
        ),
        "throttled",
        "max rpm",
        wait=1,
    ),
    of(
        "retry-delay",
        http(
            "429 Too Many Requests",
            [
                {
                    "error": {
                        "code": 429,
                        "status": "RESOURCE_EXHAUSTED",
                        "message": "You exceeded your current quota, please check your plan and billing details.",
                        "details": [{"retryDelay": "37s"}],
                    }
                }
            ],
        ),
        "throttled",
        "current quota",
        wait=37,
    ),
    of("1302", error("429 Too Many Requests", "1302", "您当前使用该API的并发数过高"), "throttled", "并发数"),
    of(
        "rate-quota",
        http(
            "429 Too Many Requests",
            {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded, please try again later."},
        ),
        "throttled",
        "rate limit",
    ),
    of(
        "a-minutes-tokens",
        error(
            "429 Too Many Requests",
            "insufficient_quota",
            "You exceeded your current quota, please "
            "check your plan. For details, see: https://h.invalid/error-code#token-limit",
        ),
        "throttled",
        "token-limit",
    ),
    of(
        "allocated-quota",
        http(
            "429 Too Many Requests",
            {
                "code": "Throttling.AllocationQuota",
                "message": "Allocated quota exceeded, please increase your quota limit.",
            },
        ),
        "throttled",
        "Allocated quota",
    ),
    of(
        "rpm-of-the-endpoint",
        error("429 Too Many Requests", "RateLimitExceeded.EndpointRPMExceeded", "RPM limit", type="TooManyRequests"),
        "throttled",
        "RPM limit",
    ),
    of(
        "tpm-without-a-code",
        http(
            "429 Too Many Requests",
            {"message": "Request was rejected due to rate limiting. Details:TPM limit reached.", "data": None},
        ),
        "throttled",
        "TPM limit",
    ),
    of("503-retry-after", http("503 Busy", b"busy", {"Retry-After": "2"}), "throttled", "busy", wait=2),
    of(
        "529",
        http("529 Overloaded", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        "throttled",
        "Overloaded",
    ),
    streams(
        "too-fast-in-a-stream",
        stream(events({"error": {"code": "rate_limit_exceeded", "message": "slow"}})),
        "throttled",
        "slow",
    ),
)

REFUSALS = (
    of("500", http("500 Oops", b"<html>\n oops </html>"), "error", "500: <html> oops"),
    of("503", http("503 Busy", b""), "error", "503: Busy"),
    of("408", http("408 Late", b""), "error", "408"),
    of("401", error("401 Unauthorized", "invalid_api_key", "no such key"), "denied", "no such key"),
    of("403-flagged", error("403 Forbidden", None, "your input was flagged"), "denied", "flagged"),
    of("404", http("404 Not Found", {"detail": "no such model"}), "denied", "404: no such model"),
    of("404-page", http("404 Not Found", b"<h1>\x1b[31mnginx</h1>"), "denied", "nginx"),
    of("405", http("405 Method Not Allowed", b""), "denied", "Method Not Allowed"),
    of(
        "a-redirect",
        http("308 Moved", b"", {"Location": "http://h.invalid/v2"}),
        "denied",
        "moved to http://h.invalid/v2",
    ),
    of(
        "key-invalid-with-400",
        http(
            "400 Bad Request", [{"error": {"code": 400, "message": "API key not valid.", "status": "API_KEY_INVALID"}}]
        ),
        "denied",
        "API key not valid",
    ),
    of("400", error("400 Bad Request", "context_length_exceeded", "too long"), "refused", "400: too long"),
    of(
        "400-that-repeats-the-query",
        error("400 Bad Request", "1301", "sensitive: 信用卡欠费、余额不足怎么办"),
        "refused",
        "sensitive",
    ),
    of("413", http("413 Too Large", b""), "refused", "413"),
    of(
        "422",
        http("422 Odd", {"detail": [{"loc": ["body", "seed"], "msg": "extra inputs are not permitted"}]}),
        "refused",
        "422: body.seed: extra inputs",
    ),
)

STREAMS = (
    streams("stream", stream(events(*HALF), events(*REST, DONE)), "answered", TEXT),
    of("stream-unasked", stream(events(*HALF, *REST, DONE)), "answered", TEXT),
    of("stream-that-says-json", stream(events(*HALF, *REST, DONE), kind="application/json"), "answered", TEXT),
    streams("json-though-asked-for-a-stream", http("200 OK", good()), "answered", TEXT),
    streams(
        "keep-alive",
        stream(b": keep-alive\n\n", events(": ping", *HALF), b":\n\n", events(*REST, DONE)),
        "answered",
        TEXT,
    ),
    streams(
        "pings",
        stream(events("event: ping", *HALF), b'event: ping\ndata: {"type": "ping"}\n\n', events(*REST, DONE)),
        "answered",
        TEXT,
    ),
    streams(
        "crlf-and-no-space", stream(events(*HALF, *REST, DONE, line="\r\n", blank="\r\n", space="")), "answered", TEXT
    ),
    streams("no-blank-lines", stream(events(*HALF, *REST, DONE, blank="")), "answered", TEXT),
    streams("torn-anywhere", stream(*(bytes([one]) for one in events(*HALF, *REST, DONE))), "answered", TEXT),
    streams(
        "json-over-lines",
        stream(
            events(*HALF),
            b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "'
            + TEXT[2:].encode()
            + b'"}, "finish_reason": "stop"}]}\n\n',
            events(*REST[2:], DONE),
        ),
        "answered",
        TEXT,
    ),
    streams("a-bom-first", stream(b"\xef\xbb\xbf" + events(*HALF, *REST, DONE)), "answered", TEXT),
    streams(
        "usage-in-every-chunk",
        stream(
            events(
                *(one | {"usage": {"prompt_tokens": 7, "completion_tokens": at}} for at, one in enumerate(HALF)),
                *REST,
                DONE,
            )
        ),
        "answered",
        TEXT,
    ),
    streams(
        "usage-in-the-choice",
        stream(
            events(
                *HALF, REST[0], {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}, DONE
            )
        ),
        "answered",
        TEXT,
    ),
    streams("no-usage-in-a-stream", stream(events(*HALF, *REST[:2], DONE)), "answered", TEXT, took=None),
    streams("reasoning", stream(events(chunk({"reasoning_content": "想"}), *HALF, *REST, DONE)), "answered", TEXT),
    streams(
        "parts-in-a-stream",
        stream(events(chunk({"content": [{"type": "text", "text": TEXT}]}), *REST[1:], DONE)),
        "answered",
        TEXT,
    ),
    streams(
        "a-message-at-the-end",
        stream(
            events(
                *HALF,
                *REST[:1],
                {"choices": [{"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}], "usage": USAGE},
                DONE,
            )
        ),
        "answered",
        TEXT,
    ),
    streams(
        "a-second-choice",
        stream(
            events(*HALF, {"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": "stop"}]}, *REST, DONE)
        ),
        "answered",
        TEXT,
    ),
    streams("no-done", stream(events(*HALF, *REST)), "answered", TEXT),
    streams("done-and-then-silence", (stream(events(*HALF, *REST, DONE), ends=False), HANG), "answered", TEXT),
    streams(
        "cut-in-the-usage", stream(events(*HALF, *REST[:2]) + b'data: {"usage": {"prom'), "answered", TEXT, took=None
    ),
    streams("half-a-stream", stream(events(*HALF)), "reset", "before its answer did, after 2 characters"),
    streams("half-a-stream-says-done", stream(events(*HALF, DONE)), "reset", "before its answer did"),
    streams("half-an-event", stream(events(*HALF) + b'data: {"choices": [{"del'), "reset", "before its answer did"),
    streams("half-a-stream-breaks", stream(events(*HALF), ends=False), "reset", ""),
    streams("half-a-stream-is-reset", (stream(events(*HALF), ends=False), RESET), "reset", ""),
    streams("half-a-stream-hangs", (stream(events(*HALF), ends=False), HANG), "timeout", "no answer in 60 s"),
    streams(
        "half-a-stream-and-an-error",
        stream(events(*HALF, {"error": {"message": "worker died", "code": 500}}, DONE)),
        "reset",
        "worker died",
    ),
    streams(
        "an-error-of-a-choice-in-a-stream",
        stream(events(*HALF, {"choices": [{"index": 0, "delta": {}, "error": {"message": "worker died"}}]}, DONE)),
        "reset",
        "worker died",
    ),
    streams("an-error-event", stream(b'event: error\ndata: {"message": "worker died"}\n\n'), "error", "worker died"),
    streams(
        "an-error-in-plain-json",
        http("200 OK", {"error": {"message": "worker died"}}, {"Content-Type": "text/event-stream"}),
        "error",
        "worker died",
    ),
    streams("nothing-but-comments", stream(b": keep-alive\n\n" * 20), "reset", "after 0 characters"),
    streams("nothing-but-done", stream(events(DONE)), "reset", "after 0 characters"),
    streams("an-event-of-nonsense", stream(events(*HALF, "{nonsense", *REST, DONE)), "broken", "{nonsense"),
    streams("an-empty-stream", stream(), "reset", "after 0 characters"),
    streams(
        "stream-options-unknown",
        http("422 Odd", {"detail": [{"loc": ["body", "stream_options"], "msg": "extra inputs are not permitted"}]}),
        "error",
        "stream_options",
    ),
)

ALL = (*BODIES, *NO_MONEY, *TOO_FAST, *REFUSALS, *STREAMS)


class MisbehavingServer:
    """One thread for each connection.

    Attributes:
        bodies: the JSON of every request, by what it was answered with.
        hung: set once a request is left hanging.
    """

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.sends = {one.name: one.sends for one in ALL}
        self.came: Counter[str] = Counter()
        self.bodies: dict[str, list[Any]] = {one.name: [] for one in ALL}
        self.hung, self.ended = threading.Event(), threading.Event()
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()

    def base_url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}/{name}/v1"

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with self.lock:
                self.open.add(connection)
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError, ValueError), connection.makefile("rb") as stream:
            while line := stream.readline():
                name, length = line.split(b" ")[1].split(b"/")[1].decode(), 0
                while (line := stream.readline()).strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line[15:])
                body = json.loads(stream.read(length))
                with self.lock:
                    self.came[name] += 1
                    first = self.came[name] == 1
                    self.bodies[name].append(body)
                if first:
                    return self.misbehave(connection, self.sends[name])
                connection.sendall(http("200 OK", good()))

    def misbehave(self, connection: socket.socket, sends: tuple[Any, ...]) -> None:
        for part in sends:
            if part is HANG:
                self.hung.set()
                self.ended.wait()
            elif part is RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                connection.sendall(part)
        if RESET not in sends:
            connection.shutdown(socket.SHUT_WR)


@contextmanager
def misbehaving() -> Iterator[MisbehavingServer]:
    server = MisbehavingServer()
    thread = threading.Thread(target=server.accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.listening.shutdown(socket.SHUT_RDWR)
        server.listening.close()
        thread.join()
