"""A release as a pull request, which people look at, edit and merge."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from coig_p.core.progress import Bar
from coig_p.publish.cards import as_published, with_theirs
from coig_p.publish.client import HubRepo, Refs
from coig_p.publish.notices import withdrawals, yanked_in
from coig_p.publish.plan import MAIN, Operation, Release, additions, deletions, differences, size_of, title
from coig_p.publish.remote import planned, read_manifest, written
from coig_p.publish.results import Published, RowCounts
from coig_p.publish.verify import Load, verify_commit

_PULL = "refs/pr/"
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class Proposal:
    """An open pull request that one of our runs made.

    Attributes:
        tip: its commit.
        ours: the last commit in it that is of a release of this version.
    """

    number: str
    tip: str
    ours: str


def propose(
    repo: HubRepo,
    release: Release,
    refs: Refs,
    head: str,
    operations: tuple[Operation, ...],
    bar: Bar,
    load: Load | None,
    before: str = "",
) -> Published:
    """A pull request that holds the release: the open one, or a new one. What reviewers changed in it stays.

    Args:
        head: the commit of main, and `operations` what turns it into the release.
        before: the commit of the release before, as `verify_commit` has it.

    Raises:
        RemoteError: reviewers changed in it what this release changes, too; or the Hub refused or failed.
    """
    found = _proposal(repo, release, refs, head)
    if found is None:
        found = _opened(repo, release, head, operations, bar)
    else:
        there = repo.tree(found.ours)
        release = as_published(repo, release, there, found.ours)
        if differences(release, there):
            found, release = _renewed(repo, release, refs, found, bar)
    with bar("Verifying", release.bytes) as advance:
        rows: RowCounts = verify_commit(repo, found.ours, release, advance, load, before)
    for path in _edited(repo, found):
        _logger.warning("%s: a reviewer changed %s in pull request %s; it stays so", repo.id, path, found.number)
    url = f"{repo.url}/discussions/{found.number}"
    adds, deletes = len(additions(operations)), len(deletions(operations))
    return Published(repo.id, release.version, None, found.tip, url, adds, deletes, found.number, rows)


def check_reviewed(repo: HubRepo, release: Release, refs: Refs, head: str) -> None:
    """Raise RemoteError where an open pull request proposes this version, and reviewers changed something in it."""
    found = _proposal(repo, release, refs, head) if refs.pulls else None
    edited = _edited(repo, found) if found else []
    if found and edited:
        raise repo.problem(
            f"pull request {found.number} proposes {release.version}, too, and reviewers changed {', '.join(edited)} "
            "in it, which would be lost. Merge it, then run this again, or close it"
        )


def _opened(repo: HubRepo, release: Release, head: str, operations: tuple[Operation, ...], bar: Bar) -> Proposal:
    found: Proposal | None = None

    def there() -> bool:
        nonlocal found
        found = _proposal(repo, release, repo.refs(), head)
        return found is not None

    with bar("Uploading", size_of(operations)) as advance:
        repo.commit(operations, MAIN, head, title(release), there, advance, pr=True)
    if found is None and not repo.settle(there):
        raise repo.problem("the pull request is not to be found. Look at its page, then run again")
    assert found is not None
    return found


def _renewed(repo: HubRepo, release: Release, refs: Refs, found: Proposal, bar: Bar) -> tuple[Proposal, Release]:
    """The release has changed since it was proposed: one more commit in the pull request."""
    before = written(repo, repo.tree(found.ours), found.ours)
    tree = repo.tree(found.tip)
    yanked = withdrawals(repo, refs) | yanked_in(read_manifest(repo, tree, found.tip))
    release, before = with_theirs(repo, release, before, found.tip, tree, yanked)
    operations = planned(repo, release, tree, before, keep=tuple(tree))
    ref = _PULL + found.number

    def landed() -> bool:
        tip = repo.refs().pulls.get(found.number)
        return tip not in (None, found.tip) and not differences(release, repo.tree(str(tip)))

    with bar("Uploading", size_of(operations)) as advance:
        made = repo.commit(operations, ref, found.tip, title(release), landed, advance)
    tip = made or repo.refs().pulls[found.number]
    return Proposal(found.number, tip, tip), release


def _proposal(repo: HubRepo, release: Release, refs: Refs, head: str) -> Proposal | None:
    """The newest open pull request of this version."""
    for number in repo.open_pull_requests():
        tip = refs.pulls.get(number)
        if tip in (None, head):
            continue
        for commit, words in repo.history(_PULL + number):
            if commit == head:
                break
            if words == title(release):
                return Proposal(number, str(tip), commit)
    return None


def _edited(repo: HubRepo, found: Proposal) -> list[str]:
    if found.tip == found.ours:
        return []
    ours, tip = repo.tree(found.ours), repo.tree(found.tip)
    return sorted(path for path in {*ours, *tip} if ours.get(path) != tip.get(path))
