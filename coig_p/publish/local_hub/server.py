"""The Hub's HTTP interface, as far as huggingface_hub and datasets use it for datasets.

Large files are served, as the Hub does, from another origin: the same server under the name
localhost. A client that sends its token there is told so.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from coig_p.publish.local_hub.repository import Blob, Commit, HubRefusal, Objects, Repository, pieces_of

PAGE = 1000  # entries of a tree in one answer
_FILES_A_PREUPLOAD = 256
_REGULAR = 10 << 20  # bytes; larger files are LFS
_ID = r"(?P<id>[^/]+/[^/]+)"


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
        self.requests: list[Request] = []
        self.parts: dict[tuple[str, int], Path] = {}
        self.lock = threading.Lock()
        bound = type("BoundHandler", (handler or Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
        self._server.daemon_threads = True
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
            return self.repositories[id]


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
                    return route(self, match)
            raise HubRefusal(404, f"no such page: {self.route_path}")
        except HubRefusal as refusal:
            headers = {"X-Error-Message": str(refusal)} | ({"X-Error-Code": refusal.code} if refusal.code else {})
            return Answer(refusal.status, json.dumps({"error": str(refusal)}).encode(), headers)

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


def _names(account: Account) -> tuple[str, ...]:
    return (account.name, *account.orgs)


def _whoami(handler: Handler, _: re.Match[str]) -> Answer:
    account = handler.account()
    if account is None:
        raise HubRefusal(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": name} for name in account.orgs]
    token = {"accessToken": {"displayName": "local", "role": account.role}}
    return _json({"type": "user", "name": account.name, "fullname": account.name, "orgs": orgs, "auth": token})


def _create(handler: Handler, _: re.Match[str]) -> Answer:
    asked = handler.json()
    account = handler.account()
    namespace = asked.get("organization") or (account.name if account else "")
    id = f"{namespace}/{asked['name']}"
    handler.may_write(id)
    answer = {"url": f"{handler.hub.endpoint}/datasets/{id}", "name": id}
    try:
        handler.hub.create(id, private=asked.get("visibility") == "private" or bool(asked.get("private")))
    except HubRefusal as refusal:
        return Answer(refusal.status, json.dumps(answer | {"error": str(refusal)}).encode())
    return _json(answer)


def _delete(handler: Handler, _: re.Match[str]) -> Answer:
    asked = handler.json()
    id = f"{asked.get('organization') or ''}/{asked['name']}"
    handler.may_write(id)
    if handler.hub.repositories.pop(id, None) is None:
        raise HubRefusal(404, "Repository Not Found", "RepoNotFound")
    return Answer()


def _validate_yaml(handler: Handler, _: re.Match[str]) -> Answer:
    handler.json()
    return _json({"errors": [], "warnings": []})


def _info(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    commit = repository.find(unquote(match.groupdict().get("rev") or "main"))
    siblings: list[dict[str, Any]] = [{"rfilename": path} for path in commit.tree]
    if "blobs" in handler.query:
        siblings = [
            {"rfilename": path, "size": blob.size, "blobId": blob.oid} | _lfs(blob)
            for path, blob in commit.tree.items()
        ]
    found = {"_id": repository.id, "id": repository.id, "author": repository.id.split("/")[0], "sha": commit.oid}
    rest = {"private": repository.private, "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0}
    return _json({**found, **rest, "lastModified": commit.date, "siblings": siblings})


def _refs(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    found: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
    with repository.lock:
        refs = dict(repository.refs)
    for ref, oid in refs.items():
        kind = {"heads": "branches", "tags": "tags", "pr": "pullRequests"}[ref.split("/")[1]]
        if kind != "pullRequests" or "include_prs" in handler.query:
            name = ref.split("/", 2)[2]
            found[kind].append({"name": name, "ref": ref, "targetCommit": oid})
    return _json(found)


def _tree(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    commit = repository.find(unquote(match["rev"]))
    folder = unquote(match["path"] or "").strip("/")
    prefix = f"{folder}/" if folder else ""
    inside = [path for path in sorted(commit.tree) if path.startswith(prefix)]
    if folder and not inside:
        raise HubRefusal(404, f"{folder} does not exist on {match['rev']}", "EntryNotFound")
    entries: dict[str, dict[str, Any]] = {}
    recursive = handler.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    for path in inside:
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts)):
            if depth == 1 or recursive:
                name = prefix + "/".join(parts[:depth])
                entries.setdefault(name, {"type": "directory", "path": name, "oid": "0" * 40, "size": 0})
        if len(parts) == 1 or recursive:
            entries[path] = _entry(path, commit.tree[path])
    if "expand" in handler.query:
        last = {"id": commit.oid, "title": commit.title, "date": commit.date}
        entries = {path: entry | {"lastCommit": last} for path, entry in entries.items()}
    begin = int(handler.query.get("cursor", ["0"])[0])
    page = list(entries.values())[begin : begin + PAGE]
    headers = {}
    if begin + PAGE < len(entries):
        kept = "&".join(
            f"{name}={quote(handler.query[name][0])}" for name in ("recursive", "expand") if name in handler.query
        )
        headers["Link"] = f'<{handler.hub.endpoint}{handler.route_path}?cursor={begin + PAGE}&{kept}>; rel="next"'
    return _json(page, headers)


def _paths_info(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    commit = repository.find(unquote(match["rev"]))
    wanted = handler.json().get("paths", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    found = []
    for path in dict.fromkeys(name.strip("/") for name in wanted):
        if path in commit.tree:
            found.append(_entry(path, commit.tree[path]))
        elif any(name.startswith(f"{path}/") for name in commit.tree):
            found.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
    return _json(found)


def _commits(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    history = repository.history(repository.find(unquote(match["rev"])))
    return _json(
        [{"id": at.oid, "title": at.title, "message": "", "authors": [], "date": at.date} for at in history],
        {"X-Total-Count": "0"},
    )


def _preupload(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match, write="create_pr" not in handler.query)
    tree = repository.find(unquote(match["rev"])).tree
    files = handler.json()["files"]
    if len(files) > _FILES_A_PREUPLOAD:
        raise HubRefusal(413, f"at most {_FILES_A_PREUPLOAD} files at a time")
    answers = []
    for file in files:
        large = (
            file["path"].endswith(".parquet") or file["size"] > _REGULAR or b"\0" in base64.b64decode(file["sample"])
        )
        known = tree.get(file["path"])
        oid = {} if known is None else {"oid": known.sha256 if known.lfs else known.oid}
        mode = {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        answers.append({"path": file["path"], **mode, **oid})
    return _json({"files": answers})


def _commit(handler: Handler, match: re.Match[str]) -> Answer:
    pull_request = "create_pr" in handler.query
    repository = handler.repository(match, write=not pull_request)
    if pull_request and handler.account() is None:
        raise HubRefusal(401, "Invalid username or password.")
    header: dict[str, Any] = {}
    added: dict[str, Blob] = {}
    deleted: list[str] = []
    for line in b"".join(handler.body()).splitlines():
        item = json.loads(line)
        key, value = item["key"], item["value"]
        if key == "header":
            header = value
        elif key == "file":
            content = value["content"]
            decoded = base64.b64decode(content) if value.get("encoding") == "base64" else content.encode()
            added[value["path"]] = repository.objects.regular(decoded)
        elif key == "lfsFile":
            known = repository.objects.path(value["oid"])
            size = value.get("size", known.stat().st_size if known.exists() else 0)
            added[value["path"]] = repository.objects.large(value["oid"], size)
        elif key == "deletedFile":
            deleted.append(value["path"])
        elif key == "deletedFolder":
            deleted.append(value["path"].rstrip("/") + "/")
        else:
            raise HubRefusal(400, f"unknown operation {key}")
    revision = unquote(match["rev"])
    commit, pull = repository.commit(
        revision, added, deleted, header.get("summary", ""), header.get("parentCommit"), pull_request
    )
    page = f"{handler.hub.endpoint}/datasets/{repository.id}"
    answer = {"success": True, "commitOid": commit.oid, "commitUrl": f"{page}/commit/{commit.oid}"}
    if pull:
        answer["pullRequestUrl"] = f"{page}/discussions/{pull.number}"
    return _json(answer)


def _tag(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match, write=True)
    repository.add_ref(f"refs/tags/{handler.json()['tag']}", unquote(match["rev"]))
    return Answer()


def _delete_tag(handler: Handler, match: re.Match[str]) -> Answer:
    handler.repository(match, write=True).delete_ref(f"refs/tags/{unquote(match['rev'])}")
    return Answer()


def _branch(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match, write=True)
    repository.add_ref(f"refs/heads/{unquote(match['rev'])}", handler.json().get("startingPoint") or "main")
    return Answer()


def _delete_branch(handler: Handler, match: re.Match[str]) -> Answer:
    handler.repository(match, write=True).delete_ref(f"refs/heads/{unquote(match['rev'])}")
    return Answer()


def _discuss(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    asked = handler.json()
    if handler.account() is None:
        raise HubRefusal(401, "Invalid username or password.")
    if not asked.get("pullRequest"):
        raise HubRefusal(501, "a local Hub knows pull requests, no discussions")
    pull = repository.open_pull_request(asked["title"])
    return _json({"num": pull.number, "pullRequest": True})


def _discussions(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    wanted = handler.query.get("status", [""])[0]
    found = [_pull(repository, at) for at, pull in repository.pulls.items() if wanted in ("", "all", pull.status)]
    return _json({"discussions": found, "count": len(found), "start": 0})


def _discussion(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    number = int(match["number"])
    if number not in repository.pulls:
        raise HubRefusal(404, "no such discussion", "DiscussionNotFound")
    if match["rest"] == "merge":
        handler.may_write(repository.id)
        repository.merge(number)
    changes = {"base": "refs/heads/main", "mergeCommitId": None}
    return _json(_pull(repository, number) | {"events": [], "changes": changes, "filesWithConflicts": []})


def _pull(repository: Repository, number: int) -> dict[str, Any]:
    pull = repository.pulls[number]
    head = repository.find(f"refs/pr/{number}")
    author = {"name": repository.id.split("/")[0], "type": "user"}
    rest = {"repo": {"name": repository.id, "type": "dataset"}, "author": author, "createdAt": head.date}
    return {"num": number, "title": pull.title, "status": pull.status, "isPullRequest": True, **rest}


def _batch(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)  # who only proposes a pull request uploads too
    if handler.account() is None:
        raise HubRefusal(401, "Invalid username or password.")
    hub, objects = handler.hub, []
    for wanted in handler.json()["objects"]:
        oid, size = wanted["oid"], wanted["size"]
        answer: dict[str, Any] = {"oid": oid, "size": size}
        if oid not in repository.large:
            place = f"{hub.storage}/lfs/{repository.id}/{oid}"
            verify = {"href": f"{hub.endpoint}/datasets/{repository.id}.git/info/lfs/objects/verify"}
            if size <= hub.part_size:
                upload: dict[str, Any] = {"href": f"{place}?key=signed"}
            else:
                parts = range(1, -(-size // hub.part_size) + 1)
                header = {"chunk_size": str(hub.part_size)} | {f"{at:05d}": f"{place}/{at}?key=signed" for at in parts}
                upload = {"href": f"{hub.endpoint}/lfs/{repository.id}/{oid}/complete?key=signed", "header": header}
            answer["actions"] = {"upload": upload, "verify": verify}
        objects.append(answer)
    return _json({"transfer": "multipart", "objects": objects})


def _verify(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    asked = handler.json()
    if asked["oid"] not in repository.large:
        raise HubRefusal(404, "no such object")
    return Answer()


def _stored(handler: Handler, match: re.Match[str]) -> Repository:
    """The repository of a signed address of the storage, where no token belongs."""
    if "Authorization" in handler.headers:
        raise HubRefusal(400, "a token was sent to the storage, which is another origin")
    if "key" not in handler.query:
        raise HubRefusal(403, "the address is not signed")
    return handler.hub.repositories[unquote(match["id"])]


def _put(handler: Handler, match: re.Match[str]) -> Answer:
    repository = _stored(handler, match)
    repository.objects.write(handler.body(), match["oid"])
    repository.large.add(match["oid"])
    return Answer(headers={"ETag": f'"{match["oid"]}"'})


def _put_part(handler: Handler, match: re.Match[str]) -> Answer:
    repository = _stored(handler, match)
    sha256, _ = repository.objects.write(handler.body())
    handler.hub.parts[match["oid"], int(match["part"])] = repository.objects.path(sha256)
    return Answer(headers={"ETag": f'"{sha256}"'})


def _complete(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.hub.repositories[unquote(match["id"])]
    paths = []
    for part in handler.json()["parts"]:
        path = handler.hub.parts.get((match["oid"], part["partNumber"]))
        if path is None or part["etag"].strip('"') != path.name:
            raise HubRefusal(400, f"part {part['partNumber']} was not uploaded")
        paths.append(path)

    def pieces() -> Iterator[bytes]:
        for path in paths:
            with path.open("rb") as stream:
                yield from pieces_of(stream, path.stat().st_size)

    repository.objects.write(pieces(), match["oid"])
    repository.large.add(match["oid"])
    return Answer()


def _resolve(handler: Handler, match: re.Match[str]) -> Answer:
    repository = handler.repository(match)
    commit = repository.find(unquote(match["rev"]))
    path = unquote(match["path"])
    blob = commit.tree.get(path)
    if blob is None:
        raise HubRefusal(404, f"{path} does not exist on {match['rev']}", "EntryNotFound")
    headers = {"X-Repo-Commit": commit.oid}
    if not blob.lfs:
        return Answer(200, repository.objects.path(blob.sha256), headers | {"ETag": f'"{blob.oid}"'})
    linked = {"X-Linked-Size": str(blob.size), "X-Linked-ETag": f'"{blob.sha256}"', "ETag": f'"{blob.oid}"'}
    place = f"{handler.hub.storage}/lfs/{repository.id}/{blob.sha256}?key=signed"
    return Answer(302, b"", headers | linked | {"Location": place})


def _get_large(handler: Handler, match: re.Match[str]) -> Answer:
    place = _stored(handler, match).objects.path(match["oid"])
    if not place.exists():
        raise HubRefusal(404, "no such object")
    return Answer(200, place, {"ETag": f'"{match["oid"]}"'})


def _json(value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def _lfs(blob: Blob) -> dict[str, Any]:
    return {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": 130}} if blob.lfs else {}


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    return {"type": "file", "path": path, "oid": blob.oid, "size": blob.size} | _lfs(blob)


_R = rf"/api/datasets/{_ID}"
_LFS = rf"/lfs/{_ID}/(?P<oid>[0-9a-f]{{64}})"
Handler.routes = (
    ("GET", r"/api/whoami-v2", _whoami),
    ("POST", r"/api/repos/create", _create),
    ("DELETE", r"/api/repos/delete", _delete),
    ("POST", r"/api/validate-yaml", _validate_yaml),
    ("GET", rf"{_R}(?:/revision/(?P<rev>[^/]+))?", _info),
    ("GET", rf"{_R}/refs", _refs),
    ("GET", rf"{_R}/tree/(?P<rev>[^/]+)(?P<path>/.*)?", _tree),
    ("POST", rf"{_R}/paths-info/(?P<rev>[^/]+)", _paths_info),
    ("GET", rf"{_R}/commits/(?P<rev>[^/]+)", _commits),
    ("POST", rf"{_R}/preupload/(?P<rev>[^/]+)", _preupload),
    ("POST", rf"{_R}/commit/(?P<rev>[^/]+)", _commit),
    ("POST", rf"{_R}/tag/(?P<rev>[^/]+)", _tag),
    ("DELETE", rf"{_R}/tag/(?P<rev>[^/]+)", _delete_tag),
    ("POST", rf"{_R}/branch/(?P<rev>[^/]+)", _branch),
    ("DELETE", rf"{_R}/branch/(?P<rev>[^/]+)", _delete_branch),
    ("POST", rf"{_R}/discussions", _discuss),
    ("GET", rf"{_R}/discussions", _discussions),
    ("GET", rf"{_R}/discussions/(?P<number>\d+)(?P<rest>)", _discussion),
    ("POST", rf"{_R}/discussions/(?P<number>\d+)/(?P<rest>merge)", _discussion),
    ("POST", rf"/datasets/{_ID}\.git/info/lfs/objects/batch", _batch),
    ("POST", rf"/datasets/{_ID}\.git/info/lfs/objects/verify", _verify),
    ("PUT", _LFS, _put),
    ("PUT", rf"{_LFS}/(?P<part>\d+)", _put_part),
    ("POST", rf"{_LFS}/complete", _complete),
    ("GET", _LFS, _get_large),
    ("GET", rf"/datasets/{_ID}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", _resolve),
)

__all__ = ["PAGE", "Account", "Answer", "Commit", "Handler", "LocalHub", "Request"]
