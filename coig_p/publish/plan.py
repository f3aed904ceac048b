"""What a release holds, and what a commit must do to turn a remote tree into it.

Nothing here talks to a network: a plan is a pure function of the release, the tree that is there and
the manifest of the release before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from coig_p.errors import RemoteError, StoreError, UsageError
from coig_p.store.manifest import MANIFEST
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

# What a Hub or its users keep beside a release: neither compared nor deleted where no manifest lists it.
BESIDE = frozenset({".gitattributes", ".gitignore", "card.toml"})
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_SHOWN = 5


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release.

    Attributes:
        path: in the repository, with forward slashes.
        source: where its content lies on this machine.
        role: as the manifest says; "manifest" for the manifest itself.
        bytes: its size.
    """

    path: str
    source: Path
    sha256: str
    bytes: int
    role: str


@dataclass(frozen=True)
class Release:
    """A version and every file of it, the manifest last."""

    version: str
    files: tuple[ReleaseFile, ...]

    @property
    def tag(self) -> str:
        """What the release is called on a Hub: v1.0.0."""
        return f"v{self.version}"

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class RemoteFile:
    """A file as a Hub describes it: by SHA-256 where it is kept in LFS, else by the hash git gives it."""

    path: str
    bytes: int
    oid: str
    sha256: str | None = None


@dataclass(frozen=True)
class Add:
    """Put a file there, or put it in place of another."""

    file: ReleaseFile

    @property
    def path(self) -> str:
        """Where."""
        return self.file.path


@dataclass(frozen=True)
class Delete:
    """Take away a file that the release before had."""

    path: str


Operation = Add | Delete
Tree = Mapping[str, RemoteFile]


def additions(operations: Iterable[Operation]) -> tuple[Add, ...]:
    """Those that put a file there."""
    return tuple(at for at in operations if isinstance(at, Add))


def deletions(operations: Iterable[Operation]) -> tuple[str, ...]:
    """The paths that go."""
    return tuple(at.path for at in operations if isinstance(at, Delete))


def check_version(version: str) -> str:
    """The version as given; UsageError where it is not of the form 1.0.0."""
    if not _VERSION.fullmatch(version):
        raise UsageError(f"version {version!r}: write it as 1.0.0, three numbers without a v; 1.1.0-beta will do too")
    return version


def check_repo(repo_id: str) -> str:
    """The repository as given; UsageError where it is not of the form org/name."""
    if not _REPO.fullmatch(repo_id):
        raise UsageError(f"{repo_id!r}: write the repository as org/name")
    return repo_id


def read_release(folder: str | Path, version: str, advance: Callable[[int], None] = lambda read: None) -> Release:
    """Read a release folder and compare every file with its manifest by size and hash.

    Args:
        advance: called with the number of bytes checked since the last call.

    Raises:
        StoreError: not a release, or a file that is missing, changed or not listed.
        UsageError: a version of another form, or another than the folder was made as.
    """
    check_version(version)
    store = Store.open(folder, check_sizes=False)
    made_as = store.manifest.release.get("version", version)
    if made_as != version:
        raise UsageError(
            f"{folder} was made as version {made_as}, as its card and manifest say, not {version}: pass --version "
            f"{made_as}, or make {version} of the store"
        )
    problems = store.verify(advance)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise StoreError(folder, f"{problems[0]}{more}. Nothing was published. To see all, run: coigp verify {folder}")
    files = [
        ReleaseFile(file.path, store.path / file.path, file.sha256, file.bytes, file.role)
        for file in store.manifest.files
    ]
    manifest = store.path / MANIFEST
    files.append(ReleaseFile(MANIFEST, manifest, sha256_of(manifest), manifest.stat().st_size, "manifest"))
    return Release(version, tuple(files))


def git_oid(path: Path) -> str:
    """The hash that git gives a file: SHA-1 over its kind, size and content."""
    found = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def same(file: ReleaseFile, remote: RemoteFile | None) -> bool:
    """Whether a Hub has a file's content at its path."""
    if remote is None or remote.bytes != file.bytes:
        return False
    return remote.sha256 == file.sha256 if remote.sha256 else remote.oid == git_oid(file.source)


def differences(release: Release, tree: Tree) -> list[str]:
    """Paths by which a remote tree is not the release: missing, of other content, or not of it."""
    wanted = {file.path: file for file in release.files}
    differ = [path for path, file in wanted.items() if not same(file, tree.get(path))]
    return differ + [path for path in tree if path not in wanted and path not in BESIDE]


def plan_commit(
    release: Release, tree: Tree, listed: Collection[str], changed: Collection[str] = ()
) -> tuple[Operation, ...]:
    """The operations that turn a remote tree into the release, none that changes nothing.

    Args:
        listed: paths that the manifest in that tree lists, and its own: all that may be replaced or
            deleted. Empty where there is no manifest.
        changed: those of them whose content is no longer what that manifest says.

    Raises:
        RemoteError: a file that is not ours stands there, or one of ours was changed by somebody.
    """
    wanted = {file.path: file for file in release.files}
    adds = [file for file in release.files if not same(file, tree.get(file.path))]
    deletes = [path for path in tree if path not in wanted and path not in BESIDE]
    touched = [file.path for file in adds if file.path in tree] + deletes
    strange = [path for path in touched if path not in listed]
    if strange:
        raise RemoteError(
            f"the repository holds {_names(strange)}, which no coig-p release put there; nothing was changed. "
            "Move it elsewhere or delete it yourself, or publish to another repository"
        )
    edited = [path for path in touched if path in changed]
    if edited:
        raise RemoteError(
            f"{_names(edited)} was changed in the repository since its last release; nothing was changed by this one. "
            "Take the change over into yours, or pass --overwrite to replace it"
        )
    return (*(Add(file) for file in adds), *(Delete(path) for path in deletes))


def _names(paths: list[str]) -> str:
    shown = ", ".join(sorted(paths)[:_SHOWN])
    return shown + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
