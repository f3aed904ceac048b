"""Options that say who scores, for every command that has responses scored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from coig_p.cli.options import config_options
from coig_p.reward.opening import ScorerConfig

if TYPE_CHECKING:
    from coig_p.reward.scorer import Scorer

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class ScorerOptions:
    """What was said of who scores.

    Attributes:
        values: by the names of `ScorerConfig`.
        named: those that the command line has.
    """

    values: Mapping[str, Any]
    named: tuple[str, ...]

    @property
    def given(self) -> bool:
        """Whether a model or a server is named."""
        return any(self.values[name] is not None for name in _WHO)

    def check_unused(self, leave_out: Collection[str] = ()) -> None:
        """Raise UsageError where nobody scores, and there is an option for who does."""
        for name in self.named:
            if name not in leave_out:
                raise click.UsageError(f"{_option(name)}: only with --model or --server. Leave it out.")

    def config(self, **more: Any) -> ScorerConfig:
        """As a config, with what other options say."""
        if not self.given:
            raise click.UsageError("Name who scores: --model or --server.")
        return ScorerConfig(**{**self.values, **more})


_WHO = ("model", "server")


def scorer_options(leave_out: Collection[str] = ()) -> Callable[[Command], Command]:
    """Add these options; the command gets them as one, `scorer`."""
    names = [name for name in ScorerConfig.__dataclass_fields__ if name not in leave_out]

    def add(command: Command) -> Command:
        @wraps(command)
        def collected(*args: Any, **kwargs: Any) -> Any:
            context = click.get_current_context()
            named = [one for one in names if context.get_parameter_source(one) == ParameterSource.COMMANDLINE]
            values = {name: kwargs.pop(name) for name in names}
            return command(*args, scorer=ScorerOptions(values, tuple(named)), **kwargs)

        found: Any = config_options(ScorerConfig, tuple(leave_out))(collected)
        return found  # type: ignore[no-any-return]

    return add


def opened(config: ScorerConfig, official: str | None = None) -> Scorer:
    """The scorer, which may take a while to load."""
    from coig_p.cli.screen import say
    from coig_p.reward.opening import open_scorer

    if config.model is not None:
        say(f"loading {config.model}")
    return open_scorer(config, official=official)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
