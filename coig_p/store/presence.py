"""Whether the files that a manifest lists are there, in the store, and as long as it says."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote

from coig_p.core.objects import ObjectPath
from coig_p.errors import StoreError
from coig_p.store.manifest import MANIFEST, StoreFile
from coig_p.store.rewards import REWARDS, score_again


def check_present(root: Path, files: Sequence[StoreFile], store: object, *, check_sizes: bool) -> None:
    """Raise StoreError where a file of the store at `root` is not there, leads out of it, or is of another size.

    Args:
        store: for messages.
        check_sizes: False accepts every size.

    Raises:
        RemoteError: an object store cannot be reached, or refused.
    """
    if isinstance(root, ObjectPath):
        _check_objects(root, files, check_sizes)
        return
    for file, found in zip(files, stats_of(root, files, store), strict=True):
        if check_sizes and found.st_size != file.bytes:
            raise StoreError(store, _other_size(file, found.st_size, store))


def stats_of(root: Path, files: Iterable[StoreFile], store: object) -> Iterator[os.stat_result]:
    """What the system says of each file of a directory; others of the store are not looked at.

    Args:
        store: for messages.

    Raises:
        StoreError: a file is missing, or leads out of the store.
    """
    inside: dict[str, bool] = {}  # of a folder, whether it is, asked once
    for file in files:
        place = f"{root}/{file.path}"
        try:
            found = os.lstat(place)
            if stat.S_ISLNK(found.st_mode):
                found, is_inside = os.stat(place), lies_inside(root, Path(place))
            else:
                folder = place.rpartition("/")[0]
                if folder not in inside:
                    inside[folder] = lies_inside(root, Path(folder))
                is_inside = inside[folder]
        except (OSError, ValueError):
            raise StoreError(store, _missing(file)) from None
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(store, _missing(file))
        if not is_inside:
            raise StoreError(store, f"{file.path} is a link that leads out of the store. Copy the file instead")
        yield found


def _check_objects(root: ObjectPath, files: Sequence[StoreFile], check_sizes: bool) -> None:
    """Raise StoreError where a file is not there, or of another size. One listing tells of all."""
    there = root.files() if files else {}
    for file in files:
        found = there.get(file.path)
        if found is None:
            raise StoreError(root, _missing(file))
        if check_sizes and found.st_size != file.bytes:
            raise StoreError(root, _other_size(file, found.st_size, root))


def _missing(file: StoreFile) -> str:
    mend = score_again(file.path.split("/")[1]) if file.role == REWARDS else "Import or download it again"
    return f"{file.path} is listed in {MANIFEST} but missing. {mend}"


def _other_size(file: StoreFile, size: int, store: object) -> str:
    return f"{file.path}: {size} bytes, {file.bytes} in {MANIFEST}. Run: coigp verify {quote(str(store))}"


def lies_inside(root: Path, path: Path) -> bool:
    """Whether a file, links followed, is in the store, or in the Hub cache that the store is a view of."""
    if isinstance(root, ObjectPath):
        return True
    real, home = path.resolve(), root.resolve()
    in_cache = home.parent.name == "snapshots" and real.is_relative_to(home.parent.parent / "blobs")
    return real.is_relative_to(home) or in_cache
