"""What people did to a repository since its last release, and how the next one lives with it.

A release writes files and a tag. Between two releases people edit the card on its page, add a licence, delete a
file, go back to an older state. The tag says what was there when we left it: what differs from it is theirs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

from coig_p.core.text import printable
from coig_p.publish.client import HubRepo, Refs
from coig_p.publish.notices import withdrawals, yanked_in
from coig_p.publish.plan import (
    BESIDE,
    CARD,
    CARD_ZH,
    MAIN,
    RESTORE,
    Add,
    Before,
    Release,
    ReleaseFile,
    RemoteFile,
    Tree,
    in_the_place_of,
    precedence,
    same,
)
from coig_p.publish.remote import made_of, read_manifest, written
from coig_p.store.manifest import MANIFEST, SIGNATURE, Manifest
from coig_p.store.writing import sha256_of

_logger = logging.getLogger("coig_p")


def release_before(repo: HubRepo, refs: Refs, head: str, tree: Tree, history: Sequence[tuple[str, str]]) -> Before:
    """The last release on main, as its tag has it; without a tag, what main's own manifest says.

    Args:
        head: the commit of main, `tree` its files, and `history` that commit and its ancestors, the newest first.
    """
    tagged = refs.versions()
    if not tagged:
        return written(repo, tree, head)
    ancestors = {commit: nth for nth, (commit, _) in enumerate(history)}
    on_main = [version for version, commit in tagged.items() if commit in ancestors]
    last = _version_of_main(tagged, history)
    # Where history was rewritten, the newest version is the best guess there is.
    for version in dict.fromkeys([*([last] if last else []), *on_main, *tagged]):
        commit = tagged[version]
        at_tag = tree if commit == head else repo.tree(commit)
        manifest = read_manifest(repo, at_tag, commit)
        if manifest is not None and _names(manifest, version) and _is_whole(repo, manifest, at_tag, commit):
            break
        _logger.info("%s: the tag v%s is not of a release, and is left alone", repo.id, version)
    else:
        return written(repo, tree, head)
    listed = {MANIFEST, SIGNATURE, *(file.path for file in manifest.files)}
    files = {path: file for path, file in at_tag.items() if path in listed}
    strange = [path for path in tree if path not in at_tag]
    if strange:  # main may have been put back to an older release: its files are ours, too
        older = everything_released(repo, refs).files
        files |= {path: older[path] for path in strange if older.get(path) == tree[path]}
    return Before(commit, version, files, frozenset(at_tag.keys() - listed), made_of(manifest), yanked_in(manifest))


def _names(manifest: Manifest, version: str) -> bool:
    """Whether a manifest is that of the version that its tag names, as far as it says; else a person set the tag."""
    return bool(manifest.release.get("version", version) == version)


def _is_whole(repo: HubRepo, manifest: Manifest, tree: Tree, commit: str) -> bool:
    """Whether a commit holds what its manifest says. A tag that somebody set after an edit does not."""
    for file in manifest.files:
        there = tree.get(file.path)
        if there is None or there.bytes != file.bytes or there.sha256 not in (None, file.sha256):
            return False
        # Of the files that git keeps people edit the cards.
        if file.path in (CARD, CARD_ZH) and sha256_of(repo.download(file.path, commit)) != file.sha256:
            return False
    return True


def _version_of_main(tagged: Mapping[str, str], history: Sequence[tuple[str, str]]) -> str | None:
    """The last version that came to main, or that main was put back to."""
    by_commit = {commit: version for version, commit in tagged.items()}
    for commit, words in history:
        put_back = words.removeprefix(RESTORE) if words.startswith(RESTORE) else ""
        if commit in by_commit or put_back in tagged:
            return by_commit.get(commit, put_back)
    return None


def everything_released(repo: HubRepo, refs: Refs) -> Before:
    """Every file that any release wrote, as the newest that had it has it."""
    files: dict[str, RemoteFile] = {}
    for commit in refs.versions().values():
        tree = repo.tree(commit)
        manifest = read_manifest(repo, tree, commit)
        listed = {MANIFEST, SIGNATURE, *(file.path for file in manifest.files)} if manifest else set()
        files = {path: file for path, file in tree.items() if path in listed} | files
    return Before(files=files)


def version_before(repo: HubRepo, refs: Refs, version: str) -> tuple[str, str, str | None] | None:
    """The version that a release's notes compare it with, its commit, and the SHA-256 of its manifest where it was
    named by it; None where there is none.

    Of a version that is published, or came to main and lacks its tag, the one that its manifest names, so that it is
    made with the same bytes again. Else the highest lower one that was not withdrawn. A tag without a manifest is
    somebody else's.

    Raises:
        RemoteError: the version that is named is there no more.
    """
    tagged = refs.versions()
    for commit in dict.fromkeys(at for at in (tagged.get(version), refs.branches.get(MAIN)) if at):
        manifest = read_manifest(repo, repo.tree(commit), commit)
        told = manifest.release if manifest else {}
        if told.get("version") != version and commit != tagged.get(version):
            continue
        since = told.get("since")
        if since is None:
            return None
        named = since["version"]
        if named not in tagged:
            raise repo.problem(
                f"v{version} was compared with {named}, of which there is no tag here. To make it again with the same "
                "bytes name that one: --since RELEASE"
            )
        return named, tagged[named], since["manifest_sha256"]
    lower = [one for one in tagged if precedence(one) < precedence(version)]
    withdrawn = withdrawals(repo, refs) if lower else {}
    for one in lower:
        if one in withdrawn:
            continue
        tree = repo.tree(tagged[one])
        if MANIFEST in tree:
            manifest = read_manifest(repo, tree, tagged[one])
            if manifest is None or _names(manifest, one):  # what is damaged is said when it is read
                return one, tagged[one], None
            said = printable(str(manifest.release["version"]))
            _logger.warning(
                "%s: the tag v%s is of version %s, as its %s says, and is not compared with",
                repo.id, one, said, MANIFEST,
            )  # fmt: skip
            continue
        _logger.warning("%s: v%s has no %s, so that it is no release to compare with", repo.id, one, MANIFEST)
    return None


# A repository that was there before its first release.

ASIDE = "before-first-release"


def adopted(release: Release, tree: Tree, before: Before) -> Before:
    """What stood there counts as known: it stays, or goes aside where the release has a file or folder of that name.

    After a release what is in the way of the next one is not what was there before the first: it is not adopted.
    """
    wanted = {file.path for file in release.files}
    theirs = {path: file for path, file in tree.items() if path not in before.files and path not in BESIDE}
    # A file called data is in the way of a folder; what is in that folder might be loaded.
    theirs = {path: file for path, file in theirs.items() if "/" not in path or not release.is_data(path)}
    clashing = in_the_place_of(theirs, wanted)
    in_the_way = {path: file for path, file in theirs.items() if path in wanted or path in clashing}
    moved = {} if before.commit else in_the_way
    return replace(before, files={**moved, **before.files}, beside=before.beside | (theirs.keys() - in_the_way.keys()))


def moved_aside(repo: HubRepo, release: Release, head: str, tree: Tree, before: Before) -> tuple[Add, ...]:
    """Puts what the release replaces, and no release wrote, into a folder of its own."""
    if before.commit:
        return ()
    wanted = {file.path: file for file in release.files}
    replaced = {path for path in before.files if path in tree}
    replaced = {path for path in replaced if path not in wanted or not same(wanted[path], tree[path])}
    moved = []
    for path in sorted(replaced):
        source = repo.download(path, head)
        theirs = ReleaseFile(path, source, sha256_of(source), source.stat().st_size, "theirs")
        places = (f"{ASIDE}{'' if nth == 1 else f'-{nth}'}/{path}" for nth in count(1))
        place = next(
            place
            for place in places
            if (place not in tree or same(theirs, tree[place])) and not in_the_place_of([place], tree)
        )
        if place not in tree:
            _logger.warning("%s: %s that was there goes to %s", repo.id, printable(path), printable(place))
            moved.append(Add(replace(theirs, path=place)))
    return tuple(moved)
