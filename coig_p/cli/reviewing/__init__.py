"""`coigp review`: people judge pairs of a store. One module a command; nothing heavy is imported before it is used."""

from __future__ import annotations

import click

from coig_p.cli.reviewing.apply import apply
from coig_p.cli.reviewing.draw import draw
from coig_p.cli.reviewing.importing import import_
from coig_p.cli.reviewing.report import report
from coig_p.cli.reviewing.resolve import resolve
from coig_p.cli.reviewing.serving import serve
from coig_p.cli.tree import Group


@click.group(cls=Group)
def review() -> None:
    """Ask people about a store: draw items, take in their answers, say how far they agree, apply what they said.

    \b
    coigp review draw store --out review --annotators a,b,c
    coigp review serve review
    coigp review import review export-a.json export-b.json export-c.json
    coigp review resolve review
    coigp review report review --store store
    coigp review apply review store --out checked
    """


for _command in (draw, serve, import_, resolve, report, apply):
    review.add_command(_command)
