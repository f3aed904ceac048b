"""What the Hub and ModelScope have in common: a repository that errors name, and what may be changed in it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from coig_p.errors import RemoteError, StoreError
from coig_p.publish.plan import Operation, Release, Tree, plan_commit
from coig_p.publish.trouble import Trouble, explain, scrubbed, trouble_of
from coig_p.store.manifest import MANIFEST, Manifest
from coig_p.store.writing import sha256_of

_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class RemoteRepo(ABC):
    """One dataset repository.

    Attributes:
        id: org/name.
        endpoint: of the Hub it is on, without a slash at the end.
        token: which no error repeats.
    """

    id: str
    endpoint: str
    token: str | None = field(repr=False)

    login: ClassVar[str]
    """The command that signs in."""

    @property
    def url(self) -> str:
        """Its page."""
        return f"{self.endpoint}/datasets/{self.id}"

    @abstractmethod
    def download(self, path: str, revision: str) -> Path:
        """A local copy of a file."""

    def problem(self, words: str) -> RemoteError:
        """An error of our own about this repository."""
        return scrubbed(RemoteError(f"{self.id} at {self.endpoint}: {words}"), self.token)

    def error(self, trouble: Trouble, doing: str) -> RemoteError:
        """The error for what went wrong between here and there."""
        return explain(trouble, self.id, self.endpoint, doing, self.token, self.login)

    @contextmanager
    def told(self, doing: str) -> Iterator[None]:
        """What a client raises in the block becomes a RemoteError."""
        try:
            yield
        except Exception as error:
            trouble = trouble_of(error)
            if trouble is None:
                raise
            raise self.error(trouble, doing) from None


def read_manifest(repo: RemoteRepo, tree: Tree, revision: str) -> tuple[Manifest | None, str]:
    """What a revision's manifest says, and its SHA-256; None where there is none that is ours."""
    if MANIFEST not in tree:
        return None, ""
    path = repo.download(MANIFEST, revision)
    try:
        return Manifest.from_json(path.read_text("utf-8"), f"{repo.id}@{revision}"), sha256_of(path)
    except (StoreError, UnicodeDecodeError) as error:
        _logger.warning("%s: its %s is not that of a store: %s", repo.id, MANIFEST, error)
        return None, ""


def changes(repo: RemoteRepo, release: Release, tree: Tree, revision: str, overwrite: bool) -> tuple[Operation, ...]:
    """What turns a revision's tree into the release, as far as it is ours to change.

    Raises:
        RemoteError: a file that no release put there is in the way, or one of the last release was
            changed there since, and `overwrite` was not asked for.
    """
    manifest, recorded = read_manifest(repo, tree, revision)
    if manifest is None:
        return _planned(repo, release, tree, {})
    listed = {MANIFEST: recorded, **{file.path: file.sha256 for file in manifest.files}}
    operations = _planned(repo, release, tree, listed)
    if overwrite:
        return operations
    touched = [tree[operation.path] for operation in operations if operation.path in tree]
    # Git's hash of a small file says nothing about the SHA-256 that a manifest keeps.
    found = {file.path: file.sha256 or sha256_of(repo.download(file.path, revision)) for file in touched}
    changed = {path for path, sha256 in found.items() if sha256 != listed[path]}
    return _planned(repo, release, tree, listed, changed)


def _planned(
    repo: RemoteRepo, release: Release, tree: Tree, listed: Collection[str], changed: Collection[str] = ()
) -> tuple[Operation, ...]:
    try:
        return plan_commit(release, tree, listed, changed)
    except RemoteError as error:
        raise repo.problem(str(error)) from None
