"""An OpenAI-compatible server of the standard library, apart from the package's, that fails on purpose.

Faults are drawn from the hash of a request and of how often it came, so that they do not depend on
time; what hangs does so until the server ends. `paid` counts whole answers, `duplicates` requests that
came again after a usable answer. `hold` keeps every answer back until `release`; so does the request
after the first `after` ones, and then `holding` is set.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("429", "500", "reset", "hang", "broken", "empty", "refusal")


class FaultyServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, faults: Mapping[str, float]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults = faults
        self.hung = 0
        self.ended, self.released = threading.Event(), threading.Event()
        self.released.set()
        self.holding = threading.Event()
        self.after: int | None = None
        self.lock = threading.Lock()
        self.came: Counter[bytes] = Counter()
        self.good: set[bytes] = set()
        self.duplicates = 0
        self.received: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.down: set[str] = set()
        self.closed: set[str] = set()  # models that no key opens
        self.until_judged: set[str] = set()  # models that answer once a judgement was asked for
        self.judged = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def hold(self) -> None:
        self.released.clear()

    def release(self) -> None:
        self.released.set()

    def handle_error(self, *_: Any) -> None:
        pass

    def fault(self, body: bytes, times: int) -> str | None:
        draw = int.from_bytes(hashlib.sha256(body + str(times).encode()).digest()[:4], "big") / 2**32
        for name in FAULTS:
            draw -= self.faults.get(name, 0.0)
            if draw < 0:
                return name
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body)
        model, prompt = request["model"], request["messages"][-1]["content"]
        text = answer(model, prompt)
        prompt_tokens = len(prompt)
        server = self.server
        with server.lock:
            server.came[body] += 1
            times = server.came[body]
            server.received[model] += 1
            server.duplicates += body in server.good
            fault = "500" if model in server.down else server.fault(body, times)
            server.failed[fault or "none"] += 1
            server.hung += fault == "hang"
            if server.after is not None and sum(server.received.values()) > server.after:
                server.after = None
                server.hold()
                server.holding.set()
        if model in server.closed:
            return self.send(401, {"error": {"message": f"no such key: {self.headers['Authorization']}"}})
        if fault == "429":
            return self.send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.05"})
        if fault == "500":
            return self.send(500, {"error": {"message": "our fault"}})
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return self.connection.close()
        if fault == "hang":
            server.ended.wait()
            self.close_connection = True
            return None
        if fault == "broken":
            return self.send_bytes(200, b'{"choices": [{"message": {"content": "[8', {})
        if "<<<回答开始" in prompt:
            server.judged.set()
        elif model in server.until_judged:
            server.judged.wait(60)
        server.released.wait()
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if fault == "empty":
            message["content"] = " \n"
        if fault == "refusal":
            message = {"role": "assistant", "content": None, "refusal": "我不能回答"}
        with server.lock:
            server.paid[model] += 1
            if fault is None:
                server.good.add(body)
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": min(len(text), request.get("max_tokens", 10**6))}
        self.send(200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    def send(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self.send_bytes(status, json.dumps(value).encode(), headers or {})

    def send_bytes(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def answer(model: str, prompt: str) -> str:
    """A response that names its author, or a score made from the hash of the prompt and the judge."""
    if "总体评分：[分数]" not in prompt:
        return f"{model} 的回答：{prompt[:30]}"
    draw = hashlib.sha256((model + prompt.split("<<<回答开始")[-1][20:]).encode()).digest()[0]
    return (
        f"分析：尚可。\n总体评分：[{6 + draw % 5}]" if "<<<回答开始" not in prompt else f"总体评分：[{1 + draw % 10}]"
    )


@contextmanager
def serve(faults: Mapping[str, float] | None = None) -> Iterator[FaultyServer]:
    server = FaultyServer(faults or {})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.release()
        server.shutdown()
        server.server_close()
        thread.join()
