"""What ModelScope's SDK asks for, answered on loopback from the same store as the local Hub.

Seen by running modelscope-hub 0.5 against it. Branch `master`; no commit names its parent.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import unquote

from coig_p.publish.local_hub import Handler, HubRefusal, LocalHub, Repository
from coig_p.publish.local_hub.repository import Blob
from coig_p.publish.local_hub.server import Answer

_ID = r"(?P<id>[^/]+/[^/]+)"
_MOST_OPERATIONS = 256


class ModelScope(LocalHub):
    """Attribute `between`: called once before the next commit, as somebody else who writes."""

    between: Any = None


class ModelScopeHandler(Handler):
    hub: ModelScope

    def act(self) -> Answer:
        answer = super().act()
        if answer.status >= 400:
            message = answer.headers.get("X-Error-Message", "")
            return Answer(answer.status, json.dumps({"Success": False, "Message": message}).encode())
        return answer


def data(value: Any) -> Answer:
    body = {"Code": 200, "Success": True, "success": True, "Data": value, "data": value}
    return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def repository(handler: ModelScopeHandler, match: re.Match[str], write: bool = False) -> Repository:
    found = handler.hub.repositories.get(unquote(match["id"]))
    if found is None:
        raise HubRefusal(404, "not found")
    if write:
        handler.may_write(found.id)
    return found


def revision(name: str) -> str:
    return "main" if name == "master" else name


def info(handler: Any, match: re.Match[str]) -> Answer:
    found = repository(handler, match)
    return data({"id": found.id, "Name": found.id.split("/")[1], "visibility": 1 if found.private else 5})


def create(handler: Any, _: re.Match[str]) -> Answer:
    content = b"".join(handler.body())
    kind = handler.headers.get("Content-Type", "")
    fields = re.findall(rb'name="(\w+)"[^\r]*\r\n(?:[^\r]+\r\n)*\r\n(.*?)\r\n', content)
    form = {name.decode(): value.decode() for name, value in fields}
    asked = json.loads(content) if "json" in kind else form
    id = f"{asked['Owner']}/{asked['Name']}"
    handler.may_write(id)
    handler.hub.create(id, private=int(asked["Visibility"]) == 1)
    return data({"Id": 1, "Owner": asked["Owner"], "Name": asked["Name"]})


def tree(handler: Any, match: re.Match[str]) -> Answer:
    commit = repository(handler, match).find(revision(handler.query["Revision"][0]))
    page, size = (
        int(handler.query.get(name, [default])[0]) for name, default in (("PageNumber", "1"), ("PageSize", "200"))
    )
    entries = [
        {"Path": path, "Name": path.split("/")[-1], "Size": blob.size, "Sha256": blob.sha256, "Type": "blob"}
        for path, blob in sorted(commit.tree.items())
    ]
    return data({"Files": entries[(page - 1) * size : page * size]})


def revisions(handler: Any, match: re.Match[str]) -> Answer:
    refs = repository(handler, match).refs
    tags = [
        {"Revision": ref.removeprefix("refs/tags/"), "CreatedAt": 0} for ref in refs if ref.startswith("refs/tags/")
    ]
    return data({"RevisionMap": {"Branches": [{"Revision": "master", "CreatedAt": 0}], "Tags": tags}})


def tag(handler: Any, match: re.Match[str]) -> Answer:
    asked = handler.json()
    repository(handler, match, write=True).add_ref(f"refs/tags/{asked['TagName']}", revision(asked["Ref"]))
    return data({})


def batch(handler: Any, match: re.Match[str]) -> Answer:
    found = repository(handler, match, write=True)
    wanted = [at for at in handler.json()["objects"] if at["oid"] not in found.large]
    place = f"{handler.hub.endpoint}/blob/{found.id}"
    return data({"objects": [at | {"actions": {"upload": {"href": f"{place}/{at['oid']}"}}} for at in wanted]})


def put(handler: Any, match: re.Match[str]) -> Answer:
    found = repository(handler, match, write=True)
    found.objects.write(handler.body(), match["oid"])
    found.large.add(match["oid"])
    return data({})


def commit(handler: Any, match: re.Match[str]) -> Answer:
    found = repository(handler, match, write=True)
    asked = handler.json()
    between, handler.hub.between = handler.hub.between, None
    if between is not None:
        between(found)
    if len(asked["actions"]) > _MOST_OPERATIONS:
        raise HubRefusal(400, "too many actions")
    added: dict[str, Blob] = {}
    deleted = []
    for action in asked["actions"]:
        if action["action"] == "delete":
            deleted.append(action["path"])
        elif action["type"] == "lfs":
            added[action["path"]] = found.objects.large(action["sha256"], action["size"])
        else:
            added[action["path"]] = found.objects.regular(base64.b64decode(action["content"]))
    made, _ = found.commit(revision(match["rev"]), added, deleted, asked["commit_message"])
    return data({"commit_id": made.oid})


def download(handler: Any, match: re.Match[str]) -> Answer:
    found = repository(handler, match)
    path = handler.query["FilePath"][0]
    blob = found.find(revision(handler.query["Revision"][0])).tree.get(path)
    if blob is None:
        raise HubRefusal(404, f"no such file: {path}")
    return Answer(200, found.objects.path(blob.sha256), {"ETag": f'"{blob.sha256}"'})


ModelScopeHandler.routes = (
    ("GET", rf"/openapi/v1/datasets/{_ID}", info),
    ("GET", rf"/api/v1/datasets/{_ID}", info),
    ("POST", r"/api/v1/datasets", create),
    ("GET", rf"/api/v1/datasets/{_ID}/repo/tree", tree),
    ("GET", rf"/api/v1/datasets/{_ID}/revisions", revisions),
    ("POST", rf"/api/v1/datasets/{_ID}/repo/tag", tag),
    ("GET", rf"/api/v1/datasets/{_ID}/repo", download),
    ("POST", rf"/api/v1/repos/datasets/{_ID}/info/lfs/objects/batch", batch),
    ("PUT", rf"/blob/{_ID}/(?P<oid>[0-9a-f]{{64}})", put),
    ("POST", rf"/api/v1/repos/datasets/{_ID}/commit/(?P<rev>[^/]+)", commit),
)
