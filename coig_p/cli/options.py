"""Options of the command line that are fields of a config: one definition for the keyword and the option."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import click

from coig_p.pairs.config import PairConfig

Command = TypeVar("Command", bound=Callable[..., Any])


def config_options(config: type, leave_out: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Add an option for every field of a config dataclass; the command gets them under the same names."""

    def add(command: Command) -> Command:
        for option in reversed(fields(config)):
            if option.name not in leave_out:
                name = f"--{option.name.replace('_', '-')}"
                command = click.option(name, **_settings(option))(command)
        return command

    return add


def _settings(option: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"help": option.metadata["help"], "default": option.default}
    if option.metadata.get("choices"):
        return settings | {"type": click.Choice(option.metadata["choices"]), "show_default": True}
    if option.name == "judges":
        return settings | {
            "multiple": True,
            "metavar": "NAME",
            "default": (),
            "help": settings["help"] + " Repeatable.",
        }
    if isinstance(option.default, bool):
        return settings | {"is_flag": True}
    kinds = {"float | None": float, "float": float, "str | None": str}
    return settings | {"type": kinds.get(option.type, int), "show_default": option.default is not None}


def pair_config(options: dict[str, Any]) -> PairConfig:
    """PairConfig from the options of a command."""
    return PairConfig(**{**options, "judges": options["judges"] or None})
