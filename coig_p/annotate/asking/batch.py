"""Requests as OpenAI batch files and their answers back, for engines without a server (vLLM's run-batch).

What is out in a batch file is not asked online until its answers are read, or the batch is forgotten.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from coig_p.annotate.asking.client import Message, read_body
from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, FAILED, INVALID, PUT, Ledger, Values
from coig_p.annotate.config import RunConfig
from coig_p.annotate.stages import requests_of
from coig_p.annotate.tasks.queries import collect, decide
from coig_p.annotate.tasks.requests import Request, verdict
from coig_p.core.atomic import atomic_file
from coig_p.ingest.readers import read_rows
from coig_p.store.places import check_file

_ANSWERS_AT_ONCE = 256


class Read(NamedTuple):
    """What was in batch files: counts by answered, invalid, failed, known (had an outcome), and the bad lines."""

    counts: dict[str, int]
    problems: list[str]


def batch_out(
    config: RunConfig, ledger: Ledger, folder: Path, overwrite: bool = False
) -> tuple[str | None, dict[Path, int]]:
    """Write what the first unfinished stage still has to ask, a file for each endpoint.

    Args:
        overwrite: replace batch files of that stage in the folder.

    Returns:
        The stage (None: nothing is left to ask) and how many requests are in each file.
    """
    collect(config, ledger)
    decide(config, ledger)
    for stage in ("queries", "generate", "judge"):
        written: dict[Path, int] = {}
        put: list[tuple[str, Values]] = []
        with ExitStack() as files:
            for name, requests in requests_of(config, ledger, stage).items():
                path = folder / f"{stage}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}-{_place(config, name)}.jsonl"
                stream: IO[bytes] | None = None
                seen: set[bytes] = set()
                for request, ask in _open(config, ledger, requests):
                    key = request.key(ask)
                    if key in seen:
                        continue
                    seen.add(key)
                    if stream is None:
                        check_file(path, "a batch file", overwrite)
                        stream = files.enter_context(atomic_file(path))
                    stream.write(json.dumps(_line(request, key), ensure_ascii=False).encode() + b"\n")
                    put.append((PUT, {**request.about(ask, key), "state": BATCHED}))
                if stream is not None:
                    written[path] = len(seen)
        # Only once the files are whole: a request without a file would wait for ever.
        ledger.commit(put)
        if written:
            return stage, written
    return None, {}


def batch_in(config: RunConfig, ledger: Ledger, paths: Sequence[Path]) -> Read:
    """Take in the answers of batch files; a bad line is named and takes nothing from the others."""
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for path in paths:
        rows = iter(read_rows(path))
        while some := list(islice(rows, _ANSWERS_AT_ONCE)):
            changes: list[tuple[str, Values]] = []
            done: set[bytes] = set()
            for row in some:
                try:
                    if row.problem is not None:
                        raise ValueError(row.problem[1])
                    key, state = _answer(config, ledger, row.value, done, changes)
                except ValueError as error:
                    problems.append(f"{path}:{row.line}: {error}")
                    continue
                done.add(key)
                counts[state] += 1
            ledger.commit(changes)
    return Read(dict(counts), problems)


def batch_forget(ledger: Ledger) -> int:
    """Ask online, from the next run on, what is out in batch files; how many requests that is."""
    number = int(ledger.rows("SELECT COUNT(*) FROM requests WHERE state = 'batched'")[0][0])
    sent = "UPDATE requests SET state = 'failed' WHERE state = 'batched' AND key IN (SELECT key FROM attempts)"
    ledger.commit([(sent, ()), ("DELETE FROM requests WHERE state = 'batched'", ())])
    return number


def _place(config: RunConfig, name: str) -> int:
    return [endpoint.name for endpoint in config.endpoints].index(name)


def _open(config: RunConfig, ledger: Ledger, requests: Iterator[Request]) -> Iterator[tuple[Request, int]]:
    """Requests without an outcome, with the ask that is due."""
    for request in requests:
        for ask in range(config.judging.asks):
            state = ledger.state(request.key(ask))
            if state == INVALID:
                continue
            if state not in (ANSWERED, BATCHED):
                yield request, ask
            break


def _line(request: Request, key: bytes) -> dict[str, Any]:
    body = {"model": request.endpoint.model, "messages": list(request.messages), **request.parameters}
    return {"custom_id": key.hex(), "method": "POST", "url": "/v1/chat/completions", "body": body}


def _answer(
    config: RunConfig, ledger: Ledger, line: Any, done: set[bytes], changes: list[tuple[str, Values]]
) -> tuple[bytes, str]:
    """One line of a batch's output as changes to the ledger; raise ValueError where it is none of ours."""
    try:
        key = bytes.fromhex(line["custom_id"])
    except (LookupError, TypeError, ValueError):
        raise ValueError("custom_id is missing or not one of ours") from None
    known = ledger.rows("SELECT endpoint, kind, domain, state, characters FROM requests WHERE key = ?", (key,))
    if not known:
        raise ValueError(f"custom_id {line['custom_id'][:16]}...: no such request was written by this run")
    endpoint_name, kind, domain, state, characters = known[0]
    if state in (ANSWERED, INVALID) or key in done:
        return key, "known"
    if endpoint_name not in config.by_name:
        raise ValueError(f"endpoint {endpoint_name!r} is no longer in {config.path.name}")
    response = line.get("response")
    message, body, why = _body(response, line.get("error"))
    now = time.time()
    attempt = (
        "INSERT INTO attempts (key, endpoint, at, tokens, bound, outcome, detail) VALUES (?, ?, ?, 0, 0, ?, 'batch')"
    )
    if message is None:
        changes.append((attempt, (key, endpoint_name, now, "error")))
        changes.append(("UPDATE requests SET state = 'failed', reason = ?, at = ? WHERE key = ?", (why, now, key)))
        return key, FAILED
    found = verdict(config, kind, domain, message)
    endpoint = config.by_name[endpoint_name]
    # As online: without a word on usage, a token is taken to be a byte, and a character three of them.
    prompt = 3 * characters if message.prompt_tokens is None else message.prompt_tokens
    written = len((message.text or "").encode("utf-8", "surrogatepass"))
    cost = endpoint.cost(prompt, written if message.completion_tokens is None else message.completion_tokens)
    changes.append((attempt, (key, endpoint_name, now, "answered")))
    changes.append(
        (
            "UPDATE requests SET state = ?, reason = ?, score = ?, prompt_tokens = ?, completion_tokens = ?, cost = ?, "
            "at = ?, finish = ?, body = ? WHERE key = ?",
            (
                *(found.state, found.reason, found.score, message.prompt_tokens, message.completion_tokens, cost),
                *(now, message.finish, body, key),
            ),
        )
    )
    return key, found.state


def _body(response: Any, error: Any) -> tuple[Message | None, str, str]:
    """A line's answer with its raw JSON, or why there is none."""
    if not isinstance(response, dict) or response.get("status_code") != 200:
        status = response.get("status_code") if isinstance(response, dict) else None
        return None, "", " ".join(f"batch: status {status}, {error!r}".split())[:300]
    body = json.dumps(response.get("body"), ensure_ascii=False)
    try:
        body.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which has to stay escaped
        body = json.dumps(response.get("body"))
    try:
        return read_body(body), body, ""
    except ValueError as bad:
        return None, "", f"batch: {bad}"
