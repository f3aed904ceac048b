"""Requests as OpenAI batch files and their answers back, for engines without a server (vLLM's run-batch).

What is out in a batch file is not asked online until its answers are read, or the batch is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
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


def write_batches(
    ledger: LedgerWriter, files: Iterable[tuple[Path, Iterator[Request]]], overwrite: bool = False
) -> dict[Path, int]:
    """Write what still has to be asked, a file for each endpoint; how many requests are in each.

    A file of which nothing is left to ask is not written.

    Raises:
        UsageError: a file is there already, and `overwrite` does not say to replace it.
    """
    written: dict[Path, int] = {}
    entries: list[Entry] = []
    with ExitStack() as open_files:
        for path, requests in files:
            stream: IO[bytes] | None = None
            seen: set[bytes] = set()
            for request, ask in _open(ledger, requests):
                key = request.key(ask)
                if key in seen:
                    continue
                seen.add(key)
                if stream is None:
                    check_file(path, "a batch file", overwrite)
                    stream = open_files.enter_context(atomic_file(path))
                stream.write(json_bytes(_line(request, key)) + b"\n")
                entries.append(request.entry(ask, key))
            if stream is not None:
                written[path] = len(seen)
    # Only once the files are whole: a request without a file would wait for ever.
    ledger.put_out(entries)
    return written


def read_batches(
    ledger: LedgerWriter,
    endpoints: Mapping[str, Endpoint],
    paths: Sequence[Path],
    read: Callable[[Entered, Message], Outcome],
) -> Read:
    """Take in the answers of batch files; a bad line is named and takes nothing from the others.

    Args:
        read: called with a request's kind and domain: what an answer to it says.
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
                    counts[_answer(ledger, endpoints, row.value, answers, read)] += 1
                except ValueError as error:
                    problems.append(f"{path}:{row.line}: {error}")
            ledger.take_in(answers.values())
    return Read(dict(counts), problems)


def _open(ledger: Ledger, requests: Iterator[Request]) -> Iterator[tuple[Request, int]]:
    """Requests without an outcome, with the ask that is due."""
    for request in requests:
        for ask, asked in asks(ledger, request):
            state = ledger.state(asked.key(ask))
            if state == INVALID:
                continue
            if state not in (ANSWERED, BATCHED):
                yield asked, ask
            break


def _line(request: Request, key: bytes) -> dict[str, Any]:
    body = {"model": request.endpoint.model, "messages": list(request.messages), **request.parameters}
    return {"custom_id": key.hex(), "method": "POST", "url": "/v1/chat/completions", "body": body}


def _answer(
    ledger: Ledger,
    endpoints: Mapping[str, Endpoint],
    line: Any,
    answers: dict[bytes, FromBatch],
    read: Callable[[Entered, Message], Outcome],
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
    message, body, why = _body(line.get("response"), line.get("error"))
    if message is None:
        answers[key] = FromBatch(key, known.endpoint, None, why)
        return FAILED
    found = read(known, message)
    cost = endpoints[known.endpoint].cost(taken_in_batch(message, known.characters), batch=True)
    usage = (message.prompt_tokens, message.completion_tokens)
    taken = Taken(found.state, found.reason, found.score, *usage, cost, message.finish, body)
    answers[key] = FromBatch(key, known.endpoint, taken, why)
    return found.state


def _body(response: Any, error: Any) -> tuple[Message | None, str, str]:
    """A line's answer with its raw JSON, or why there is none."""
    if not isinstance(response, dict) or response.get("status_code") != 200:
        status = response.get("status_code") if isinstance(response, dict) else None
        return None, "", " ".join(f"batch: status {status}, {error!r}".split())[:300]
    body = json_bytes(response.get("body")).decode()
    try:
        return read_body(body), body, ""
    except ValueError as bad:
        return None, "", f"batch: {bad}"
