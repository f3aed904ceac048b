"""Checkpoints that are known to be whole: each has a list of its files, with sizes and hashes, written last.

Trainer goes on from whatever it finds: without an optimizer's state, a schedule or a state of chance it begins these
anew and says nothing, and the weights at the end are others. So only a checkpoint that is whole is ever given to it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coig_p.core.atomic import atomic_file
from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.core.text import printable
from coig_p.errors import CoigPError, UsageError
from coig_p.store.writing import sha256_of

LIST = "files.json"
_PREFIX = "checkpoint-"
_MOST = 64 << 20  # bytes of a list


def write_list(checkpoint: Path) -> None:
    """Write which files a checkpoint has, once all of them are there."""
    files = {
        path.relative_to(checkpoint).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path != checkpoint / LIST
    }
    with atomic_file(checkpoint / LIST) as stream:
        stream.write(json.dumps({"step": step_of(checkpoint), "files": files}, indent=1).encode() + b"\n")


def step_of(checkpoint: Path) -> int | None:
    """After how many steps a checkpoint was written, by its name; None where it is none."""
    number = checkpoint.name.removeprefix(_PREFIX)
    return int(number) if checkpoint.name.startswith(_PREFIX) and number.isdecimal() else None


def fault_of(checkpoint: Path) -> str | None:
    """Why a checkpoint is not whole; None where it is. Reads all of it.

    Raises:
        OSError: a file that is there cannot be read, which another try may mend.
    """
    try:
        told = strict_json(read_small(checkpoint / LIST, _MOST))
        step, files = told["step"], {str(name): (one["bytes"], one["sha256"]) for name, one in told["files"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return f"{LIST}, which is written last, is missing: it was stopped while it was written"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return f"{LIST} is damaged"
    if step != step_of(checkpoint):
        return f"its files are those of step {printable(str(step))}"
    for name, (size, digest) in files.items():
        path = checkpoint / name
        try:
            found = path.stat().st_size
            if found != size:
                return f"{printable(name)} has {found:,} bytes of {size:,}"
            if sha256_of(path) != digest:
                return f"{printable(name)} has changed since it was written"
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return f"{printable(name)} is missing"
    return None


def newest_whole(work: Path, left: Callable[[Path, str], None]) -> Path | None:
    """The newest checkpoint of a folder that is whole; None where none is.

    Args:
        left: called with each newer one, and why it is not whole.
    """
    found = [(step, path) for path in work.glob(f"{_PREFIX}*") if (step := step_of(path)) is not None]
    for _, path in sorted(found, reverse=True):
        fault = fault_of(path)
        if fault is None:
            return path
        left(path, fault)
    return None


def remove(checkpoint: Path) -> None:
    """Take one away that is not whole, so that nothing of it stays in one that is written anew."""
    if checkpoint.is_dir() and not checkpoint.is_symlink():
        shutil.rmtree(checkpoint, ignore_errors=True)
    else:
        checkpoint.unlink(missing_ok=True)


@contextmanager
def writing(place: Path, what: str) -> Iterator[None]:
    """Make one error of ours of what torch, safetensors and the system raise where a file cannot be written."""
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except (CoigPError, torch.OutOfMemoryError):
        raise
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UsageError(
            f"{place}: {what} cannot be written: {_why(error)}. Free some space, or lift the limit, and give the same "
            "command again: it goes on from the last whole checkpoint"
        ) from None


def _why(error: BaseException) -> str:
    """What a system said; else the first line of what a library did."""
    seen: Any = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return str(seen.strerror)
        seen = seen.__cause__ or seen.__context__
    return printable((str(error).splitlines() or [type(error).__name__])[0])
