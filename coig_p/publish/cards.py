"""The card of a release as main shows it: as it was made, with what people changed, and with what was withdrawn.

Where a published card is not the one that was made, the manifest beside it has that one, under `merged`: the same
release is known again by it, and the next merge has its base. What was withdrawn is no edit: it is taken out before a
merge, and put back after it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from coig_p.core.front_matter import body_begin, read_front_matter
from coig_p.core.markdown import cell
from coig_p.publish.client import HubRepo, Refs
from coig_p.publish.merging import ConflictError, difference, merge
from coig_p.publish.plan import CARD, MAIN, Before, Release, ReleaseFile, Tree, as_it_is
from coig_p.publish.remote import MERGED, YANKED, read_manifest
from coig_p.store.manifest import MANIFEST, Manifest

_NOTICES = re.compile(r"\n<!-- withdrawn (\S+) -->\n.*?<!-- end of \1 -->\n", re.DOTALL)
_logger = logging.getLogger("coig_p")


def yanked_in(manifest: Manifest | None) -> dict[str, str]:
    """Why each withdrawn version is one, as a manifest says."""
    return dict(manifest.release.get(YANKED) or {}) if manifest else {}


def withdrawals(repo: HubRepo, refs: Refs) -> dict[str, str]:
    """Why each withdrawn version is one, as the manifest of main says."""
    head = refs.branches.get(MAIN)
    return yanked_in(read_manifest(repo, repo.tree(head), head)) if head else {}


def with_notices(card: str, yanked: Mapping[str, str]) -> str:
    """The card with a line for each withdrawn version, below its metadata, in place of those that it has."""
    card = without_notices(card)
    at = body_begin(card)
    # Between blank lines, or Markdown takes them for a part of what stands beside them.
    notices = "".join(
        f"\n<!-- withdrawn {version} -->\n> **{version} 已撤回 / was withdrawn:** {cell(reason)}\n\n"
        f"<!-- end of {version} -->\n"
        for version, reason in yanked.items()
    )
    return card[:at] + notices + card[at:]


def without_notices(card: str) -> str:
    """The card without such lines."""
    return _NOTICES.sub("", card)


def with_their_card(
    repo: HubRepo,
    release: Release,
    before: Before,
    head: str,
    tree: Tree,
    yanked: Mapping[str, str],
    *,
    overwrite: bool = False,
) -> tuple[Release, Before]:
    """The release with what people changed in the card on its page, and what was withdrawn; both as known.

    Args:
        head: the commit whose card people changed, and `tree` its files.
        overwrite: leave out what people changed.

    Raises:
        RemoteError: they changed lines that this release changes, too, or its metadata cannot be read any more.
    """
    ours = _own(release)
    there, then = tree.get(CARD), before.files.get(CARD)
    text = ours
    if there is not None and then is not None and before.commit and not overwrite:
        base = without_notices(before.card or text_of(repo.download(CARD, before.commit)))
        theirs = without_notices(text_of(repo.download(CARD, head)))
        if theirs not in (base, ours):
            text = _merged(repo, base, ours, theirs)
            _logger.info("%s: what was changed in %s there is kept", repo.id, CARD)
    if there is not None and then is not None:
        before = replace(before, files={**before.files, CARD: there})
    text = with_notices(text, yanked)
    return (release if text == ours else with_card(release, text, yanked, repo.scratch / "merged")), before


def _merged(repo: HubRepo, base: str, ours: str, theirs: str) -> str:
    if not theirs.isascii() and any("\ud800" <= letter <= "\udfff" for letter in theirs):
        raise repo.problem(f"{CARD} was changed in the repository and is not UTF-8 any more: put it right there")
    if _metadata(theirs) is None and _metadata(base) is not None:
        raise repo.problem(
            f"{CARD} was changed in the repository since its last release, and its metadata, between the lines of ---, "
            "cannot be read any more; nothing was changed by this one. Put it right there, or pass --overwrite to "
            "replace the card"
        )
    try:
        return merge(base, ours, theirs)
    except ConflictError:
        raise repo.problem(
            f"{CARD} was changed in the repository since its last release, in lines that this one changes, too; "
            "nothing was changed by this one. Take the change over into yours, or pass --overwrite to replace it. "
            "It was:\n" + difference(base, theirs, CARD)
        ) from None


def with_card(release: Release, text: str, yanked: Mapping[str, str], folder: Path) -> Release:
    """The release with another card, and a manifest that lists it and has the one that was made."""
    folder.mkdir(exist_ok=True)
    (folder / CARD).write_bytes(text.encode("utf-8", "surrogateescape"))
    sources = {file.path: file for file in release.files}
    card = as_it_is(sources[CARD], folder / CARD)
    fields = json.loads(text_of(sources[MANIFEST].source))
    write_manifest(folder / MANIFEST, fields, card, _own(release), yanked)
    sources |= {CARD: card, MANIFEST: as_it_is(sources[MANIFEST], folder / MANIFEST)}
    return replace(release, files=tuple(sources.values()))


def write_manifest(path: Path, fields: dict[str, Any], card: ReleaseFile, made: str, yanked: Mapping[str, str]) -> None:
    """A manifest that lists this card, beside the one that was made.

    Args:
        fields: what it says otherwise.
    """
    own = {"sha256": card.sha256, "bytes": card.bytes}
    files = [file | own if file["path"] == CARD else file for file in fields["files"]]
    kept = {name: value for name, value in fields.get("release", {}).items() if name not in (MERGED, YANKED)}
    told = kept | {MERGED: {CARD: made}} | ({YANKED: dict(yanked)} if yanked else {})
    text = json.dumps(fields | {"files": files, "release": told}, ensure_ascii=False, indent=2) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def as_published(repo: HubRepo, release: Release, tree: Tree, commit: str) -> Release:
    """The release as a commit holds it, where that is it with another card; else as it is."""
    manifest = read_manifest(repo, tree, commit)
    if manifest is None or manifest.release.get(MERGED) != {CARD: _own(release)}:
        return release
    return with_card(release, text_of(repo.download(CARD, commit)), yanked_in(manifest), repo.scratch / "published")


def as_expected(repo: HubRepo, release: Release, commit: str, yanked: Mapping[str, str]) -> Release:
    """The release as main should hold it: with the card of its tag, and what was withdrawn since.

    Args:
        release: as it was made.
        commit: that of its tag.
    """
    text = with_notices(text_of(repo.download(CARD, commit)), yanked)
    return release if text == _own(release) else with_card(release, text, yanked, repo.scratch / "expected")


def same_metadata(repo: HubRepo, release: Release, commit: str) -> bool:
    """Whether a commit's card says the same to programs: what configs there are, and of which files."""
    found = _metadata(text_of(repo.download(CARD, commit)))
    return found is not None and found == _metadata(_own(release))


def _metadata(card: str) -> Any:
    try:
        return read_front_matter(card)
    except yaml.YAMLError:
        return None


def _own(release: Release) -> str:
    """The card that was made; "" where there is none."""
    return next((text_of(file.source) for file in release.files if file.path == CARD), "")


def text_of(path: Path) -> str:
    """A file's text, with the line ends that it has; bytes that are no UTF-8 stay themselves."""
    return path.read_bytes().decode("utf-8", "surrogateescape")
