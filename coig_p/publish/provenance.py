"""What a release says of itself to lawyers, librarians and programs: LICENSE, CITATION.cff, croissant.json.

LICENSE is the one that lies beside the store, as it is, else a short one made of card.toml.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from coig_p.errors import DataError
from coig_p.report.card import CardFacts
from coig_p.report.card_toml import CARD_TOML
from coig_p.report.citation import CITATION, render_citation
from coig_p.report.croissant import CROISSANT, render_croissant
from coig_p.report.terms import LICENSE, is_made, render_licence
from coig_p.store.manifest import MANIFEST, StoreFile
from coig_p.store.presence import lies_inside

ROLES = {LICENSE: "license", CITATION: "citation", CROISSANT: "croissant"}
"""Roles of these files in a manifest."""


def inputs_of(store: Path) -> dict[str, str]:
    """SHA-256 of what a release is made of, by name: the store's manifest, which has those of its files, and what its
    owner put beside it.

    Raises:
        DataError: one of them cannot be read.
    """
    named = [name for name in (MANIFEST, CARD_TOML, LICENSE) if (store / name).is_file()]
    return {name: hashlib.sha256(_content(store / name)).hexdigest() for name in named}


def write_provenance(root: Path, store: Path, facts: CardFacts, files: Iterable[StoreFile]) -> None:
    """Write the three files into a release.

    Args:
        store: where a LICENSE may lie.
        files: of the release, as far as they never change.

    Raises:
        DataError: the LICENSE beside the store cannot be read.
    """
    (root / LICENSE).write_bytes(_own_licence(store) or render_licence(facts.info).encode())
    _write(root / CITATION, render_citation(facts.info))
    _write(root / CROISSANT, render_croissant(facts, files))


def _own_licence(store: Path) -> bytes | None:
    """What lies beside the store; None where nothing does, or one that was made for an earlier release."""
    check_licence(store)
    licence = _content(store / LICENSE) if (store / LICENSE).is_file() else b""
    return None if is_made(licence) or not licence.strip() else licence


def check_licence(store: Path) -> None:
    """Raise DataError where something called LICENSE lies beside the store that is no text to publish."""
    place = store / LICENSE
    if not place.is_symlink() and not place.exists():
        return
    problem = ""
    if not place.exists():
        problem = "it is a link to nothing"
    elif not lies_inside(store, place):
        problem = "it is a link that leads out of the store"
    elif not place.is_file():
        problem = "it is no file"
    elif not _content(place).strip():
        problem = "it is empty"
    if problem:
        raise DataError(
            f"{place}: {problem}. Put the text of the licence there, or delete it: then a short one is made of "
            f"{CARD_TOML}"
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
