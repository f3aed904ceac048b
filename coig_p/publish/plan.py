"""What a release holds, and what a commit must do to turn a remote tree into it.

Nothing here talks to a network: a plan is a pure function of the release, the tree that is there and
the manifest of the release before.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from coig_p.errors import RemoteError, StoreError, UsageError
from coig_p.store.manifest import MANIFEST, SIGNATURE
from coig_p.store.presence import lies_inside
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

# What a Hub or its users keep beside a release: neither compared nor deleted where no manifest lists it.
CARD = "README.md"
MAIN = "main"
CARD_ZH = "README.zh.md"
# What people may edit in a repository, and what of theirs is taken.
EDITABLE = (CARD, CARD_ZH, "LICENSE", "CITATION.cff")
# Titles of our commits, each with the version, by which they are known again.
RELEASE, RESTORE, WITHDRAW = "Release v", "Restore v", "Withdraw v"
BRANCH = "release/"  # and the version: where a release is staged
BESIDE = frozenset({".gitattributes", ".gitignore", "card.toml"})
# Of a pre-release, each part between dots is a number without zeros before it, or has a letter or hyphen.
_PART = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(rf"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-({_PART}(?:\.{_PART})*))?", re.ASCII)
_LONGEST_VERSION = 64  # characters; a tag is a file's name in git
_REPO = re.compile(r"[A-Za-z0-9](?:[\w.-]*\w)?/[A-Za-z0-9](?:[\w.-]*\w)?", re.ASCII)
_LONGEST_NAME = 96
_SHOWN = 5
_SIGNATURE_BYTES = 1 << 14  # more than any has


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


def as_it_is(file: ReleaseFile, source: Path) -> ReleaseFile:
    """The file with other content, of `source`."""
    return replace(file, source=source, sha256=sha256_of(source), bytes=source.stat().st_size)


@dataclass(frozen=True)
class Release:
    """A version and every file of it, the manifest last.

    Attributes:
        signer: signs a manifest, with a comment of one line; the manifest may become another on the way.
    """

    version: str
    files: tuple[ReleaseFile, ...]
    signer: Callable[[bytes, str], bytes] | None = field(default=None, compare=False, repr=False)

    @property
    def is_signed(self) -> bool:
        """Whether a signature of its manifest is among its files."""
        return any(file.path == SIGNATURE for file in self.files)

    @property
    def tag(self) -> str:
        """What the release is called on a Hub: v1.0.0."""
        return f"v{self.version}"

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files)

    def is_data(self, path: str) -> bool:
        """Whether a path lies where the release's data lies, so that a config may take it for some of it."""
        return path.partition("/")[0] in self.data_folders

    @cached_property
    def data_folders(self) -> frozenset[str]:
        """The topmost folders that hold Parquet files of it; "" where such a file lies in none."""
        paths = [file.path for file in self.files if file.path.endswith(".parquet")]
        return frozenset(path.partition("/")[0] for path in paths)


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


def size_of(operations: Iterable[Operation]) -> int:
    """Bytes of all files that are put there."""
    return sum(at.file.bytes for at in additions(operations))


def title(release: Release) -> str:
    """The title of its commits."""
    return f"{RELEASE}{release.version}"


def is_of_ours(words: str) -> bool:
    """Whether a commit's title is one that a release, a --restore or a --yank gives."""
    return words.startswith((RELEASE, RESTORE, WITHDRAW))


def is_version(text: str) -> bool:
    """Whether it is of the form 1.0.0, and git takes its tag."""
    return len(text) <= _LONGEST_VERSION and bool(_VERSION.fullmatch(text)) and not text.endswith(".lock")


def check_version(version: str) -> str:
    """The version as given; UsageError where it is not of the form 1.0.0, or git would refuse its tag."""
    if len(version) > _LONGEST_VERSION:
        raise UsageError(f"version {version[:20]!r}...: it has more than {_LONGEST_VERSION} characters")
    if not is_version(version):
        raise UsageError(f"version {version!r}: write it as 1.0.0, three numbers without a v; 1.1.0-beta will do too")
    return version


def is_prerelease(version: str) -> bool:
    """Whether a version, such as 1.1.0-beta, comes before the one that its numbers name."""
    return "-" in version


def precedence(version: str) -> tuple[Any, ...]:
    """A key by which versions are in order, as semver.org has it: 1.0.0-beta, 1.0.0, 1.1.0."""
    numbers, _, rest = version.partition("-")
    parts = (
        [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in rest.split(".")] if rest else [(2, 0, "")]
    )
    return (*map(int, numbers.split(".")), parts)


def version_of(tag: str) -> str | None:
    """The version that a tag of ours names; None for another tag."""
    version = tag.removeprefix("v")
    return version if tag.startswith("v") and is_version(version) else None


def check_repo(repo_id: str, hub: bool = True) -> str:
    """The repository as given; UsageError where it is not of the form org/name.

    Args:
        hub: refuse what the Hub and its client refuse, too.
    """
    if not _REPO.fullmatch(repo_id):
        raise UsageError(f"{repo_id!r}: write the repository as org/name, each of letters, digits, -, _ and .")
    name = repo_id.partition("/")[2]
    if hub and (len(name) > _LONGEST_NAME or "--" in repo_id or ".." in repo_id or name.endswith(".git")):
        raise UsageError(
            f"{repo_id!r}: no repository has such a name: it has at most {_LONGEST_NAME} characters, no -- and no .. "
            "in it, and no .git at its end"
        )
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
    signature = store.path / SIGNATURE
    if signature.exists() and not (
        signature.is_file() and lies_inside(store.path, signature) and signature.stat().st_size <= _SIGNATURE_BYTES
    ):
        problems.append(f"{SIGNATURE}: it is no signature: delete it")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise StoreError(folder, f"{problems[0]}{more}. Nothing was published. To see all, run: coigp verify {folder}")
    files = [
        ReleaseFile(file.path, store.path / file.path, file.sha256, file.bytes, file.role)
        for file in store.manifest.files
    ]
    if signature.exists():
        size = signature.stat().st_size
        files.append(ReleaseFile(SIGNATURE, signature, sha256_of(signature), size, "signature"))
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
    """Paths by which a remote tree does not give what the release gives: missing, of other content, or among its data.

    A file of others that is not in a folder of the release's data stands beside it, and is no difference.
    """
    wanted = {file.path: file for file in release.files}
    differ = [path for path, file in wanted.items() if not same(file, tree.get(path))]
    return differ + [path for path in tree if path not in wanted and release.is_data(path)]


def in_the_place_of(paths: Iterable[str], others: Collection[str]) -> set[str]:
    """Those of the paths that are a folder where one of the others is a file, or a file where one is in a folder."""
    files = set(others)
    folders = {folder for path in files for folder in _folders(path)}
    return {path for path in paths if path in folders or not files.isdisjoint(_folders(path))}


def _folders(path: str) -> list[str]:
    """Every folder that a path lies in."""
    return [path[:at] for at, letter in enumerate(path) if letter == "/"]


@dataclass(frozen=True)
class Before:
    """What stood in a repository when the last release was made.

    Attributes:
        commit: of that release; "" where there was none.
        version: its version; "" where there was none, or it says none.
        files: what it wrote, by path, as a Hub tells it; the manifest among them.
        beside: paths of others that stood beside it then.
        made: what was made, by path, where what was published is another, with what people changed.
        yanked: why each version withdrawn then was.
    """

    commit: str = ""
    version: str = ""
    files: Tree = field(default_factory=dict)
    beside: frozenset[str] = frozenset()
    made: Mapping[str, str] = field(default_factory=dict)
    yanked: Mapping[str, str] | None = None


def plan_commit(
    release: Release,
    tree: Tree,
    before: Before,
    *,
    keep: Collection[str] = (),
    overwrite: bool = False,
    adopting: bool = False,
) -> tuple[Operation, ...]:
    """The operations that turn a remote tree into the release, none that changes nothing.

    Only what the last release wrote is replaced or deleted. Its manifest is, with the signature: it is no place for a
    change by hand.

    Args:
        keep: paths of others that may stay beside the release, besides those that stood there before.
        overwrite: also replace, delete and put back what was changed or deleted since.
        adopting: whether what stands there before the first release can be adopted.

    Raises:
        RemoteError: a file that no release put there is in the way or nobody said that it may stay, or one of the
            last release's was changed or deleted by somebody.
    """
    wanted = {file.path: file for file in release.files}
    adds = [file for file in release.files if not same(file, tree.get(file.path))]
    deletes = [path for path in tree if path in before.files and path not in wanted]
    touched = {file.path for file in adds} | set(deletes)
    foreign = [path for path in tree if path not in before.files and path not in BESIDE]
    clashing = in_the_place_of(foreign, wanted)
    strange = [
        path
        for path in foreign
        # Of a signature nobody here knows whose it is, and of this manifest it is not.
        if path in touched or path in clashing or (path not in wanted and (release.is_data(path) or path == SIGNATURE))
    ]
    free = [path for path in foreign if path not in strange and path not in wanted]
    unknown = [path for path in free if path not in before.beside and path not in keep]
    if strange or unknown:
        advice = []
        if strange:
            stands, it = ("stands", "it") if len(strange) == 1 else ("stand", "them")
            advice.append(
                f"{_names(strange)} {stands} in its way: move {it} elsewhere, or publish to another repository"
            )
        aside = adopting and not before.commit and any("/" not in path or not release.is_data(path) for path in strange)
        if aside:
            advice.append("To keep all that was there before the first release, and to see with --dry-run how: --adopt")
        elif unknown:
            options = " ".join(f"--keep {shlex.quote(path)}" for path in sorted(unknown)[:_SHOWN])
            advice.append(f"To leave beside it what is not in its way: {options}")
        raise RemoteError(
            f"the repository holds {_names([*strange, *unknown])}, which no coig-p release put there; nothing was "
            f"changed. {'. '.join(advice)}"
        )
    edited = [path for path in touched if path in before.files and before.files[path] != tree.get(path)]
    edited = [path for path in edited if path not in (MANIFEST, SIGNATURE)]
    if edited and not overwrite:
        gone = all(path not in tree for path in edited)
        raise RemoteError(
            f"{_names(edited)} was {'deleted' if gone else 'changed'} in the repository since its last release; "
            f"nothing was changed by this one. Take the change over into yours, or pass --overwrite to "
            f"{'put back what was deleted' if gone else 'replace it'}"
        )
    return (*(Add(file) for file in adds), *(Delete(path) for path in deletes))


def _names(paths: list[str]) -> str:
    shown = ", ".join(sorted(paths)[:_SHOWN])
    return shown + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
