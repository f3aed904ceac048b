"""What files, folders and stores hold, as hashes: the same content has the same hash, wherever and whenever it is.

A folder's listing names every file with its bytes and its sha256, and every link with where it leads. A store is known
by its data, and by what its manifest says of how pairs are made: a new README or another licence changes no pair.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError, StoreError, UsageError
from coig_p.store.locate import Location
from coig_p.store.manifest import LARGEST_MARGIN, StoreFile
from coig_p.store.places import check_name
from coig_p.store.writing import sha256_of

_BLOCK = 1 << 20
_README, _SHARDS = "README.md", "shards.json"  # of an export: for people, and of its rows
_ORIGIN = ("tool", "threshold")  # in shards.json: how rows were come by
_MAKE_PAIRS = ("data", "rewards", "calibration", "excluded", "duplicates")  # roles of files
_SAY_PAIRS = ("score_range", "default_threshold", "comparison_threshold", "both_orders", "schema_version", "domains")

Listing = dict[str, dict[str, Any]]
"""By path, with forward slashes: {"sha256", "bytes"} of a file, {"link"} of a link within the folder."""


def hash_of(value: Any) -> str:
    """The sha256 of a value of JSON, whose keys may stand in any order."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_of_file(path: Path) -> str:
    """The sha256 of a file; raise UsageError where it cannot be read, or is none."""
    try:
        with open(path, "rb", opener=_waiting_for_nobody) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UsageError(f"{path} is a pipe or a device, not a file")
            digest = hashlib.sha256()
            while block := stream.read(_BLOCK):
                digest.update(block)
            return digest.hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _waiting_for_nobody(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe that nobody writes to


def list_folder(folder: Path) -> Listing:
    """Every file and link below a folder.

    Raises:
        DataError: a link that leads out of it, a pipe or a device, or a name that is not UTF-8.
        UsageError: a file that cannot be read.
    """
    found: Listing = {}
    root = folder.resolve()
    for place, folders, files in os.walk(folder, onerror=_refuse):
        for name in sorted([*files, *folders]):
            path = Path(place) / name
            check_name(path)
            told = path.relative_to(folder).as_posix()
            if path.is_symlink():
                if os.path.isabs(os.readlink(path)) or not path.resolve().is_relative_to(root):
                    raise DataError(f"{path} is a link that leads out of its folder: what is there may change unseen")
                found[told] = {"link": os.readlink(path)}
            elif path.is_file():
                found[told] = {"sha256": hash_of_file(path), "bytes": path.stat().st_size}
            elif not path.is_dir():
                raise DataError(f"{path} is neither a file nor a folder: only those can be kept")
    return dict(sorted(found.items()))


def _refuse(error: OSError) -> None:
    raise UsageError(f"{error.filename} cannot be read: {error.strerror}")


def below(listing: Listing, path: str) -> Listing:
    """The part of a listing below a path, "" for all of it, or a file's own, with paths from there."""
    if path == "":
        return listing
    inner = {name.removeprefix(f"{path}/"): one for name, one in listing.items() if name.startswith(f"{path}/")}
    return inner or {"": listing[path]}


def hash_of_path(path: Path) -> str:
    """The hash of a file, or of all that is in a folder but what begins with a dot, and what Python keeps there."""
    if not path.is_dir():
        return hash_of_file(path)
    listed = list_folder(path)
    return hash_of({name: one for name, one in listed.items() if not _is_beside(name)})


def _is_beside(name: str) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in name.split("/"))


def hash_of_export(folder: Path, files: Listing) -> str:
    """What a training reads of an export: rows, configs, and shards.json without what says how rows were come by.

    Two thresholds that give the same rows give the same hash.

    Args:
        files: all of the folder.
    """
    kept: dict[str, Any] = {name: one for name, one in files.items() if name != _README}
    try:
        told = strict_json(read_small(folder / _SHARDS))
    except (OSError, ValueError, RecursionError):
        told = None
    if _SHARDS in kept and isinstance(told, dict):
        kept[_SHARDS] = {name: value for name, value in told.items() if name not in _ORIGIN}
    return hash_of(kept)


def _hash_in(location: Location, file: StoreFile) -> str:
    return sha256_of(location.path(file)) if location.is_object else hash_of_file(location.path(file))


def hash_of_store(location: Location) -> str:
    """What pairs of a store follow from. Of one that lies here every file is read; on the Hub the commit says it.

    Raises:
        StoreError: a file that is not the one that the manifest lists: the store has changed since it was written.
    """
    manifest = location.manifest
    files = [file for file in manifest.files if file.role in _MAKE_PAIRS]
    if not location.is_remote:
        for file in files:
            location.fingerprint(file)  # its size, which costs nothing
        for file in files:
            if _hash_in(location, file) != file.sha256:
                raise StoreError(
                    location.root,
                    f"{file.path} is not the file that manifest.json lists: the store has changed since it was "
                    "written. Put the right one back, or import again; coigp verify names every such file",
                )
    told: Mapping[str, Any] = json.loads(replace(manifest, files=()).to_json())
    said = {name: told.get(name) for name in _SAY_PAIRS}
    kept = {LARGEST_MARGIN: manifest.options.get(LARGEST_MARGIN)}
    listed = [[file.path, file.role, file.sha256, file.domain, file.split] for file in files]
    return hash_of({"said": said, "options": kept, "rewards": told.get("rewards", {}), "files": listed})
