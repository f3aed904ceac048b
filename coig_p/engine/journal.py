"""What a run finished before it was stopped, so that the same run goes on from there.

DIR/journal.jsonl, in the directory that is being written (see `coig_p.core.atomic.atomic_directory`):

    {"format": "coig_p.journal", "version": 1, "key": {...}}            what is made, of what, and by which code
    {"task": "train/00000", "files": {NAME: [bytes, sha256]}, "result": ...}   one finished task, its files whole

A task is known by its name and makes the same bytes whenever it is done. Its line is written once its files are there
under their names. Nothing rests on the order in which a disk wrote them: before a task is taken as done its files are
read and compared with their hashes, and a line that was cut off is no line. So a crash of the whole machine, too,
costs at most the work.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import IO, Any, TypeVar

from coig_p._version import __version__
from coig_p.core.atomic import STOPPED, atomic_directory, clear_unplaced, keep, leave
from coig_p.core.code_hash import PACKAGE, code_hash
from coig_p.core.objects import is_object
from coig_p.core.strict_json import strict_json
from coig_p.core.text import printable
from coig_p.engine.local import Workers, in_order
from coig_p.errors import RemoteError, UsageError

try:
    import fcntl
except ImportError:  # Windows: there nothing is taken up
    fcntl = None  # type: ignore[assignment]

FORMAT, VERSION = "coig_p.journal", 1
JOURNAL = "journal.jsonl"
_logger = logging.getLogger("coig_p")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Done:
    """A finished task.

    Attributes:
        files: by name in the directory, bytes and SHA-256.
        result: what it gave, as JSON has it.
    """

    files: Mapping[str, tuple[int, str]]
    result: Any = None

    def is_whole(self, root: Path) -> bool:
        """Whether all files are there as they were written; reads them. What a link leads to is not there."""
        try:
            return all(
                _is_file(root / name) and (root / name).stat().st_size == size and _sha256(root / name) == told
                for name, (size, told) in self.files.items()
            )
        except OSError:
            return False


class Journal:
    """What of an unfinished directory is finished. One of a directory alone is written nowhere.

    Attributes:
        root: the directory.
        taken_up: tasks that an earlier run finished, as its journal has them.
        is_sent: what the directory becomes is sent elsewhere when it is whole, which may be stopped, too.
    """

    def __init__(
        self,
        root: Path,
        stream: IO[bytes] | None = None,
        known: Mapping[str, Done] | None = None,
        *,
        is_sent: bool = False,
    ) -> None:
        self.root, self.taken_up, self.is_sent = root, dict(known or {}), is_sent
        self._stream, self._done = stream, dict(self.taken_up)
        self._unasked = set(self.taken_up)
        keep(root, bool(known))

    def find(self, task: str) -> Done:
        """A task that is finished: by this run, or by an earlier one whose files this one has looked at."""
        return self._done[task]

    def add(self, task: str, files: Mapping[str, tuple[int, str]], result: Any = None) -> Done:
        """Note that a task is finished.

        Args:
            files: that it made, as `described` gives them.
            result: of JSON alone.

        Raises:
            OSError: the journal cannot be written.
        """
        done = self._done[task] = Done(files, result)
        self._unasked.discard(task)
        line = {"task": task, "files": {name: list(told) for name, told in files.items()}, "result": result}
        if self._stream is not None:
            _write(self._stream, line)
            keep(self.root)
        return done

    def in_order(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        workers: Workers,
        *,
        task: Callable[[Item], str],
        files: Callable[[Item], Sequence[str]],
        told: Callable[[Result], Mapping[str, tuple[int, str]]] | None = None,
        as_json: Callable[[Result], Any] = lambda result: result,
        from_json: Callable[[Any], Result] = lambda told: told,
    ) -> Iterator[tuple[Item, Result]]:
        """Each item with work(item), as `coig_p.engine.local.in_order`; what is finished is not done again.

        Who does the work also looks whether what is said to be there is.

        Args:
            task: a name for each item, which is its own among all of this journal.
            files: that it leaves in the directory.
            told: bytes and SHA-256 of them, where its result says so. Default: they are read once more, by who wrote
                them.
            as_json, from_json: its result in JSON, and back.
        """

        def named() -> Iterator[tuple[Item, Sequence[str], Done | None]]:
            for item in items:
                yield item, files(item), self.taken_up.get(task(item))

        for (item, _, known), made in in_order(partial(_work, work, self.root, told is None), named(), workers):
            if made is None:
                assert known is not None
                self._unasked.discard(task(item))
                yield item, from_json(known.result)
            else:
                result, described_ = made
                self.add(task(item), described_ if told is None else told(result), as_json(result))
                yield item, result

    def whole(self, tasks: Iterable[str], workers: Workers) -> set[str]:
        """Those of some tasks that an earlier run finished and whose files are as they were."""
        known = [(task, self.taken_up[task]) for task in tasks if task in self.taken_up]
        look = partial(_is_whole, self.root)
        found = {task for (task, _), found in in_order(look, known, workers) if found}
        self._unasked -= found
        return found

    def remove(self, folder: Path) -> None:
        """Remove a folder of files that no task of this run reads any more, whose name begins with a dot.

        Where all is to be sent it stays until that is done, and stays here: a run that goes on from there would else
        make these files again.
        """
        if not self.is_sent and folder.exists():
            shutil.rmtree(folder)

    def clear(self) -> None:
        """Remove files of tasks that an earlier run finished and this one did not ask for: of other options, of rows
        that changed. So does the end of a run by itself; before it, whoever lists the directory."""
        there = [task for task in self._unasked if any((self.root / name).exists() for name in self._done[task].files)]
        if there:  # else they were put together to what is there
            words = "%s of the steps that a stopped run had done were of other options or rows: they are removed"
            _logger.warning(words, f"{len(there):,}")
        asked = {name for task, done in self._done.items() if task not in self._unasked for name in done.files}
        for task in self._unasked:
            for path in (self.root / name for name in self._done[task].files.keys() - asked):
                path.unlink(missing_ok=True)
                if path.parent != self.root:
                    with suppress(OSError):  # others are in it, or it was never there
                        path.parent.rmdir()
        self._unasked = set()


@contextmanager
def resumable(target: Path, last: str | None, key: Mapping[str, Any]) -> Iterator[Journal]:
    """Yield the journal of a directory that becomes `target` when the block ends without error.

    Where a run of the same key was stopped, it holds what that one finished, and nothing else. What a run of another
    key left is removed.

    Args:
        last: see `coig_p.core.atomic.atomic_directory`.
        key: what the bytes depend on, beside this package and those that it stands on: the command, its options,
            hashes of what it reads. Of JSON alone.

    Raises:
        UsageError: another run is writing `target`; and as `atomic_directory`.
        OSError: as `atomic_directory`.
    """
    whole_key = json.loads(json.dumps({**key, "made by": made_by()}))
    root = None
    try:
        with atomic_directory(target, last, resumed=JOURNAL) as root:
            path = root / JOURNAL
            if os.path.lexists(path) and not _is_file(path):
                _remove(path)
            with path.open("ab") as stream:
                _lock(stream, root, target)
                known = _known(path, stream, target, whole_key)
                journal = Journal(root, stream, known, is_sent=is_object(target))
                yield journal
            journal.clear()
            clear_unplaced(root)  # also of workers that lived a little longer than a run that was stopped
            if not journal.is_sent:
                path.unlink()
    except (*STOPPED, RemoteError):
        if root is not None and root.exists():
            words = "%s is not finished: the same command goes on from what is done. Else delete %s"
            _logger.warning(words, printable(str(target)), printable(str(root)))
        raise


def _known(path: Path, stream: IO[bytes], target: Path, key: Mapping[str, Any]) -> dict[str, Done] | None:
    """What a journal has of a run of the same key, whose files alone stay; None where there is none: it is begun."""
    found = _read(path)
    known = found.done if found is not None and found.key == key else None
    if found is not None and known is None:
        words = "%s: what a run that was stopped had done is removed, since it was of %s"
        _logger.warning(words, printable(str(target)), _differing(found.key, key))
    _clear(path.parent, {JOURNAL, *(name for done in (known or {}).values() for name in done.files)})
    if known is None:
        stream.truncate(0)
        _write(stream, {"format": FORMAT, "version": VERSION, "key": key})
    if known:
        words = "%s: going on where a run was stopped: up to %s of its steps are done, their files are compared"
        _logger.warning(words, printable(str(target)), f"{len(known):,}")
    return known


def task_name(what: str, *told: object) -> str:
    """A name for a task that goes by all that it is to do, so that a task of other options is another one."""
    return f"{what} {hashlib.sha256(repr(told).encode('utf-8', 'surrogatepass')).hexdigest()}"


def described(root: Path, names: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Bytes and SHA-256 of files in a directory, by name."""
    return {name: ((root / name).stat().st_size, _sha256(root / name)) for name in names}


def made_by() -> dict[str, str]:
    """Which code makes the bytes: another would not take up what this one left."""
    told = {"coig-p": __version__, "code": code_hash(PACKAGE, (".",))}
    told |= {name: metadata.version(name) for name in ("pyarrow", "numpy")}
    return told | {"Python": ".".join(platform.python_version_tuple()[:2])}


def _work(
    work: Callable[[Item], Result], root: Path, reads: bool, named: tuple[Item, Sequence[str], Done | None]
) -> tuple[Result, dict[str, tuple[int, str]]] | None:
    """In a worker: what came of an item and the files that it made; None where they are there."""
    item, files, known = named
    if known is not None and set(known.files) == set(files) and known.is_whole(root):
        return None
    result = work(item)
    return result, described(root, files) if reads else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_whole(root: Path, named: tuple[str, Done]) -> bool:
    return named[1].is_whole(root)


def _lock(stream: IO[bytes], root: Path, target: Path) -> None:
    """Hold a journal alone: on a file system that several machines share, a directory's lock may be of one machine."""
    if fcntl is None:
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        leave(root)
        raise UsageError(f"another run is writing {target}: wait for its end, or choose another place") from None
    except OSError:
        return  # no locks there


def _write(stream: IO[bytes], line: Mapping[str, Any]) -> None:
    stream.write(json.dumps(line, allow_nan=False).encode() + b"\n")
    stream.flush()


@dataclass(frozen=True)
class _Found:
    """What a journal says: of what it is, and the last line of each task."""

    key: Any
    done: dict[str, Done]


def _read(path: Path) -> _Found | None:
    """What a journal says; None where there is none.

    What follows a line that cannot be read is cut off: it is done again.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    known: dict[str, Done] = {}
    key: Any = None
    read = 0
    for number, line in enumerate(content.split(b"\n")[:-1]):
        try:
            told = strict_json(line.decode())
        except ValueError:
            break
        if number == 0:
            if not isinstance(told, dict) or told != {"format": FORMAT, "version": VERSION, "key": told.get("key")}:
                break
            key = told["key"]
        elif (found := _done(told)) is None:
            break
        else:
            known[found[0]] = found[1]
        read += len(line) + 1
    # Of the last line, which is cut short where a run was killed, nothing is done.
    if (lost := content[read:].count(b"\n")) and content:
        words = "%s: the journal of the run that was stopped is damaged: %s of its lines are not taken up"
        _logger.warning(words, printable(str(path)), f"{lost:,}")
    if not read:
        return None
    if read < len(content):
        os.truncate(path, read)
    return _Found(key, known)


_NAMED = {"store": "another store", "made by": "another version, or other code"}


def _differing(one: Any, other: Mapping[str, Any]) -> str:
    """In what two keys differ, for people."""
    own = one if isinstance(one, dict) else {}
    names = {name for name in {*own, *other} if own.get(name) != other.get(name)}
    if "command" in names:
        return "another command"
    known = [words for name, words in _NAMED.items() if name in names]
    return " and ".join([*known, *(["other options or inputs"] if names - _NAMED.keys() else [])])


def _done(told: Any) -> tuple[str, Done] | None:
    if not isinstance(told, dict) or set(told) != {"task", "files", "result"}:
        return None
    task, files = told["task"], told["files"]
    if not isinstance(task, str) or not isinstance(files, dict):
        return None
    for name, about in files.items():
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        if not inside or not (isinstance(about, list) and len(about) == 2):
            return None
        if type(about[0]) is not int or not isinstance(about[1], str):
            return None
    return task, Done({name: (about[0], about[1]) for name, about in files.items()}, told["result"])


def _clear(root: Path, but: Iterable[str] = ()) -> None:
    """Remove all of a directory but these files, and directories that hold some. A link is neither, nor is a pipe."""
    stays = {root / name for name in but}
    folders = {folder for path in stays for folder in path.parents}
    for path in sorted(root.rglob("*"), reverse=True):  # what is in a directory comes before it
        if not (_is_file(path) if path in stays else path in folders and _is_directory(path)):
            _remove(path)


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


def _remove(path: Path) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
