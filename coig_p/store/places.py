"""Where a store, or anything made of one, may be written."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from coig_p.errors import UsageError
from coig_p.store.manifest import MANIFEST


def check_target(target: Path, overwrite: bool) -> None:
    """Raise UsageError where a new store cannot be written to `target`."""
    if target.is_symlink():
        raise UsageError(f"{target} is a symbolic link: name the directory itself")
    for parent in target.parents:
        if parent.exists() and not parent.is_dir():
            raise UsageError(f"{target}: {parent} is a file, not a directory")
    check_outside(target, "another store")
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target} is a file: a store is a directory")
    if not any(target.iterdir()):
        return
    if not (target / MANIFEST).is_file():
        raise UsageError(f"{target} exists and is not a store: choose another place")
    if not overwrite:
        raise UsageError(f"{target} exists: pass --overwrite to replace it, or choose another place")


def check_outside(path: Path, what: str) -> None:
    """Raise UsageError where `path` lies in a store, whose manifest does not list what would be written there."""
    for parent in path.resolve().parents:
        if _is_store(parent):
            raise UsageError(
                f"{path} is inside the store {parent}: {what} does not belong there, choose a place outside of it"
            )


def _is_store(folder: Path) -> bool:
    """Whether a folder has a manifest of ours; many a program calls a file of its own manifest.json."""
    try:
        return b'"schema_version"' in (folder / MANIFEST).read_bytes()
    except OSError:
        return False


def check_folder(folder: Path, files: Collection[str], what: str) -> None:
    """Raise UsageError where `what`, made of `files` alone, cannot be written, before anything is read."""
    check_outside(folder, what)
    if _is_store(folder):
        raise UsageError(f"{folder} is a store: {what} does not belong there, choose another place")
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - set(files)):
        raise UsageError(f"{folder} exists and is not {what}: choose another place")
