"""A server on loopback for people who answer: each has an address of its own, and sees and says only what is its own.

A request that writes must come from a page of this server: it knows the token and names this origin. Pages are told
apart by the token alone; nothing is kept in the browser.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from coig_p.errors import CoigPError, UsageError
from coig_p.report.serving import HEADERS, PAGE_POLICY, OnlyHere, check_extra, listen, origin_of, run
from coig_p.review.answers import Answer
from coig_p.review.folder import open_review
from coig_p.review.page.addresses import hold
from coig_p.review.page.desk import Desk, Identity, NoTask, Sheet, Stale
from coig_p.review.page.forms import Fields, Unfit, answer_of, check_known, comment_of, seconds_of
from coig_p.review.page.pages import error_page, language_of, link, list_page, path_of, task_page
from coig_p.review.page.words import words

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

_STATIC = {
    "view.css": ("coig_p.report.view", "text/css"),
    "icon.svg": ("coig_p.report.view", "image/svg+xml"),
    "review.css": ("coig_p.review.page", "text/css"),
    "review.js": ("coig_p.review.page", "text/javascript"),
}
# The page sends its own forms, which a browser names the origin of only under this policy.
_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": f"{PAGE_POLICY}; connect-src 'self'",
    "Referrer-Policy": "same-origin",
}
_MOST_BYTES = 16 << 20  # of a form that is sent: a comment of more than a million characters is told its length
_MOST_FIELDS = 64

Say = Callable[[str], None]


def make_app(desks: dict[str, Desk], say: Say) -> Starlette:
    """The application of some annotators' pages.

    Args:
        desks: by the token of each address; everything of one stands behind /TOKEN/.
        say: is told what went wrong, which pages do not show: it may name the folder.

    Raises:
        UsageError: the extra [view] is not installed.
    """
    check_extra()
    from starlette.applications import Starlette
    from starlette.routing import Mount

    static = {
        name: ((files(package) / "static" / name).read_bytes(), kind) for name, (package, kind) in _STATIC.items()
    }
    app = Starlette(
        routes=[Mount(f"/{token}", routes=_routes(desk, token, static, say)) for token, desk in desks.items()]
    )
    app.add_middleware(OnlyHere)
    return app


def _routes(desk: Desk, token: str, static: dict[str, tuple[bytes, str]], say: Say) -> list[BaseRoute]:
    """What one annotator can ask for."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import HTMLResponse, RedirectResponse, Response
    from starlette.routing import Route

    root = f"/{token}"

    def page(html: str, status: int = 200) -> Response:
        return HTMLResponse(html, status_code=status, headers=_HEADERS)

    def wrong(language: str, word: str, status: int) -> Response:
        return page(error_page(root, language, desk.annotator, word), status)

    def to(path: str, language: str) -> Response:
        return RedirectResponse(link(root, path, language), status_code=303, headers=_HEADERS)

    def onward(sheet: Sheet, at: int, language: str) -> Response:
        following = sheet.open_after(at)
        return to("tasks" if following is None else path_of(following), language)

    def guarded(work: Callable[..., Response], *given: Any) -> Response:
        """What `work` answers; where the review cannot be read or written, a page that says so and no more."""
        language = given[-1]
        try:
            return work(*given)
        except NoTask:
            return wrong(language, "not-there", 404)
        except CoigPError as error:
            say(str(error))
        except OSError as error:
            say(f"{error.filename or desk.folder}: {error.strerror or error}")
        return wrong(language, "damaged", 500)

    def show_list(language: str) -> Response:
        return page(list_page(desk.look(), root, language))

    def show_first(language: str) -> Response:
        return onward(desk.look(), -1, language)

    def show_task(identity: Identity, language: str) -> Response:
        return page(task_page(desk.look(), identity, root, language, time.time()))

    def save(identity: Identity, fields: Fields, language: str) -> Response:
        def refused(word: str, status: int, **given: str) -> Response:
            message = words(language)[word].format(**given)
            return page(task_page(desk.look(), identity, root, language, time.time(), fields, message), status)

        try:
            sheet = desk.save(identity, _stamp(fields), lambda sheet: _answer(sheet.review.form, fields))
        except Unfit as unfit:
            return refused(unfit.word, 422, **unfit.given)
        except Stale:
            return refused("stale", 409)
        return onward(sheet, sheet.place(identity), language)

    def undo(identity: Identity, fields: Fields, language: str) -> Response:
        """Take back the answer that was the last one when the page was shown; a second time does nothing."""
        try:
            sheet = desk.save(identity, _stamp(fields), lambda sheet: Answer("", "", 0, None))
        except (Unfit, Stale):
            sheet = desk.look()
        return to(path_of(sheet.tasks[sheet.place(identity)]), language)

    async def get_list(request: Request) -> Response:
        return await run_in_threadpool(guarded, show_list, language_of(request.query_params))

    async def get_first(request: Request) -> Response:
        return await run_in_threadpool(guarded, show_first, language_of(request.query_params))

    async def get_task(request: Request) -> Response:
        identity = request.path_params["round"], request.path_params["item"]
        return await run_in_threadpool(guarded, show_task, identity, language_of(request.query_params))

    async def post_task(request: Request) -> Response:
        language = language_of(request.query_params)
        fields = await _fields(request)
        if isinstance(fields, _Refused):
            return wrong(language, fields.word, fields.status)
        identity = request.path_params["round"], request.path_params["item"]
        return await run_in_threadpool(guarded, save, identity, fields, language)

    async def post_undo(request: Request) -> Response:
        language = language_of(request.query_params)
        fields = await _fields(request)
        if isinstance(fields, _Refused):
            return wrong(language, fields.word, fields.status)
        round_, item = "".join(fields.get("round", ())), "".join(fields.get("item", ()))
        identity = int(round_) if round_.isdecimal() and len(round_) < 10 else 0, item
        return await run_in_threadpool(guarded, undo, identity, fields, language)

    async def get_file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in static:
            return Response("", 404, headers=_HEADERS)
        content, kind = static[name]
        return Response(content, media_type=kind, headers=_HEADERS)

    async def nothing(request: Request) -> Response:
        return wrong(language_of(request.query_params), "not-there", 404)

    return [
        Route("/", get_first),
        Route("/tasks", get_list),
        Route("/tasks/{round:int}/{item}", get_task),
        Route("/tasks/{round:int}/{item}", post_task, methods=["POST"]),
        Route("/undo", post_undo, methods=["POST"]),
        Route("/static/{name}", get_file),
        Route("/{path:path}", nothing),
    ]


class _Refused:
    """A request that writes, and is not looked at further."""

    def __init__(self, word: str, status: int) -> None:
        self.word, self.status = word, status


async def _fields(request: Request) -> Fields | _Refused:
    """The fields of a form that a page of this server sent."""
    if request.headers.get("origin") != f"http://{request.headers.get('host')}":
        return _Refused("not-from-here", 403)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return _Refused("unreadable", 415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            return _Refused("too-much", 413)
    try:
        return parse_qs(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS, separator="&"
        )
    except ValueError:
        return _Refused("unreadable", 400)


def _stamp(fields: Fields) -> int:
    """What the page was shown with; raises Unfit where it says none."""
    text = "".join(fields.get("stamp", ()))
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Unfit("no-action")
    return int(text)


def _answer(form: str, fields: Fields) -> Answer:
    """What the fields of a task's form say."""
    check_known(form, fields)
    (action,) = fields.get("action", ("",))
    if action not in ("answer", "skip"):
        raise Unfit("no-action")
    said = Answer("", "", 0, None, comment_of(fields), seconds_of(fields, time.time()), skipped=action == "skip")
    return said if said.skipped else replace(said, answer=answer_of(form, fields))


def serve(
    folder: Path, annotators: Sequence[str], port: int, ready: Callable[[list[tuple[str, str]]], None], say: Say
) -> None:
    """Serve the pages of annotators until the process is interrupted.

    Args:
        annotators: of the review; none: all of them.
        port: 0 for the one of the last time, else a free one.
        ready: called with each annotator and its address, once they can be opened.
        say: is told what went wrong while pages were served.

    Raises:
        UsageError: the extra [view] is not installed, the port is taken, or another server serves one of them.
        UnknownNameError: nobody of a name is asked.
        DataError: the review cannot be read.
        OSError: it cannot be written.
    """
    check_extra()
    names = list(dict.fromkeys(annotators)) or list(open_review(folder).annotators)
    desks = [Desk(folder, name) for name in names]
    for desk in desks:
        desk.check()  # here, not before an annotator
    with ExitStack() as held:
        addresses = []
        for name in names:
            address = hold(folder, name)
            held.callback(address.close)
            addresses.append(address)
        try:
            listening = listen(port or addresses[0].port)
        except UsageError:
            if port or not addresses[0].port:
                raise
            listening = listen(0)
        held.callback(listening.close)
        for address in addresses:
            address.keep(listening.getsockname()[1])
        app = make_app({address.token: desk for address, desk in zip(addresses, desks, strict=True)}, say)
        origin = origin_of(listening)
        ready([(name, f"{origin}/{address.token}/") for name, address in zip(names, addresses, strict=True)])
        run(app, listening)
