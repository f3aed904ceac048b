"""What commands share that ask one endpoint a list of things: estimates, a yes to paying again, what is left."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.screen import json_text, say, table
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    from coig_p.annotate.alone.running import Asked, Estimate


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
