"""A local Hub that fails on purpose: at one request of one's choice, in one way of one's choice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from coig_p.publish.local_hub import Handler, LocalHub
from coig_p.publish.local_hub.server import Answer

# How a request fails. After "done" the server has carried it out, and the client is not told so.
KINDS = ("500", "500 done", "429", "403", "cut", "cut done", "time-out", "time-out done", "kill", "kill done")
RETRY_AFTER = 1  # seconds


@dataclass
class Fault:
    """The `at`-th request (from 0) fails; `hit` says which that was."""

    kind: str
    at: int
    kill: Callable[[], None] = lambda: None
    ready: threading.Event = field(default_factory=threading.Event)  # `kill` is known
    hit: str | None = None


class FaultyHub(LocalHub):
    """A LocalHub with a fault to come. Its clients' time-out should be far below `HANG`."""

    fault: Fault | None = None
    seen = 0
    let_go = threading.Event()

    def server_close(self) -> None:
        self._server.server_close()

    def arm(self, fault: Fault | None) -> None:
        self.fault, self.seen, self.let_go = fault, 0, threading.Event()

    def take(self, what: str) -> Fault | None:
        """The fault that this request is to suffer."""
        with self.lock:
            number, self.seen = self.seen, self.seen + 1
            if self.fault is None or number != self.fault.at:
                return None
            self.fault.hit = what
            return self.fault


class FaultyHandler(Handler):
    hub: FaultyHub

    def respond(self) -> None:
        fault = self.hub.take(f"{self.command} {self.route_path}")
        if fault is None:
            super().respond()
            return
        kind, _, done = fault.kind.partition(" ")
        if kind == "cut" and not done:
            self.rfile.read(self.left // 2)  # in the middle of what is sent
            self.left = 0
        answer = self.act() if done else Answer(500)
        if kind == "500":
            self.send(Answer(500, b"{}", {"X-Error-Message": "Internal Server Error"}))
        elif kind == "429":
            self.send(Answer(429, b"{}", {"Retry-After": str(RETRY_AFTER)}))
        elif kind == "403":
            self.send(Answer(403, b"{}", {"X-Error-Message": "Forbidden"}))
        else:
            if kind == "kill":
                fault.ready.wait()
                fault.kill()
            self.send(answer, answered=False)
            if kind == "time-out":
                self.hub.let_go.wait(30)
            self.connection.shutdown(socket.SHUT_RDWR)
