"""Where something may be written: nothing that exists is replaced unasked, and nothing but files and folders at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from coig_p.errors import UsageError
from coig_p.store.manifest import MANIFEST


def check_target(target: Path, overwrite: bool) -> None:
    """Raise UsageError where a new store cannot be written to `target`."""
    check_outside(target, "another store")
    check_directory(target, MANIFEST, "a store", overwrite)


def check_directory(target: Path, marker: str, what: str, overwrite: bool) -> None:
    """Raise UsageError where `what`, a directory with a file called `marker`, cannot be written to `target`."""
    _check_kind(target, what)
    if target.is_dir() and any(target.iterdir()):
        if not (target / marker).is_file():
            raise UsageError(f"{target} exists and is not {what}: choose another place")
        _check_free(target, overwrite)


def check_folder(folder: Path, files: Collection[str], what: str, overwrite: bool) -> None:
    """Raise UsageError where `what`, made of `files` alone, cannot be written, before anything is read."""
    check_outside(folder, what)
    if _is_store(folder):
        raise UsageError(f"{folder} is a store: {what} does not belong there, choose another place")
    _check_kind(folder, what)
    if folder.is_dir():
        found = {path.name for path in folder.iterdir()}
        if found - set(files):
            raise UsageError(f"{folder} exists and is not {what}: choose another place")
        if found:
            _check_free(folder, overwrite)


def check_file(path: Path, what: str, overwrite: bool) -> None:
    """Raise UsageError where `what`, one file, cannot be written to `path`."""
    check_outside(path, what)
    _check_parents(path)
    if path.is_dir():
        raise UsageError(f"{path} is a directory: name a file")
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link: name the file itself, or - for standard output")
    if path.exists():
        if not path.is_file():
            raise UsageError(f"{path} is a device or a pipe: name a file, or - for standard output")
        _check_free(path, overwrite)


def check_outside(path: Path, what: str) -> None:
    """Raise UsageError where `path` lies in a store, whose manifest does not list what would be written there."""
    for parent in path.resolve().parents:
        if _is_store(parent):
            raise UsageError(
                f"{path} is inside the store {parent}: {what} does not belong there, choose a place outside of it"
            )


def file_type(path: Path, types: Mapping[str, str]) -> str:
    """What the ending of a file says to write.

    Args:
        types: from endings such as ".parquet" to what they say.

    Raises:
        UsageError: another ending, or none.
    """
    found = types.get(path.suffix.lower())
    if found is None:
        *others, last = types
        endings = f"{', '.join(others)} or {last}" if others else last
        raise UsageError(f"{path}: the ending of its name says what to write: use {endings}")
    return found


def _check_kind(target: Path, what: str) -> None:
    if target.is_symlink():
        raise UsageError(f"{target} is a symbolic link: name the directory itself")
    _check_parents(target)
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target} is a file: {what} is a directory")


def _check_parents(target: Path) -> None:
    for parent in target.parents:
        if parent.exists() and not parent.is_dir():
            raise UsageError(f"{target}: {parent} is a file, not a directory")


def _check_free(path: Path, overwrite: bool) -> None:
    if not overwrite:
        raise UsageError(f"{path} exists: pass --overwrite to replace it, or choose another place")


def _is_store(folder: Path) -> bool:
    """Whether a folder has a manifest of ours; many a program calls a file of its own manifest.json."""
    try:
        return b'"schema_version"' in (folder / MANIFEST).read_bytes()
    except OSError:
        return False
