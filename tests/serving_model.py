"""`transformers serve`, the real one, on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The URL of a server of the model in a folder, which it calls by that folder's path; its log stands beside it."""
    command = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("the command `transformers` is not beside this Python")
    with socket.socket() as held, (folder / "server.log").open("w") as log:
        # Held, not listened at: the server may bind the same port, and the system gives it to nobody else.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        server = subprocess.Popen([command, "serve", str(folder), *options], stdout=log, stderr=log, env=environment)
        try:
            for _ in range(1500):
                assert server.poll() is None, (folder / "server.log").read_text()
                if _healthy(port):
                    break
                time.sleep(0.2)
            else:
                pytest.fail("the server does not answer:\n" + (folder / "server.log").read_text())
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()
            server.wait()


def _healthy(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60).close()
    except OSError:
        return False
    return True
