"""A server on loopback that judges as it is told: an OpenAI-compatible one of the standard library.

What a judge says is a text, or a `Said` with how it ended; a status other than 200 goes out with `text` as its words.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

_SHOWN = re.compile(r"<<<(问题|回答A|回答B|回答)开始 (\w+)>>>\n(.*?)\n<<<\1结束 \2>>>", re.DOTALL)


class Said(NamedTuple):
    text: str | None
    finish: str = "stop"
    status: int = 200
    refusal: str | None = None
    code: str | None = None


Judge = Callable[[dict[str, str], int], "str | Said"]
"""From what is shown (query, first, second, response) and how many turns came before, to what is said."""

_NAMES = {"问题": "query", "回答A": "first", "回答B": "second", "回答": "response"}


def shown(prompt: str) -> dict[str, str]:
    """What stands between the marks of a prompt."""
    return {_NAMES[name]: text for name, _, text in _SHOWN.findall(prompt)}


class JudgeServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, judge: Judge) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.judge = judge
        self.lock = threading.Lock()
        self.seen: Counter[str] = Counter()  # whole requests
        self.prompts: list[dict[str, str]] = []
        self.after: int | None = None  # requests after which every answer is held back
        self.holding, self.released = threading.Event(), threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: Any) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JudgeServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        request, server = json.loads(body), self.server
        users = [message["content"] for message in request["messages"] if message["role"] == "user"]
        with server.lock:
            server.seen[body] += 1
            server.prompts.append(shown(users[0]))
            held = server.after is not None and server.seen.total() > server.after
        if held:
            server.holding.set()
            server.released.wait()
        said = server.judge(shown(users[0]), len(users) - 1)
        said = Said(said) if isinstance(said, str) else said
        if said.status != 200:
            self.send(said.status, {"error": {"message": said.text, "code": said.code}})
            return
        message = {"role": "assistant", "content": said.text}
        message |= {} if said.refusal is None else {"refusal": said.refusal}
        usage = {"prompt_tokens": len(users[0]), "completion_tokens": len(said.text or "")}
        self.send(200, {"choices": [{"message": message, "finish_reason": said.finish}], "usage": usage})

    def send(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serve(judge: Judge) -> Iterator[JudgeServer]:
    server = JudgeServer(judge)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def always(verdict: str) -> Judge:
    """A judge that says the same whatever it is shown."""
    return lambda shown, turns: f"分析：尚可。\n{verdict}"


def longer(shown: dict[str, str], turns: int) -> str:
    """A judge to whom the longer response is the better one."""
    first, second = len(shown["first"]), len(shown["second"])
    return f"比长短。\n{'[[C]]' if first == second else '[[A]]' if first > second else '[[B]]'}"
