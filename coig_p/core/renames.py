"""Renames that Python has no name for: to a name that nothing has, and of two directories in one step."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Any

from coig_p.errors import UsageError


def rename_new(temporary: Path, target: Path) -> None:
    """Rename to a name that nothing has.

    Raises:
        UsageError: something has it.
    """
    try:
        if _rename_flagged(temporary, target, linux=1, macos=4):  # RENAME_NOREPLACE, RENAME_EXCL
            return
        if temporary.is_file() and _link(temporary, target):
            return  # the temporary name goes with the block
        if os.path.lexists(target):
            raise FileExistsError
        os.rename(temporary, target)
    except FileExistsError:
        raise UsageError(f"{target} appeared meanwhile: choose another place, or pass --overwrite") from None


def _link(one: Path, other: Path) -> bool:
    """Give a file another name; False where the file system has no links."""
    try:
        os.link(one, other)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def exchange(one: Path, other: Path) -> bool:
    """Swap two directories in one step; False where the system has no such call."""
    return _rename_flagged(one, other, linux=2, macos=2)  # RENAME_EXCHANGE, RENAME_SWAP


def _rename_flagged(one: Path, other: Path, *, linux: int, macos: int) -> bool:
    """Rename with a flag that Python has no name for; False where the system, or the file system, cannot.

    Raises:
        FileExistsError: the flag forbids to replace `other`.
    """
    library: Any = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    a, b = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        at_fdcwd = -100
        failed = library.renameat2(at_fdcwd, a, at_fdcwd, b, linux)
    elif sys.platform == "darwin" and hasattr(library, "renamex_np"):
        failed = library.renamex_np(a, b, macos)
    else:
        return False
    if failed and ctypes.get_errno() == errno.EEXIST:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(other))
    return not failed
