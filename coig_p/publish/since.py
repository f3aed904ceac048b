"""The release before: named, or found on the Hub, and fetched as far as it differs; the notes compare with it.

Of a release on the Hub its manifest is downloaded, and those shards that the new one does not have: an equal SHA-256
is the file that is here already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from coig_p.core.progress import Bar, no_bar
from coig_p.errors import CoigPError, RemoteError, StoreError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.publish.before import version_before
from coig_p.publish.client import HubConfig, HubRepo, connect
from coig_p.publish.plan import MAIN, check_repo, check_version, precedence
from coig_p.stats.changes import StoreDiff
from coig_p.stats.diff import changed_shards, compare_stores
from coig_p.store.listing import manifest_of
from coig_p.store.locate import repository_of
from coig_p.store.manifest import MANIFEST, SIGNATURE
from coig_p.store.manifest import read_manifest as manifest_text
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

SINCE = "since"  # in a manifest's `release`: the version it was compared with, and the SHA-256 of that one's manifest
NONE = "none"
_THREADS = 4
_COMMIT = re.compile(r"[0-9a-f]{40}")
_INSTEAD = (
    "Compare with another one: --since RELEASE, a folder or org/name@v1.0.0; or leave the notes out: --since none"
)


@dataclass(frozen=True)
class ReleaseBefore:
    """A release that a new one is compared with.

    Attributes:
        store: its manifest, and of its shards at least those that the new one does not have.
        manifest_sha256: of the manifest's file.
        where: how errors name it.
        is_signed: whether a signature lies beside its manifest; whose it is was not looked at.
    """

    store: Store
    manifest_sha256: str
    where: str
    is_signed: bool = False

    @classmethod
    def of(cls, store: Store, where: str = "") -> ReleaseBefore:
        """That of a folder."""
        signature = store.path / SIGNATURE
        return cls(store, sha256_of(store.path / MANIFEST), where or str(store.path), signature.is_file())

    @property
    def version(self) -> str:
        """Its version; StoreError where it says none."""
        version = self.store.manifest.release.get("version")
        if not isinstance(version, str):
            raise self.problem("it is no release: its manifest names no version")
        try:
            return check_version(version)
        except UsageError as error:
            raise self.problem(f"its manifest names no version that a release has: {error}") from None

    @property
    def pairs(self) -> PairConfig | None:
        """Which pairs it has; StoreError where its manifest does not say it, or not in words that are known here."""
        release = self.store.manifest.release
        told = release.get("pairs")
        if "pairs" in release and told is None:
            return None
        if not isinstance(told, Mapping):
            raise self.problem("its manifest does not say which pairs it has: another tool made it")
        unknown = sorted(told.keys() - {option.name for option in fields(PairConfig)})
        if unknown:
            raise self.problem(f"its pairs were made with {', '.join(unknown)}, which this coig-p does not know")
        try:
            return PairConfig(**told)
        except (CoigPError, TypeError, ValueError) as error:
            raise self.problem(f"what its manifest says of its pairs cannot be: {error}") from None

    def check(self) -> None:
        """Raise StoreError where it is none that can be compared with, before more of it is read than its manifest."""
        _ = self.version, self.pairs

    def named(self) -> dict[str, Any]:
        """What the manifest of the new release says of it."""
        return {SINCE: {"version": self.version, "manifest_sha256": self.manifest_sha256}}

    def problem(self, words: str) -> StoreError:
        """An error that names it, and what to do."""
        return StoreError(self.where, f"the release before cannot be compared with: {words}. {_INSTEAD}")


Find = Callable[[Store], ReleaseBefore | None]
"""From the store of a new release to the one before it; None where there is none."""


def compared_with(
    before: ReleaseBefore,
    store: Store,
    pairs: PairConfig | None,
    version: str,
    num_proc: int | None = 1,
    bar: Bar = no_bar,
) -> StoreDiff:
    """What a store that is released as `version` has gained, lost and changed since the release before.

    Raises:
        StoreError: the release before is damaged, or not one that can be compared with.
        UsageError: it does not come before this version.
    """
    if precedence(before.version) >= precedence(version):
        raise UsageError(
            f"{before.where} is version {before.version}, which does not come before {version}. {_INSTEAD}"
        )
    old_pairs, manifest = before.pairs, before.store.manifest
    for file in changed_shards(manifest, store.manifest, old_pairs):
        path = before.store.path / file.path
        if not path.is_file():
            raise before.problem(f"{file.path} is not there")
        if sha256_of(path) != file.sha256:
            raise before.problem(f"{file.path} is not the file that its {MANIFEST} lists")
    rows = sum(file.rows or 0 for file in (*manifest.data_files(), *store.data_files()))
    with bar(f"Comparing with {before.version}", rows, "queries") as advance:
        try:
            found = compare_stores(before.store, store, old_pairs, pairs, num_proc=num_proc, advance=advance)
        except UsageError as error:  # of options of the release before: those of this one were looked at
            raise before.problem(str(error)) from None
    return replace(found, after=replace(found.after, version=version))


@contextmanager
def release_before(
    named: str | None, repo_id: str | None, version: str, config: HubConfig, bar: Bar = no_bar
) -> Iterator[Find]:
    """How the release before is found. What is downloaded goes when the block ends.

    Args:
        named: a folder, org/name@v1.0.0, or "none"; None for the highest lower version of `repo_id`.
        repo_id: the repository that the release is for; None where none is asked.
        version: of the new release.

    Raises (when it is asked for):
        StoreError: it is damaged, or no release of ours.
        RemoteError: the Hub refused or failed, or has no such revision.
        UsageError: not a folder or repository.
    """
    if named is not None and not named.strip():
        raise UsageError(f"--since names nothing. {_INSTEAD}")
    if named == NONE or (named is None and repo_id is None):
        yield lambda store: None
        return
    if named is not None and Path(named).expanduser().is_dir():
        folder = Path(named).expanduser()
        yield lambda store: ReleaseBefore.of(Store.open(folder, check_sizes=False))
        return
    found = repository_of(named) if named is not None else (str(repo_id), None)
    if found is None:
        raise UsageError(f"--since {named}: no such folder. {_INSTEAD}")
    repo, revision = check_repo(found[0]), found[1]
    with connect_later(repo, config) as connected:

        def find(store: Store) -> ReleaseBefore | None:
            at = connected()
            if named is None:
                return _found(at, version, store, bar)
            refs = at.refs()
            wanted = revision or MAIN
            commit = refs.tags.get(wanted) or refs.branches.get(wanted) or (wanted if _COMMIT.fullmatch(wanted) else "")
            if not commit:
                there = ", ".join(refs.versions()) or "none"
                raise at.problem(f"there is no tag or branch {wanted} to compare with (releases: {there}). {_INSTEAD}")
            return _fetched(at, commit, revision or MAIN, store, bar)

        yield find


@contextmanager
def connect_later(repo_id: str, config: HubConfig) -> Iterator[Callable[[], HubRepo]]:
    """The repository, once it is asked for; the connection ends with the block."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(connect(repo_id, config, writing=False))


def _found(repo: HubRepo, version: str, store: Store, bar: Bar) -> ReleaseBefore | None:
    if repo.is_private() is None:  # it is made by this release
        return None
    found = version_before(repo, repo.refs(), version)
    if found is None:
        return None
    name, commit, sha256 = found
    if sha256 not in (None, sha256_of(repo.download(MANIFEST, commit))):
        raise repo.problem(
            f"v{version} was compared with another {name} than v{name} here. To make it again with the same bytes name "
            "that one: --since RELEASE"
        )
    return _fetched(repo, commit, f"v{name}", store, bar)


def _fetched(repo: HubRepo, commit: str, revision: str, store: Store, bar: Bar) -> ReleaseBefore:
    """A release on the Hub: its manifest, and the shards that a store does not have."""
    where = f"{repo.id}@{revision}"
    try:
        path = repo.download(MANIFEST, commit)
        manifest = manifest_of(manifest_text(path), where, lambda file: repo.download(file.path, commit))
        is_signed = SIGNATURE in repo.tree(commit)
    except (StoreError, OSError, UnicodeDecodeError, RemoteError) as error:
        words = str(error).removeprefix(f"{where}: ")
        kind = RemoteError if isinstance(error, RemoteError) else StoreError
        told = f"the release before cannot be read: {words}. {_INSTEAD}"
        raise (kind(f"{where}: {told}") if kind is RemoteError else StoreError(where, told)) from None
    before = ReleaseBefore(Store(path.parent, manifest), sha256_of(path), where, is_signed)
    before.check()
    files = changed_shards(manifest, store.manifest, before.pairs)
    with (
        bar(f"Downloading {revision}", sum(file.bytes for file in files), "bytes") as advance,
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        try:
            for file, _ in zip(files, threads.map(lambda one: repo.download(one.path, commit), files), strict=True):
                advance(file.bytes)
        except RemoteError as error:
            raise RemoteError(f"{where}: the release before cannot be read: {error}. {_INSTEAD}") from None
    return before
