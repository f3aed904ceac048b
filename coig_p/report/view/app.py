"""A server on loopback for one reader: pages, plots and two static files, behind a random token in the address.

Texts of models are hostile. Nothing but this server's own script and style may run or load (Content-Security-Policy),
no other site may frame or read a page, and no request is answered that does not name this machine.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from coig_p.errors import CoigPError, StoreError, UsageError
from coig_p.report.view.pages import View, error_page, page
from coig_p.report.view.words import words
from coig_p.store.manifest import MANIFEST
from coig_p.store.writing import sha256_of

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost")
_STATIC = {"view.css": "text/css", "view.js": "text/javascript", "icon.svg": "image/svg+xml"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_PLOT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_app(view: View, token: str) -> Starlette:
    """The application that shows a view; everything stands behind /TOKEN/.

    Raises:
        UsageError: starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import HTMLResponse, Response
        from starlette.routing import Route
    except ImportError:
        raise _missing() from None
    view = replace(view, root=f"/{token}")
    manifest = view.index.store.path / MANIFEST
    known = sha256_of(manifest)
    folder = files("coig_p.report.view") / "static"
    static = {name: (folder / name).read_bytes() for name in _STATIC}

    def response(
        content: str | bytes, status: int = 200, kind: str = "text/html", policy: str = _PAGE_POLICY
    ) -> Response:
        headers = {**_HEADERS, "Content-Security-Policy": policy}
        made = HTMLResponse if kind == "text/html" else Response
        return made(content, status_code=status, media_type=kind, headers=headers)

    def answer(path: str, address: dict[str, str]) -> Response:
        try:
            if sha256_of(manifest) != known:
                raise StoreError(str(view.index.store.path), "has changed since this view began. Start it again")
            html = page(view, path, address)
        except OSError as error:
            message = f"{manifest}: {error.strerror or error}"
            return response(error_page(view, address, message), 500)
        except CoigPError as error:
            return response(error_page(view, address, str(error)), 404 if isinstance(error, UsageError) else 500)
        if html is None:
            return response(error_page(view, address, words(address.get("lang", "en"))["not-there"]), 404)
        return response(html)

    async def show(request: Request) -> Response:
        address = {name: value for name, value in request.query_params.items() if len(value) <= _LONGEST}
        return await run_in_threadpool(answer, request.path_params.get("path", ""), address)

    async def plot(request: Request) -> Response:
        found = view.index.plots.get(request.path_params["language"], {}).get(request.path_params["name"])
        if found is None:
            return response("", 404)
        return response(found, kind="image/svg+xml")

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        return response(static[name], kind=_STATIC[name]) if name in static else response("", 404)

    app = Starlette(
        routes=[
            Route(f"/{token}/static/{{name}}", file),
            Route(f"/{token}/plots/{{language}}/{{name}}", plot),
            Route(f"/{token}/{{path}}", show),
            Route(f"/{token}/", show),
        ]
    )
    app.add_middleware(_OnlyHere)
    return app


_LONGEST = 2000  # characters of a value in an address


class _OnlyHere:
    """Answers nobody who took another name for this machine, as a page of another site would."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or hosts[0].partition(":")[0] not in _NAMES:
                await send({"type": "http.response.start", "status": 403, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await self.app(scope, receive, send)


def serve(view: View, port: int, ready: Callable[[str], None], token: str | None = None) -> None:
    """Serve a view until the process is interrupted.

    Args:
        port: 0 for a free one.
        ready: called with the address once it can be opened.
        token: default: a new one.

    Raises:
        UsageError: uvicorn is not installed, or the port is taken.
    """
    try:
        import uvicorn
    except ImportError:
        raise _missing() from None
    token = token or secrets.token_urlsafe(16)
    app = make_app(view, token)
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(f"port {port}: {getattr(error, 'strerror', None) or error}. Choose another: --port") from None
    listening.listen()  # so that whoever opens the address at once is answered
    ready(f"http://{HOST}:{listening.getsockname()[1]}/{token}/")
    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, lifespan="off")
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def _missing() -> UsageError:
    return UsageError("looking in the browser needs the extra: pip install 'coig-p[view]'")
