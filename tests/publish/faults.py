"""A local Hub that fails on purpose: at one request of one's choice, in one way of one's choice."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from coig_p.publish.local_hub import Handler, LocalHub
from coig_p.publish.local_hub.server import Answer

# How a request fails. After "done" the server has carried it out, and the client is not told so. After "half" too, and
# its answer breaks off in the middle; "slow" answers a second later; from "stale" on, refs are shown as they were.
KINDS = (
    *("500", "500 done", "429", "403", "cut", "cut done", "time-out", "time-out done", "kill", "kill done"),
    *("html", "html done", "json", "json done"),
    *("half", "slow", "stale"),
)
LAG = 2  # looks at the refs that are old, after "stale"
# A 200 that is not of the Hub: a page, as proxies and logins give it, and JSON of another shape.
_LIES = {"html": (b"<!DOCTYPE html><title>Sign in</title>", "text/html"), "json": (b'{"ok": [1]}', "application/json")}
REPO = "org/name"
_SAID = {
    "500": {"X-Error-Message": "Internal Server Error"},
    "429": {"Retry-After": "1"},
    "403": {"X-Error-Message": "Forbidden"},
    "409": {"X-Error-Message": "Conflict"},
}


@dataclass
class Fault:
    """One request fails: the `at`-th (from 0), or the first of a kind as `what` names it. `hit` says which that was.

    Besides those of KINDS there is 409, and "meanwhile": somebody else acts, then the request is carried out.
    """

    kind: str
    at: int | str
    kill: Callable[[], None] = lambda: None
    meanwhile: Callable[[], None] = lambda: None
    ready: threading.Event = field(default_factory=threading.Event)  # `kill` is known
    hit: str | None = None


class FaultyHub(LocalHub):
    """A LocalHub with a fault to come. Its clients' time-out should be far below 30 seconds."""

    fault: Fault | None = None
    lied: tuple[str, ...] = ()  # what was asked for where a 200 came and nothing was done
    seen = 0
    let_go = threading.Event()

    def server_close(self) -> None:
        self._server.server_close()

    def arm(self, fault: Fault | None) -> None:
        self.fault, self.seen, self.let_go = fault, 0, threading.Event()

    def take(self, request: str) -> Fault | None:
        """The fault that this request is to suffer."""
        with self.lock:
            number, self.seen = self.seen, self.seen + 1
            fault = self.fault
            if fault is None or fault.hit is not None or fault.at not in (number, what(request)):
                return None
            fault.hit = request
            return fault


class StaleHub(FaultyHub):
    """One that shows its refs as they were before the last change, for the first `lag` looks after it."""

    lag = 0
    known: dict[str, str] | None = None
    shown: dict[str, str] | None = None
    looks = 0

    def refs(self, now: dict[str, str]) -> dict[str, str]:
        """What a look sees."""
        with self.lock:
            if self.known != now:
                self.shown, self.known, self.looks = self.known, dict(now), 0
            self.looks += 1
            return self.shown if self.looks <= self.lag and self.shown is not None else dict(now)


class FaultyHandler(Handler):
    hub: FaultyHub

    def respond(self) -> None:
        fault = self.hub.take(f"{self.command} {self.route_path}")
        if fault is None:
            self.answer()
            return
        if fault.kind == "meanwhile":
            fault.meanwhile()
            super().respond()
            return
        if fault.kind in ("slow", "stale"):
            if isinstance(self.hub, StaleHub) and fault.kind == "stale":
                self.hub.lag = LAG
            self.hub.let_go.wait(1 if fault.kind == "slow" else 0)
            self.answer()
            return
        kind, _, done = fault.kind.partition(" ")
        if kind == "cut" and not done:
            self.rfile.read(self.left // 2)  # in the middle of what is sent
            self.left = 0
        answer = self.act() if done or kind == "half" else Answer(500)
        if kind in _LIES:
            content, media = _LIES[kind]
            self.hub.lied += () if done else (self.path,)
            self.send(Answer(200, content, {"Content-Type": media}))
        elif kind.isdigit():
            self.send(Answer(int(kind), b"{}", _SAID[kind]))
        elif kind == "half" and answer.content and self.command != "HEAD":
            content = answer.content if isinstance(answer.content, bytes) else answer.content.read_bytes()
            self.send(answer, answered=False)
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            if kind == "kill":
                fault.ready.wait()
                fault.kill()
            self.send(answer, answered=False)
            if kind == "time-out":
                self.hub.let_go.wait(30)
            self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self) -> None:
        """As the Hub does, from what a stale one still shows."""
        hub = self.hub
        if not (isinstance(hub, StaleHub) and self.route_path.endswith("/refs") and REPO in hub.repositories):
            super().respond()
            return
        repository = hub.repositories[REPO]
        with repository.lock:
            now = repository.refs
            repository.refs = hub.refs(now)
            try:
                answer = self.act()
            finally:
                repository.refs = now
        self.send(answer)


def what(hit: str) -> str:
    """A request's kind: its method, and its path without what varies."""
    method, path = hit.split(" ", 1)
    path = re.sub(rf"/(?:api/)?(?:datasets/)?{REPO}", "", path)
    for pattern, name in (
        (r"[0-9a-f]{40,64}", "*"),
        (r"(tag|revision|tree|paths-info)/[^/]+", r"\1/*"),
        (r"resolve/.*", "resolve/*"),
    ):
        path = re.sub(pattern, name, path)
    return f"{method} {path or '/'}"
