"""Whose model is whose: a family for each model and judge, by patterns of names.

A file of families is TOML, pattern = family, in which the first pattern that fits a name wins:

    [families]
    "gpt-*" = "openai"
    "our-judge" = "ours"

Case does not count; of `org/name` the part behind the slash may fit as well. A name that no pattern fits is a family
of its own, so that a judge always is of one family with the model of its own name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from coig_p.core.small_files import read_small
from coig_p.core.text import printable
from coig_p.errors import DataError

DEFAULT: Mapping[str, str] = {
    "gpt*": "openai",
    "chatgpt*": "openai",
    "o[1-9]*": "openai",
    "claude*": "anthropic",
    "deepseek*": "deepseek",
    "doubao*": "doubao",
    "skylark*": "doubao",
    "chatglm*": "glm",
    "glm*": "glm",
    "qwen*": "qwen",
    "qwq*": "qwen",
    "moonshot*": "moonshot",
    "kimi*": "moonshot",
    "abab*": "minimax",
    "minimax*": "minimax",
    "baichuan*": "baichuan",
    "gemini*": "google",
    "gemma*": "google",
    "yi-*": "yi",
    "llama*": "llama",
    "meta-llama*": "llama",
    "mistral*": "mistral",
    "mixtral*": "mistral",
    "internlm*": "internlm",
    "hunyuan*": "hunyuan",
    "ernie*": "ernie",
    "step-*": "step",
}
"""COIG-P's 15 answering models and 8 judges, and others of their makers and their time."""

_SECTION = "families"


def read_families(path: Path) -> dict[str, str]:
    """The patterns of a file, in its order.

    Raises:
        DataError: it cannot be read, or is no such file; names the file and the entry.
    """
    name = printable(str(path))
    form = f'write [{_SECTION}] and below it lines of "pattern" = "family", for instance "gpt-*" = "openai"'
    try:
        found = tomllib.loads(read_small(path))
    except OSError as error:
        raise DataError(f"{name}: the file of families cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also of UTF-8
        raise DataError(f"{name}: it is no TOML: {error}; {form}") from None
    unknown = [key for key in found if key != _SECTION]
    if unknown:
        raise DataError(f"{name}: {unknown[0]!r} is not known there; {form}")
    section = found.get(_SECTION)
    if not isinstance(section, dict) or not section:
        raise DataError(f"{name}: no entry below [{_SECTION}]; {form}")
    for pattern, family in section.items():
        if not isinstance(family, str) or not family.strip():
            raise DataError(f"{name}: {_SECTION}.{pattern!r} is {family!r}: a family is a name in quotes")
        if not pattern.strip():
            raise DataError(f"{name}: an empty pattern fits no name")
    return dict(section)


def family_of(name: str, families: Mapping[str, str] = DEFAULT) -> str:
    """The family of a model or judge: that of the first pattern that fits, else its own name, folded."""
    folded = name.strip().lower()
    short = folded.rpartition("/")[2]
    for pattern, family in families.items():
        wanted = pattern.strip().lower()
        if fnmatchcase(folded, wanted) or fnmatchcase(short, wanted):
            return family.strip().lower()
    return folded
