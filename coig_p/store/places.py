"""Where something may be written: nothing that exists is replaced unasked, and nothing but files and folders at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from coig_p.core.atomic import check_local, remove_staged
from coig_p.core.objects import ObjectPath
from coig_p.core.upload import check_free
from coig_p.errors import RemoteError, UsageError
from coig_p.store.manifest import MANIFEST


class Marker(NamedTuple):
    """What tells a directory of ours from any other, which may have a file of the same name.

    Attributes:
        file: is in it.
        words: are in that file.
    """

    file: str
    words: tuple[bytes, ...]

    def marks(self, folder: Path) -> bool:
        """Whether a directory is of this kind."""
        path = folder / self.file
        try:
            if isinstance(path, ObjectPath):
                return self._are_in(path.read_first(_LOOKED_AT))
            if not path.is_file():  # to read a pipe would not end
                return False
            with path.open("rb") as stream:
                return self._are_in(stream.read(_LOOKED_AT))
        except OSError:
            return False

    def _are_in(self, text: bytes) -> bool:
        return all(word in text for word in self.words)


_LOOKED_AT = 32 << 20  # bytes
STORE = Marker(MANIFEST, (b'"schema_version"', b'"score_range"'))


def check_target(target: Path, overwrite: bool) -> None:
    """Raise UsageError where a new store cannot be written to `target`."""
    check_outside(target, "another store")
    check_directory(target, STORE, "a store", overwrite)


def check_directory(target: Path, marker: Marker, what: str, overwrite: bool) -> None:
    """Raise UsageError where `what`, a directory that has its marker, cannot be written to `target`.

    In an object store nothing is replaced, also with `overwrite`.
    """
    if isinstance(target, ObjectPath):
        check_name(target)
        try:
            check_free(target, marker.file, what)
        except UsageError:  # as where a run was killed after its last file
            remove_staged(target)
            raise
        return
    _check_kind(target, what)
    if target.is_dir() and any(target.iterdir()):
        if not marker.marks(target):
            raise UsageError(f"{target} exists and is not {what}: choose another place")
        _check_free(target, overwrite)


def check_folder(folder: Path, files: Collection[str], what: str, overwrite: bool) -> None:
    """Raise UsageError where `what`, made of `files` alone, cannot be written, before anything is read."""
    check_outside(folder, what)
    if STORE.marks(folder):
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
    check_name(path)
    check_outside(path, what)
    if isinstance(path, ObjectPath):
        if path.exists():
            _check_free(path, overwrite)
        return
    check_local(path)
    _check_parents(path)
    if path.is_dir():
        raise UsageError(f"{path} is a directory: name a file")
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link: name the file itself, or - for standard output")
    if path.exists():
        if not path.is_file():
            raise UsageError(f"{path} is a device or a pipe: name a file, or - for standard output")
        _check_free(path, overwrite)


def check_kept(path: Path, what: str) -> None:
    """Raise UsageError where `path`, a file that `what` keeps in its folder, would not be written right there.

    The folder may come from somebody else, and a link in it lead to any file.
    """
    check_no_link(path, what)
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a file, and {what} keeps one there: delete it")


def check_no_link(path: Path, what: str) -> None:
    """Raise UsageError where `path`, which `what` writes in its folder, is a link."""
    if path.is_symlink():
        raise UsageError(f"{path} is a symbolic link, and {what} writes only in its own folder: delete the link")


def check_outside(path: Path, what: str) -> None:
    """Raise UsageError where `path` lies in a store, whose manifest does not list what would be written there."""
    for parent in path.resolve().parents:
        if _is_store(parent):
            raise UsageError(
                f"{path} is inside the store {parent}: {what} does not belong there, choose a place outside of it"
            )


def _is_store(folder: Path) -> bool:
    try:
        return STORE.marks(folder)
    except RemoteError:  # who may look into a folder of an object store may not see what is around it
        return False


def check_folder_name(folder: Path) -> None:
    """Raise UsageError for -, which is standard output, and for a name that is not UTF-8."""
    check_name(folder)
    check_local(folder)
    if str(folder) == "-":
        raise UsageError("- is standard output, which takes one file: name a directory")


def check_name(path: Path) -> None:
    """Raise UsageError for a name that is not UTF-8: manifests and reports, which name files, are.

    Python has each byte that is not as a lone surrogate.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        what = "is not UTF-8: rename it"
        with suppress(UnicodeError):  # it is, and the locale says that names are something else
            os.fsencode(path).decode("utf-8")
            locale = sys.getfilesystemencoding().upper()
            what = f"cannot be read in this locale, whose encoding is {locale}: set PYTHONUTF8=1"
        raise UsageError(f"the name {str(path)!r} {what}") from None


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
    check_folder_name(target)
    if target.name in ("", ".."):  # cannot be renamed
        raise UsageError(f"{target}: name the directory by its own name, for instance ../NAME")
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
