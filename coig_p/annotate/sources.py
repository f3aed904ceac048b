"""Where queries come from and what is made of them before anything is asked: sources, translation, personas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coig_p.annotate.asking.costs import max_tokens
from coig_p.core.small_files import read_small
from coig_p.errors import UsageError
from coig_p.schema import check_domain

_OURS = ("model", "messages", "stream", "n", "tools")  # parameters that a run sets or cannot read


@dataclass(frozen=True)
class SourceConfig:
    """A table [[sources]]: files of queries from one place.

    Attributes:
        inputs: files of rows with a query each.
        source, license: of every row that names none itself; the store keeps both for each query.
        domain: of every row; otherwise each names its own.
        translate: queries that are not Chinese are turned into Chinese by [translate].
    """

    inputs: tuple[str, ...]
    source: str | None = None
    license: str | None = None
    domain: str | None = None
    translate: bool = False

    def __post_init__(self) -> None:
        if not self.inputs:
            raise UsageError("inputs: name one file of queries or more")
        for name in ("source", "license"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise UsageError(f"{name} is blank")
        if self.domain is not None:
            check_domain(self.domain)


@dataclass(frozen=True)
class TranslateConfig:
    """The table [translate]: who turns queries into Chinese (COIG-P, section 3.1).

    Attributes:
        endpoint: by its name.
        prompt: a template file that replaces the bundled one.
        parameters: sent along; default: those with which the endpoint generates.
        names: names of two words or more, and words such as GPT-4, must stand in the translation as they were.
        asks: how often a query whose translation cannot be used is asked in all.
    """

    endpoint: str
    prompt: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    names: bool = True
    asks: int = 3

    def __post_init__(self) -> None:
        check_parameters("parameters", self.parameters)
        if not 1 <= self.asks <= 20:
            raise UsageError(f"asks = {self.asks}: use 1 to 20")


def check_parameters(name: str, given: Mapping[str, Any]) -> None:
    """Raise UsageError where parameters of a request cannot be sent along."""
    for parameter in _OURS:
        if parameter in given:
            raise UsageError(f"{name}: {parameter!r} is set by the run")
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: dates, inf and nan have no place in a request") from None
    limit = max_tokens(given)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise UsageError(f"{name}: max_tokens = {limit!r}: use a whole number of 1 or more")


def read_personas(path: Path) -> tuple[str, ...]:
    """The personas of a file, one a line; a line that begins with { is JSON with a `persona`, which may be longer.

    Raises:
        UsageError: the file cannot be read, or has none.
    """
    try:
        lines = [line.strip() for line in read_small(path).splitlines()]
    except OSError as error:
        raise UsageError(f"personas {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"personas {path} cannot be read: {error}") from None
    found = tuple(_persona(line, f"personas {path}:{at}") for at, line in enumerate(lines, 1) if line)
    if not found:
        raise UsageError(f"personas {path}: there is none in it. Write one a line")
    return found


def _persona(line: str, where: str) -> str:
    if not line.startswith("{"):
        return line
    try:
        persona = json.loads(line)["persona"]
    except (ValueError, LookupError, RecursionError):
        persona = None
    if not isinstance(persona, str) or not persona.strip():
        raise UsageError(f'{where}: write a line of text, or JSON with a text under "persona"')
    return persona
