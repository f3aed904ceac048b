"""What people do to a repository, and releases that go there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults import REPO, FaultyHub
from make import make_rows
from making import count_footers
from trials import TOKEN

from coig_p.publish import HubConfig, Published, publish, read_release
from coig_p.publish.local_hub import Repository

ROWS = make_rows({"math": 8})


def config(hub: FaultyHub, **options: Any) -> HubConfig:
    return HubConfig(token=TOKEN, endpoint=hub.endpoint, **options)


def to(hub: FaultyHub, folder: Path, version: str, **options: Any) -> Published:
    return publish(read_release(folder, version), REPO, config(hub, **options), load=count_footers)


def text(repository: Repository, path: str, revision: str = "main") -> str:
    return repository.objects.path(repository.find(revision).tree[path].sha256).read_text("utf-8")


def shown(repository: Repository, revision: str = "main") -> dict[str, str]:
    return {path: blob.sha256 for path, blob in repository.find(revision).tree.items() if path != ".gitattributes"}


def put(repository: Repository, path: str, content: str, title: str = "theirs", revision: str = "main") -> None:
    repository.commit(revision, {path: repository.objects.regular(content.encode())}, [], title)


def edit_card(repository: Repository, old: str, new: str, revision: str = "main") -> None:
    before = text(repository, "README.md", revision)
    assert old in before
    put(repository, "README.md", before.replace(old, new), "an edit", revision)
