"""Whether a store is still the one that was opened: its shards by size and time, or version, of which none is read."""

from __future__ import annotations

import os

from coig_p.core.objects import ObjectPath
from coig_p.errors import StoreError
from coig_p.store.manifest import MANIFEST
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

State = tuple[tuple[object, ...], ...]
"""Of the manifest and every shard its path, and what changes whenever it is written anew."""


def state_of(store: Store) -> State:
    """What a change of the manifest or of a shard does not leave as it is. In an object store one listing tells it.

    Raises:
        OSError, StoreError: a file is not there.
        RemoteError: an object store cannot be reached, or refused.
    """
    shards = [file.path for file in store.data_files()]
    if not isinstance(store.path, ObjectPath):
        manifest = sha256_of(store.path / MANIFEST)  # one that is written anew and says the same is no change
        stats = ((name, os.stat(store.path / name)) for name in shards)
        return (MANIFEST, manifest), *((name, one.st_size, one.st_mtime_ns, one.st_ino) for name, one in stats)
    names, there = [MANIFEST, *shards], store.path.files()
    gone = next((name for name in names if name not in there), None)
    if gone is not None:
        raise StoreError(store.path, f"{gone} is not there any more")
    return tuple((name, *there[name]) for name in names)
