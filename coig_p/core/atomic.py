"""Writes that are there whole or not at all: files and directories.

Everything is written beside its target under a temporary name and renamed at the end, so a
process killed at any moment leaves the old state or the new one. What a killed process left
behind is removed by the next write of the same target, or taken up where that can tell what of it is
whole (`coig_p.engine.journal`). What appears at the target meanwhile is somebody else's: it is left
alone, and the write refused.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from coig_p.core.objects import ObjectPath, is_repository, is_url, server_of, url_of
from coig_p.core.renames import exchange, rename_new
from coig_p.core.upload import upload_file, uploaded
from coig_p.errors import RemoteError, UsageError, WorkersLost

try:
    import fcntl
except ImportError:  # Windows: as where a file system has no locks
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".partial"
_LASTING = ".resume" + _SUFFIX
_NAME_SHOWN = 40  # characters of the target in a temporary name, which must not be too long where the target is not
_RANDOM = re.compile(r"[a-z0-9_]{8}")  # what tempfile puts between a prefix and a suffix
_UNPLACED = re.compile(r"\..+\.[0-9a-f]{8}")
_unfinished: dict[Path, int] = {}  # temporary names in use, and the process that writes each
_kept: set[Path] = set()  # of these, directories whose next writer goes on where this one is stopped
finished: list[Path] = []  # what this process wrote whole, for a command that then cannot say so
FULL = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})
"""What the system calls a disk without room."""

_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})
_LOCKED = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})
STOPPED = (KeyboardInterrupt, SystemExit, WorkersLost)
"""What ends a write that the same command could go on with."""


@contextlib.contextmanager
def atomic_file(target: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Open `target` for writing; it appears, or is replaced, when the block ends without error.

    Args:
        target: also of an object store, where it is put when it is whole.
        private: nobody but its owner may read it, at any moment.

    Raises:
        UsageError: `target` is a link, a device or a pipe: it would be replaced, and nothing come out of it;
            or it was not there at first, and something is there when the block ends.
        OSError: it cannot be written; names `target`.
        RemoteError: an object store cannot be reached, or refused.
    """
    if isinstance(target, ObjectPath):
        with _staged(target, lasting=False) as folder:
            local = folder / target.name
            with local.open("wb") as stream:
                yield stream
            upload_file(local, target)
        finished.append(target)
        return
    _check_replaceable(target, directory=False)
    was_there = target.exists()
    prefix = _prefix(target)
    with _naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target.parent, prefix, (_lasting_name(target),))
        descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=_SUFFIX, dir=target.parent.absolute())
        temporary = Path(name)
        _unfinished[temporary] = os.getpid()
        lock = None
        try:
            lock = _lock(temporary)
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, (0o600 if private else 0o666) & ~_umask())
            if was_there:
                _check_replaceable(target, directory=False)
                os.replace(temporary, target)
            else:
                rename_new(temporary, target)
            finished.append(target)
        finally:
            temporary.unlink(missing_ok=True)
            _unfinished.pop(temporary, None)
            if lock is not None:
                os.close(lock)


@contextlib.contextmanager
def atomic_directory(target: Path, last: str | None = None, *, resumed: str | None = None) -> Iterator[Path]:
    """Yield an empty directory that becomes `target` when the block ends without error.

    Args:
        target: also of an object store (see `coig_p.core.upload`), where nothing may be there before.
        last: the file in it that marks it as whole, needed for an object store.
        resumed: a file of it, which tells what of it is finished. The directory may hold what an earlier writer of
            `target` was stopped at, and no two write `target` at a time (where there are locks; with an object store,
            on this machine). It is left for the next writer where `keep` was called for it and then Ctrl-C, a signal
            or lost workers end the block, or an object store fails; an error removes it. The file is not sent to an
            object store, so it can stay while others are.

    An existing `target` is exchanged for the new one in a single step where the system can
    (Linux, macOS), and otherwise moved aside for the moment between two renames.

    Raises:
        UsageError: `target` is a link, or no directory; or it was not there at first, or empty, and something
            is there when the block ends; with `resumed`, another writer is at it.
        OSError: it, or a file in it, cannot be written; names it by `target`.
        RemoteError: an object store cannot be reached, or refused.
    """
    if isinstance(target, ObjectPath):
        if last is None:
            raise UsageError(f"{target}: this is not written to an object store: choose a folder of this machine")
        with _staged(target, lasting=resumed is not None) as folder, uploaded(target, last, folder, resumed):
            yield folder
        finished.append(target)
        return
    _check_replaceable(target, directory=True)
    was_there = target.exists()
    was_empty = was_there and not any(target.iterdir())
    prefix = _prefix(target)
    with _naming(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lasting = _lasting_name(target) if resumed is not None else None
        _remove_leftovers(target.parent, prefix, () if lasting else (_lasting_name(target),))
        lock = None if lasting is None else _taken_up(lasting, target)
        if lasting is not None and lock is not None:
            temporary = lasting
        else:
            # Absolute: Arrow takes a path that begins as run:1 for a URL.
            temporary = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=target.parent.absolute()))
        with _gone_after(temporary, lock):
            yield temporary
            _kept.discard(temporary)
            os.chmod(temporary, 0o777 & ~_umask())
            if was_there:
                _check_replaceable(target, directory=True)
            if was_empty:
                with contextlib.suppress(OSError):  # no longer there, or no longer empty
                    target.rmdir()
            if was_empty or not was_there or not target.exists():
                rename_new(temporary, target)
            elif not exchange(temporary, target):
                aside = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=target.parent))
                os.rename(target, aside / "old")
                os.rename(temporary, target)
                shutil.rmtree(aside, ignore_errors=True)
            finished.append(target)


def keep(temporary: Path, wanted: bool = True) -> None:
    """Leave a directory of `atomic_directory(resumed=...)` to the next writer where this one is stopped from here on.

    One that was there before is left until it is said that it is not wanted. Without effect for one that nobody would
    find.
    """
    if not wanted:
        _kept.discard(temporary)
    elif temporary.name.endswith(_LASTING) and temporary in _unfinished:
        _kept.add(temporary)


def leave(temporary: Path) -> None:
    """Leave a directory of `atomic_directory` as it is, whatever ends the block: it is another writer's."""
    _unfinished.pop(temporary, None)


def _lasting_name(target: Path | ObjectPath) -> Path:
    """The temporary name that every resumable writer of a target uses; of an object store, of this user."""
    if isinstance(target, ObjectPath):
        place = f"{server_of(target)} {target} {os.geteuid() if fcntl else ''}"
        told = hashlib.sha256(place.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir(), f"{_staged_prefix(target)}{told}{_LASTING}").absolute()
    return target.with_name(f".{target.name[:_NAME_SHOWN]}.{_told(target)}{_LASTING}").absolute()


def _taken_up(temporary: Path, target: Path | ObjectPath) -> int | None:
    """The lock of a directory of this name, which is made where it is not there; None where it cannot be ours alone.

    Raises:
        UsageError: another writer has it.
    """
    if fcntl is None:
        return None
    while True:
        made = True
        try:
            temporary.mkdir(mode=0o700)
            _unfinished[temporary] = os.getpid()
        except FileExistsError:
            made = False
        try:
            about = temporary.lstat()
            if not stat.S_ISDIR(about.st_mode) or not (made or about.st_uid == os.geteuid()):
                return None  # somebody else's: what lies in it is not to be believed
            if not made and isinstance(target, ObjectPath) and about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None  # where temporary files lie anybody may write, and in it, too
            lock = _lock(temporary)
            if lock is None:  # no locks there
                if made:
                    _unfinished.pop(temporary)
                    temporary.rmdir()
                return None
            if os.path.samestat(os.fstat(lock), temporary.lstat()):
                if not made:
                    _kept.add(temporary)
                return lock
            os.close(lock)
        except FileNotFoundError:
            continue  # its writer finished meanwhile: it has its real name now, or is gone
        except OSError as error:
            if made:
                _unfinished.pop(temporary, None)
            if error.errno not in _LOCKED:
                raise
            raise UsageError(f"another run is writing {target}: wait for its end, or choose another place") from None


@contextlib.contextmanager
def _gone_after(
    temporary: Path, lock: int | None = None, stops: tuple[type[BaseException], ...] = STOPPED
) -> Iterator[None]:
    """Remove what has the name of a temporary directory when the block ends, or the process by a signal.

    After an exchange that is the old directory, after an error the new one.

    Args:
        lock: that it has already.
        stops: what ends the block and leaves it where it is to be kept.
    """
    _unfinished[temporary] = os.getpid()
    stopped = False
    try:
        if lock is None:
            lock = _lock(temporary)
        yield
    except stops:
        stopped = temporary in _kept
        raise
    finally:
        if not stopped and temporary in _unfinished:
            shutil.rmtree(temporary, ignore_errors=True)
        _unfinished.pop(temporary, None)
        _kept.discard(temporary)
        if lock is not None:
            os.close(lock)


@contextlib.contextmanager
def _staged(target: ObjectPath, *, lasting: bool) -> Iterator[Path]:
    """A local folder for what is on its way to an object store; those of killed processes are removed.

    Args:
        lasting: it may be there from an earlier writer of `target`, and is left to the next one where the store fails.
    """
    parent, prefix = Path(tempfile.gettempdir()), _staged_prefix(target)
    temporary = _lasting_name(target) if lasting else parent
    with _naming(parent):
        _remove_leftovers(parent, prefix)
        lock = _taken_up(temporary, target) if lasting else None
        if lock is None:
            temporary = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=parent))
    with _gone_after(temporary, lock, (*STOPPED, RemoteError)):
        try:
            yield temporary
        except OSError as error:
            if error.errno not in FULL:
                raise
            way = f"{os.strerror(error.errno)}, with what is on its way to {target}: name a larger folder with TMPDIR"
            raise OSError(error.errno, way, str(parent)) from None


def _staged_prefix(target: ObjectPath) -> str:
    return f".coigp-{target.name[:_NAME_SHOWN]}."


def remove_staged(target: ObjectPath) -> None:
    """Remove what is here of a run that was stopped, and was to go to a place where nothing can be written any more."""
    _remove_leftovers(Path(tempfile.gettempdir()), _staged_prefix(target), (_lasting_name(target),))


@contextlib.contextmanager
def passing_directory(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Yield an empty directory that is gone when the block ends, or the process by a signal that it can answer.

    Args:
        parent: where it is made; default: where TMPDIR says.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    with _gone_after(folder):
        yield folder


@contextlib.contextmanager
def placed(target: Path) -> Iterator[Path]:
    """Yield another name for a file of an unfinished directory, which has its own when the block ends without error.

    Whoever sees a file of that name sees all of it, also where two write the same at a time, as where a worker that
    was taken for dead is not. Directories are there already: to make one here would hide that this machine does not
    see the one that is meant.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def clear_unplaced(folder: Path) -> None:
    """Remove what workers that were killed left of files that they would have `placed` in an unfinished directory."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if _UNPLACED.fullmatch(name):
                Path(parent, name).unlink(missing_ok=True)


def remove_unfinished() -> None:
    """Delete what this process is writing, where it ends at once and no block of it will. Forked ones leave it."""
    for temporary, process in list(_unfinished.items()):
        if process == os.getpid() and temporary not in _kept:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)


def _prefix(target: Path) -> str:
    """How the temporary names of a target begin, and of no other: where a name is cut, a hash tells which it was."""
    cut = target.name[:_NAME_SHOWN]
    return f".{cut}." if cut == target.name else f".{cut}.{_told(target)}."


def _told(target: Path) -> str:
    return hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]


@contextlib.contextmanager
def _naming(target: Path) -> Iterator[None]:
    """Let an error name the target, which the user knows, in place of a temporary name or, of a full disk, none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            if error.errno not in FULL:  # of something else that was done meanwhile
                raise
            raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
        parts = Path(os.fsdecode(error.filename)).parts if not isinstance(error.filename, int) else ()
        for at, part in enumerate(parts):
            if part.startswith(_prefix(target)) and part.endswith(_SUFFIX):
                raise OSError(error.errno, error.strerror, str(target.joinpath(*parts[at + 1 :]))) from error
        raise


def _check_replaceable(target: Path, *, directory: bool) -> None:
    """Raise UsageError where a rename would replace something else than a file, or a directory, of that name."""
    what = "directory" if directory else "file"
    check_local(target)
    if target.is_symlink():
        raise UsageError(f"{target} is a symbolic link: name the {what} itself")
    if target.exists() and not (target.is_dir() if directory else target.is_file()):
        raise UsageError(f"{target} is not a {what}: choose another place")


def check_local(target: Path) -> None:
    """Raise UsageError where something would be written to a folder that is called as an address."""
    if is_url(str(target)):
        raise UsageError(
            f"{url_of(target)} is the address of an object store, and this is written to folders: name one"
        )
    if is_repository(str(target)):
        raise UsageError(
            f"{url_of(target)} is the address of a repository, and this is written to folders: name one, and publish "
            "what is there with: coigp-publish"
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _lock(temporary: Path) -> int | None:
    """Mark a temporary path as in use, until this process ends or closes the descriptor.

    None where the system or the file system has no locks: leftovers are then left for the user to delete.

    Raises:
        OSError: another process has marked it.
    """
    if fcntl is None:
        return None
    # NFS locks a file only for who may write it, and a directory cannot be opened for that.
    descriptor = os.open(temporary, os.O_RDONLY if temporary.is_dir() else os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _NO_LOCKS:
            return None
        raise
    return descriptor


def _remove_leftovers(parent: Path, prefix: str, others: Collection[Path] = ()) -> None:
    """Remove what writers of one target left that were killed.

    Args:
        others: of it, beside those between whose prefix and suffix tempfile's eight characters stand. A name that only
            begins as these do is of another target.
    """
    names = {path.name for path in others}
    try:
        there = list(parent.absolute().iterdir())
    except PermissionError:  # it may be written to, but not listed
        return
    for leftover in there:
        name = leftover.name
        between = name[len(prefix) : -len(_SUFFIX)]
        ours = name.startswith(prefix) and name.endswith(_SUFFIX) and _RANDOM.fullmatch(between) is not None
        if not (ours or name in names) or leftover.is_symlink():
            continue
        with contextlib.suppress(OSError):  # locked: somebody is writing it right now
            lock = _lock(leftover)
            if lock is None:
                continue
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
            os.close(lock)
