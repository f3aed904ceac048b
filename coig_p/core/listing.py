"""Several names in one text: with commas between, and quotes as in CSV around a name that holds one."""

from __future__ import annotations

import re
from collections.abc import Iterable

# One name and what ends it. Possessive, so that a quote behind spaces is never the start of a name without quotes.
_NAME = re.compile(r"""\s*+(?:"((?:[^"]|"")*+)"\s*+|(?!")([^,]*))(,|\Z)""")


def split_names(value: str) -> list[str]:
    """The names of a text, without the spaces around those that have no quotes; an empty one is "".

    A text whose quotes do not fit is one name as it is.
    """
    names, at, more = [], 0, ","
    while more:
        found = _NAME.match(value, at)
        if found is None:
            return [value.strip()]
        quoted, plain, more = found.groups()
        names.append(plain.strip() if quoted is None else quoted.replace('""', '"'))
        at = found.end()
    return names


def join_names(names: Iterable[str]) -> str:
    """The text of which `split_names` makes these names, whatever is in them."""
    return ",".join(
        f'"{name.replace(chr(34), chr(34) * 2)}"' if set(name) & set(',"') or name != name.strip() or not name else name
        for name in names
    )
