"""What the commands of `coigp annotate` share: the run's file, limits, and whether the file may do what it asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coig_p.cli.options import Finite
from coig_p.cli.screen import one_line, say

if TYPE_CHECKING:
    from coig_p.annotate.config import RunConfig
    from coig_p.annotate.trust import Wish

Command = TypeVar("Command", bound=Callable[..., Any])

EXAMPLES = 20  # that are shown of many


def _regular(_context: click.Context, _option: click.Parameter, file: Path) -> Path:
    if file.exists() and not file.is_file():
        what = "a directory" if file.is_dir() else "a pipe or a device"
        raise click.UsageError(
            f"{file} is {what}: name the file that describes the run, beside which its folder stands."
        )
    return file


FILE = click.argument("file", type=click.Path(path_type=Path), callback=_regular)


def limits(command: Command) -> Command:
    """Options of every command that asks models."""
    command = trusting(command)
    command = yes_option(command)
    command = click.option(
        "--max-hours", type=Finite(min=0), metavar="H", help="Send nothing more after so many hours."
    )(command)
    return click.option(
        "--max-cost",
        type=Finite(min=0),
        metavar="N",
        help="Most that all runs of the folder may cost, in the currency of the prices. Default: the file's.",
    )(command)


yes_option = click.option(
    "--yes", is_flag=True, help="Yes to paying again for what was answered before prompts or parameters changed."
)


def trusting(command: Command) -> Command:
    """Options of every command that does what a file asks for, which somebody may have sent."""
    command = click.option(
        "--allow",
        metavar="NAME@HOST|http://HOST",
        multiple=True,
        help="Also what FILE asks for and is refused otherwise: another service's secret, a connection that is not "
        "encrypted. Repeat it for more; no commas.",
    )(command)
    return click.option(
        "--trust",
        is_flag=True,
        help="Yes to what FILE asks for the first time: keys by host, files outside its folder.",
    )(command)


def approve(config: RunConfig, trust: bool, allow: tuple[str, ...], *, sends: bool = True) -> None:
    """Have somebody say yes to what a run's file asks for, the first time that it does.

    Args:
        sends: whether anything is sent; else only files outside the run's own folder are asked about.

    Raises:
        UsageError: nobody did.
    """
    from coig_p.annotate.trust import wishes

    asked = [wish for wish in wishes(config) if sends or not wish.is_of_sending]
    approve_wishes(config.path, asked, trust, allow)


def approve_wishes(
    path: Path, wishes: Sequence[Wish], trust: bool, allow: tuple[str, ...], nothing: str = "sent"
) -> None:
    """The same of what any file asks for; raise UsageError where nobody says yes.

    Args:
        nothing: what was not done then, for people: sent, or run.
    """
    from coig_p.annotate.trust import check_named, grant, not_granted
    from coig_p.errors import UsageError

    left = not_granted(wishes)
    check_named(left, allow, path, nothing)
    asked = [wish for wish in left if not wish.name]
    if asked and not trust:
        said = one_line(f"{path} wants to {'; to '.join(wish.words for wish in asked)}")
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{said}. Nothing was {nothing}. If you mean it, say so once with --trust")
        click.echo(said, err=True)
        if not click.confirm("Is that what you mean?", err=True):
            raise UsageError(f"nothing was {nothing}")
    if left:
        grant(left)


def agree_to_pay_again(config: RunConfig, stages: Sequence[str], yes: bool, limit: int | None = None) -> None:
    """Have somebody say yes where the next run of some stages would pay again for what was answered before.

    Raises:
        UsageError: nobody did.
    """
    from coig_p.annotate.asking.ledger import LEDGER, Ledger
    from coig_p.annotate.repaying import in_words, paid_again
    from coig_p.errors import UsageError

    if not (config.folder / LEDGER).exists():
        return
    with Ledger.open(config.folder) as ledger:
        again = paid_again(config, ledger, stages, limit)
    if not again:
        return
    words = one_line(in_words(again))
    if yes:
        say(words)
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{words}. Nothing was sent. To pay again, say so with --yes; to keep what is paid, put back what it was"
        )
    click.echo(words, err=True)
    if not click.confirm("Pay for them again?", err=True):
        raise UsageError("nothing was sent")
