"""Commands of an experiment: lists of arguments with places in them, never a line for a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from coig_p.errors import UnknownNameError, UsageError

_PLACE = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]")
NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What a place may be called."""


@dataclass(frozen=True)
class Command:
    """A command as the file has it.

    Attributes:
        words: its name or path, then its arguments; `{name}` is a place, `{{` and `}}` are braces.
    """

    words: tuple[str, ...]

    def places(self) -> list[str]:
        """The names of its places, each once, as they come."""
        return list(dict.fromkeys(name for word in self.words for name in _places(word)))

    def filled(self, values: Mapping[str, str]) -> tuple[str, ...]:
        """Its words with every place filled; each word stays one argument, whatever is filled in."""
        return tuple(_PLACE.sub(lambda at: _filled(at, values), word) for word in self.words)

    def shown(self) -> str:
        """As people read it: quoted as for a shell, though none is asked."""
        return shlex.join(self.words)


def read_command(value: object, where: str, allowed: Collection[str], needed: Collection[str] = ()) -> Command:
    """A command of the file.

    Args:
        where: the key that holds it, for errors.
        allowed: the names that its places may have.
        needed: those that it must have.

    Raises:
        UsageError: text in place of a list, no words, a word that is no text, a lone brace, a place that is needed.
        UnknownNameError: a place that nothing fills.
    """
    if isinstance(value, str):
        raise UsageError(f"{where} is one text, and no shell reads it: write {where} = {_as_list(value)}")
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise UsageError(f'{where}: use a list of texts, ["python", "train.py", "--seed", "{{seed}}"]')
    if not value or not value[0].strip():
        raise UsageError(f"{where} names no command: its first word does")
    for at, word in enumerate(value):
        if "\0" in word:
            raise UsageError(f"{where}[{at}]: a NUL cannot stand in an argument")
        for name in _checked(word, f"{where}[{at}]"):
            if name not in allowed:
                raise UnknownNameError("place", f"{{{name}}}", [f"{{{one}}}" for one in allowed], f"{where}[{at}]")
    command = Command(tuple(value))
    if _PLACE.search(value[0]):
        raise UsageError(f"{where}[0] = {value[0]!r}: the command itself is named as it is, without places")
    for name in needed:
        if name not in command.places():
            raise UsageError(f"{where} has no {{{name}}}: without it the command cannot know what it is for")
    return command


def read_text(value: object, where: str, allowed: Collection[str]) -> Command:
    """One text of the file with places, as a command of one word.

    Raises:
        UsageError: no text, a blank one, a lone brace.
        UnknownNameError: a place that nothing fills.
    """
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise UsageError(f'{where} = {value!r}: use a text, "judge.toml"')
    for name in _checked(value, where):
        if name not in allowed:
            raise UnknownNameError("place", f"{{{name}}}", [f"{{{one}}}" for one in allowed], where)
    return Command((value,))


def _as_list(text: str) -> str:
    try:
        words: Sequence[str] = shlex.split(text)
    except ValueError:
        words = text.split()
    return "[" + ", ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words) + "]"


def _checked(word: str, where: str) -> Iterator[str]:
    for found in _PLACE.finditer(word):
        if found[0] in "{}":
            raise UsageError(
                f"{where} = {word!r}: a brace that is none of a place is written twice, {{{{ or }}}}; a place is "
                "{name}, of a-z, 0-9 and _"
            )
        if found[1] is not None:
            yield found[1]


def _places(word: str) -> Iterator[str]:
    return (found[1] for found in _PLACE.finditer(word) if found[1] is not None)


def _filled(found: re.Match[str], values: Mapping[str, str]) -> str:
    return found[0][0] if found[1] is None else values[found[1]]
