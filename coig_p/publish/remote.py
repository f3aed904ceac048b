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
from coig_p.publish.plan import Before, Operation, Release, RemoteFile, Tree, plan_commit
from coig_p.publish.trouble import Trouble, explain, scrubbed, trouble_of
from coig_p.store.listing import manifest_of
from coig_p.store.manifest import MANIFEST, SIGNATURE, Manifest
from coig_p.store.manifest import read_manifest as manifest_text
from coig_p.store.writing import sha256_of

YANKED = "yanked"  # in a manifest's `release`: why each withdrawn version is one
MERGED = "merged"  # in a manifest's `release`: the text, by path, of what was made, where what is published differs
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
    def instead(self) -> str:
        """What else, as the end of a sentence, may be done by who has no write access."""
        return ""

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
        return explain(trouble, self.id, self.endpoint, doing, self.token, self.login, self.instead)

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


def read_manifest(repo: RemoteRepo, tree: Tree, revision: str) -> Manifest | None:
    """What a revision's manifest says; None where there is none that is ours."""
    if MANIFEST not in tree:
        return None
    path = repo.download(MANIFEST, revision)
    try:
        return manifest_of(
            manifest_text(path), f"{repo.id}@{revision}", lambda file: repo.download(file.path, revision)
        )
    except (StoreError, OSError, UnicodeDecodeError) as error:
        _logger.warning("%s: its %s is not that of a store: %s", repo.id, MANIFEST, error)
        return None


def written(repo: RemoteRepo, tree: Tree, revision: str) -> Before:
    """What a revision's own manifest says that a release wrote there: files that are as it says, and the manifest.

    Of a file that it lists and that was changed since, the content that stands there now is not of a release: such a
    file stands in `files` as one that no tree has.
    """
    manifest = read_manifest(repo, tree, revision)
    if manifest is None:
        return Before()
    files = {path: tree[path] for path in (MANIFEST, SIGNATURE) if path in tree}
    for file in manifest.files:
        there = tree.get(file.path)
        # Git's hash of a small file says nothing about the SHA-256 that a manifest keeps.
        sha256 = there and (there.sha256 or sha256_of(repo.download(file.path, revision)))
        found = there if there and sha256 == file.sha256 else RemoteFile(file.path, file.bytes, "", file.sha256)
        files[file.path] = found
    return Before(revision, str(manifest.release.get("version", "")), files, made=made_of(manifest))


def made_of(manifest: Manifest) -> dict[str, str]:
    """What was made, by path, where what lies beside a manifest is another."""
    return dict(manifest.release.get(MERGED) or {})


def planned(
    repo: RemoteRepo,
    release: Release,
    tree: Tree,
    before: Before,
    *,
    keep: Collection[str] = (),
    overwrite: bool = False,
    adopting: bool = False,
) -> tuple[Operation, ...]:
    """As `plan_commit`, with errors that name the repository."""
    try:
        return plan_commit(release, tree, before, keep=keep, overwrite=overwrite, adopting=adopting)
    except RemoteError as error:
        raise repo.problem(str(error)) from None
