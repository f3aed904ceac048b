"""What people did to a repository since its last release, and how the next one lives with it.

A release writes files and a tag. Between two releases people edit the card on its page, add a licence, delete a
file, go back to an older state. The tag says what was there when we left it: what differs from it is theirs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from coig_p.core.front_matter import read_front_matter
from coig_p.publish.client import HubRepo, Refs
from coig_p.publish.merging import ConflictError, difference, merge
from coig_p.publish.plan import (
    BESIDE,
    CARD,
    Add,
    Before,
    Release,
    ReleaseFile,
    RemoteFile,
    Tree,
    precedence,
    same,
    version_of,
)
from coig_p.publish.remote import read_manifest, written
from coig_p.store.manifest import MANIFEST
from coig_p.store.writing import sha256_of

_MERGED = "merged"  # in a manifest's `release`: SHA-256, by path, of what the release itself had there
YANKED = "yanked"  # in a manifest's `release`: why each withdrawn version is one
_logger = logging.getLogger("coig_p")


def versions(refs: Refs) -> dict[str, str]:
    """Commit by version, of every release, the newest version first."""
    found = {version: commit for tag, commit in refs.tags.items() if (version := version_of(tag))}
    return dict(sorted(found.items(), key=lambda item: precedence(item[0]), reverse=True))


def release_before(repo: HubRepo, refs: Refs, head: str, tree: Tree, history: Sequence[tuple[str, str]]) -> Before:
    """The last release on main, as its tag has it; without a tag, what main's own manifest says.

    Args:
        head: the commit of main, `tree` its files, and `history` that commit and its ancestors, the newest first.
    """
    tagged = versions(refs)
    if not tagged:
        return written(repo, tree, head)
    ancestors = {commit: nth for nth, (commit, _) in enumerate(history)}
    on_main = [version for version, commit in tagged.items() if commit in ancestors]
    if not on_main:  # history was rewritten: the newest version is the best guess there is
        on_main = list(tagged)[:1]
    version = min(on_main, key=lambda at: ancestors.get(tagged[at], 0))
    commit = tagged[version]
    at_tag = tree if commit == head else repo.tree(commit)
    manifest = read_manifest(repo, at_tag, commit)
    if manifest is None:
        return written(repo, tree, head)
    listed = {MANIFEST, *(file.path for file in manifest.files)}
    files = {path: file for path, file in at_tag.items() if path in listed}
    strange = [path for path in tree if path not in at_tag]
    if strange:  # main may have been put back to an older release: its files are ours, too
        older = everything_released(repo, refs).files
        files |= {path: older[path] for path in strange if older.get(path) == tree[path]}
    return Before(commit, version, files, frozenset(at_tag.keys() - listed))


def everything_released(repo: HubRepo, refs: Refs) -> Before:
    """Every file that any release wrote, as the newest that had it has it."""
    files: dict[str, RemoteFile] = {}
    for commit in versions(refs).values():
        tree = repo.tree(commit)
        manifest = read_manifest(repo, tree, commit)
        listed = {MANIFEST, *(file.path for file in manifest.files)} if manifest else set()
        files = {path: file for path, file in tree.items() if path in listed} | files
    return Before(files=files)


def withdrawals(repo: HubRepo, refs: Refs) -> dict[str, str]:
    """Why each withdrawn version is one, as the manifest of main says."""
    head = refs.branches.get("main")
    manifest = read_manifest(repo, repo.tree(head), head) if head else None
    return dict(manifest.release.get(YANKED) or {}) if manifest else {}


# A repository that was there before its first release.

ASIDE = "before-first-release/"


def adopted(release: Release, tree: Tree, before: Before) -> Before:
    """What stood there counts as known: it stays, or goes aside where the release has a file of that name."""
    wanted = {file.path for file in release.files}
    theirs = {path: file for path, file in tree.items() if path not in before.files and path not in BESIDE}
    theirs = {path: file for path, file in theirs.items() if not release.is_data(path)}
    in_the_way = {path: file for path, file in theirs.items() if path in wanted}
    return replace(before, files={**in_the_way, **before.files}, beside=before.beside | theirs.keys() - wanted)


def moved_aside(repo: HubRepo, release: Release, head: str, tree: Tree, before: Before) -> tuple[Add, ...]:
    """Puts what the release replaces, and no release wrote, into a folder of its own."""
    moved = []
    for file in release.files:
        there = tree.get(file.path)
        if there is None or same(file, there) or file.path not in before.files or before.commit:
            continue
        source = repo.download(file.path, head)
        path = ASIDE + file.path
        if path not in tree:
            _logger.warning("%s: %s that was there goes to %s", repo.id, file.path, path)
            moved.append(Add(_described(replace(file, path=path, role="theirs"), source)))
    return tuple(moved)


# The card.


def with_their_card(repo: HubRepo, release: Release, before: Before, head: str, tree: Tree) -> tuple[Release, Before]:
    """The release with what people changed in the card on its page since the last one, and that change as known.

    The manifest then says of which card of ours it was made, so that the same release is known again.

    Raises:
        RemoteError: they changed lines that this release changes, too.
    """
    ours = next((file for file in release.files if file.path == CARD), None)
    there, then = tree.get(CARD), before.files.get(CARD)
    if ours is None or there is None or then is None or there == then or same(ours, there) or not before.commit:
        return release, before
    base, theirs = text_of(repo.download(CARD, before.commit)), text_of(repo.download(CARD, head))
    try:
        text = merge(base, text_of(ours.source), theirs)
    except ConflictError:
        raise repo.problem(
            f"{CARD} was changed in the repository since its last release, in lines that this one changes, too; "
            "nothing was changed by this one. Take the change over into yours, or pass --overwrite to replace it. "
            "It was:\n" + difference(base, theirs, CARD)
        ) from None
    _logger.info("%s: the change of %s made there is kept", repo.id, CARD)
    manifest = read_manifest(repo, tree, head)
    yanked = manifest.release.get(YANKED) if manifest else None
    known = replace(before, files={**before.files, CARD: there})
    return _with_card(release, text, yanked, repo.scratch / "merged"), known


def _with_card(release: Release, text: str, yanked: Any, folder: Path) -> Release:
    """The release with another card, and a manifest that lists it, and the versions that the one before withdrew."""
    folder.mkdir(exist_ok=True)
    card = folder / CARD
    card.write_bytes(text.encode("utf-8", "surrogateescape"))
    sources = {file.path: file for file in release.files}
    ours = sources[CARD].sha256
    fields = json.loads(sources[MANIFEST].source.read_text("utf-8"))
    sources[CARD] = _described(sources[CARD], card)
    found = {"sha256": sources[CARD].sha256, "bytes": sources[CARD].bytes}
    fields["files"] = [file | found if file["path"] == CARD else file for file in fields["files"]]
    fields["release"] = fields.get("release", {}) | {_MERGED: {CARD: ours}}
    if yanked:
        fields["release"][YANKED] = yanked
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(fields, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    sources[MANIFEST] = _described(sources[MANIFEST], manifest)
    return replace(release, files=tuple(sources.values()))


def _described(file: ReleaseFile, source: Path) -> ReleaseFile:
    return replace(file, source=source, sha256=sha256_of(source), bytes=source.stat().st_size)


def as_published(repo: HubRepo, release: Release, tree: Tree, commit: str) -> Release:
    """The release as a commit holds it, where that is it with people's changes in its card; else as it is."""
    manifest = read_manifest(repo, tree, commit)
    ours = {file.path: file.sha256 for file in release.files}
    if manifest is None or manifest.release.get(_MERGED) != {CARD: ours.get(CARD)}:
        return release
    yanked = manifest.release.get(YANKED)
    return _with_card(release, text_of(repo.download(CARD, commit)), yanked, repo.scratch / "published")


def same_metadata(repo: HubRepo, release: Release, commit: str) -> bool:
    """Whether a commit's card says the same to programs: what configs there are, and of which files."""
    ours = next(file.source for file in release.files if file.path == CARD)
    found = _metadata(text_of(repo.download(CARD, commit)))
    return found is not None and found == _metadata(text_of(ours))


def _metadata(card: str) -> Any:
    try:
        return read_front_matter(card)
    except yaml.YAMLError:
        return None


def text_of(path: Path) -> str:
    """A file's text, with the line ends that it has; bytes that are no UTF-8 stay themselves."""
    return path.read_bytes().decode("utf-8", "surrogateescape")
