"""A cache of datasets that this user may not write: one that a cluster shares, or on a disk mounted read-only.

What is in it is read there. What an operation has to write goes to the folder of datasets for what it does not keep,
which is in TMPDIR and gone when the process ends.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from datasets import fingerprint

from coig_p.errors import StoreError

CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""What the system calls a place that may not be written."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What it says where a disk is full, or a file as large as it may be."""


def is_closed(file: str | os.PathLike[str]) -> bool:
    """Whether this user may not write a file: that is there, or where it would be made, its folders too."""
    place = Path(file).absolute()
    if os.path.exists(place):  # which says no of what another user has to himself, where Path.exists raises
        return not os.access(place, os.W_OK)
    while not os.path.exists(place) and place != place.parent:
        place = place.parent
    return not os.access(place, os.W_OK | os.X_OK)


def passing_folder() -> Path:
    """Where this process writes what it cannot write to the cache; removed when it ends."""
    return Path(fingerprint.get_temporary_cache_files_directory())


def closed_error(cache: str | os.PathLike[str], what: str) -> StoreError:
    """The error where something has to be kept in a cache that may not be written.

    Args:
        what: it is and why, as a sentence that an error begins with.
    """
    return StoreError(
        cache,
        f"{what}, and this user may not write there. Load with cache_dir= of a folder of your own, or set "
        "HF_DATASETS_CACHE to one; whoever may write there can load the same once, for all",
    )
