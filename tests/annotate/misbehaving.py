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
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from refusing import (
    DONE,
    HALF,
    NO_MONEY,
    REFUSALS,
    REST,
    TEXT,
    TOO_FAST,
    USAGE,
    chunk,
    content,
    events,
    good,
    http,
    of,
    stream,
    streams,
)

HANG, RESET = object(), object()


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
