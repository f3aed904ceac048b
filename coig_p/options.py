"""The fields of PairConfig as options of a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from typing import Any, TypeVar

import click

from coig_p.pairs import PairConfig

Command = TypeVar("Command", bound=Callable[..., Any])


def pair_options(command: Command) -> Command:
    """Add an option for every field of PairConfig; the command gets them under the same names."""
    return _with_options(command, fields(PairConfig))


def pair_options_without(*names: str) -> Callable[[Command], Command]:
    """`pair_options` but for these fields, which keep their default."""
    return lambda command: _with_options(command, [field for field in fields(PairConfig) if field.name not in names])


def pair_config(options: dict[str, Any]) -> PairConfig:
    """The config that a command's options ask for."""
    return PairConfig(**{**options, "judges": options["judges"] or None})


def _with_options(command: Command, chosen: Sequence[Field[Any]]) -> Command:
    for option in reversed(chosen):
        name = f"--{option.name.replace('_', '-')}"
        settings: dict[str, Any] = {"help": option.metadata["help"], "default": option.default}
        if option.metadata.get("choices"):
            settings |= {"type": click.Choice(option.metadata["choices"]), "show_default": True}
        elif option.name == "judges":
            settings |= {"multiple": True, "metavar": "NAME", "default": (), "help": settings["help"] + " Repeatable."}
        elif isinstance(option.default, bool):
            settings["is_flag"] = True
        else:
            settings["type"] = float if option.name == "threshold" else int
            settings["show_default"] = option.default is not None
        command = click.option(name, **settings)(command)
    return command
