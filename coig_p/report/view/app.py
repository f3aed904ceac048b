"""A server on loopback for one reader: pages, plots and static files, behind a random token in the address."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING

from coig_p.errors import CoigPError, UsageError
from coig_p.report.serving import HEADERS, PAGE_POLICY, OnlyHere, check_extra, listen, origin_of, run
from coig_p.report.view.pages import View, error_page, page
from coig_p.report.view.words import words
from coig_p.store.watching import state_of

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_STATIC = {"view.css": "text/css", "view.js": "text/javascript", "icon.svg": "image/svg+xml"}
_PLOT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_LONGEST = 2000  # characters of a value in an address
_LISTS = ("judges", "a_judges", "b_judges")


def make_app(view: View, token: str) -> Starlette:
    """The application that shows a view; everything stands behind /TOKEN/.

    Raises:
        UsageError: the extra [view] is not installed.
    """
    check_extra()
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route

    view = replace(view, root=f"/{token}")
    known = state_of(view.index.store)
    folder = files("coig_p.report.view") / "static"
    static = {name: (folder / name).read_bytes() for name in _STATIC}

    def response(
        content: str | bytes, status: int = 200, kind: str = "text/html", policy: str = PAGE_POLICY
    ) -> Response:
        headers = {**HEADERS, "Content-Security-Policy": policy}
        made = HTMLResponse if kind == "text/html" else Response
        return made(content, status_code=status, media_type=kind, headers=headers)

    def answer(path: str, address: dict[str, str]) -> Response:
        said = words(address.get("lang", "en"))
        try:
            if state_of(view.index.store) != known:
                return response(error_page(view, address, said["store-changed"]), 500)
            html = page(view, path, address)
        except OSError as error:
            message = f"{said['store-gone']}\n{error.filename or ''}: {error.strerror or error}"
            return response(error_page(view, address, message), 500)
        except CoigPError as error:
            return response(error_page(view, address, str(error)), 404 if isinstance(error, UsageError) else 500)
        if html is None:
            return response(error_page(view, address, said["not-there"]), 404)
        return response(html)

    async def show(request: Request) -> Response:
        address: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if len(value) <= _LONGEST:  # several of one name: the names of a list
                address[name] = f"{address[name]},{value}" if name in address and name in _LISTS else value
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
    app.add_middleware(OnlyHere)
    return app


def serve(view: View, port: int, ready: Callable[[str], None], token: str | None = None) -> None:
    """Serve a view until the process is interrupted.

    Args:
        port: 0 for a free one.
        ready: called with the address once it can be opened.
        token: default: a new one.

    Raises:
        UsageError: the extra [view] is not installed, or the port is taken.
    """
    token = token or secrets.token_urlsafe(16)
    app = make_app(view, token)
    listening = listen(port)
    ready(f"{origin_of(listening)}/{token}/")
    run(app, listening)
