"""A checkpoint served on this machine while it is asked: on 127.0.0.1, at a port that was free, and then ended."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from coig_p.core.strict_json import strict_json
from coig_p.errors import CoigPError
from coig_p.evaluate.experiment.config import Serve
from coig_p.evaluate.experiment.running import Job, last_lines, started

HOST = "127.0.0.1"
_PAUSE, _ANSWERS_WITHIN = 0.1, 10.0  # seconds
_MOST = 1 << 20  # bytes of a list of models
_OK = 200


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


@contextmanager
def served(serve: Serve, job: Callable[[int], Job], what: str) -> Iterator[tuple[str, str]]:
    """The base URL of a server that answers, and what it calls its model; it ends with the block.

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
        yield f"http://{HOST}:{port}/v1", serve.model or _model(port, one, what)


def _wait(serve: Serve, port: int, process: subprocess.Popen[bytes], job: Job, what: str) -> None:
    until = time.monotonic() + serve.wait
    while time.monotonic() < until:
        if process.poll() is not None:
            raise CoigPError(f"{what}: the server {job.words[0]} ended before it answered. {last_lines(job.log)}")
        with suppress(OSError, http.client.HTTPException):
            if _get(port, serve.ready)[0] == _OK:
                return
        time.sleep(_PAUSE)
    raise CoigPError(
        f"{what}: the server {job.words[0]} did not answer {serve.ready} within {serve.wait:g} seconds: raise "
        f"serve.wait. {last_lines(job.log)}"
    )


def _model(port: int, job: Job, what: str) -> str:
    try:
        status, body = _get(port, "/v1/models")
        name = strict_json(body.decode())["data"][0]["id"] if status == _OK else None
    except (OSError, http.client.HTTPException, ValueError, RecursionError, KeyError, IndexError, TypeError):
        name = None
    if not isinstance(name, str) or not name.strip():
        raise CoigPError(
            f"{what}: the server {job.words[0]} does not say at /v1/models what its model is called: name it with "
            "serve.model"
        )
    return name


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=_ANSWERS_WITHIN)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST)
    finally:
        connection.close()
