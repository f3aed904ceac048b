"""`coigp review resolve`: a second round where the first found no majority."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.options import as_json, list_option
from coig_p.cli.screen import json_text, one_line, pasted
from coig_p.cli.tree import command
from coig_p.core.text import counted


@command("resolve")
@click.argument("review", type=click.Path(path_type=Path), metavar="REVIEW")
@list_option(
    "--annotators", help="Who is asked, also people who are new. Default: those who were asked first.", once=True
)
@as_json
def resolve(review: Path, annotators: tuple[str, ...], json_: bool) -> None:
    """Ask once more about items of a REVIEW without a majority; nobody sees what was said before.

    Each is asked again once. What is open then is told apart in the report, and never guessed.

    \b
    coigp review resolve review
    coigp review resolve review --annotators d,e,f
    """
    from coig_p.review.resolving import resolve as ask_again

    found = ask_again(review, annotators)
    if json_:
        click.echo(json_text(found.to_dict()))
        return
    if found.waiting:
        items = counted(found.waiting, "item waits", "items wait")
        click.echo(f"{items} for somebody to answer or skip: run this again then")
    if found.still_open:
        items = counted(len(found.still_open), "item stays", "items stay")
        click.echo(f"{items} without a majority after a second round: told apart in the report")
    if found.round is None:
        click.echo("nothing to ask again")
        return
    items = counted(len(found.items), "item has", "items have")
    names = ", ".join(found.annotators)
    click.echo(one_line(f"{items} no majority: asked again in round {found.round}, of {names}"))
    click.echo(f"next: coigp review serve {pasted(review)} --annotator {pasted(found.annotators[0])}")
