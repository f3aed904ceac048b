"""Tables of a TOML file as dataclasses, read strictly: every key known, every value of its field's type."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from coig_p.core.small_files import read_small
from coig_p.errors import UnknownNameError, UsageError
from coig_p.store.places import check_name

Settings = TypeVar("Settings")


def load_table(path: Path, mend: str) -> dict[str, Any]:
    """A TOML file as it is.

    Args:
        mend: what to do where it cannot be read, for the message.

    Raises:
        UsageError: no such file, or not TOML.
    """
    check_name(path)
    try:
        return tomllib.loads(read_small(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}{mend}") from None


def read_tables(kind: type[Settings], table: Mapping[str, Any], name: str) -> tuple[Settings, ...]:
    """The tables of a list, [[name]]."""
    entries = table.get(name, [])
    if not isinstance(entries, list):
        raise UsageError(f"{name}: write each as a table under [[{name}]]")
    return tuple(read_table(kind, entry, f"{name}[{at}]") for at, entry in enumerate(entries))


def as_table(value: Any, where: str) -> dict[str, Any]:
    """A value that is a table; raise UsageError where it is none."""
    if not isinstance(value, dict):
        raise UsageError(f"{where}: {value!r} is not a table")
    return value


def check_keys(table: Mapping[str, Any], valid: tuple[str, ...], where: str) -> None:
    """Raise UnknownNameError where a table has a key that nothing reads."""
    for key in table:
        if key not in valid:
            raise UnknownNameError(
                "key", f"{where}.{key}" if where else key, [f"{where}.{v}" if where else v for v in valid]
            )


def read_table(kind: type[Settings], value: Any, where: str) -> Settings:
    """A table as a dataclass: every key known, every value of its field's type."""
    table = as_table(value, where)
    hints = get_type_hints(kind)
    known = fields(kind)  # type: ignore[arg-type]
    check_keys(table, tuple(field.name for field in known), where)
    for field_ in known:
        if field_.default is MISSING and field_.default_factory is MISSING and field_.name not in table:
            raise UsageError(f"{where}.{field_.name} is missing")
    values = {name: read_value(hints[name], given, f"{where}.{name}") for name, given in table.items()}
    try:
        return kind(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def read_value(hint: Any, given: Any, where: str) -> Any:
    """A TOML value as its field has it; raise UsageError where it is of another type."""
    if hint == bool | str:  # a switch with a third way
        return given if isinstance(given, str) else read_value(bool, given, where)
    if hint == str | Mapping[str, Any]:
        return read_value(Mapping[str, Any] if isinstance(given, dict) else str, given, where)
    if get_origin(hint) is UnionType:
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if not isinstance(given, list) or (kinds[-1] is not Ellipsis and len(given) != len(kinds)):
            raise UsageError(
                f"{where} = {given!r}: use a list" + ("" if kinds[-1] is Ellipsis else f" of {len(kinds)}")
            )
        return tuple(read_value(kinds[0], each, f"{where}[{at}]") for at, each in enumerate(given))
    if get_origin(hint) is Mapping:
        return as_table(given, where)
    wanted = {str: "text", bool: "true or false", int: "a whole number"}.get(hint, "a number")
    right = isinstance(given, (int, float) if hint in (float, Decimal) else hint)
    if not right or (isinstance(given, bool) and hint is not bool) or not _finite(given):
        raise UsageError(f"{where} = {given!r}: use {wanted}")
    return Decimal(str(given)) if hint is Decimal else float(given) if hint is float else given


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
