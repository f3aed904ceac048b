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
from collections.abc import Sequence

from coig_p.core.progress import Bar, no_bar
from coig_p.publish.client import DEFAULT, Absent, HubConfig, HubRepo, Refs, connect
from coig_p.publish.plan import Add, Operation, Release, additions, check_repo, deletions, differences
from coig_p.publish.remote import changes, read_manifest
from coig_p.publish.results import Plan, Published, RowCounts, Status
from coig_p.publish.verify import Load, verify_commit

MAIN = "main"
_BRANCH = "release/"
_logger = logging.getLogger("coig_p")


def publish(
    release: Release, repo_id: str, config: HubConfig = DEFAULT, bar: Bar = no_bar, load: Load | None = None
) -> Published:
    """Bring a release to the Hub, or finish what an earlier run began.

    Args:
        release: as `read_release` gives it.
        repo_id: org/name.
        bar: shows how far uploading and verifying have come, in bytes.
        load: how the staged release is loaded back; default: by the stock library in a process of its own.

    Returns:
        What was done; nothing where the release was there already.

    Raises:
        RemoteError: the Hub refused or failed, somebody else's files or commits stand in the way, or
            the version is taken by another release. main is then what it was, or the release.
        DataError: what came back from the Hub is not the release. main is what it was.
        UsageError: no such form of a name, a mirror, or a huggingface_hub that this was not made for.
    """
    check_repo(repo_id)
    with connect(repo_id, config) as repo:
        _ensure(repo, config)
        refs = repo.refs()
        if release.tag in refs.tags:
            return _finished(repo, release, refs)
        if config.pr:
            return _propose(repo, release, refs, config, bar, load)
        head = _head(repo, refs)
        operations = changes(repo, release, repo.tree(head), head, config.overwrite)
        rows: RowCounts = {}
        if operations or _BRANCH + release.version not in refs.branches:
            staged = _stage(repo, release, refs, head, operations, config, bar)
            rows = _verified(repo, staged, release, bar, load)
        if operations:
            _promote(repo, release, head, operations)
            head = _head(repo, repo.refs())
            _demand(repo, release, head, "main moved on right after this release. Look at it, then run again")
        _tag(repo, release, head)
        _clear(repo, release)
        return Published.tagged(repo.id, release, head, _page(repo, release), operations, rows)


def plan_release(release: Release, repo_id: str, config: HubConfig = DEFAULT) -> Plan:
    """What `publish` would commit to main now. Changes nothing.

    Raises:
        RemoteError, UsageError: where `publish` would refuse before its first change.
    """
    check_repo(repo_id)
    with connect(repo_id, config) as repo:
        if repo.is_private() is None:
            return Plan.of(repo_id, release, tuple(Add(file) for file in release.files))
        refs = repo.refs()
        if release.tag in refs.tags:
            _finished(repo, release, refs, clear=False)
            return Plan.of(repo_id, release, ())
        head = _head(repo, refs)
        return Plan.of(repo_id, release, changes(repo, release, repo.tree(head), head, config.overwrite))


def status(repo_id: str, config: HubConfig = DEFAULT) -> Status:
    """Where a repository stands: main, its version, every version, and releases begun and not finished.

    Raises:
        RemoteError: the Hub refused or failed.
        UsageError: not of the form org/name.
    """
    check_repo(repo_id)
    with connect(repo_id, config, writing=False) as repo:
        private = repo.is_private()
        if private is None:
            return Status(repo.id, repo.endpoint, exists=False)
        refs = repo.refs()
        head = _head(repo, refs)
        tree = repo.tree(head)
        versions = {tag: commit for tag, commit in refs.tags.items() if tag.startswith("v")}
        here = sorted(tag for tag, commit in versions.items() if commit == head)
        manifest, _ = read_manifest(repo, tree, head)
        return Status(
            repo=repo.id,
            endpoint=repo.endpoint,
            exists=True,
            private=private,
            main=head,
            version=here[-1].removeprefix("v") if here else None,
            versions={tag.removeprefix("v"): commit for tag, commit in versions.items()},
            unfinished=tuple(sorted(name.removeprefix(_BRANCH) for name in refs.branches if name.startswith(_BRANCH))),
            files=len(tree),
            bytes=sum(file.bytes for file in tree.values()),
            domains=manifest.domains if manifest else (),
        )


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
    return Published.tagged(repo.id, release, commit, _page(repo, release), (), {})


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
    at = _at(repo, refs, branch)
    if at != head:  # begun before: perhaps by a run that was cut, perhaps from other content
        operations = changes(repo, release, repo.tree(at), at, config.overwrite)
    if operations:
        try:
            _commit(repo, release, branch, at, operations, bar)
        except Absent:
            _at(repo, repo.refs(), branch)
            raise
        at = _at(repo, repo.refs(), branch)
    _demand(repo, release, at, f"somebody else writes to {branch} too. Let one finish, then run again")
    return at


def _at(repo: HubRepo, refs: Refs, branch: str) -> str:
    """The commit of the release's branch, which somebody else may have deleted."""
    if branch not in refs.branches:
        raise repo.problem(f"somebody else deleted the branch {branch} meanwhile. Run the same command again")
    return refs.branches[branch]


def _verified(repo: HubRepo, commit: str, release: Release, bar: Bar, load: Load | None) -> RowCounts:
    with bar("Verifying", release.bytes) as advance:
        return verify_commit(repo, commit, release, advance, load)


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
    with bar("Uploading", _size(operations)) as advance:
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


def _propose(repo: HubRepo, release: Release, refs: Refs, config: HubConfig, bar: Bar, load: Load | None) -> Published:
    """A pull request that holds the release: the open one, or a new one."""
    head = _head(repo, refs)
    operations = changes(repo, release, repo.tree(head), head, config.overwrite)
    number = _proposal(repo, release, refs, head)
    if number is None and operations:
        with bar("Uploading", _size(operations)) as advance:
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
    rows: RowCounts = {}
    if number is not None and operations:
        head = refs.pulls[number]
        rows = _verified(repo, head, release, bar, load)
    url = f"{repo.url}/discussions/{number}" if number is not None else repo.url
    adds, deletes = len(additions(operations)), len(deletions(operations))
    return Published(repo.id, release.version, None, head, url, adds, deletes, number, rows)


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
    differ = differences(release, repo.tree(commit))
    if differ:
        raise repo.problem(f"{differ[0]} is not that of {release.tag}: {words}")


def _size(operations: Sequence[Operation]) -> int:
    return sum(at.file.bytes for at in additions(operations))


def _page(repo: HubRepo, release: Release) -> str:
    return f"{repo.url}/tree/{release.tag}"
