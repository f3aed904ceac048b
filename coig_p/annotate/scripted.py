"""A local OpenAI-compatible server whose models and judges are scripts, to try a run without any model.

Nothing here is a language model, and its scores say nothing about anything. A scripted model writes
between one and five numbered steps, how many being drawn from the hash of its name and the query; a
scripted judge counts the steps of a response and adds a little noise of its own; of two responses it
prefers the one with more sentences, and where they are nearly alike the first. The same request always has
the same answer.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import re
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coig_p.annotate.asking.costs import max_tokens
from coig_p.annotate.tap.scripted import tap_answer
from coig_p.errors import UsageError

_RESPONSE = re.compile(r"<<<回答开始 (\w+)>>>\n(.*)\n<<<回答结束 \1>>>", re.DOTALL)
_TWO = re.compile(
    r"<<<回答A开始 (\w+)>>>\n(.*)\n<<<回答A结束 \1>>>\s*"
    r"<<<回答B开始 \1>>>\n(.*)\n<<<回答B结束 \1>>>",
    re.DOTALL,
)
_SCORED = re.compile(r"^\{('[^{}\n]+': 分数(?:, '[^{}\n]+': 分数)*)\}\s*\Z", re.MULTILINE)
_RATED = re.compile(r"^评分：\[\[分数\]\]\s*\Z", re.MULTILINE)
_QUERY = re.compile(r"<<<问题开始 (\w+)>>>\n(.*)\n<<<问题结束 \1>>>", re.DOTALL)
_HARMFUL = ("炸药", "毒品", "盗号")
_STEPS = ("先弄清题意", "列出已知的条件", "逐一分析每个条件", "由此得出结论", "最后检查一遍，并说明理由")

_BUCKETS = 16  # numbers of a scripted vector

Answer = Callable[[Mapping[str, Any]], str]
"""From the JSON of a chat completion request to the text of its answer."""

Embed = Callable[[Mapping[str, Any]], dict[str, Any]]
"""From the JSON of a request for embeddings to that of its answer."""


def scripted_answer(request: Mapping[str, Any]) -> str:
    """What a scripted model says: a response, a judgement where the prompt has the marks of one, or what TaP asks."""
    found = tap_answer(request)
    if found is not None:
        return found
    model = str(request["model"])
    said = [str(message["content"]) for message in request["messages"] if message["role"] == "user"]
    prompt = next((text for text in said if _QUERY.search(text)), said[-1])  # a judge may be asked again behind it
    two = _TWO.search(prompt)
    if two is not None:
        return _comparison(model, two[2], two[3])
    response, query = _RESPONSE.search(prompt), _QUERY.search(prompt)
    if response is not None and (_SCORED.search(prompt) or _RATED.search(prompt)):
        return _scores(model, prompt, response[2])
    if response is not None:
        return _judgement(model, response[2])
    if query is not None:
        return (
            "问题清楚。\n总体评分：[2]" if any(word in query[2] for word in _HARMFUL) else "问题清楚。\n总体评分：[8]"
        )
    return _response(model, prompt)


def _response(model: str, query: str) -> str:
    steps = 1 + _draw(model, query) % len(_STEPS)
    lines = [f"{number}. {_STEPS[number - 1]}。" for number in range(1, steps + 1)]
    return f"关于“{query.strip()[:20]}”，{model} 这样回答：\n" + "\n".join(lines)


def _comparison(judge: str, first: str, second: str) -> str:
    sentences = [len(re.findall(r"[。；！？\n]", text)) for text in (first, second)]
    ahead = 2 * (sentences[0] - sentences[1]) + _draw(judge, first, second) % 4
    verdict = "[[A]]" if ahead > 0 else "[[B]]" if ahead < 0 else "[[C]]"
    return f"分析：回答 A 有 {sentences[0]} 句，回答 B 有 {sentences[1]} 句。\n{verdict}"


def _judgement(judge: str, response: str) -> str:
    steps = len(re.findall(r"^\d\. ", response, re.MULTILINE))
    score = min(10, max(1, 2 * steps + _draw(judge, response) % 3 - 1))
    band = f"[{max(1, score - 1)}-{min(10, score + 1)}]"
    return f"分析：回答有 {steps} 个步骤，属于{band}一档。\n总体评分：[{score}]"


def _scores(judge: str, prompt: str, response: str) -> str:
    """What a judge of AlignBench or MT-Bench-zh says: scores in the form that the prompt ends with."""
    steps = len(re.findall(r"^\d+\. ", response, re.MULTILINE))
    form = _SCORED.search(prompt)
    names = re.findall(r"'([^']+)'", form[1]) if form is not None else ["评分"]
    told = {name: max(1, min(10, 2 + steps + _draw(judge, name, response) % 3)) for name in names}
    if form is None:
        return f"共 {steps} 步。\n评分：[[{told['评分']}]]"
    pairs = ", ".join(f"'{name}': {score}" for name, score in told.items())
    return f"共 {steps} 步。\n{{{pairs}}}"


def _draw(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).digest()[:4], "big")


class ScriptedServer:
    """Serves while its `with` block runs, on a free port of this machine.

    Args:
        port: another than a free one.
        embed: answers requests for embeddings; default: `scripted_vectors`.

    Attributes:
        seen: how often each request was asked, by the SHA-256 of its body.
        answered: how many answers left.
    """

    def __init__(
        self, answer: Answer = scripted_answer, *, latency: float = 0.0, port: int = 0, embed: Embed | None = None
    ) -> None:
        self.answer, self.latency, self.embed = answer, latency, embed or scripted_vectors
        self._wanted = port
        self.seen: Counter[bytes] = Counter()
        self.answered = 0
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scripted", daemon=True)
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def base_url(self) -> str:
        """What an endpoint's base_url should be."""
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        self._ready.wait()
        if not self._port:
            what = f"port {self._wanted} is taken" if self._wanted else "no port is free"
            raise UsageError(f"{what} on this machine")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError:  # the port is taken: who waits for it says so
            pass
        finally:
            self._loop.close()
            self._ready.set()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self._wanted, backlog=1024)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"^content-length:\s*(\d+)", head, re.IGNORECASE | re.MULTILINE)
                body = await reader.readexactly(int(length[1]) if length else 0)
                status, value = await self._reply(head.split(" ", 2)[1], body)
                content = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
                writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n".encode())
                writer.write(f"Content-Length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _reply(self, path: str, body: bytes) -> tuple[str, dict[str, Any]]:
        if path.endswith("/v1/models"):
            return "200 OK", {"object": "list", "data": [{"id": "scripted", "object": "model"}]}
        if path.endswith("/embeddings"):
            return await self._embedded(body)
        if not path.endswith("/chat/completions"):
            here = "only /v1/chat/completions, /v1/embeddings and /v1/models are here"
            return "404 Not Found", {"error": {"message": f"{path}: {here}"}}
        try:
            request = json.loads(body)
            self.seen[hashlib.sha256(body).digest()] += 1
            text = self.answer(request)
        except (ValueError, LookupError, TypeError) as error:
            return "400 Bad Request", {"error": {"message": f"not a chat completion request: {error!r}"}}
        await asyncio.sleep(self.latency)
        self.answered += 1
        prompt = sum(len(str(message["content"])) for message in request["messages"])
        took = min(len(text), max_tokens(request) or len(text))
        return "200 OK", {
            "id": f"scripted-{self.answered}",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": "stop",
                    "logprobs": None,
                }
            ],
            "usage": {"prompt_tokens": prompt, "completion_tokens": took, "total_tokens": prompt + took},
        }

    async def _embedded(self, body: bytes) -> tuple[str, dict[str, Any]]:
        try:
            request = json.loads(body)
            self.seen[hashlib.sha256(body).digest()] += 1
            value = self.embed(request)
        except (ValueError, LookupError, TypeError) as error:
            return "400 Bad Request", {"error": {"message": f"not a request for embeddings: {error!r}"}}
        await asyncio.sleep(self.latency)
        self.answered += 1
        return "200 OK", value


def scripted_vectors(request: Mapping[str, Any]) -> dict[str, Any]:
    """An answer to a request for embeddings: how many characters of a text fall into each of a few buckets."""
    data = []
    for at, text in enumerate(request["input"]):
        counts = Counter(ord(character) % _BUCKETS for character in text)
        vector: Any = [counts[bucket] / max(1, len(text)) for bucket in range(request.get("dimensions", _BUCKETS))]
        if request.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": at, "embedding": vector})
    took = sum(map(len, request["input"]))
    usage = {"prompt_tokens": took, "total_tokens": took}
    return {"object": "list", "model": request["model"], "data": data[::-1], "usage": usage}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C: `python -m coig_p.annotate.scripted --port 8000`."""
    parser = argparse.ArgumentParser(
        prog="python -m coig_p.annotate.scripted", description=str(__doc__).splitlines()[0]
    )
    parser.add_argument("--port", type=int, default=8000, help="of this machine, 127.0.0.1; default: 8000")
    given = parser.parse_args(arguments)
    try:
        with ScriptedServer(port=given.port) as server:
            print(f"scripted models at {server.base_url}; Ctrl-C ends them", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
