"""The signature of a release on its way: made over the manifest as it is published, or not there at all."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from coig_p.publish.client import HubRepo
from coig_p.publish.plan import Before, Release, ReleaseFile, Tree, same
from coig_p.store.manifest import MANIFEST, SIGNATURE
from coig_p.store.writing import sha256_of

_logger = logging.getLogger("coig_p")


def comment_of(version: str, repo_id: str = "") -> str:
    """What a signature vouches for beside the manifest. No clock: the same release has the same signature."""
    return f"coig-p release {version}" + (f" of {repo_id}" if repo_id else "")


def sign_manifest(folder: Path, signer: Callable[[bytes, str], bytes], comment: str) -> Path:
    """Write the signature of a manifest beside it."""
    place = folder / SIGNATURE
    place.write_bytes(signer((folder / MANIFEST).read_bytes(), comment))
    return place


def signed(release: Release, repo_id: str, folder: Path) -> Release:
    """The release with a signature of its manifest as it is now; without one where nobody signs.

    Args:
        folder: where the signature may lie.
    """
    files = [file for file in release.files if file.path != SIGNATURE]
    if release.signer is not None:
        folder.mkdir(exist_ok=True)
        manifest = next(file.source for file in files if file.path == MANIFEST).read_bytes()
        place = folder / SIGNATURE
        place.write_bytes(release.signer(manifest, comment_of(release.version, repo_id)))
        files.insert(-1, ReleaseFile(SIGNATURE, place, sha256_of(place), place.stat().st_size, "signature"))
    return replace(release, files=tuple(files))


def with_signature_there(repo: HubRepo, release: Release, tree: Tree, commit: str) -> Release:
    """The release with the signature that a commit has of the same manifest, where it has none of its own."""
    manifest = next((file for file in release.files if file.path == MANIFEST), None)
    if release.is_signed or SIGNATURE not in tree or manifest is None or not same(manifest, tree.get(MANIFEST)):
        return release
    place = repo.download(SIGNATURE, commit)
    there = ReleaseFile(SIGNATURE, place, sha256_of(place), place.stat().st_size, "signature")
    return replace(release, files=(*release.files[:-1], there, release.files[-1]))


def tell_of_signature(repo: HubRepo, made: Release, release: Release, before: Before) -> None:
    """Say aloud where a release is not signed and somebody might think that it is.

    Args:
        made: the release as it was made, before it was put together with what people changed.
    """
    if release.is_signed:
        return
    if made.is_signed:
        _logger.warning(
            "%s: with what was changed in the repository the manifest is another than the one that was signed, so the "
            "release has no signature. To sign it as it is published: --sign KEYFILE",
            repo.id,
        )
    elif before.commit and SIGNATURE in before.files:
        _logger.warning(
            "%s: the last release was signed, and %s is not. To sign it: --sign KEYFILE", repo.id, release.tag
        )
