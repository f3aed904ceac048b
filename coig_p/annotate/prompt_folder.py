"""A folder of templates in place of some or all of the package's, with words.toml beside them.

Whoever asks says which names its templates have and what its words.toml may hold; what a file is, and how it is
refused, is the same for all.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from coig_p.core.small_files import read_small
from coig_p.errors import UnknownNameError, UsageError

WORDS_FILE = "words.toml"

_IS: dict[type, str] = {dict: "a table", str: "text", list: "a list of words"}


def files_in(folder: Path, templates: Collection[str]) -> dict[str, Path]:
    """The files of a folder by name.

    Raises:
        UsageError: there is no such folder, none of its files is a template or words.toml, or a template has a name
            that is none of `templates`.
    """
    try:
        found = sorted(folder.iterdir())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"prompts {folder} cannot be read: {why}") from None
    for path in found:
        if path.suffix == ".md" and path.stem not in templates and path.stem.upper() != "README":
            raise UnknownNameError("template", path.stem, templates, str(folder))
    known = {WORDS_FILE, *(f"{name}.md" for name in templates)}
    if not any(path.name in known for path in found):
        raise UsageError(f"prompts {folder}: none of its files is one of {', '.join(sorted(known))}")
    return {path.name: path for path in found}


def read_words(path: Path) -> dict[str, Any]:
    """What a user's words.toml has; raise UsageError where it cannot be read."""
    try:
        return tomllib.loads(read_small(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: not TOML: {error}") from None


def check_words(path: Path, where: str, told: Mapping[str, Any], known: Collection[str], kind: type) -> None:
    """Raise UsageError where a table has an unknown key, or a value that is no dict, str or list, as `kind` says.

    Args:
        where: the table's name with a dot behind it; "" at the top.
    """
    for name, value in told.items():
        if name not in known:
            raise UnknownNameError(f"{path} field {where.rstrip('.') or 'at the top'}", name, known)
        if not isinstance(value, kind):
            raise UsageError(f"{path} {where}{name}: {value!r} is not {_IS[kind]}")
        if isinstance(value, list) and not all(isinstance(one, str) and one.strip() for one in value):
            raise UsageError(f"{path} {where}{name}: {value!r} is not a list of words")
