"""A repository as git keeps one: content by its hash, commits that name whole trees, refs that name commits.

A ref moves in one step under a lock, so a reader sees a commit whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from io import BufferedIOBase
from pathlib import Path
from typing import IO

MAIN = "refs/heads/main"
_PIECE = 1 << 20
_ATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"


class HubRefusal(Exception):
    """An answer other than 2xx.

    Attributes:
        status: of HTTP.
        code: what the Hub puts into X-Error-Code, or "".
    """

    def __init__(self, status: int, message: str, code: str = "") -> None:
        self.status, self.code = status, code
        super().__init__(message)


@dataclass(frozen=True)
class Blob:
    """A file's content: its size in bytes, its hashes, and whether git keeps a pointer to it instead."""

    sha256: str
    size: int
    oid: str
    lfs: bool


@dataclass(frozen=True)
class Commit:
    """A tree of files by path, with its ancestry."""

    oid: str
    parent: str | None
    tree: Mapping[str, Blob]
    title: str
    date: str


@dataclass(frozen=True)
class PullRequest:
    """A proposal to move main; its head is the ref refs/pr/<number>."""

    number: int
    title: str
    status: str = "open"


class Objects:
    """Content on disk under its SHA-256, written beside its place and renamed into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where content of this hash is kept."""
        return self.folder / sha256

    def write(self, pieces: Iterable[bytes], expected: str | None = None) -> tuple[str, int]:
        """Keep content; its SHA-256 and size in bytes. Refuses content of another hash than expected."""
        found, size = hashlib.sha256(), 0
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=".")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                for piece in pieces:
                    found.update(piece)
                    size += len(piece)
                    stream.write(piece)
            if expected not in (None, found.hexdigest()):
                raise HubRefusal(400, "the content does not have the announced sha256")
            os.replace(name, self.path(found.hexdigest()))
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return found.hexdigest(), size

    def regular(self, content: bytes) -> Blob:
        """Keep a small file that git itself holds."""
        sha256, size = self.write([content])
        return Blob(sha256, size, _git_oid(content), lfs=False)

    def large(self, sha256: str, size: int) -> Blob:
        """A pointer to content that was uploaded before."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        return Blob(sha256, size, _git_oid(pointer.encode()), lfs=True)


def pieces_of(stream: IO[bytes] | BufferedIOBase, length: int) -> Iterator[bytes]:
    """The next `length` bytes of a stream."""
    while length:
        piece = stream.read(min(_PIECE, length))
        if not piece:
            raise ConnectionError("the body ended early")
        length -= len(piece)
        yield piece


def _check_folders(tree: Iterable[str]) -> None:
    """Refuses a tree in which a path is both a file and a folder, which git cannot hold."""
    files = set(tree)
    for path in files:
        for at, letter in enumerate(path):
            if letter == "/" and path[:at] in files:
                raise HubRefusal(400, f"{path[:at]} is a file, and {path} would lie in it")


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """One dataset repository. Make one with `Repository.create`.

    Attributes:
        refs: full name to commit, such as refs/heads/main.
        large: SHA-256 of every LFS object uploaded to this repository.
    """

    id: str
    objects: Objects
    private: bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    pulls: dict[int, PullRequest] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def create(cls, id: str, objects: Objects, private: bool = False) -> Repository:
        """A repository as the Hub makes it: main with one commit that holds .gitattributes."""
        made = cls(id, objects, private)
        made._record(MAIN, {".gitattributes": objects.regular(_ATTRIBUTES)}, "initial commit", None)
        return made

    def find(self, revision: str) -> Commit:
        """The commit that a branch, tag, full ref or commit id names."""
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in self.refs:
                return self.commits[self.refs[name]]
        if revision in self.commits:
            return self.commits[revision]
        raise HubRefusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, commit: Commit) -> Iterator[Commit]:
        """A commit and its ancestors, the newest first."""
        at: Commit | None = commit
        while at is not None:
            yield at
            at = self.commits[at.parent] if at.parent else None

    def commit(
        self,
        revision: str,
        added: Mapping[str, Blob],
        deleted: Iterable[str],
        title: str,
        parent: str | None = None,
        pull_request: bool = False,
    ) -> tuple[Commit, PullRequest | None]:
        """Move a branch, or open a pull request, in one step.

        Args:
            parent: the commit that the branch must stand at.
            deleted: paths of files, or of folders with a slash at the end.
        """
        with self.lock:
            ref = revision if revision.startswith("refs/pr/") else f"refs/heads/{revision}"
            if ref not in self.refs:
                raise HubRefusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            head = self.commits[self.refs[ref]]
            if parent is not None and parent != head.oid:
                raise HubRefusal(412, "A commit has happened since. Please refresh and try again.")
            tree = dict(head.tree)
            for path in deleted:
                gone = [name for name in tree if name == path or (path.endswith("/") and name.startswith(path))]
                if not gone:
                    raise HubRefusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
                for name in gone:
                    del tree[name]
            for path, blob in added.items():
                if blob.lfs and blob.sha256 not in self.large:
                    raise HubRefusal(400, f"{path} points to LFS content that was never uploaded")
                tree[path] = blob
            _check_folders(tree)
            self._track(tree, [path for path, blob in added.items() if blob.lfs])
            pull = None
            if pull_request:
                pull = self.open_pull_request(title)
                ref = f"refs/pr/{pull.number}"
            return self._record(ref, tree, title, head.oid), pull

    def is_tracked(self, tree: Mapping[str, Blob], path: str) -> bool:
        """Whether .gitattributes says that LFS keeps a path: the last pattern that fits does."""
        found = False
        if ".gitattributes" in tree:
            text = self.objects.path(tree[".gitattributes"].sha256).read_text("utf-8", "replace")
            for pattern, *said in (line.split() for line in text.splitlines() if line.split()):
                name = path if "/" in pattern else path.rpartition("/")[2]
                filters = [at for at in said if at.lstrip("-!").startswith("filter")]
                if filters and fnmatchcase(name, pattern.replace("[[:space:]]", " ")):
                    found = filters[-1] == "filter=lfs"
        return found

    def _track(self, tree: dict[str, Blob], paths: Iterable[str]) -> None:
        """Files in LFS of which .gitattributes does not say so are added to it in the same commit."""
        new = [path for path in paths if not self.is_tracked(tree, path)]
        if new:
            there = tree.get(".gitattributes")
            lines = self.objects.path(there.sha256).read_bytes() if there else b""
            lines += b"" if not lines or lines.endswith(b"\n") else b"\n"
            names = [path.replace(" ", "[[:space:]]") for path in new]
            lines += "".join(f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in names).encode()
            tree[".gitattributes"] = self.objects.regular(lines)

    def open_pull_request(self, title: str) -> PullRequest:
        """One that changes nothing yet."""
        with self.lock:
            pull = PullRequest(len(self.pulls) + 1, title)
            self.pulls[pull.number] = pull
            self.refs[f"refs/pr/{pull.number}"] = self.refs[MAIN]
            return pull

    def merge(self, number: int) -> None:
        """Move main to what a pull request proposes."""
        with self.lock:
            pull = self.pulls[number]
            head = self.find(f"refs/pr/{number}")
            if pull.status != "open" or self.refs[MAIN] not in {commit.oid for commit in self.history(head)}:
                raise HubRefusal(409, "cannot be merged")
            self.refs[MAIN] = head.oid
            self.pulls[number] = replace(pull, status="merged")

    def add_ref(self, ref: str, revision: str) -> None:
        """A new branch or tag."""
        with self.lock:
            if ref in self.refs:
                raise HubRefusal(409, f"{ref} already exists")
            self.refs[ref] = self.find(revision).oid

    def delete_ref(self, ref: str) -> None:
        """A branch or tag goes; its commits stay."""
        with self.lock:
            if ref == MAIN:
                raise HubRefusal(403, "main is protected")
            if self.refs.pop(ref, None) is None:
                raise HubRefusal(404, f"no such ref: {ref}", "RevisionNotFound")

    def put_folder(self, folder: Path, title: str = "upload") -> Commit:
        """Commit every file of a directory to main, in place of what was there."""
        tree = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                if name.endswith(".parquet"):
                    with path.open("rb") as stream:
                        sha256, size = self.objects.write(pieces_of(stream, path.stat().st_size))
                    self.large.add(sha256)
                    tree[name] = self.objects.large(sha256, size)
                else:
                    tree[name] = self.objects.regular(path.read_bytes())
        with self.lock:
            return self._record(MAIN, tree, title, self.refs[MAIN])

    def _record(self, ref: str, tree: Mapping[str, Blob], title: str, parent: str | None) -> Commit:
        date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        number = len(self.commits)
        oid = hashlib.sha1(f"{self.id} {number} {parent} {title} {sorted(tree.items())!r}".encode()).hexdigest()
        commit = Commit(oid, parent, tree, title, date)
        self.commits[oid] = commit
        self.refs[ref] = oid
        return commit
