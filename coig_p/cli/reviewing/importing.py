"""`coigp review import`: answers that were given elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.options import as_json, renames
from coig_p.cli.screen import json_text, one_line
from coig_p.cli.tree import command
from coig_p.core.text import counted

if TYPE_CHECKING:
    from coig_p.review.importing import Imported


@command("import")
@click.argument("review", type=click.Path(path_type=Path))
@click.argument("exports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="EXPORT...")
@click.option(
    "--who",
    multiple=True,
    metavar="USER=NAME,...",
    callback=renames,
    help="Which annotator a user of Label Studio is, by number or email: where tasks do not say it, or where others "
    "annotated them too. Repeatable.",
)
@as_json
def import_(review: Path, exports: tuple[Path, ...], who: dict[str, str], json_: bool) -> None:
    """Take answers into a REVIEW: Label Studio's JSON exports, and answers/NAME.jsonl of another machine.

    All files or, with a problem in any, nothing. What is there already is not taken twice.

    \b
    coigp review import review export-a.json export-b.json
    coigp review import review elsewhere/answers/c.jsonl
    coigp review import review export.json --who 7=a,b@example.org=b
    """
    from coig_p.review.importing import import_answers

    found = import_answers(review, exports, who)
    if json_:
        click.echo(json_text(found.to_dict()))
        return
    for line in _lines(found):
        click.echo(one_line(line))


def _lines(found: Imported) -> Iterator[str]:
    taken = found.new + found.changed
    by = ", ".join(f"{name} {number:,}" for name, number in found.by_annotator.items())
    yield f"imported {counted(taken, 'answer')}" + (f": {by}" if by else "")
    if found.changed:
        yield f"{found.changed:,} of these in place of an older one"
    if found.skipped:
        yield f"{found.skipped:,} of these skipped by the annotator"
    if found.same:
        yield f"{counted(found.same, 'answer')} there already, not taken twice"
    if found.older:
        yield f"{counted(found.older, 'answer')} no newer than what is there, left out"
    if found.superseded:
        yield f"{counted(found.superseded, 'annotation')} that the annotator changed later, left out"
    if found.by_others:
        yield f"{counted(found.by_others, 'annotation')} by others than whose tasks they are of, left out"
    if found.drafts:
        yield f"{counted(found.drafts, 'draft')} begun and never submitted, left out"
    if found.torn:
        yield f"{counted(found.torn, 'line')} cut short, left out"
    for name, number in found.unread.items():
        yield f"{name} was answered {counted(number, 'time')}: the form does not ask it, not read"
