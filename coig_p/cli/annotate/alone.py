"""What commands share that ask one endpoint a list of things: options, a yes to paying again, what is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coig_p.cli.annotate.common import approve_wishes, trusting, yes_option
from coig_p.cli.annotate.live import watched
from coig_p.cli.options import Finite
from coig_p.cli.screen import json_text, say, table
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    from coig_p.annotate.alone.endpoint import LoneEndpoint
    from coig_p.annotate.alone.running import Asked, Estimate, Work
    from coig_p.annotate.trust import Wish

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class AskOptions:
    """What was said about a run through a ledger, option by option."""

    ledger: Path | None
    estimate: bool
    max_cost: float | None
    max_hours: float | None
    partial: bool
    yes: bool
    trust: bool
    allow: tuple[str, ...]

    def ledger_of(self, out: Path) -> Path:
        """Its folder, which stands beside what is written where none is named."""
        return self.ledger or out.with_name(f"{out.name}.ledger")

    def approve(self, option: str, path: Path | None, wishes: Sequence[Wish]) -> None:
        """Have somebody say yes to what a file asks for.

        Args:
            option: that names the file, or an address.
            path: of the file; None for an address, which was typed by hand and is meant, but for what is meant only
                where it is named.
        """
        from coig_p.annotate.trust import check_named

        if path is not None:
            approve_wishes(path, wishes, self.trust, self.allow)
        else:
            check_named([wish for wish in wishes if wish.name], self.allow, Path(option))

    def ask(self, work: Work, ledger: Path, json_: bool, max_cost: int | None = None) -> Asked:
        """Ask within these limits, with a yes to paying again where that has to be.

        Args:
            max_cost: the file's, which --max-cost takes the place of.
        """
        from coig_p.annotate.alone.running import ask, estimate
        from coig_p.annotate.asking.costs import MONEY

        agree(estimate(work, ledger), self.yes)
        with watched(json_) as watch:
            return ask(
                work,
                ledger,
                max_cost=max_cost if self.max_cost is None else int(Decimal(str(self.max_cost)) * MONEY),
                max_seconds=None if self.max_hours is None else self.max_hours * 3600,
                say=say,
                watch=watch,
            )


def ask_options(whom: str, partial: str, cost: str = " Default: the file's.") -> tuple[Callable[[Any], Any], ...]:
    """The options of AskOptions, but those of `trusting`.

    Args:
        whom: the option that names who is asked.
        partial: what --partial does.
        cost: what bounds the cost without --max-cost.
    """
    return (
        click.option(
            "--ledger",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help=f"Where all that {whom} was asked is kept, so that nothing is paid twice. Default: beside --out, with "
            ".ledger behind its name.",
        ),
        click.option(
            "--estimate", is_flag=True, help=f"Say what is left to ask {whom} and what it costs; ask nothing."
        ),
        click.option(
            "--max-cost",
            type=Finite(min=0),
            metavar="N",
            help=f"Most that all runs of the ledger may cost, in the currency of the prices.{cost}",
        ),
        click.option(
            "--max-hours", type=Finite(min=0), metavar="H", help=f"Ask {whom} nothing more after so many hours."
        ),
        click.option("--partial", is_flag=True, help=partial),
        yes_option,
    )


def as_one(kind: type[AskOptions], name: str, options: Iterable[Callable[[Any], Any]]) -> Callable[[Command], Command]:
    """Add these options and those of `trusting`; the command gets them as one of this kind, under this name."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def collected(*args: Any, **kwargs: Any) -> Any:
            said = {option.name: kwargs.pop(option.name) for option in fields(kind)}
            return command(*args, **{name: kind(**said)}, **kwargs)

        found: Any = trusting(collected)
        for option in reversed(tuple(options)):
            found = option(found)
        return found  # type: ignore[no-any-return]

    return decorate


def is_address(text: str) -> bool:
    """Whether an endpoint is named by its address, not by a file."""
    return text.lower().startswith(("http://", "https://"))


def check_model(option: str, text: str, model: str | None, key_env: str | None, model_option: str) -> None:
    """Raise UsageError where a model is not named for an address, or is for a file."""
    if is_address(text):
        if model is None:
            raise click.UsageError(f"{option} names an address: say with {model_option} which model to ask there.")
        return
    for name, value in ((model_option, model), ("--key-env", key_env)):
        if value is not None:
            raise click.UsageError(f"{name}: only where {option} is an address; a file says it itself. Leave it out.")


@dataclass(frozen=True)
class EndpointOptions(AskOptions):
    """The same, and which endpoint is asked."""

    endpoint: str
    model: str | None
    key_env: str | None

    def open(self) -> LoneEndpoint:
        """The endpoint, once somebody said yes to what its file asks for.

        Raises:
            UsageError: nobody did; or it cannot be.
        """
        from coig_p.annotate.alone.endpoint import endpoint_at, load_endpoint
        from coig_p.annotate.trust import asked_by

        check_model("--endpoint", self.endpoint, self.model, self.key_env, "--model")
        path = None if is_address(self.endpoint) else Path(self.endpoint)
        if path is None:
            found = endpoint_at(self.endpoint, str(self.model), self.key_env, {})
        else:
            found = load_endpoint(path)
        self.approve("--endpoint", path, asked_by(path or Path("--endpoint"), [found], {}))
        return found


endpoint_options = as_one(
    EndpointOptions,
    "given",
    (
        click.option(
            "--endpoint",
            required=True,
            metavar="FILE|URL",
            help="Who is asked: a TOML file with a table [endpoint], or the address of an OpenAI-compatible server, "
            "with --model.",
        ),
        click.option("--model", metavar="NAME", help="The model to ask at the address of --endpoint."),
        click.option("--key-env", metavar="NAME", help="The variable that holds the key of that address."),
        *ask_options("--endpoint", "Write what there is, also where some were left unanswered.", cost=""),
    ),
)
"""Options of an endpoint; the command gets them as one, `given`."""


def print_estimate(found: Estimate, who: str, name: str, json_: bool) -> None:
    """What is left to ask, and what it costs; `who`: what the one of this name does."""
    from coig_p.annotate.asking.costs import MONEY

    if json_:
        click.echo(json_text({who: name, **found.to_dict()}))
        return
    row = [name, found.left, f"{found.expected / MONEY:.4f}", f"{found.most / MONEY:.4f}"]
    click.echo(table([who, "requests left", "cost, about", "at most"], [row]))
    spent = found.spent / MONEY
    click.echo(f"of {found.requests:,} requests; spent so far: {spent:.4f}. At most: every ask, all of max_tokens")
    if found.paid_again:
        click.echo(_paid_again(found))


def _paid_again(found: Estimate) -> str:
    number = counted(found.paid_again, "request")
    return f"{number} would be paid again: the prompt, the parameters or the model changed since the answers came"


def agree(found: Estimate, yes: bool) -> None:
    """Have somebody say yes where answers would be paid again; raise UsageError where nobody did."""
    from coig_p.errors import UsageError

    if not found.paid_again:
        return
    words = _paid_again(found)
    if yes:
        say(words)
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{words}. Nothing was sent. To pay again: --yes; to keep both, name another --ledger")
    click.echo(words, err=True)
    if not click.confirm("Pay for them again?", err=True):
        raise UsageError("nothing was sent")


def print_asked(asked: Asked, name: str) -> None:
    """What was sent and what it cost, and whether the endpoint was left."""
    from coig_p.annotate.asking.costs import MONEY

    if asked.left is not None:
        click.echo(printable(f"{name} was left: {asked.left}"), err=True)
    if asked.abandoned:
        click.echo(f"abandoned in flight, and perhaps paid: {asked.abandoned:,}", err=True)
    paid, may = asked.cost.paid / MONEY, asked.cost.may_be_paid / MONEY
    click.echo(
        f"sent {asked.sent:,} for {counted(asked.requests, 'request')}; cost so far {paid:.4f}, and up to {may:.4f} "
        "for attempts without an answer"
    )


def print_unsettled(asked: Asked, kept_back: str, folder: Path) -> None:
    """What is left unanswered, and why; `kept_back`: what was not written for it, "" where all was."""
    why = {
        "budget": "the budget is reached: raise --max-cost. ",
        "time": "the time is up. ",
        "interrupted": "stopped. ",
    }.get(str(asked.stopped), "")
    rest = f", so {kept_back}; --partial writes what there is" if kept_back else ""
    again = f"{why}{counted(asked.unsettled, 'request')} unanswered{rest}. Run again to go on"
    click.echo(printable(f"{again}; answers are kept in {folder}"), err=True)
