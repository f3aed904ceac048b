"""What each address of the Hub answers, as far as huggingface_hub and datasets ask for datasets."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from coig_p.publish.local_hub.repository import Blob, HubRefusal, Repository, pieces_of
from coig_p.publish.local_hub.server import Answer, Handler, Route

PAGE = 1000  # entries of a tree in one answer
_FILES_A_PREUPLOAD = 256
_REGULAR = 10 << 20  # bytes; larger files are LFS
_ID = r"(?P<id>[^/]+/[^/]+)"


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
        large = file["size"] > _REGULAR or b"\0" in base64.b64decode(file["sample"])
        large = large or repository.is_tracked(tree, file["path"])
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
ROUTES: tuple[tuple[str, str, Route], ...] = (
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
