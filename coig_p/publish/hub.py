"""A release on the Hub that cannot be torn.

    refs -> tag there?  of this release: see that main has it; of another: refuse
         -> main has had the release? then only the tag is missing
         -> STAGE    a branch release/<version>, in one commit
         -> VERIFY   downloaded at that commit: hashes, and every config loaded in both ways
         -> PROMOTE  main, in one commit whose parent is the main that was looked at
         -> TAG      v<version>, at the commit that came of it; the branch goes

Where a release stands is read from the repository alone, so a run that was killed anywhere is
finished by the next one. Readers of main see the release before, whole, or this one, whole. A version lower than
the newest, and a pre-release, is tagged where it was staged, and main stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from coig_p.core.progress import Bar, no_bar
from coig_p.publish.before import adopted, everything_released, moved_aside, release_before
from coig_p.publish.cards import (
    as_expected,
    as_published,
    same_metadata,
    with_theirs,
)
from coig_p.publish.client import DEFAULT, Absent, HubConfig, HubRepo, Refs, connect
from coig_p.publish.notices import withdrawals, yanked_in
from coig_p.publish.plan import (
    BRANCH,
    CARD,
    EDITABLE,
    MAIN,
    RESTORE,
    Add,
    Before,
    Operation,
    Release,
    Tree,
    check_repo,
    differences,
    is_prerelease,
    precedence,
    size_of,
    title,
)
from coig_p.publish.proposal import check_reviewed, propose
from coig_p.publish.remote import MERGED, YANKED, planned, read_manifest, written
from coig_p.publish.results import Plan, Published, RowCounts, Status
from coig_p.publish.signed import signed, tell_of_signature
from coig_p.publish.verify import Load, verify_commit
from coig_p.store.manifest import MANIFEST, SIGNATURE, Manifest

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
        What was done; nothing where the release was there already. Main then holds the release, or one of a higher
        version.

    Raises:
        RemoteError: the Hub refused or failed, somebody else's files or commits stand in the way, the version is
            taken by another release, or main is not the release though the version is there. main is then what it
            was, or the release.
        DataError: what came back from the Hub is not the release. main is what it was.
        UsageError: no such form of a name, a mirror, or a huggingface_hub that this was not made for.
    """
    check_repo(repo_id)
    with connect(repo_id, config) as repo:
        release = signed(release, repo_id, repo.scratch / "signed") if release.signer else release
        _ensure(repo, config)
        refs = repo.refs()
        if release.tag in refs.tags:
            return _finished(repo, release, refs, config)[0]
        _check_asked(repo, release, refs, config)
        _tell_of_others(repo, release, refs)
        at = _look(repo, release, refs, config)
        if at.promoted is not None and not config.pr:
            return _tagged(repo, release, at.release, at.promoted, None, (), {})
        if at.promoted is not None:  # who proposes may not be the one who tags
            return Published(repo.id, release.version, None, at.promoted, repo.url, 0, 0)
        if config.pr:
            return propose(repo, at.release, refs, at.head, at.operations, bar, load, at.before)
        check_reviewed(repo, release, refs, at.head)
        staged = _stage(repo, at, refs, config, bar)
        rows = _verified(repo, staged, at, bar, load)
        commit = staged
        if not _moves_main(release, refs, config):
            why = "a pre-release" if is_prerelease(release.version) else "not the highest version"
            words = "%s: main stays as it is, since %s is %s. To give it to readers of main, too: --latest"
            _logger.warning(words, repo.id, release.version, why)
        elif at.operations:
            commit = _commit(repo, at.release, MAIN, at.head, at.operations, no_bar)
        return _tagged(repo, release, at.release, commit, staged, at.operations, rows)


def plan_release(release: Release, repo_id: str, config: HubConfig = DEFAULT) -> Plan:
    """What `publish` would commit now. Changes nothing.

    Raises:
        RemoteError, UsageError: where `publish` would refuse before its first change.
    """
    check_repo(repo_id)
    with connect(repo_id, config) as repo:
        release = signed(release, repo_id, repo.scratch / "signed") if release.signer else release
        if repo.is_private() is None:
            return Plan.of(repo_id, release, tuple(Add(file) for file in release.files))
        refs = repo.refs()
        if release.tag in refs.tags:
            operations = _finished(repo, release, refs, config, dry=True)[1]
            return Plan.of(repo_id, release, operations)
        _check_asked(repo, release, refs, config)
        at = _look(repo, release, refs, config)
        if at.promoted is None and not config.pr:
            check_reviewed(repo, release, refs, at.head)
        return Plan.of(repo_id, at.release, at.operations)


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
        found = refs.versions()
        manifest = read_manifest(repo, tree, head)
        here = _version_of(repo, found, head, tree)
        return Status(
            repo=repo.id,
            endpoint=repo.endpoint,
            exists=True,
            private=private,
            main=head,
            version=here,
            versions=found,
            unfinished=refs.begun(),
            withdrawn=withdrawals(repo, refs),
            files=len(tree),
            bytes=sum(file.bytes for file in tree.values()),
            domains=manifest.domains if manifest else (),
        )


def _version_of(repo: HubRepo, found: Mapping[str, str], head: str, tree: Tree) -> str | None:
    """The version whose data main holds, file by file; its card may have been edited since."""
    for version, commit in found.items():
        if commit == head:
            return version
        tagged = repo.tree(commit)
        own = [path for path in {*tree, *tagged} if path.endswith(".parquet")]
        if own and all(tree.get(path) == tagged.get(path) for path in own):
            return version
    return None


# The steps.


@dataclass(frozen=True)
class _Look:
    """What is to be done, by the main that was looked at.

    Attributes:
        head: the commit of main.
        release: with what people changed in its card on main.
        promoted: the commit of main that is the release already; nothing is left then but the tag.
        operations: what one commit to main would do.
        before: the commit of the last release on main, which was verified then; "" where there is none.
    """

    head: str
    release: Release
    promoted: str | None
    operations: tuple[Operation, ...]
    before: str = ""


def _check_asked(repo: HubRepo, release: Release, refs: Refs, config: HubConfig) -> None:
    """Raise RemoteError where a version that is not there yet cannot be what was asked for."""
    if config.restore:
        raise repo.problem(f"{release.tag} is not published, so there is nothing to put main back to")
    if config.pr and not _moves_main(release, refs, config):
        raise repo.problem(
            f"main is not for {release.version}, a pre-release or lower than the newest version, and a pull request "
            "would bring it there. Publish it without --pr: it gets its tag alone. To propose it for main: --latest"
        )


def _look(repo: HubRepo, release: Release, refs: Refs, config: HubConfig) -> _Look:
    head = _head(repo, refs)
    tree, history = repo.tree(head), repo.history(head)
    found = _promoted(repo, release, tree, history)
    if found is not None:
        commit, release = found
        return _Look(head, release, commit, ())
    if any(words == title(release) for _, words in history):
        raise repo.problem(
            f"{release.tag} came to main with other content, and its tag is not set yet: perhaps somebody else "
            "publishes it now. A version never changes: publish that folder again to finish it, or give this one a "
            "new number"
        )
    before = release_before(repo, refs, head, tree, history)
    manifest = read_manifest(repo, tree, head)
    here = yanked_in(manifest)
    yanked = dict(before.yanked or {}) | withdrawals(repo, refs, here)
    for version in yanked.keys() - here.keys():
        _logger.warning("%s: main does not say any more that %s was withdrawn; the release does", repo.id, version)
    if before.commit and not config.overwrite:
        _tell_of_manifest(repo, before, manifest)
    if config.adopt:
        before = adopted(release, tree, before)
    made = release
    release, before = with_theirs(repo, release, before, head, tree, yanked, overwrite=config.overwrite)
    tell_of_signature(repo, made, release, before)
    operations = planned(repo, release, tree, before, keep=config.keep, overwrite=config.overwrite, adopting=True)
    if config.adopt:
        operations += moved_aside(repo, release, head, tree, before)
    verified = refs.tags.get(f"v{before.version}") == before.commit
    return _Look(head, release, None, operations, before.commit if verified else "")


def _ensure(repo: HubRepo, config: HubConfig) -> None:
    private = repo.is_private()
    if private is None:
        repo.create(config.private)
        private = repo.is_private()
    if config.private and not private:
        raise repo.problem("it is public, and --private was asked for. Change it in its settings, or drop --private")


def _tell_of_others(repo: HubRepo, release: Release, refs: Refs) -> None:
    for version in refs.begun():
        if version != release.version:
            _logger.warning(
                "%s: the release of %s was begun and is not finished. Publish it again, or end it with: coigp-publish "
                "--abort %s --version %s", repo.id, version, repo.id, version,
            )  # fmt: skip


def _tell_of_manifest(repo: HubRepo, before: Before, manifest: Manifest | None) -> None:
    """The manifest on main is made anew by each release; what somebody wrote into it by hand does not stay."""
    then = read_manifest(repo, {MANIFEST: before.files[MANIFEST]}, before.commit) if MANIFEST in before.files else None
    if then is not None and (manifest is None or _said(manifest) != _said(then)):
        _logger.warning("%s: %s was changed on main by hand; this release writes its own", repo.id, MANIFEST)


def _said(manifest: Manifest) -> tuple[object, ...]:
    """What it says but of the card, and of what was withdrawn."""
    release = {name: value for name, value in manifest.release.items() if name not in (MERGED, YANKED)}
    files = tuple(file for file in manifest.files if file.path != CARD)
    return replace(manifest, files=(), release={}), files, release


def _moves_main(release: Release, refs: Refs, config: HubConfig) -> bool:
    """Whether readers of main are to get this release."""
    return config.latest or not (is_prerelease(release.version) or _has_higher(release, refs))


def _has_higher(release: Release, refs: Refs) -> bool:
    """Whether there is a higher version for main; pre-releases are not for it."""
    others = [version for version in refs.versions() if not is_prerelease(version)]
    return any(precedence(other) > precedence(release.version) for other in others)


def _promoted(
    repo: HubRepo, release: Release, tree: Tree, history: Sequence[tuple[str, str]]
) -> tuple[str, Release] | None:
    """The commit of main that is this release, as an earlier run left it; somebody may have gone on since."""
    ours = [commit for commit, words in history if words == title(release)]
    for commit in [*ours, history[0][0]]:  # merged by a person, its title may be another
        there = tree if commit == history[0][0] else repo.tree(commit)
        published = as_published(repo, release, there, commit)
        if not differences(published, there):
            return commit, published
    return None


def _finished(
    repo: HubRepo, release: Release, refs: Refs, config: HubConfig, *, dry: bool = False
) -> tuple[Published, tuple[Operation, ...]]:
    """The version is there: is it this release, and is it what readers of main get? And what puts main back.

    Args:
        dry: change nothing.
    """
    commit = refs.tags[release.tag]
    tree = repo.tree(commit)
    published = as_published(repo, release, tree, commit)
    differ = differences(published, tree)
    if differ == [SIGNATURE] and release.is_signed:
        how = "with another signature" if SIGNATURE in tree else "without a signature"
        raise repo.problem(
            f"{release.tag} was published {how}, and a version never changes. Sign the next one, or leave out --sign"
        )
    if differ:
        more = f" and {len(differ) - 1} more differ" if len(differ) > 1 else " differs"
        raise repo.problem(
            f"{release.tag} is there with other content ({differ[0]}{more}). "
            "A version never changes: give this one a new number"
        )
    if not dry:
        _clear(repo, published, None)
    yanked = withdrawals(repo, refs)
    signs = config.restore and release.signer is not None  # a main that is this release already, and lost its signature
    if release.version in yanked and not signs:
        raise repo.problem(f"{release.tag} was withdrawn: {yanked[release.version]}. Publish another version")
    operations: tuple[Operation, ...] = ()
    if config.restore or config.latest:
        head = _head(repo, refs)
        there = repo.tree(head)
        expected = as_expected(repo, release, commit, yanked)
        everything = everything_released(repo, refs)
        operations = planned(repo, expected, there, everything, keep=tuple(there), overwrite=True)
        if release.version in yanked and {at.path for at in operations} - {SIGNATURE}:
            raise repo.problem(f"{release.tag} was withdrawn: {yanked[release.version]}. Publish another version")
        if operations and not dry:
            _commit(repo, expected, MAIN, head, operations, no_bar, f"{RESTORE}{release.version}")
    if not (dry and operations):
        _see_main(repo, release, commit, sure=config.restore or config.latest)
    return Published.tagged(repo.id, published, commit, _page(repo, release), operations, {}), operations


def _see_main(repo: HubRepo, release: Release, commit: str, *, sure: bool = False) -> None:
    """Raise RemoteError where main should hold a published release, and does not.

    Args:
        release: as it was made.
        sure: main should hold it, whatever its version.
    """
    problem = ""

    def fits() -> bool:
        nonlocal problem
        problem = _main_problem(repo, release, commit, sure)
        return not problem

    if not repo.settle(fits):
        raise repo.problem(problem)


def _main_problem(repo: HubRepo, release: Release, commit: str, sure: bool) -> str:
    refs = repo.refs()
    if (is_prerelease(release.version) or _has_higher(release, refs)) and not sure:
        return ""  # main is for a higher version
    head = _head(repo, refs)
    if head == commit:
        return ""
    yanked = withdrawals(repo, refs)
    expected = as_expected(repo, release, commit, yanked)
    tree = repo.tree(head)
    differ = differences(expected, tree)
    if differ == [SIGNATURE] and SIGNATURE not in tree and yanked:
        _logger.warning("%s: main says what was withdrawn, and is not signed. To sign it: --restore", repo.id)
        return ""
    kept = [path for path in differ if path in EDITABLE and path in tree]
    if kept == differ and (CARD not in kept or same_metadata(repo, release, head)):
        for path in kept:
            _logger.warning("%s: %s was changed on main since %s, and stays so", repo.id, path, release.tag)
        return ""
    more = f" and {len(differ) - 1} more" if len(differ) > 1 else ""
    return (
        f"{release.tag} is published, and main is not it: {differ[0]}{more} was changed or deleted there since. Look "
        "at it. To put main back to the release, run the same command with --restore. To keep the change, publish the "
        "next version"
    )


def _stage(repo: HubRepo, at: _Look, refs: Refs, config: HubConfig, bar: Bar) -> str:
    """The commit of the release's branch, which is made where it is not there."""
    release, operations = at.release, at.operations
    branch = BRANCH + release.version
    commit = refs.branches.get(branch, at.head)
    if branch not in refs.branches:
        repo.create_branch(branch, at.head)
        commit = repo.refs().branches.get(branch, at.head)
    if commit != at.head:  # begun before: perhaps by a run that was cut, perhaps from other content
        tree = repo.tree(commit)
        before = written(repo, tree, commit)
        keep = [path for path in tree if path in repo.tree(at.head)]
        operations = planned(repo, release, tree, before, keep=[*config.keep, *keep], overwrite=config.overwrite)
    if operations:
        try:
            commit = _commit(repo, release, branch, commit, operations, bar)
        except Absent:
            if not repo.settle(lambda: branch in repo.refs().branches):
                words = f"somebody else deleted the branch {branch} meanwhile. Run the same command again"
                raise repo.problem(words) from None
            raise
    differ = differences(release, repo.tree(commit))
    if differ:
        words = f"somebody else writes to {branch} too. Let one finish, then run again"
        raise repo.problem(f"{differ[0]} is not that of {release.tag}: {words}")
    return commit


def _verified(repo: HubRepo, commit: str, at: _Look, bar: Bar, load: Load | None) -> RowCounts:
    with bar("Verifying", at.release.bytes) as advance:
        return verify_commit(repo, commit, at.release, advance, load, at.before)


def _commit(
    repo: HubRepo,
    release: Release,
    branch: str,
    parent: str,
    operations: tuple[Operation, ...],
    bar: Bar,
    words: str = "",
) -> str:
    """The commit that came of it. To main this takes moments, since its content is on the Hub by then."""
    found = parent

    def landed() -> bool:
        nonlocal found
        at = repo.refs().branches.get(branch)
        if at is None or at == parent or differences(release, repo.tree(at)):
            return False
        found = at
        return True

    with bar("Uploading", size_of(operations)) as advance:
        made = repo.commit(operations, branch, parent, words or title(release), landed, advance)
    return made or found


def _tagged(
    repo: HubRepo,
    made: Release,
    release: Release,
    commit: str,
    staged: str | None,
    operations: tuple[Operation, ...],
    rows: RowCounts,
) -> Published:
    """The last steps: the tag at the release's commit, whoever went on from there; the branch goes.

    Args:
        made: the release as it was made, before it was merged with what people changed.
    """
    repo.create_tag(release.tag, commit, title(release))
    target = repo.refs().tags.get(release.tag, commit)  # it was seen; where it is not now, the answer is old
    # An existing tag is never moved, not by the Hub and not by us.
    if target != commit and differences(release, repo.tree(target)):
        raise repo.problem(f"{release.tag} was set by somebody else to {target}. Give this release another version")
    _clear(repo, release, staged)
    _see_main(repo, made, target)
    return Published.tagged(repo.id, release, target, _page(repo, release), operations, rows)


def _clear(repo: HubRepo, release: Release, staged: str | None) -> None:
    """The branch has done its work; one that holds something else is not ours to delete.

    Args:
        staged: where this run left it; None where it is not known that there is one.
    """
    branch = BRANCH + release.version
    at = repo.refs().branches.get(branch, staged)
    if at is None:
        return
    if at == staged or not differences(release, repo.tree(at)):
        repo.delete_branch(branch)
    else:
        _logger.warning("%s: the branch %s does not hold this release and was left alone", repo.id, branch)


def _head(repo: HubRepo, refs: Refs) -> str:
    if MAIN not in refs.branches:
        raise repo.problem("it has no branch main")
    return refs.branches[MAIN]


def _page(repo: HubRepo, release: Release) -> str:
    return f"{repo.url}/tree/{release.tag}"
