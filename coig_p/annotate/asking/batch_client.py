"""OpenAI's batch API over HTTP: files up and down, batches made, looked up and looked for."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from coig_p.annotate.asking.client import Client
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.limits import backoff
from coig_p.annotate.asking.refusals import read_trouble
from coig_p.core.retry import retry_after

if TYPE_CHECKING:
    from aiohttp import ClientResponse

OURS = "coig_p"
"""The key of a batch's metadata under which its name stands."""

_SLOWEST = 100_000  # bytes a second of a file that is sent or fetched
_PAGE = 100
_TRY_AGAIN = (408, 409, 425, 429)

Form = Callable[[], Any]
"""Makes a call's content anew for each attempt: of what was sent once nothing is left."""


class BatchTrouble(Exception):
    """A call came to nothing; the message says why.

    Attributes:
        done: whether the server may have done what it was asked all the same.
    """

    def __init__(self, words: str, *, done: bool) -> None:
        super().__init__(words)
        self.done = done


class BatchClient(Client):
    """The batch API of one endpoint, beside its base_url, with the same headers, keys and proxy."""

    def __init__(self, endpoint: Endpoint, stopped: Callable[[], bool] = lambda: False) -> None:
        super().__init__(endpoint)
        self._stopped, self._rng = stopped, random.Random()

    def masked(self, text: str) -> str:
        """A text without the endpoint's keys."""
        return self._masked(text)

    async def upload(self, path: Path, name: str) -> str:
        """Send a file of requests; the server's id of it."""
        import aiohttp

        def form() -> Any:
            writer = aiohttp.FormData()
            writer.add_field("purpose", "batch")
            writer.add_field("file", path.open("rb"), filename=f"{name}.jsonl", content_type="application/octet-stream")
            return writer()

        seconds = path.stat().st_size / _SLOWEST
        return _id(await self._call("POST", "files", form=form, seconds=seconds, again=True))

    async def create(self, file: str, name: str) -> str:
        """Have the requests of a file answered; the batch's id. Tried once: a second call could be a second batch."""
        content = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        value = await self._call("POST", "batches", value={**content, "metadata": {OURS: name}}, again=False)
        try:
            return _id(value)
        except BatchTrouble as trouble:  # something was made, and nobody knows what it is called
            raise BatchTrouble(str(trouble), done=True) from None

    async def look(self, batch: str) -> dict[str, Any]:
        """What the server says of a batch."""
        return await self._call("GET", f"batches/{batch}", again=True)

    async def find(self, name: str, since: float) -> str | None:
        """The id of the batch that has a name of ours, made at a Unix time or later; None where there is none.

        A server that keeps no metadata knows it by the name of its file.
        """
        async for batch in self._batches():
            if isinstance(batch.get("created_at"), int | float) and batch["created_at"] < since:
                continue
            metadata = batch.get("metadata")
            if isinstance(metadata, dict) and OURS in metadata:
                if metadata[OURS] == name:
                    return _id(batch)
            elif batch.get("input_file_id") and await self._file_name(batch["input_file_id"]) == f"{name}.jsonl":
                return _id(batch)
        return None

    async def fetch(self, file: str, stream: IO[bytes]) -> None:
        """Write what is in a file of the server's, in place of what the stream had."""

        async def keep(response: ClientResponse) -> None:
            stream.seek(0)
            stream.truncate()
            async for part in response.content.iter_any():
                stream.write(part)

        await self._call("GET", f"files/{file}/content", again=True, keep=keep, seconds=3600.0)

    async def _batches(self) -> AsyncIterator[dict[str, Any]]:
        after: str | None = None
        while True:
            query = {"limit": str(_PAGE)} | ({} if after is None else {"after": after})
            page = await self._call("GET", "batches", query=query, again=True)
            found = page.get("data")
            if not isinstance(found, list):
                raise BatchTrouble("its list of batches has no data", done=False)
            for batch in found:
                if isinstance(batch, dict):
                    yield batch
            last = _id(found[-1]) if found and isinstance(found[-1], dict) else None
            if not page.get("has_more") or last is None or last == after:
                return
            after = last

    async def _file_name(self, file: str) -> Any:
        try:
            return (await self._call("GET", f"files/{file}", again=True)).get("filename")
        except BatchTrouble as trouble:
            if trouble.done:
                raise
            return None  # deleted, or not to be seen: then it is none of ours, which are minutes old

    async def _call(
        self,
        method: str,
        path: str,
        *,
        again: bool,
        value: Mapping[str, Any] | None = None,
        form: Form | None = None,
        query: Mapping[str, str] | None = None,
        keep: Callable[[ClientResponse], Any] | None = None,
        seconds: float = 0.0,
    ) -> dict[str, Any]:
        """Call the server until it answers; its JSON.

        Args:
            again: whether the call may be made more than once.
            keep: takes an answer that is not JSON.
            seconds: more than the endpoint's own that it may take.
        """
        address = self._address.with_path(f"{self._address.path.removesuffix('/chat/completions')}/{path}")
        address = address.with_query({**self._address.query, **(query or {})})
        failures = 0
        while True:
            content: Any = None if value is None else json.dumps(value).encode()
            headers = {}
            if form is not None:
                content = form()
                headers["Content-Type"] = content.headers["Content-Type"]  # with the mark between its parts
            trouble, wait = None, 0.0
            try:
                async with (
                    asyncio.timeout(self.endpoint.timeout + seconds),
                    self._session.request(
                        method, address, data=content, headers=headers, allow_redirects=False, proxy=self._proxy
                    ) as response,
                ):
                    if response.status == 200 and keep is not None:
                        await keep(response)
                        return {}
                    body = await response.read()
                    if 200 <= response.status < 300:
                        return _object(body)
                    words = read_trouble(body.decode("utf-8", "replace")).words or response.reason
                    surely_not = response.status < 500 and response.status not in (408, 409, 425)
                    trouble = BatchTrouble(self._shown(f"{response.status}: {words}"), done=not surely_not)
                    if 300 <= response.status < 500 and response.status not in _TRY_AGAIN:
                        raise trouble
                    wait = retry_after(response.headers.items()) or 0.0
            except self._never_sent as error:
                trouble = BatchTrouble(self._shown(f"{type(error).__name__}: {error}"), done=False)
            except TimeoutError:
                trouble = BatchTrouble(f"no answer in {self.endpoint.timeout + seconds:g} s", done=True)
            except BatchTrouble:
                raise
            except Exception as error:  # the connection's, or an answer that is not JSON
                trouble = BatchTrouble(self._shown(f"{type(error).__name__}: {error}"), done=True)
            failures += 1
            if failures >= self.endpoint.attempts or self._stopped() or not (again or not trouble.done):
                raise trouble
            await asyncio.sleep(max(wait, backoff(failures, self._rng)))


def _object(body: bytes) -> dict[str, Any]:
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError("the answer is not a JSON object")
    return value


def _id(value: Mapping[str, Any]) -> str:
    found = value.get("id")
    if not isinstance(found, str) or not found or not found.isprintable() or "/" in found or "?" in found:
        raise BatchTrouble(f"no id in the server's answer: {str(value)[:200]}", done=False)
    return found
