"""Requests to endpoints that answer batches (OpenAI's batch API), over any number of runs.

A batch is in the ledger, under a name of ours, before the server gets it, and its requests are out from
then on. The name goes with it, so that a run that was killed between sending it and writing down what
the server called it finds it there again, and sends it no second time. Its answers are taken in once it
has ended, each in the way of a batch file that people read in by hand; what it brought no answer for has
failed, and is asked again by the next run.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coig_p.annotate.asking.asker import Asker
from coig_p.annotate.asking.batch import BatchFile, read_batches, with_due
from coig_p.annotate.asking.batch_client import BatchClient, BatchTrouble
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.ledger import Batch, Entered, LedgerWriter
from coig_p.annotate.asking.message import Message, encodable
from coig_p.annotate.asking.request import Outcome, Request

_ENDED = ("completed", "failed", "expired", "cancelled", "canceled")
_LOOKS = 1.0  # seconds between two looks at whether the run was stopped
_CLOCKS_DIFFER = 86_400.0  # seconds by which a server's clock may be behind ours
_SHOWN = 300  # characters of a server's message


@dataclass
class Batches:
    """What endpoints with `batch = true` are asked.

    Attributes:
        asker: of the same run: its budget, what it says, and which endpoints it left.
        read: what an answer to a request says.
        connect: makes what talks to an endpoint.
    """

    ledger: LedgerWriter
    asker: Asker
    read: Callable[[Entered, Message], Outcome]
    connect: Callable[[Endpoint, Callable[[], bool]], BatchClient] = BatchClient
    _clients: dict[str, BatchClient] = field(default_factory=dict)
    _failed: set[bytes] = field(default_factory=set)
    _left: set[str] = field(default_factory=set)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.close()

    async def ask_all(self, wanted: Callable[[], Mapping[str, Iterator[Request]]]) -> None:
        """Bring every request to an outcome, in one batch after another, or as far as the run is let.

        Args:
            wanted: makes for each endpoint's name what it is asked; endpoints without batches are left out.
        """
        if not any(endpoint.batch for endpoint in self.asker.endpoints.values()) and not self.ledger.batches():
            return
        await self.find_lost()
        while self.asker.stopped is None:
            asked = {name: some for name, some in wanted().items() if self.asker.endpoints[name].batch}
            sent = await self.send(asked)
            if not await self.land() and not sent:
                return

    async def find_lost(self) -> None:
        """Batches of which an earlier run did not learn whether the server has them: ask it."""
        for batch in self.ledger.batches():
            if batch.id is not None or batch.endpoint not in self.asker.endpoints:
                continue
            await self._settle(batch)
            try:
                found = await self._client(batch.endpoint).find(batch.name, batch.at - _CLOCKS_DIFFER)
            except BatchTrouble as trouble:
                self._unknown(batch, trouble)
                continue
            if found is None:
                self.ledger.batch_never_left(batch.name)
                self.asker.budget.settle(0, -batch.bound)
            else:
                self.ledger.batch_is_out(batch.name, found)
                self._say(batch, f"batch {found} was sent by an earlier run, and is waited for")

    async def send(self, requests: Mapping[str, Iterator[Request]]) -> int:
        """Send what still has to be asked, as far as the budget lets it; how many requests that is.

        Args:
            requests: for each endpoint's name what it is asked.
        """
        sent = 0
        for name, wanted in requests.items():
            left = with_due(self.ledger, wanted, self._failed)
            while left is not None and name not in self._left and self.asker.stopped is None:
                batch, left = await self._send_one(self.asker.endpoints[name], left)
                if batch is None:
                    break
                sent += batch.number
                left = None if left is None else with_due(self.ledger, left, self._failed)
        return sent

    async def land(self) -> int:
        """Wait until what is out has ended, or the run is stopped; how many batches ended."""
        landed = 0
        while True:
            out = [one for one in self.ledger.batches() if one.id is not None and one.endpoint not in self._left]
            out = [one for one in out if one.endpoint in self.asker.endpoints]
            for batch in out:
                if self.asker.stopped is None:
                    landed += await self._look(batch)
            waiting = {one.name for one in self.ledger.batches()} & {one.name for one in out}
            if not waiting or self.asker.stopped is not None:
                return landed
            await self._pause(min(self.asker.endpoints[one.endpoint].batch_poll for one in out))

    async def _send_one(
        self, endpoint: Endpoint, requests: Iterator[Request]
    ) -> tuple[Batch | None, Iterator[Request] | None]:
        """One batch, and what is left of the requests; no batch where none of them can be paid, or none got there."""
        budget = self.asker.budget
        room = None if budget.most is None else budget.most - budget.spent - budget.reserved
        with tempfile.NamedTemporaryFile(prefix="coig-p-batch-", suffix=".jsonl") as stream:
            file = BatchFile(endpoint, stream)
            left = file.fill(self.ledger, requests, self._failed, room)
            if not file.entries:
                if not any(one.endpoint in self.asker.endpoints for one in self.ledger.batches()):
                    self.asker.stop("budget")  # nothing is out whose end could make room
                return None, left
            stream.flush()
            now = self.ledger.now()
            batch = Batch(uuid.uuid4().hex, endpoint.name, None, len(file.entries), file.bound, now)
            self.ledger.put_out(file.entries.values(), batch)
            budget.settle(0, batch.bound)
            file.entries.clear()
            return (batch if await self._send_file(batch, Path(stream.name)) else None), left

    async def _send_file(self, batch: Batch, path: Path) -> bool:
        """Whether the server has a batch now; where it may have it, the server is asked before it is sent again."""
        client = self._client(batch.endpoint)
        try:
            file = await client.upload(path, batch.name)
        except BatchTrouble as trouble:  # a file alone costs nothing
            self._never_left(batch, trouble)
            return False
        found = None
        for _ in range(self.asker.endpoints[batch.endpoint].attempts):
            try:
                found = await client.create(file, batch.name)
            except BatchTrouble as trouble:
                if not trouble.done:
                    self._never_left(batch, trouble)
                    return False
                last = trouble
                await self._settle(batch)
                try:
                    found = await client.find(batch.name, batch.at - _CLOCKS_DIFFER)
                except BatchTrouble as unknown:
                    self._unknown(batch, unknown)
                    return False
            if found is not None:
                self.ledger.batch_is_out(batch.name, found)
                self.asker.asked[batch.endpoint] += batch.number
                self._say(batch, f"batch {found} of {batch.number:,} requests is out")
                return True
        self._never_left(batch, last)
        return False

    async def _look(self, batch: Batch) -> bool:
        """Whether a batch has ended; then its answers are in the ledger."""
        client = self._client(batch.endpoint)
        try:
            found = await client.look(str(batch.id))
            status = str(found.get("status"))
            if status not in _ENDED:
                return False
            before = self.ledger.spent()
            with tempfile.TemporaryDirectory(prefix="coig-p-batch-") as folder:
                paths = []
                for kind in ("output_file_id", "error_file_id"):
                    if found.get(kind):
                        paths.append(Path(folder) / f"{kind}.jsonl")
                        with paths[-1].open("wb") as stream:
                            await client.fetch(str(found[kind]), stream)
                paths = [path for path in paths if path.stat().st_size]
                endpoints = {batch.endpoint: self.asker.endpoints[batch.endpoint]}
                result = read_batches(self.ledger, endpoints, paths, self._heard, client.masked)
        except BatchTrouble as trouble:
            if not self._stopped():
                self._leave(batch.endpoint, f"batch {batch.id}: {trouble}. It is still out")
            return False
        why = _words(found)
        failed = self.ledger.batch_is_back(batch.name, f"batch: {status}{f', {why}' if why else ', without an answer'}")
        self._failed.update(failed)
        if failed:
            self.asker.failed[batch.endpoint] += len(failed)
        after = self.ledger.spent()
        self.asker.budget.settle(0, after.most - before.most)
        counts = {**result.counts, "failed": len(failed)}
        self._say(batch, f"batch {batch.id} is {status}: {', '.join(f'{key} {n:,}' for key, n in counts.items())}")
        for problem in result.problems[:3]:
            self._say(batch, f"batch {batch.id}: {problem.rpartition('/')[2]}")
        if status == "failed":
            self._leave(batch.endpoint, f"batch {batch.id} failed: {why or 'it does not say why'}")
        return True

    def _heard(self, asked: Entered, message: Message) -> Outcome:
        found = self.read(asked, message)
        self.asker.answers[asked.kind, found.state] += 1
        return found

    async def _settle(self, batch: Batch) -> None:
        """Wait until a batch that was made just now would be in the server's list."""
        await self._pause(self.asker.endpoints[batch.endpoint].batch_poll - max(0.0, self.ledger.now() - batch.at))

    async def _pause(self, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while self.asker.stopped is None and clock() < until:
            await asyncio.sleep(min(_LOOKS, seconds))

    def _client(self, name: str) -> BatchClient:
        if name not in self._clients:
            self._clients[name] = self.connect(self.asker.endpoints[name], self._stopped)
        return self._clients[name]

    def _stopped(self) -> bool:
        return self.asker.stopped is not None

    def _never_left(self, batch: Batch, trouble: BatchTrouble) -> None:
        self.ledger.batch_never_left(batch.name)
        self.asker.budget.settle(0, -batch.bound)
        self._leave(batch.endpoint, f"no batch could be sent: {trouble}")

    def _unknown(self, batch: Batch, trouble: BatchTrouble) -> None:
        self._leave(
            batch.endpoint,
            f"it may have a batch of {batch.number:,} requests, in whose metadata or file name {batch.name} stands, "
            f"and cannot be asked: {trouble}. Look there; if it has none, --batch-forget",
        )

    def _leave(self, name: str, why: str) -> None:
        self._left.add(name)
        self.asker.open(self.asker.endpoints[name]).leave(why, math.inf)

    def _say(self, batch: Batch, words: str) -> None:
        self.asker.say(f"{batch.endpoint}: {words}")


def _words(batch: Mapping[str, Any]) -> str:
    """Why a batch failed, in the server's words."""
    errors = batch.get("errors")
    listed = errors.get("data") if isinstance(errors, dict) else errors
    found = [str(one.get("message") or one.get("code")) for one in listed or () if isinstance(one, dict)]
    return " ".join(encodable("; ".join(found)).split())[:_SHOWN]
