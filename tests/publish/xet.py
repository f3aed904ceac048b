"""A local Hub with Xet storage: hf_xet writes into a folder, and the Hub learns what is in it.

hf_xet keeps its storage in a local folder when a Hub names one as local://. It locks that folder, so
one process at a time. The Hub side of it is the map from a file's SHA-256, which a commit names, to
its Xet hash, which a download asks for; both stand in the shards that an upload leaves.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from coig_p.publish.local_hub import Handler, LocalHub
from coig_p.publish.local_hub.server import Answer

_RECORD = 48  # bytes; every part of a shard is of this size
_HAS_VERIFICATION, _HAS_METADATA = 1 << 31, 1 << 30
_END = b"\xff" * 32


class XetHub(LocalHub):
    @property
    def storage_folder(self) -> Path:
        folder = self.folder / "cas"
        folder.mkdir(exist_ok=True)
        return folder

    def xet_hashes(self) -> dict[str, str]:
        """Xet hash by SHA-256, of every file in the storage."""
        found: dict[str, str] = {}
        for shard in self.storage_folder.rglob("xorbs/shards/*.mdb"):
            found |= files_of(shard.read_bytes())
        return found


def files_of(shard: bytes) -> dict[str, str]:
    """Xet hash by SHA-256: a header, then of each file its hash and segments, perhaps proofs, perhaps the SHA-256."""
    found, at = {}, _RECORD
    while (file := shard[at : at + 32]) != _END:
        flags = int.from_bytes(shard[at + 32 : at + 36], "little")
        segments = int.from_bytes(shard[at + 36 : at + 40], "little")
        at += _RECORD * (1 + segments * (2 if flags & _HAS_VERIFICATION else 1))
        if flags & _HAS_METADATA:
            found[_hex(shard[at : at + 32])] = _hex(file)
            at += _RECORD
    return found


def _hex(hash: bytes) -> str:
    """Xet writes a hash as four little-endian numbers."""
    return b"".join(hash[at : at + 8][::-1] for at in range(0, 32, 8)).hex()


class XetHandler(Handler):
    hub: XetHub

    def act(self) -> Answer:
        if "/commit/" in self.route_path:
            for repository in self.hub.repositories.values():
                repository.large.update(self.hub.xet_hashes())
        if self.route_path.startswith("/lfs/"):
            self.bring_over(self.route_path.split("/")[4])
        answer = super().act()
        linked = answer.headers.get("X-Linked-ETag", "").strip('"')
        if linked and linked in (known := self.hub.xet_hashes()):
            repo = re.match(r"/datasets/([^/]+/[^/]+)/", self.route_path)
            assert repo is not None
            auth = f"{self.hub.endpoint}/api/datasets/{repo[1]}/xet-read-token/main"
            headers = {"X-Xet-Hash": known[linked], "Link": f'<{auth}>; rel="xet-auth"'}
            return Answer(answer.status, answer.content, {**answer.headers, **headers})
        return answer

    def bring_over(self, sha256: str) -> None:
        """Streaming reads the plain way, so the Hub gets its files out of Xet when it is asked for the first one."""
        if self.hub.objects.path(sha256).exists() or self.command != "GET":
            return
        (repository,) = self.hub.repositories.values()
        wanted = {
            path: blob.sha256
            for path, blob in repository.find("main").tree.items()
            if blob.lfs and not self.hub.objects.path(blob.sha256).exists()
        }
        code = (
            "import huggingface_hub as h, sys\n"
            "for path in sys.argv[2:]: print(h.hf_hub_download(sys.argv[1], path, repo_type='dataset'))"
        )
        with tempfile.TemporaryDirectory() as home:
            environment = os.environ | {"HF_HOME": home, "HF_ENDPOINT": self.hub.endpoint, "HF_HUB_OFFLINE": "0"}
            environment |= {"HF_HUB_DISABLE_XET": "0", "HF_TOKEN": next(iter(self.hub.accounts))}
            command = [sys.executable, "-c", code, repository.id, *wanted]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
            for place, hash in zip(done.stdout.splitlines(), wanted.values(), strict=True):
                self.hub.objects.write([Path(place).read_bytes()], hash)


def _token(handler: Any, match: re.Match[str]) -> Answer:
    handler.repository(match, write=match["mode"] == "write")
    place = f"local://{handler.hub.storage_folder}"
    headers = {"X-Xet-Cas-Url": place, "X-Xet-Access-Token": "local", "X-Xet-Token-Expiration": "4000000000"}
    body = json.dumps({"casUrl": place, "exp": 4000000000, "accessToken": "local"}).encode()
    return Answer(200, body, headers | {"Content-Type": "application/json"})


XetHandler.routes = (
    ("GET", r"/api/datasets/(?P<id>[^/]+/[^/]+)/xet-(?P<mode>read|write)-token/.+", _token),
    *Handler.routes,
)
