"""The folder of an experiment: what its steps made, each under the hash of all that it was made of.

    FOLDER/
      experiment.json      whose folder it is, so that nothing else is taken for it
      lock                 held by the one process that works here
      made/STEP-KEY/       out/, what the step made, and step.json: of what, and every file with its hash
      work/STEP-KEY/       the same while it is being made: renamed when it is whole
      logs/STEP-KEY.log    what the commands said
      ledgers/             what endpoints said that coigp align asked: paid, and never asked again
      result.json          the table, once there is one

A step is there whole or not at all: `made/STEP-KEY` appears by a rename. What is read of it is compared with its
step.json first, byte for byte: what does not agree is said, deleted and made anew, and never used.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coig_p.core.atomic import atomic_file
from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.evaluate.experiment.content import Listing, below, hash_of, list_folder
from coig_p.store.places import Marker, check_directory, check_kept, check_outside

try:
    import fcntl
except ImportError:  # Windows: two runs at once are then not noticed
    fcntl = None  # type: ignore[assignment]

MARK, STEP, OUT = "experiment.json", "step.json", "out"
_OURS = Marker(MARK, (b'"coig-p experiment"',))
_MOST = 256 << 20  # bytes of a step.json: a line a file
_SHOWN = 16  # digits of a key in a name


@dataclass(frozen=True)
class Step:
    """One thing to be made.

    Attributes:
        kind: export, train, answer, ...
        made_of: all that decides what it makes, as JSON: hashes of inputs, arguments, versions of code.
        cell: for whom it is made, for people; no part of the key.
    """

    kind: str
    made_of: Mapping[str, Any]
    cell: str = ""

    @property
    def key(self) -> str:
        """The sha256 of all that it is made of."""
        return hash_of({"kind": self.kind, "made_of": dict(self.made_of)})

    @property
    def name(self) -> str:
        """What its folder and its log are called."""
        return f"{self.kind}-{self.key[:_SHOWN]}"


@dataclass(frozen=True)
class Made:
    """What a step made.

    Attributes:
        folder: of what it made.
        files: every file in it.
        seconds: that it took, for estimates.
    """

    folder: Path
    files: Listing
    seconds: float

    def hash_of(self, path: str = "") -> str:
        """The hash of all of it, or of a file or folder in it."""
        return hash_of(below(self.files, path))


@dataclass
class Cache:
    """What the steps of an experiment have made. Make one with `open_cache`.

    Attributes:
        damaged: what was found that is not what a step made, in words, for people; each is left out of use.
    """

    folder: Path
    damaged: list[str] = field(default_factory=list)
    _checked: dict[str, Made] = field(default_factory=dict)

    def find(self, step: Step) -> Made | None:
        """What a step made, as its step.json and the sizes of its files say; None where it is still to be made."""
        if step.key in self._checked:
            return self._checked[step.key]
        folder = self.folder / "made" / step.name
        if not folder.is_dir() or folder.is_symlink():
            return None
        try:
            told = _read_step(folder / STEP, step)
        except DataError as error:
            self._say(str(error))
            return None
        made = Made(folder / OUT, told["files"], told["seconds"])
        problem = _missing(made)
        if problem is not None:
            self._say(f"{folder}: {problem}")
            return None
        return made

    def take(self, step: Step) -> Made | None:
        """The same, every byte compared. What is damaged is deleted, so that it is made anew."""
        made = self.find(step)
        folder = self.folder / "made" / step.name
        if made is not None and step.key not in self._checked:
            problem = _differs(made)
            if problem is None:
                self._checked[step.key] = made
            else:
                self._say(f"{folder}: {problem}")
                made = None
        if made is None and folder.exists():
            shutil.rmtree(folder)
        return made

    def keep(self, step: Step, seconds: float) -> Made:
        """Make what lies in the step's place of work its result: whole, on the disk, under its name.

        Raises:
            DataError: nothing was made, or what cannot be kept.
            OSError: a full disk.
        """
        work = self.work(step)
        files = list_folder(work / OUT)
        if not any("sha256" in one for one in files.values()):
            raise DataError(f"{work / OUT} is empty: the command ended well, and wrote nothing to {{out}}")
        told: dict[str, Any] = {"kind": step.kind, "key": step.key, "made_of": dict(step.made_of), "cell": step.cell}
        told |= {"seconds": round(seconds, 3), "files": files}
        with atomic_file(work / STEP) as stream:
            stream.write((json.dumps(told | {"seal": hash_of(told)}, ensure_ascii=False, indent=1) + "\n").encode())
        target = self.folder / "made" / step.name
        target.parent.mkdir(exist_ok=True)
        for path in list(work.iterdir()):
            if path.name not in (OUT, STEP):
                path.unlink()
        os.rename(work, target)
        made = Made(target / OUT, files, told["seconds"])
        self._checked[step.key] = made
        return made

    def drop(self, step: Step) -> None:
        """Delete what a step made: it is not what the next step can read."""
        self._checked.pop(step.key, None)
        shutil.rmtree(self.folder / "made" / step.name, ignore_errors=True)

    def work(self, step: Step) -> Path:
        """Where a step is being made."""
        return self.folder / "work" / step.name

    def log(self, step: Step) -> Path:
        """Where the commands of a step say what they say."""
        return self.folder / "logs" / f"{step.name}.log"

    def _say(self, problem: str) -> None:
        if problem not in self.damaged:
            self.damaged.append(problem)


def check_folder(folder: Path) -> None:
    """Raise UsageError where an experiment cannot be kept in `folder`."""
    check_outside(folder, "an experiment")
    check_directory(folder, _OURS, "an experiment", overwrite=True)
    for name in (MARK, "lock", "result.json"):
        check_kept(folder / name, "an experiment")
    for name in ("made", "work", "logs", "ledgers"):
        if (folder / name).is_symlink():
            raise UsageError(f"{folder / name} is a symbolic link, and an experiment writes only in its own folder")


@contextmanager
def open_cache(folder: Path) -> Iterator[Cache]:
    """The cache of a folder, which is this process's alone until the block ends.

    Raises:
        UsageError: the folder is something else's, or another process works in it.
        OSError: it cannot be written.
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if not (folder / MARK).exists():
            with atomic_file(folder / MARK) as stream:
                stream.write(b'{"format": "coig-p experiment", "version": 1}\n')
        for name in ("work", "logs"):
            (folder / name).mkdir(exist_ok=True)
        yield Cache(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"{folder}: another run is working here. Wait for it, or stop it first") from None
        yield
    finally:
        os.close(descriptor)


def _read_step(path: Path, step: Step) -> Any:
    try:
        told = strict_json(read_small(path, _MOST))
        seal = told.pop("seal")
        right = seal == hash_of(told) and told["key"] == step.key and isinstance(told["files"], dict)
    except (OSError, ValueError, RecursionError, KeyError, AttributeError, TypeError):
        right = False
    if not right:
        raise DataError(f"{path} is not as it was written")
    return told


def _missing(made: Made) -> str | None:
    """Which file is not there, or has another size; None where all are as listed. Nothing is read."""
    for name, one in made.files.items():
        path = made.folder / name
        if "link" in one:
            if not path.is_symlink():
                return f"{name} is missing"
        elif not path.is_file() or path.stat().st_size != one["bytes"]:
            return f"{name} is missing, or not as long as it was"
    return None


def _differs(made: Made) -> str | None:
    """In what file a folder is not what its step made; None where it is."""
    try:
        found = list_folder(made.folder)
    except CoigPError as error:
        return str(error)
    for name in dict.fromkeys([*made.files, *found]):
        if name not in found:
            return f"{name} is missing"
        if name not in made.files:
            return f"{name} was not there when it was made"
        if found[name] != made.files[name]:
            return f"{name} is not what it was when it was made"
    return None


def tidy(cache: Cache) -> None:
    """Delete what killed runs left in the places of work: nothing of it is whole.

    Called once all steps are there, so that no training that goes on where it was is lost.
    """
    for path in (cache.folder / "work").iterdir():
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
