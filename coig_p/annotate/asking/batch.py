"""Requests as OpenAI batch files and their answers back: for engines without a server (vLLM's run-batch), and
for `batch_api`, which sends them to a server itself.

What is out in a batch file is not asked online until its answers are read, or the batch is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from coig_p.annotate.asking.costs import taken_in_batch
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.ledger import (
    ANSWERED,
    BATCHED,
    FAILED,
    INVALID,
    Entered,
    Entry,
    FromBatch,
    Ledger,
    LedgerWriter,
    Taken,
)
from coig_p.annotate.asking.message import Message, json_bytes, read_body
from coig_p.annotate.asking.request import Outcome, Request, asks
from coig_p.core.atomic import atomic_file
from coig_p.ingest.readers import read_rows
from coig_p.store.places import check_file

_ANSWERS_AT_ONCE = 256


class Read(NamedTuple):
    """What was in batch files: counts by answered, invalid, failed, known (had an outcome), and the bad lines."""

    counts: dict[str, int]
    problems: list[str]


@dataclass
class BatchFile:
    """A batch file while it is written, up to what a provider takes in one.

    Attributes:
        entries: of the requests in it, by their keys.
        bound: the most that these may cost, in 1/MONEY.
        size: in bytes.
    """

    endpoint: Endpoint
    stream: IO[bytes]
    entries: dict[bytes, Entry] = field(default_factory=dict)
    bound: int = 0
    size: int = 0

    def fill(
        self, ledger: Ledger, requests: Iterator[Request], leave: Container[bytes] = (), room: int | None = None
    ) -> Iterator[Request]:
        """Write what still has to be asked until the file is full; what is left of the requests.

        The first one always fits: what is too large for a file of its own is for the server to refuse.

        Args:
            leave: keys of requests that are left out.
            room: the most that all of them together may cost.
        """
        for request in requests:
            found = due(ledger, request)
            key = b"" if found is None else found[0].key(found[1])
            if found is None or key in self.entries or key in leave:
                continue
            asked, ask = found
            bound, line = self.endpoint.cost(asked.most(), batch=True), json_bytes(_line(asked, key)) + b"\n"
            limits = self.endpoint.batch_requests, self.endpoint.batch_bytes
            full = len(self.entries) >= limits[0] or self.size + len(line) > limits[1]
            if (full and self.entries) or (room is not None and self.bound + bound > room):
                return chain([request], requests)
            self.stream.write(line)
            self.entries[key] = asked.entry(ask, key)
            self.bound += bound
            self.size += len(line)
        return iter(())


def write_batches(
    ledger: LedgerWriter, files: Iterable[tuple[Path, Iterator[Request]]], overwrite: bool = False
) -> dict[Path, int]:
    """Write what still has to be asked, for each endpoint as many files as a provider's limits need.

    The first has the path that is given, the others a number behind its stem: NAME.2.jsonl. One of which
    nothing is left to ask is not written. Requests are out once their file is whole; so where something
    ends this, what was written is out, and the rest is written the next time.

    Returns:
        How many requests are in each file.

    Raises:
        UsageError: a file is there already, and `overwrite` does not say to replace it.
    """
    written: dict[Path, int] = {}
    for path, wanted in files:
        number, requests = 1, with_due(ledger, wanted)
        while requests is not None:
            place = path if number == 1 else path.with_name(f"{path.stem}.{number}{path.suffix}")
            check_file(place, "a batch file", overwrite)
            first = next(requests)
            with atomic_file(place) as stream:
                file = BatchFile(first.endpoint, stream)
                left = file.fill(ledger, chain([first], requests))
            ledger.put_out(file.entries.values())
            written[place], number = len(file.entries), number + 1
            requests = with_due(ledger, left)
    return written


def with_due(ledger: Ledger, requests: Iterator[Request], leave: Container[bytes] = ()) -> Iterator[Request] | None:
    """The same requests from the first one on that still has to be asked; None where there is none."""
    for request in requests:
        found = due(ledger, request)
        if found is not None and found[0].key(found[1]) not in leave:
            return chain([request], requests)
    return None


def read_batches(
    ledger: LedgerWriter,
    endpoints: Mapping[str, Endpoint],
    paths: Sequence[Path],
    read: Callable[[Entered, Message], Outcome],
    masked: Callable[[str], str] = str,
) -> Read:
    """Take in the answers of batch files; a bad line is named and takes nothing from the others.

    Args:
        read: called with a request's kind and domain: what an answer to it says.
        masked: a body without what no ledger may hold.
    """
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for path in paths:
        rows = iter(read_rows(path))
        while some := list(islice(rows, _ANSWERS_AT_ONCE)):
            answers: dict[bytes, FromBatch] = {}
            for row in some:
                try:
                    if row.problem is not None:
                        raise ValueError(row.problem[1])
                    counts[_answer(ledger, endpoints, row.value, answers, read, masked)] += 1
                except ValueError as error:
                    problems.append(f"{path}:{row.line}: {error}")
            ledger.take_in(answers.values())
    return Read(dict(counts), problems)


def due(ledger: Ledger, request: Request) -> tuple[Request, int] | None:
    """What has to be asked next of a request, and which ask that is; None where it has an outcome or is out."""
    for ask, asked in asks(ledger, request):
        state = ledger.state(asked.key(ask))
        if state != INVALID:
            return None if state in (ANSWERED, BATCHED) else (asked, ask)
    return None


def _line(request: Request, key: bytes) -> dict[str, Any]:
    body = {"model": request.endpoint.model, "messages": list(request.messages), **request.parameters}
    return {"custom_id": key.hex(), "method": "POST", "url": "/v1/chat/completions", "body": body}


def _answer(
    ledger: Ledger,
    endpoints: Mapping[str, Endpoint],
    line: Any,
    answers: dict[bytes, FromBatch],
    read: Callable[[Entered, Message], Outcome],
    masked: Callable[[str], str],
) -> str:
    """Add one line of a batch's output to `answers`; its state. Raise ValueError where it is none of ours."""
    try:
        key = bytes.fromhex(line["custom_id"])
    except (LookupError, TypeError, ValueError):
        raise ValueError("custom_id is missing or not one of ours") from None
    known = ledger.entered(key)
    if known is None:
        raise ValueError(f"custom_id {line['custom_id'][:16]}...: no such request was written by this run")
    if known.state in (ANSWERED, INVALID) or key in answers:
        return "known"
    if known.endpoint not in endpoints:
        raise ValueError(f"endpoint {known.endpoint!r} is no longer in the run's file")
    message, body, why = _body(line.get("response"), line.get("error"), masked)
    if message is None:
        answers[key] = FromBatch(key, known.endpoint, None, why)
        return FAILED
    found = read(known, message)
    cost = endpoints[known.endpoint].cost(taken_in_batch(message, known.characters), batch=True)
    usage = (message.prompt_tokens, message.completion_tokens)
    taken = Taken(found.state, found.reason, found.score, *usage, cost, message.finish, body)
    answers[key] = FromBatch(key, known.endpoint, taken, why)
    return found.state


def _body(response: Any, error: Any, masked: Callable[[str], str]) -> tuple[Message | None, str, str]:
    """A line's answer with its raw JSON, or why there is none."""
    if not isinstance(response, dict) or response.get("status_code") != 200:
        status = response.get("status_code") if isinstance(response, dict) else None
        return None, "", " ".join(masked(f"batch: status {status}, {error!r}").split())[:300]
    body = masked(json_bytes(response.get("body")).decode())
    try:
        return read_body(body), body, ""
    except ValueError as bad:
        return None, "", f"batch: {bad}"
