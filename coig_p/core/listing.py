"""Several names in one text: with commas between, and quotes as in CSV around a name that holds one."""

from __future__ import annotations

import re
from collections.abc import Iterable

# One name and what ends it. Possessive, so that a quote behind spaces is never the start of a name without quotes.
_NAME = re.compile(r"""\s*+(?:"((?:[^"]|"")*+)"\s*+|(?!")([^,]*))(,|\Z)""")
# OPTION="VALUE" and what ends it: quotes around the value alone.
_KEYED = re.compile(r"""\s*+([\w-]++)\s*+=\s*+"((?:[^"]|"")*+)"\s*+(,|\Z)""")


def split_names(value: str, *, keyed: bool = False) -> list[str]:
    """The names of a text, without the spaces around those that have no quotes; an empty one is "".

    A text whose quotes do not fit is one name as it is.

    Args:
        keyed: the names are OPTION=VALUE; quotes stand around the whole, or around VALUE alone. What stands in quotes
            keeps its spaces.
    """
    names, at, more = [], 0, ","
    while more:
        entry = _KEYED.match(value, at) if keyed else None
        if entry is not None:
            option, quoted, more = entry.groups()
            names.append(f"{option}={quoted.replace(chr(34) * 2, chr(34))}")
            at = entry.end()
            continue
        found = _NAME.match(value, at)
        if found is None:
            return [value.strip()]
        quoted, plain, more = found.groups()
        if keyed and plain is not None:
            plain = re.sub(r"\s*=\s*", "=", plain, count=1)
        names.append(plain.strip() if quoted is None else quoted.replace('""', '"'))
        at = found.end()
    return names


def join_names(names: Iterable[str]) -> str:
    """The text of which `split_names` makes these names, whatever is in them."""
    return ",".join(
        f'"{name.replace(chr(34), chr(34) * 2)}"' if set(name) & set(',"') or name != name.strip() or not name else name
        for name in names
    )
