"""Which code made a row: a hash of every file that can change one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Folders whole, so that a new module counts without being named.
MAKES_ROWS: tuple[str, ...] = ("schema.py", "core", "engine", "store", "pairs", "configs.py", "features.py")
MAKES_ROWS += ("streams.py", "views", "builder.py")


def code_files(package: Path = PACKAGE, names: Sequence[str] = MAKES_ROWS) -> list[Path]:
    """The files that the hash covers, in one order."""
    found = []
    for name in names:
        path = package / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


@cache
def code_hash(package: Path = PACKAGE, names: tuple[str, ...] = MAKES_ROWS) -> str:
    """Part of every cache path, so that what other code made is not taken for ours: 16 hexadecimal digits.

    Args:
        names: files and folders of the package; default: those that make rows.
    """
    digest = hashlib.sha256()
    for path in code_files(package, names):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
