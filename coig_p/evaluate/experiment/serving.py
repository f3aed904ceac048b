"""A checkpoint served on this machine while it is asked: on 127.0.0.1, at a port that was free, and then ended."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from coig_p.core.strict_json import strict_json
from coig_p.errors import CoigPError
from coig_p.evaluate.experiment.config import Serve
from coig_p.evaluate.experiment.running import Job, how_ended, last_lines, started

HOST = "127.0.0.1"
_PAUSE, _ANSWERS_WITHIN = 0.1, 10.0  # seconds
_MOST = 1 << 20  # bytes of a list of models
_OK = 200


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        url: its base URL; model: what it is asked for.
        listed: what it says that its models are called; nothing where it does not say.
        ended: what to say where it has ended; None while it runs.
    """

    url: str
    model: str
    listed: tuple[str, ...]
    ended: Callable[[], str | None]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


@contextmanager
def served(serve: Serve, job: Callable[[int], Job], what: str) -> Iterator[Server]:
    """A server that answers; it ends with the block.

    Args:
        job: its command for a port.
        what: the file, the step and the cell, for errors.

    Raises:
        CoigPError: it ended, or did not answer in time; shows the end of its log.
    """
    port = free_port()
    one = job(port)
    with started(one) as process:
        _wait(serve, port, process, one, what)
        listed = _listed(port)
        if serve.model is None and not listed:
            raise CoigPError(
                f"{what}: the server {one.words[0]} does not say at /v1/models what its model is called: name it with "
                "serve.model"
            )

        def ended() -> str | None:
            if process.poll() is None:
                return None
            how = f"ended with {how_ended(one)} while it was asked"
            return f"{what}: the server {one.words[0]} {how}. {last_lines(one.log)}"

        yield Server(f"http://{HOST}:{port}/v1", serve.model or listed[0], listed, ended)


def _wait(serve: Serve, port: int, process: subprocess.Popen[bytes], job: Job, what: str) -> None:
    until = time.monotonic() + serve.wait
    while time.monotonic() < until:
        if process.poll() is not None:
            how = how_ended(job)
            raise CoigPError(
                f"{what}: the server {job.words[0]} ended with {how} before it answered. {last_lines(job.log)}"
            )
        with suppress(OSError, http.client.HTTPException):
            if _get(port, serve.ready)[0] == _OK:
                return
        time.sleep(_PAUSE)
    raise CoigPError(
        f"{what}: the server {job.words[0]} did not answer {serve.ready} within {serve.wait:g} seconds: raise "
        f"serve.wait. {last_lines(job.log)}"
    )


def _listed(port: int) -> tuple[str, ...]:
    """What the server calls its models, where it says so as OpenAI's does."""
    try:
        status, body = _get(port, "/v1/models")
        names = [one["id"] for one in strict_json(body.decode())["data"]] if status == _OK else []
    except (OSError, http.client.HTTPException, ValueError, RecursionError, KeyError, TypeError):
        return ()
    return tuple(name for name in names if isinstance(name, str) and name.strip())


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWERS_WITHIN)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST)
    finally:
        connection.close()
