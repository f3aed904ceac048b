"""A release on the Hub that cannot be torn.

    refs -> tag there?  of this release: done; of another: refuse
         -> main holds the release? then only the tag is missing
         -> STAGE    a branch release/<version>, in one commit
         -> VERIFY   downloaded at that commit: hashes, and every config loaded in both ways
         -> PROMOTE  main, in one commit whose parent is the main that was looked at
         -> TAG      v<version>; the branch goes

Where a release stands is read from the repository alone, so a run that was killed anywhere is
finished by the next one. Readers of main see the release before, whole, or this one, whole.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any

from coig_p.core.progress import Bar, no_bar
from coig_p.errors import RemoteError, StoreError
from coig_p.publish.client import DEFAULT, HubConfig, HubRepo, Refs, connect
from coig_p.publish.plan import (
    Add,
    Operation,
    Release,
    Tree,
    check_repo,
    differences,
    plan_commit,
)
from coig_p.publish.verify import Rows, verify_commit
from coig_p.store.manifest import MANIFEST, Manifest
from coig_p.store.writing import sha256_of

MAIN = "main"
_BRANCH = "release/"
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class Published:
    """What a run did.

    Attributes:
        commit: the commit that holds the release.
        url: where to see it.
        added, deleted: files that the commit to main changed; both 0 where the release was there before.
        pull_request: its number where one was opened or found, else None.
        rows: by config and split, as loading gave them; empty where nothing had to be verified.
    """

    repo: str
    version: str
    tag: str | None
    commit: str
    url: str
    added: int
    deleted: int
    pull_request: str | None
    rows: Rows


def publish(release: Release, repo_id: str, config: HubConfig = DEFAULT, bar: Bar = no_bar) -> Published:
    """Bring a release to the Hub, or finish what an earlier run began.

    Raises:
        RemoteError: the Hub refused or failed, somebody else's files or commits stand in the way, or
            the version is taken by another release. main is then what it was, or the release.
        DataError: what came back from the Hub is not the release. main is what it was.
    """
    check_repo(repo_id)
    with connect(repo_id, config) as repo:
        _ensure(repo, config)
        refs = repo.refs()
        if release.tag in refs.tags:
            return _finished(repo, release, refs)
        if config.pr:
            return _propose(repo, release, refs, config, bar)
        head = _head(repo, refs)
        operations = _plan(repo, release, head, config)
        rows: Rows = {}
        if operations or _BRANCH + release.version not in refs.branches:
            staged = _stage(repo, release, refs, head, operations, config, bar)
            rows = _verified(repo, staged, release, bar)
        if operations:
            _promote(repo, release, head, operations)
            head = _head(repo, repo.refs())
            _demand(repo, release, head, "main moved on right after this release. Look at it, then run again")
        _tag(repo, release, head)
        _clear(repo, release)
        adds = sum(isinstance(operation, Add) for operation in operations)
        deletes = len(operations) - adds
        return Published(repo.id, release.version, release.tag, head, _page(repo, release), adds, deletes, None, rows)


def plan(release: Release, repo_id: str, config: HubConfig = DEFAULT) -> tuple[Operation, ...]:
    """What `publish` would commit to main now. Changes nothing."""
    check_repo(repo_id)
    with connect(repo_id, config) as repo:
        if repo.is_private() is None:
            return tuple(Add(file) for file in release.files)
        refs = repo.refs()
        if release.tag in refs.tags:
            _finished(repo, release, refs, clear=False)
            return ()
        return _plan(repo, release, _head(repo, refs), config)


def status(repo_id: str, config: HubConfig = DEFAULT) -> dict[str, Any]:
    """Where a repository stands: main, its version, every version, and releases begun and not finished."""
    check_repo(repo_id)
    with connect(repo_id, config, writing=False) as repo:
        private = repo.is_private()
        if private is None:
            return {"repo": repo.id, "endpoint": repo.endpoint, "exists": False}
        refs = repo.refs()
        head = _head(repo, refs)
        tree = repo.tree(head)
        versions = {tag: commit for tag, commit in refs.tags.items() if tag.startswith("v")}
        here = sorted(tag for tag, commit in versions.items() if commit == head)
        manifest, _ = _manifest(repo, tree, head)
        return {
            "repo": repo.id,
            "endpoint": repo.endpoint,
            "exists": True,
            "private": private,
            "main": head,
            "version": here[-1].removeprefix("v") if here else None,
            "versions": {tag.removeprefix("v"): commit for tag, commit in versions.items()},
            "unfinished": sorted(name.removeprefix(_BRANCH) for name in refs.branches if name.startswith(_BRANCH)),
            "files": len(tree),
            "bytes": sum(file.bytes for file in tree.values()),
            "domains": list(manifest.domains) if manifest else [],
        }


def as_dict(published: Published) -> dict[str, Any]:
    """For --json."""
    return asdict(published)


# The steps.


def _ensure(repo: HubRepo, config: HubConfig) -> None:
    private = repo.is_private()
    if private is None:
        repo.create(config.private)
        private = repo.is_private()
    if config.private and not private:
        raise repo.problem("it is public, and --private was asked for. Change it in its settings, or drop --private")


def _finished(repo: HubRepo, release: Release, refs: Refs, *, clear: bool = True) -> Published:
    """The version is there: is it this release?"""
    commit = refs.tags[release.tag]
    differ = differences(release, repo.tree(commit))
    if differ:
        raise repo.problem(
            f"{release.tag} is there with other content ({differ[0]} and {len(differ) - 1} more differ). "
            "A version never changes: give this one a new number"
        )
    if clear:
        _clear(repo, release)
    return Published(repo.id, release.version, release.tag, commit, _page(repo, release), 0, 0, None, {})


def _plan(repo: HubRepo, release: Release, commit: str, config: HubConfig) -> tuple[Operation, ...]:
    """What turns a commit's tree into the release, as far as it is ours to change."""
    tree = repo.tree(commit)
    manifest, recorded = _manifest(repo, tree, commit)
    listed = {MANIFEST: recorded, **({file.path: file.sha256 for file in manifest.files} if manifest else {})}
    try:
        operations = plan_commit(release, tree, listed if manifest else ())
    except RemoteError as error:
        raise repo.problem(str(error)) from None
    if config.overwrite or not manifest:
        return operations
    touched = [tree[operation.path] for operation in operations if operation.path in tree]
    # Git's hash of a small file says nothing about the SHA-256 that a manifest keeps.
    found = {file.path: file.sha256 or sha256_of(repo.download(file.path, commit)) for file in touched}
    changed = {path for path, sha256 in found.items() if sha256 != listed[path]}
    try:
        return plan_commit(release, tree, listed, changed)
    except RemoteError as error:
        raise repo.problem(str(error)) from None


def _manifest(repo: HubRepo, tree: Tree, commit: str) -> tuple[Manifest | None, str]:
    """What a commit's manifest says, and its SHA-256; None where there is none that is ours."""
    if MANIFEST not in tree:
        return None, ""
    path = repo.download(MANIFEST, commit)
    try:
        return Manifest.from_json(path.read_text("utf-8"), f"{repo.id}@{commit}"), sha256_of(path)
    except (StoreError, UnicodeDecodeError) as error:
        _logger.warning("%s: its %s is not that of a store: %s", repo.id, MANIFEST, error)
        return None, ""


def _stage(
    repo: HubRepo,
    release: Release,
    refs: Refs,
    head: str,
    operations: tuple[Operation, ...],
    config: HubConfig,
    bar: Bar,
) -> str:
    """The commit of the release's branch, which is made where it is not there."""
    branch = _BRANCH + release.version
    if branch not in refs.branches:
        repo.create_branch(branch, head)
        refs = repo.refs()
    at = refs.branches[branch]
    if at != head:  # begun before: perhaps by a run that was cut, perhaps from other content
        operations = _plan(repo, release, at, config)
    if operations:
        _commit(repo, release, branch, at, operations, bar)
        at = repo.refs().branches.get(branch, "")
    _demand(repo, release, at, f"somebody else writes to {branch} too. Let one finish, then run again")
    return at


def _verified(repo: HubRepo, commit: str, release: Release, bar: Bar) -> Rows:
    with bar("Verifying", release.bytes) as advance:
        return verify_commit(repo, commit, release, advance)


def _promote(repo: HubRepo, release: Release, head: str, operations: tuple[Operation, ...]) -> None:
    """One commit to main. Its content is on the Hub by now, so this takes moments."""
    _commit(repo, release, MAIN, head, operations, None)


def _commit(
    repo: HubRepo, release: Release, branch: str, parent: str, operations: tuple[Operation, ...], bar: Bar | None
) -> None:
    def landed() -> bool:
        at = repo.refs().branches.get(branch)
        return at is not None and at != parent and not differences(release, repo.tree(at))

    message = f"Release {release.tag}"
    if bar is None:
        repo.commit(operations, branch, parent, message, landed)
        return
    with bar("Uploading", sum(at.file.bytes for at in operations if isinstance(at, Add))) as advance:
        repo.commit(operations, branch, parent, message, landed, advance)


def _tag(repo: HubRepo, release: Release, commit: str) -> None:
    repo.create_tag(release.tag, commit, f"Release {release.tag}")
    target = repo.refs().tags.get(release.tag)
    # An existing tag is never moved, not by the Hub and not by us.
    if target != commit and (target is None or differences(release, repo.tree(target))):
        raise repo.problem(f"{release.tag} was set by somebody else to {target}. Give this release another version")


def _clear(repo: HubRepo, release: Release) -> None:
    """The branch has done its work; one that holds something else is not ours to delete."""
    branch = _BRANCH + release.version
    at = repo.refs().branches.get(branch)
    if at is None:
        return
    if differences(release, repo.tree(at)):
        _logger.warning("%s: the branch %s does not hold this release and was left alone", repo.id, branch)
    else:
        repo.delete_branch(branch)


def _propose(repo: HubRepo, release: Release, refs: Refs, config: HubConfig, bar: Bar) -> Published:
    """A pull request that holds the release: the open one, or a new one."""
    head = _head(repo, refs)
    operations = _plan(repo, release, head, config)
    number = _proposal(repo, release, refs, head)
    if number is None and operations:
        with bar("Uploading", sum(at.file.bytes for at in operations if isinstance(at, Add))) as advance:
            repo.commit(
                operations,
                MAIN,
                head,
                f"Release {release.tag}",
                lambda: _proposal(repo, release, repo.refs(), head) is not None,
                advance,
                pr=True,
            )
        refs = repo.refs()
        number = _proposal(repo, release, refs, head)
        if number is None:
            raise repo.problem("the pull request is not to be found. Look at its page, then run again")
    rows: Rows = {}
    if number is not None and operations:
        head = refs.pulls[number]
        rows = _verified(repo, head, release, bar)
    url = f"{repo.url}/discussions/{number}" if number is not None else repo.url
    adds = sum(isinstance(operation, Add) for operation in operations)
    return Published(repo.id, release.version, None, head, url, adds, len(operations) - adds, number, rows)


def _proposal(repo: HubRepo, release: Release, refs: Refs, head: str) -> str | None:
    """The newest open pull request whose files are the release's."""
    for number in repo.open_pull_requests():
        commit = refs.pulls.get(number)
        if commit not in (None, head) and not differences(release, repo.tree(commit)):
            return number
    return None


def _head(repo: HubRepo, refs: Refs) -> str:
    if MAIN not in refs.branches:
        raise repo.problem("it has no branch main")
    return refs.branches[MAIN]


def _demand(repo: HubRepo, release: Release, commit: str, words: str) -> None:
    differ = differences(release, repo.tree(commit)) if commit else ["the branch"]
    if differ:
        raise repo.problem(f"{differ[0]} is not that of {release.tag}: {words}")


def _page(repo: HubRepo, release: Release) -> str:
    return f"{repo.url}/tree/{release.tag}"
