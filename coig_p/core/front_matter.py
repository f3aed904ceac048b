"""The YAML ahead of a Markdown file, written so that every reader takes it for the same thing.

Python's reader is of YAML 1.1, the Hub's page and its viewer read 1.2: `1e3` is text in the one and a number in the
other, `yes` the other way round. What either would take for something else than text is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

_BLOCK = re.compile(r"---[ \t]*\r?\n(.*?\r?\n)?---[ \t]*(?:\r?\n|$)", re.DOTALL)
# Scalars of YAML 1.2's core schema, and of 1.1 what PyYAML does not know: y and n, and numbers in base 60.
_NOT_TEXT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?0o[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?0b[01_]+"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    r"|[yYnN]|(?i:yes|no|on|off|true|false|null|nil|undefined)|~|[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9_]+)?"
)


class _Dumper(yaml.SafeDumper):
    """Quotes what a reader of another version would not take for text; never folds a line."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    quoted = _NOT_TEXT.fullmatch(value) or "\n" in value or not value.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if quoted else None)


_Dumper.add_representer(str, _text)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign]


def front_matter(values: Mapping[str, Any]) -> str:
    """The block with its two lines of hyphens, one key order, a line for each value however long it is."""
    return f"---\n{yaml_text(values)}---\n"


def yaml_text(values: Mapping[str, Any]) -> str:
    """What stands in the block: YAML that a file of its own may be, too."""
    return yaml.dump(dict(values), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=float("inf"))


def body_begin(text: str) -> int:
    """Where what comes after the block begins; 0 where there is none."""
    found = _BLOCK.match(text)
    return found.end() if found else 0


def read_front_matter(text: str) -> Any:
    """What the block holds, as YAML 1.1 reads it; None where there is none.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    found = _BLOCK.match(text)
    return yaml.safe_load(found[1] or "") if found else None
