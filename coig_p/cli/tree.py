"""What commands and groups of them are: each takes -v and -q, and is imported when it is named."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from coig_p.cli.paths import Here

Listed = Mapping[str, Sequence[tuple[str, str, str]]]


def set_level(verbose: bool = False, quiet: bool = False) -> None:
    """How much the package's log says."""
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    logging.getLogger("coig_p").setLevel(level)


def is_quiet() -> bool:
    """Whether nothing but errors is said on standard error."""
    return logging.getLogger("coig_p").level >= logging.ERROR


def verbosity() -> list[click.Parameter]:
    """-v and -q. What stands further to the right wins."""

    def said(_context: click.Context, option: click.Parameter, value: bool) -> None:
        if value:
            set_level(**{str(option.name): True})

    return [
        click.Option([short, name], is_flag=True, expose_value=False, callback=said, help=words)
        for short, name, words in (
            ("-v", "--verbose", "Say more on standard error."),
            ("-q", "--quiet", "Say nothing but errors on standard error."),
        )
    ]


def did_you_mean(error: click.ClickException) -> str:
    """What to say behind an error of a misspelt command or choice; where click does not say it itself."""
    named = re.search(r"No such command '(.*?)'|'(.*?)' is not one of", error.message)
    context = getattr(error, "ctx", None)
    if named is None or context is None or "Did you mean" in error.format_message():
        return ""
    if named[1] is None:
        kind = getattr(getattr(error, "param", None), "type", None)
        valid = [str(choice) for choice in getattr(kind, "choices", ())]
    else:
        valid = context.command.list_commands(context) if isinstance(context.command, click.Group) else []
    close = get_close_matches(named[1] or named[2] or "", valid, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class Command(click.Command):
    """A command that also takes -v and -q, and whose paths are of this machine where nothing else is said."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for one in self.params:
            if type(one.type) is click.Path:
                one.type = Here(one.type)
        self.params += verbosity()


def command(name: str) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command of the tree."""
    return click.command(name, cls=Command)


class Group(click.Group):
    """A group whose commands also take -v and -q."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += verbosity()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the code, which is the order of the work."""
        return list(self.commands)


class Tree(Group):
    """The commands under headings, none of them imported before it is named.

    Args:
        listed: for each heading, its commands' names, the modules that hold them and what they do in one line.
            A module holds a command under the command's name, or with `_command` behind it.
    """

    def __init__(self, *args: Any, listed: Listed, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.listed = listed
        self._places = {name: (module, words) for rows in listed.values() for name, module, words in rows}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, in the order of the headings."""
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, from its module."""
        if cmd_name not in self._places:
            return None
        module, words = self._places[cmd_name]
        found = import_module(module)
        command: click.Command = getattr(found, f"{cmd_name}_command", None) or getattr(found, cmd_name)
        command.short_help = words
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their headings."""
        widest = max(map(len, self._places))
        for heading, rows in self.listed.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), words) for name, _, words in rows])
