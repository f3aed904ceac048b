"""Small text files that somebody may have sent: a pipe that never ends, or more than memory holds, is an error."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from coig_p.core.objects import ObjectPath

MOST = 4 << 20
MARK = "\ufeff"  # of byte order


def read_small(path: Path, most: int = MOST) -> str:
    """A file of UTF-8, whole, without the byte order mark that some editors begin it with; otherwise as `read_whole`.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_whole(path, most).decode("utf-8").removeprefix(MARK)


def read_whole(path: Path, most: int) -> bytes:
    """What a file holds.

    Args:
        path: also of an object store.
        most: bytes it may have.

    Raises:
        OSError: it is not there, is a directory, a pipe, a socket or a device, or larger than `most`; its strerror
            says so.
        RemoteError, UsageError: an object store did not give it (see `coig_p.core.objects.told`).
    """
    if isinstance(path, ObjectPath):
        content = path.read_first(most + 1)
        if len(content) > most:
            raise _too_large(path, most)
        return content
    # A pipe that nobody writes to would keep us waiting before it can be asked what it is.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            data = stream.read(most + 1)  # what /proc calls a file tells no size
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise _too_large(path, most)
    return data


def _too_large(path: Path, most: int) -> OSError:
    size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most:,} bytes"
    return OSError(errno.EFBIG, f"it is larger than {size}", str(path))
