"""OpenAI's batch API on loopback, for batches that end when a test says so, and servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import BodyPartReader, web

from coig_p.annotate.scripted import scripted_answer

Answer = Callable[[Mapping[str, Any]], str | None]


class BatchServer:
    """Serves while its `with` block runs.

    Attributes:
        answer: what it says to a request; None: an error for that line.
        holds: while set, no batch ends.
        faults: what it does wrong, and how often: "create-500", "create-reset" (made, and not said), "create-400",
            "upload-500", "list-404", "no-metadata", "invalid-file", "expires" (half of the lines are answered),
            "no-line" (one has no line), "look-500".
        asked: how often each request was in a batch that was made, by its body.
        made: batches, by id.
    """

    def __init__(self, faults: Mapping[str, int] | None = None, answer: Answer = scripted_answer) -> None:
        self.faults, self.answer = Counter(faults), answer
        self.holds = False
        self.asked: Counter[str] = Counter()
        self.files: dict[str, tuple[str, bytes]] = {}
        self.made: dict[str, dict[str, Any]] = {}
        self.headers: list[Mapping[str, str]] = []
        self.base_url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> BatchServer:
        self._thread.start()
        assert self._ready.wait(300)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        app = web.Application(client_max_size=2**28)
        app.add_routes(
            [
                web.post("/v1/files", self._upload),
                web.get("/v1/files/{id}", self._file),
                web.get("/v1/files/{id}/content", self._content),
                web.post("/v1/batches", self._create),
                web.get("/v1/batches", self._list),
                web.get("/v1/batches/{id}", self._look),
                web.post("/v1/chat/completions", self._online),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def _fault(self, name: str) -> bool:
        left = self.faults[name] > 0
        self.faults[name] -= left
        return left

    async def _online(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked[json.dumps(body, sort_keys=True)] += 1
        return web.json_response(self._completion(body))

    async def _upload(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers)
        if self._fault("upload-500"):
            return web.json_response({"error": {"message": "try later"}}, status=500)
        name, content, purpose = "", b"", ""
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.name == "purpose":
                purpose = await part.text()
            else:
                name, content = str(part.filename), bytes(await part.read())
        assert purpose == "batch"
        id_ = f"file-{len(self.files)}"
        self.files[id_] = (name, content)
        return web.json_response({"id": id_, "filename": name, "bytes": len(content), "purpose": purpose})

    async def _file(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        if id_ not in self.files:
            return web.json_response({"error": {"message": "no such file"}}, status=404)
        return web.json_response({"id": id_, "filename": self.files[id_][0]})

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]][1])

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if self._fault("create-400"):
            return web.json_response({"error": {"message": "no batches for this model"}}, status=400)
        given = await request.json()
        assert given["endpoint"] == "/v1/chat/completions"
        assert given["completion_window"] == "24h"
        id_ = f"batch_{len(self.made)}"
        batch = {"id": id_, "status": "in_progress", "input_file_id": given["input_file_id"], "created_at": 2**31}
        if not self.faults["no-metadata"]:
            batch["metadata"] = given["metadata"]
        self.made[id_] = batch
        for line in self.files[given["input_file_id"]][1].splitlines():
            self.asked[json.dumps(json.loads(line)["body"], sort_keys=True)] += 1
        if self._fault("create-500"):
            return web.json_response({"error": {"message": "oops"}}, status=500)
        if self._fault("create-reset"):
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(batch)

    async def _list(self, request: web.Request) -> web.Response:
        if self.faults["list-404"]:
            return web.json_response({"error": {"message": "no lists here"}}, status=404)
        ids = list(reversed(self.made))
        after = request.query.get("after")
        start = ids.index(after) + 1 if after else 0
        some = ids[start : start + 2]  # pages are small, whatever is asked for
        data = [self.made[id_] for id_ in some]
        return web.json_response({"object": "list", "data": data, "has_more": start + 2 < len(ids)})

    async def _look(self, request: web.Request) -> web.Response:
        if self._fault("look-500"):
            return web.json_response({"error": {"message": "busy"}}, status=500)
        batch = self.made[request.match_info["id"]]
        if not self.holds and batch["status"] == "in_progress":
            self._end(batch)
        return web.json_response(batch)

    def _end(self, batch: dict[str, Any]) -> None:
        if self._fault("invalid-file"):
            batch |= {"status": "failed", "errors": {"data": [{"code": "bad", "message": "model is not for batches"}]}}
            return
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]][1].splitlines()]
        batch["status"] = "completed"
        if self._fault("expires"):
            batch["status"], lines = "expired", lines[: len(lines) // 2]
        if self._fault("no-line"):
            lines = lines[1:]
        good, bad = [], []
        for line in reversed(lines):
            text = self.answer(line["body"])
            about = {"id": "r", "custom_id": line["custom_id"]}
            if text is None:
                bad.append({**about, "response": None, "error": {"code": "server_error", "message": "no answer"}})
            else:
                response = {"status_code": 200, "request_id": "r", "body": self._completion(line["body"], text)}
                good.append({**about, "response": response, "error": None})
        for kind, found in (("output_file_id", good), ("error_file_id", bad)):
            if found:
                batch[kind] = f"file-{len(self.files)}"
                self.files[batch[kind]] = ("out", "".join(json.dumps(one) + "\n" for one in found).encode())

    def _completion(self, body: Mapping[str, Any], text: str | None = None) -> dict[str, Any]:
        said = str(self.answer(body)) if text is None else text
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        return {"id": "x", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}
