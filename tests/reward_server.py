"""A server of a reward model on loopback, in each form that there is, which fails when it is told to.

Its reward of a conversation is a hash of the text that it reads; the chat template here is one line a turn.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import exp
from typing import Any

TEMPLATE = "{{ bos_token }}{% for turn in messages %}{{ turn['role'] }}: {{ turn['content'] }}<end>\n{% endfor %}"


def text_of(messages: Any) -> str:
    return "\n".join(f"{turn['role']}: {turn['content']}<end>" for turn in messages)


def reward_of(text: str) -> float:
    """From -10 to 10."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32 * 20 - 10


class RewardServer(ThreadingHTTPServer):
    """Attributes:
    kind: vllm, old-vllm (which knows no use_activation), sglang, sglang-softmax (as it is: its own path tells more),
        softmax-alone, or openrlhf.
    failures: what the next requests get in place of an answer: a status and a body.
    most: characters that it reads.
    requests: path and body of each that was answered or refused.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind = kind
        self.failures: deque[tuple[int, Any]] = deque()
        self.most: int | None = None
        self.token: str | None = None
        self.labels = 1
        self.fixed: Any = None
        self.requests: list[tuple[str, Any]] = []
        self.lock = threading.Lock()
        self.after: int | None = None  # answers until all that follow fail

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        pass

    def reward(self, text: str) -> Any:
        return reward_of(text) if self.fixed is None else self.fixed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RewardServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.server.token is not None and self.headers["Authorization"] != f"Bearer {self.server.token}":
            return self.send(401, {"error": {"message": f"no such key: {self.headers['Authorization']}"}})
        if self.path == "/v1/models" and self.server.kind != "openrlhf":
            return self.send(200, {"object": "list", "data": [{"id": "org/crm", "object": "model"}]})
        return self.send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        server, body = self.server, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((self.path, body))
            failure = server.failures.popleft() if server.failures else None
            if server.after is not None:
                server.after -= 1
                failure = failure or ((500, {"error": {"message": "gone"}}) if server.after < 0 else None)
        if failure is not None:
            return self.send(*failure)
        if server.token is not None and self.headers["Authorization"] != f"Bearer {server.token}":
            return self.send(401, {"error": {"message": f"no such key: {self.headers['Authorization']}"}})
        answer = getattr(self, server.kind.partition("-")[0] if server.kind != "old-vllm" else "vllm")(body)
        if answer is None:
            return self.send(404, {"detail": "Not Found"})
        return self.send(*answer)

    def vllm(self, body: Any) -> tuple[int, Any] | None:
        if self.path != "/classify":
            return None
        text = text_of(body["messages"]) if "messages" in body else body["input"]
        if self.too_long(text):
            words = f"This model's maximum context length is {self.server.most} tokens. However, you requested more."
            return 400, {"object": "error", "message": words, "type": "BadRequestError", "param": None, "code": 400}
        reward = self.server.reward(text)
        if body.get("use_activation") is not False or self.server.kind == "old-vllm":
            reward = 1 / (1 + exp(-reward))
        return 200, self.classified(reward, text)

    def sglang(self, body: Any) -> tuple[int, Any] | None:
        kind = self.server.kind
        if self.path == "/v1/classify":
            text = body["input"]
            if self.too_long(text):
                words = f"The input (9 tokens) is longer than the model's context length ({self.server.most} tokens)."
                return 400, {"object": "error", "message": words, "type": "BadRequest", "code": 400}
            return 200, self.classified(self.server.reward(text) if kind == "sglang" else 1.0, text)
        if self.path == "/classify" and kind == "sglang-softmax":
            return 200, {"embedding": [self.server.reward(body["text"])], "meta_info": {"prompt_tokens": 7}}
        return None

    softmax = sglang

    def openrlhf(self, body: Any) -> tuple[int, Any] | None:
        if self.path != "/get_reward":
            return None
        rewards = [self.server.reward(text) for text in body["query"]]
        return 200, {"rewards": rewards, "scores": rewards, "extra_logs": {"dummy_scores": rewards}}

    def too_long(self, text: str) -> bool:
        return self.server.most is not None and len(text) > self.server.most

    def classified(self, reward: Any, text: str) -> dict[str, Any]:
        probs = [reward] * self.server.labels
        data = [{"index": 0, "label": "LABEL_0", "probs": probs, "num_classes": len(probs)}]
        usage = {"prompt_tokens": len(text), "total_tokens": len(text), "completion_tokens": 0}
        return {"id": "classify-1", "object": "list", "created": 1, "model": "org/crm", "data": data, "usage": usage}

    def send(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, said in {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **(headers or {}),
        }.items():
            self.send_header(name, said)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serve(kind: str = "vllm") -> Iterator[RewardServer]:
    server = RewardServer(kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
