"""What servers for the browser share: loopback alone, a strict policy, and nobody who took another name for it.

Texts of models are hostile. Nothing but a server's own script and style may run or load (Content-Security-Policy),
no other site may frame or read a page, and no request is answered that does not name this machine.
"""

from __future__ import annotations

import socket
from importlib import import_module
from typing import TYPE_CHECKING, Any

from coig_p.errors import UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette

HOST = "127.0.0.1"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NAMES = ("127.0.0.1", "localhost")


class OnlyHere:
    """Answers nobody who took another name for this machine, as a page of another site would."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI has it."""
        if scope["type"] == "http":
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or hosts[0].partition(":")[0] not in _NAMES:
                await send({"type": "http.response.start", "status": 403, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await self.app(scope, receive, send)


def listen(port: int) -> socket.socket:
    """A socket of this machine alone that listens already, so that whoever opens its address at once is answered.

    Args:
        port: 0 for a free one.

    Raises:
        UsageError: the port is taken, or none.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(f"port {port}: {getattr(error, 'strerror', None) or error}. Choose another: --port") from None
    listening.listen()
    return listening


def origin_of(listening: socket.socket) -> str:
    """What the addresses of a listening socket begin with."""
    return f"http://{HOST}:{listening.getsockname()[1]}"


def run(app: Starlette, listening: socket.socket) -> None:
    """Serve an application until the process is interrupted, and close the socket."""
    import uvicorn

    # Its own configuration of logging closes all handlers of the process, and with some of them standard error.
    quiet: dict[str, Any] = {"log_level": "error", "log_config": None, "access_log": False}
    config = uvicorn.Config(app, server_header=False, lifespan="off", **quiet)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def check_extra() -> None:
    """Raise UsageError where the extra [view] is not installed."""
    try:
        for name in ("starlette", "uvicorn"):
            import_module(name)
    except ImportError:
        raise UsageError("looking in the browser needs the extra: pip install 'coig-p[view]'") from None
