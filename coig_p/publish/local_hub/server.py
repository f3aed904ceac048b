"""The Hub's HTTP interface, as far as huggingface_hub and datasets use it for datasets.

Large files are served, as the Hub does, from another origin: the same server under the name
localhost. A client that sends its token there is told so.
"""

from __future__ import annotations

import errno
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from coig_p.publish.local_hub.repository import HubRefusal, Objects, Repository, pieces_of


@dataclass(frozen=True)
class Account:
    """Who a token belongs to, and what it may do.

    Attributes:
        role: write or read.
    """

    name: str
    orgs: tuple[str, ...] = ()
    role: str = "write"


@dataclass(frozen=True)
class Answer:
    """What goes back. A path is sent as a file, with Range."""

    status: int = 200
    content: bytes | Path = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One request that was made, for those who want to know.

    Attributes:
        sent: bytes of its body.
        answered: False where the answer was kept back.
    """

    method: str
    path: str
    authorized: bool
    sent: int
    status: int
    answered: bool = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Nothing is printed: the client sees that the connection ended, and says so."""


class LocalHub:
    """A Hub in this process. `with LocalHub(folder).serving() as hub: ... hub.endpoint`.

    Args:
        folder: where uploaded content is kept.
        accounts: by token. Everybody may read what is public.
        part_size: bytes of a part; larger files are uploaded in several.
    """

    def __init__(
        self,
        folder: Path,
        accounts: Mapping[str, Account],
        part_size: int = 64 << 20,
        handler: type[Handler] | None = None,
    ) -> None:
        self.folder, self.accounts, self.part_size = folder, accounts, part_size
        self.objects = Objects(folder / "objects")
        self.repositories: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.requests: list[Request] = []
        self.parts: dict[tuple[str, int], Path] = {}
        self.lock = threading.Lock()
        bound = type("BoundHandler", (handler or Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), bound)
        self.port = self._server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.storage = f"http://localhost:{self.port}"

    @contextmanager
    def serving(self) -> Iterator[LocalHub]:
        """Answer requests while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def create(self, id: str, private: bool = False) -> Repository:
        """A new repository. Refuses one that exists."""
        with self.lock:
            if id in self.repositories:
                raise HubRefusal(409, "You already created this dataset repo")
            self.repositories[id] = Repository.create(id, self.objects, private)
            self.renamed.pop(id, None)
            return self.repositories[id]

    def rename(self, old: str, new: str) -> None:
        """A repository gets another name, to which the old one leads."""
        with self.lock:
            self.repositories[new] = self.repositories.pop(old)
            self.repositories[new].id = new
            self.renamed[old] = new


Route = Callable[["Handler", re.Match[str]], Answer]


class Handler(BaseHTTPRequestHandler):
    """One connection. `routes` maps method and path to what answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a small answer after its headers waits 40 ms
    wbufsize = 1 << 16
    hub: LocalHub
    routes: tuple[tuple[str, str, Route], ...] = ()

    def do_GET(self) -> None:
        """All methods are answered alike."""
        split = urlsplit(self.path)
        self.route_path, self.query = split.path, parse_qs(split.query)
        self.length = int(self.headers.get("Content-Length") or 0)
        self.left = self.length
        self.respond()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Nothing is logged: who asked what is in `hub.requests`."""

    def respond(self) -> None:
        """Read, act, answer."""
        self.send(self.act())

    def act(self) -> Answer:
        """What the request asks for is done; the answer is not sent yet."""
        try:
            for method, pattern, route in self.routes:
                match = re.fullmatch(pattern, self.route_path)
                if match and method == (self.command if self.command != "HEAD" else "GET"):
                    old = unquote(match.groupdict().get("id") or "")
                    if old in self.hub.renamed:
                        return Answer(307, headers={"Location": self.path.replace(old, self.hub.renamed[old], 1)})
                    return route(self, match)
            raise HubRefusal(404, f"no such page: {self.route_path}")
        except HubRefusal as refusal:
            return _refused(refusal.status, str(refusal), refusal.code)
        except ConnectionError:  # there is nobody to answer
            raise
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            return _refused(507 if full else 500, f"{type(error).__name__}: {error}")

    def send(self, answer: Answer, *, answered: bool = True) -> None:
        """Write an answer; `answered=False` records it and writes nothing."""
        for _ in self.body():  # what was not read would be taken for the next request
            pass
        authorized = "Authorization" in self.headers
        request = Request(self.command, self.path, authorized, self.length, answer.status, answered)
        self.hub.requests.append(request)
        if not answered:
            self.close_connection = True
            return
        status, headers = answer.status, dict(answer.headers)
        if isinstance(answer.content, Path):
            begin, length, whole = 0, answer.content.stat().st_size, answer.content.stat().st_size
            span = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            if span and (span[1] or span[2]):
                begin = int(span[1]) if span[1] else max(0, whole - int(span[2]))
                last = min(int(span[2]), whole - 1) if span[1] and span[2] else whole - 1
                length = last - begin + 1
                if length <= 0:
                    status, length, headers = 416, 0, {"Content-Range": f"bytes */{whole}"}
                else:
                    status = 206
                    headers["Content-Range"] = f"bytes {begin}-{last}/{whole}"
            headers["Accept-Ranges"] = "bytes"
        else:
            length = len(answer.content)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(answer.content, Path):
            with answer.content.open("rb") as stream:
                stream.seek(begin)
                for piece in pieces_of(stream, length):
                    self.wfile.write(piece)
        else:
            self.wfile.write(answer.content)

    def body(self) -> Iterator[bytes]:
        """What is left of the request's body."""
        while self.left:
            for piece in pieces_of(self.rfile, min(self.left, 1 << 20)):
                self.left -= len(piece)
                yield piece

    def json(self) -> Any:
        """The body as JSON, or as a form whose values are lists."""
        content = b"".join(self.body())
        if self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
            return parse_qs(content.decode())
        return json.loads(content or b"{}")

    # Who asks, and whether they may.

    def account(self) -> Account | None:
        """Whose token came with the request; refuses an unknown one."""
        header = self.headers.get("Authorization", "")
        if not header:
            return None
        account = self.hub.accounts.get(header.removeprefix("Bearer "))
        if account is None:
            raise HubRefusal(401, "Invalid username or password.")
        return account

    def may_write(self, id: str) -> None:
        """Refuses who may not write to a repository of this id."""
        account = self.account()
        if account is None:
            raise HubRefusal(401, "Invalid username or password.")
        if account.role != "write":
            raise HubRefusal(403, "Forbidden: this token may only read: the required scope is write")
        if id.split("/")[0] not in (account.name, *account.orgs):
            raise HubRefusal(403, f"Forbidden: you may not write to {id.split('/')[0]}")

    def repository(self, match: re.Match[str], write: bool = False) -> Repository:
        """The repository that a request names; what one may not see does not exist."""
        id = unquote(match["id"])
        found = self.hub.repositories.get(id)
        account = self.account()
        if found is None or (found.private and (account is None or id.split("/")[0] not in _names(account))):
            raise HubRefusal(404 if account else 401, "Repository Not Found", "RepoNotFound")
        if write:
            self.may_write(id)
        return found


def _refused(status: int, message: str, code: str = "") -> Answer:
    """An answer that says why. A header is one line of Latin letters."""
    line = " ".join(message.encode("ascii", "backslashreplace").decode().split())
    headers = {"X-Error-Message": line} | ({"X-Error-Code": code} if code else {})
    return Answer(status, json.dumps({"error": message}).encode(), headers)


def _names(account: Account) -> tuple[str, ...]:
    return (account.name, *account.orgs)
