"""The card of a release as main shows it: as it was made, with what people changed, and with what was withdrawn.

Where a published card is not the one that was made, the manifest beside it has that one, under `merged`: the same
release is known again by it, and the next merge has its base.

The Chinese card goes the same way. So do LICENSE and CITATION.cff, but that no conflict ends a release: what people put
there is taken as it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from coig_p.core.front_matter import read_front_matter
from coig_p.publish.client import HubRepo
from coig_p.publish.merging import ConflictError, difference, merge
from coig_p.publish.notices import with_notices, without_notices, yanked_in
from coig_p.publish.plan import CARD, CARD_ZH, EDITABLE, Before, Release, ReleaseFile, Tree, as_it_is, same
from coig_p.publish.remote import MERGED, YANKED, made_of, read_manifest
from coig_p.publish.signed import signed, with_signature_there
from coig_p.store.manifest import MANIFEST

BOM = "\ufeff"  # at the beginning of a file: the mark of an encoding
_MERGED_BYTES = 100_000  # of a LICENSE or CITATION.cff; a longer one is taken as it is
_logger = logging.getLogger("coig_p")


def with_theirs(
    repo: HubRepo,
    release: Release,
    before: Before,
    head: str,
    tree: Tree,
    yanked: Mapping[str, str],
    *,
    overwrite: bool = False,
) -> tuple[Release, Before]:
    """The release with what people changed in EDITABLE files, and what was withdrawn; both as known.

    Args:
        head: the commit whose files people changed, and `tree` all of them.
        overwrite: leave out what people changed in files that a release wrote.

    Raises:
        RemoteError: they changed lines of the card that this release changes, too, or its metadata cannot be read any
            more.
    """
    folder = repo.scratch / "merged"
    folder.mkdir(exist_ok=True)
    card, before = _their_card(repo, release, before, head, tree, yanked, overwrite)
    texts = {CARD: with_notices(card, yanked)}
    texts = {path: text for path, text in texts.items() if text != _own(release, path)}
    contents = {path: _written(folder / path, text) for path, text in texts.items()}
    for file in release.files:
        there = tree.get(file.path)
        if file.path not in EDITABLE[1:] or there is None or same(file, there):
            continue
        known = bool(before.commit) and file.path in before.files
        if file.path == CARD_ZH and not known:  # another README than that of a release
            continue
        as_made = known and before.files[file.path] == there and file.path not in before.made
        if as_made or (known and overwrite):
            continue
        theirs = repo.download(file.path, head)
        contents[file.path] = _joined(repo, file, theirs, before, folder) if known else theirs
        if known:
            before = replace(before, files={**before.files, file.path: there})
        what = "what was changed in %s there is kept" if known else "%s there, which no release wrote, is kept as it is"
        _logger.warning(f"%s: {what}", repo.id, file.path)
    return (with_contents(release, contents, yanked, repo.id, folder) if contents else release), before


def _their_card(
    repo: HubRepo,
    release: Release,
    before: Before,
    head: str,
    tree: Tree,
    yanked: Mapping[str, str],
    overwrite: bool,
) -> tuple[str, Before]:
    """The card with what people changed in it, without notices."""
    ours = _own(release, CARD)
    there, then = tree.get(CARD), before.files.get(CARD)
    if there is None or then is None:
        return ours, before
    text = ours
    if before.commit and not overwrite:
        released = before.made.get(CARD) or text_of(repo.download(CARD, before.commit))
        base = without_notices(released, before.yanked or {})
        theirs = without_notices(as_saved_like(base, text_of(repo.download(CARD, head))), yanked)
        if theirs not in (base, ours):
            text = _merged(repo, CARD, base, ours, theirs)
            _logger.info("%s: what was changed in %s there is kept", repo.id, CARD)
    return text, replace(before, files={**before.files, CARD: there})


def _joined(repo: HubRepo, file: ReleaseFile, theirs: Path, before: Before, folder: Path) -> Path:
    """Their file with what this release changes elsewhere in it; as it is where that cannot be told apart.

    Raises:
        RemoteError: of a card: they changed lines that this release changes, too.
    """
    released = repo.download(file.path, before.commit)
    if file.path == CARD_ZH:
        made = before.made.get(file.path) or text_of(released)
        return _written(
            folder / file.path,
            _merged(repo, CARD_ZH, made, text_of(file.source), as_saved_like(made, text_of(theirs))),
        )
    if any(path.stat().st_size > _MERGED_BYTES for path in (file.source, theirs, released)):
        return theirs
    try:
        ours, their_text = file.source.read_bytes().decode(), theirs.read_bytes().decode()
        base = before.made.get(file.path) or released.read_bytes().decode()
        text = merge(base, ours, their_text)
    except (UnicodeDecodeError, ConflictError):
        return theirs
    if file.path.endswith(".cff") and not (_is_mapping(text) or not _is_mapping(their_text)):
        return theirs
    return _written(folder / file.path, text)


def as_saved_like(base: str, text: str) -> str:
    """A text with the ends of lines that `base` has, and a mark of its encoding only where that has one.

    An editor may have changed all of them, which is no edit.
    """
    text = text if base.startswith(BOM) else text.removeprefix(BOM)
    return text.replace("\r\n", "\n") if "\r\n" not in base else text


def _is_mapping(text: str) -> bool:
    try:
        return isinstance(yaml.safe_load(text), dict)
    except yaml.YAMLError:
        return False


def _merged(repo: HubRepo, path: str, base: str, ours: str, theirs: str) -> str:
    if not theirs.isascii() and any("\ud800" <= letter <= "\udfff" for letter in theirs):
        raise repo.problem(f"{path} was changed in the repository and is not UTF-8 any more: put it right there")
    if _metadata(theirs) is None and _metadata(base) is not None:
        raise repo.problem(
            f"{path} was changed in the repository since its last release, and its metadata, between the lines of ---, "
            "cannot be read any more; nothing was changed by this one. Put it right there, or pass --overwrite to "
            "replace the card"
        )
    try:
        return merge(base, ours, theirs)
    except ConflictError:
        raise repo.problem(
            f"{path} was changed in the repository since its last release, in lines that this one changes, too; "
            "nothing was changed by this one. Take the change over into yours, or pass --overwrite to replace it. "
            "It was:\n" + difference(base, theirs, path)
        ) from None


def with_contents(
    release: Release, contents: Mapping[str, Path], yanked: Mapping[str, str], repo_id: str, folder: Path
) -> Release:
    """The release with other files in the place of some, and a manifest that lists them and has those that were made.

    A signature was one of the manifest that was made: there is a new one where somebody signs, else none.

    Args:
        folder: which is there; the manifest is written into it.
    """
    sources = {file.path: file for file in release.files}
    made = {path: _as_made(sources[path]) for path in contents}
    changed = {path: as_it_is(sources[path], place) for path, place in contents.items()}
    fields = json.loads(text_of(sources[MANIFEST].source))
    write_manifest(folder / MANIFEST, fields, changed.values(), made, yanked)
    sources |= {**changed, MANIFEST: as_it_is(sources[MANIFEST], folder / MANIFEST)}
    return signed(replace(release, files=tuple(sources.values())), repo_id, folder)


def write_manifest(
    path: Path,
    fields: dict[str, Any],
    changed: Iterable[ReleaseFile],
    made: Mapping[str, str],
    yanked: Mapping[str, str],
) -> None:
    """A manifest that lists these files, beside those that were made.

    Args:
        fields: what it says otherwise.
    """
    own = {file.path: {"sha256": file.sha256, "bytes": file.bytes} for file in changed}
    files = [file | own.get(file["path"], {}) for file in fields["files"]]
    kept = {name: value for name, value in fields.get("release", {}).items() if name not in (MERGED, YANKED)}
    merged = {path: made[path] for path in EDITABLE if path in made}  # always in one order
    told = kept | {MERGED: merged} | ({YANKED: dict(yanked)} if yanked else {})
    text = json.dumps(fields | {"files": files, "release": told}, ensure_ascii=False, indent=2) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def as_published(repo: HubRepo, release: Release, tree: Tree, commit: str) -> Release:
    """The release as a commit holds it, where that is it with files that people changed; else as it is.

    Where it is signed there, and not here, it has that signature.
    """
    manifest = read_manifest(repo, tree, commit)
    if manifest is not None:
        contents = _published(repo, release, made_of(manifest), tree, commit)
        if contents:
            release = with_contents(release, contents, yanked_in(manifest), repo.id, _scratch(repo, "published"))
    return with_signature_there(repo, release, tree, commit)


def as_expected(repo: HubRepo, release: Release, commit: str, yanked: Mapping[str, str]) -> Release:
    """The release as main should hold it: with the files of its tag, and what was withdrawn since.

    Args:
        release: as it was made.
        commit: that of its tag.
    """
    tree = repo.tree(commit)
    manifest = read_manifest(repo, tree, commit)
    contents = _published(repo, release, made_of(manifest), tree, commit) if manifest else {}
    card = without_notices(text_of(repo.download(CARD, commit)), yanked_in(manifest))
    text = with_notices(card, yanked)
    folder = _scratch(repo, "expected")
    if text != _own(release, CARD):
        contents[CARD] = _written(folder / CARD, text)
    if contents:
        release = with_contents(release, contents, yanked, repo.id, folder)
    return with_signature_there(repo, release, tree, commit)


def _published(repo: HubRepo, release: Release, made: Mapping[str, str], tree: Tree, commit: str) -> dict[str, Path]:
    """What a commit has in the place of files that were made; none where it was made of another release."""
    own = {file.path: file for file in release.files if file.path in EDITABLE}
    if any(path not in own or path not in tree or _as_made(own[path]) != text for path, text in made.items()):
        return {}
    return {path: repo.download(path, commit) for path in EDITABLE if path in made}


def same_metadata(repo: HubRepo, release: Release, commit: str) -> bool:
    """Whether a commit's card says the same to programs: what configs there are, and of which files."""
    found = _metadata(text_of(repo.download(CARD, commit)))
    return found is not None and found == _metadata(_own(release, CARD))


def _metadata(card: str) -> Any:
    try:
        return read_front_matter(card)
    except yaml.YAMLError:
        return None


def _own(release: Release, path: str) -> str:
    """A file's text as it was made; "" where there is none."""
    return next((text_of(file.source) for file in release.files if file.path == path), "")


def _as_made(file: ReleaseFile) -> str:
    """A file as a manifest tells what was made: its text, or its hash where it is long, or is no text."""
    content = file.source.read_bytes() if file.path == CARD or file.bytes <= _MERGED_BYTES else b"\xff"
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"sha256 {file.sha256}"


def _written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def _scratch(repo: HubRepo, name: str) -> Path:
    folder = repo.scratch / name
    folder.mkdir(exist_ok=True)
    return folder


def text_of(path: Path) -> str:
    """A file's text, with the line ends that it has; bytes that are no UTF-8 stay themselves."""
    return path.read_bytes().decode("utf-8", "surrogateescape")
