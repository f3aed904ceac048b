"""What publishing answers: what was done, what would be, and where a repository stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from coig_p.publish.plan import Operation, Release, ReleaseFile, additions, deletions

RowCounts = Mapping[str, Mapping[str, int]]
"""Rows by config and split."""


@dataclass(frozen=True)
class Published:
    """What a run did.

    Attributes:
        repo: org/name.
        version: of the release, for instance 1.0.0.
        tag: v1.0.0; None where a pull request waits to be merged.
        commit: the commit that holds the release; on ModelScope, which names none, its tag.
        url: where to see it.
        added, deleted: files that the commit to main changed; both 0 where the release was there before.
        pull_request: its number where one was opened or found, else None.
        rows: by config and split, as loading gave them, or the files themselves where only the card changed; empty
            where nothing had to be verified.
    """

    repo: str
    version: str
    tag: str | None
    commit: str
    url: str
    added: int
    deleted: int
    pull_request: str | None = None
    rows: RowCounts = field(default_factory=dict)

    @classmethod
    def tagged(
        cls, repo_id: str, release: Release, commit: str, url: str, operations: Sequence[Operation], rows: RowCounts
    ) -> Published:
        """Of a run that has set the release's tag, or found it set."""
        adds, deletes = len(additions(operations)), len(deletions(operations))
        return cls(repo_id, release.version, release.tag, commit, url, adds, deletes, None, rows)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What a run would change on main.

    Attributes:
        files: how many the release has, with those of others that go aside.
        add: what would be put there, or in place of another file.
        delete: paths that would go.
    """

    repo: str
    version: str
    files: int
    add: tuple[ReleaseFile, ...]
    delete: tuple[str, ...]

    @classmethod
    def of(cls, repo_id: str, release: Release, operations: Sequence[Operation]) -> Plan:
        """The operations of one commit, by what they do."""
        add = tuple(at.file for at in additions(operations))
        files = {file.path for file in (*release.files, *add)}
        return cls(repo_id, release.version, len(files), add, deletions(operations))

    @property
    def bytes(self) -> int:
        """Size of what would be put there."""
        return sum(file.bytes for file in self.add)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        add = [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in self.add]
        return {"repo": self.repo, "version": self.version, "delete": list(self.delete), "add": add}


@dataclass(frozen=True)
class Status:
    """Where a repository stands.

    Attributes:
        exists: whether there is one that the token may see; all that follows is empty where not.
        private: whether only some may see it.
        main: the commit main stands at.
        version: the release that main is; None where it is none.
        versions: commit by version, of every release.
        withdrawn: why, by version.
        unfinished: versions that were begun: publishing them again finishes them.
        files, bytes: what main holds.
        domains: as its manifest says.
    """

    repo: str
    endpoint: str
    exists: bool
    private: bool = False
    main: str | None = None
    version: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    unfinished: tuple[str, ...] = ()
    files: int = 0
    bytes: int = 0
    domains: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; of a repository that does not exist, only that."""
        fields = asdict(self)
        if not self.exists:
            return {name: fields[name] for name in ("repo", "endpoint", "exists")}
        return fields | {"unfinished": list(self.unfinished), "domains": list(self.domains)}
