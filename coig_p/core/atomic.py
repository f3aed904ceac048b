"""Writes that are there whole or not at all: files and directories.

Everything is written beside its target under a temporary name and renamed at the end, so a
process killed at any moment leaves the old state or the new one. What a killed process left
behind is removed by the next write of the same target.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from coig_p.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows: leftovers of a killed write are then left for the user to delete
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[IO[bytes]]:
    """Open `target` for writing; it appears, or is replaced, when the block ends without error.

    Raises:
        UsageError: `target` is a link, a device or a pipe: it would be replaced, and nothing come out of it.
    """
    _check_replaceable(target, directory=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}."
    _remove_leftovers(target.parent, prefix)
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".partial", dir=target.parent)
    temporary = Path(name)
    lock = _lock(temporary)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        _check_replaceable(target, directory=False)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes `target` when the block ends without error.

    An existing `target` is exchanged for the new one in a single step where the system can
    (Linux, macOS), and otherwise moved aside for the moment between two renames.

    Raises:
        UsageError: `target` is a link, or no directory.
    """
    _check_replaceable(target, directory=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}."
    _remove_leftovers(target.parent, prefix)
    temporary = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=target.parent))
    lock = _lock(temporary)
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        _check_replaceable(target, directory=True)
        if not target.exists():
            os.rename(temporary, target)
        elif not _exchange(temporary, target):
            aside = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=target.parent))
            os.rename(target, aside / "old")
            os.rename(temporary, target)
            shutil.rmtree(aside, ignore_errors=True)
    finally:
        # After an exchange the temporary name holds the old directory, after an error the new one.
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _check_replaceable(target: Path, *, directory: bool) -> None:
    """Raise UsageError where a rename would replace something else than a file, or a directory, of that name."""
    what = "directory" if directory else "file"
    if target.is_symlink():
        raise UsageError(f"{target} is a symbolic link: name the {what} itself")
    if target.exists() and not (target.is_dir() if directory else target.is_file()):
        raise UsageError(f"{target} is not a {what}: choose another place")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _lock(temporary: Path) -> int | None:
    """Mark a temporary path as in use, until this process ends or closes the descriptor."""
    if fcntl is None:
        return None
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_leftovers(parent: Path, prefix: str) -> None:
    if fcntl is None:
        return
    for leftover in parent.glob(f"{prefix}*.partial"):
        if leftover.is_symlink():
            continue
        with contextlib.suppress(OSError):  # locked: somebody is writing it right now
            lock = _lock(leftover)
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
            if lock is not None:
                os.close(lock)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two directories in one step; False where the system has no such call."""
    library: Any = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    a, b = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        at_fdcwd, rename_exchange = -100, 2
        return bool(library.renameat2(at_fdcwd, a, at_fdcwd, b, rename_exchange) == 0)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        rename_swap = 2
        return bool(library.renamex_np(a, b, rename_swap) == 0)
    return False
