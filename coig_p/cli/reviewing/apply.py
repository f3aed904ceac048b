"""`coigp review apply`: what people said, as comparisons of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coig_p.cli.engines import engine_options
from coig_p.cli.options import as_json, overwrite_option, store_argument
from coig_p.cli.paths import Place
from coig_p.cli.screen import json_text, one_line, pasted, progress
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable


@command("apply")
@click.argument("review", type=click.Path(path_type=Path), metavar="REVIEW")
@store_argument()
@click.option("--out", required=True, type=Place(), metavar="DIR", help="Write the store there.")
@overwrite_option("a store at DIR")
@engine_options
@as_json
def apply(review: Path, store: Path, out: Path, overwrite: bool, shared_by: dict[str, Any], json_: bool) -> None:
    """Write a store that also holds what people said of STORE in a REVIEW: comparisons by the judge human:NAME.

    They are pairs with labels="comparisons"; the card of a release says that people checked the store, with the
    report's numbers.

    \b
    coigp review apply review store --out checked
    """
    from coig_p.review.applying import apply_review
    from coig_p.store.store import Store

    opened = Store.open(store)
    queries = sum(file.rows or 0 for file in opened.data_files())
    with progress("Applying", queries, "queries") as advance:
        found = apply_review(review, opened, out, overwrite=overwrite, advance=advance, **shared_by)
    if json_:
        click.echo(json_text(found.to_dict()))
        return
    if not found.same_store:
        click.echo("the store is another than the review was drawn from; all that was shown is there, unchanged")
    if found.was is None and any(file.comparisons for file in opened.data_files()):
        click.echo("comparisons now give pairs from a margin of 1 on, not from the threshold of scores")
    by = ", ".join(f"{name} {number:,}" for name, number in found.comparisons.items())
    click.echo(
        one_line(
            f"added {counted(sum(found.comparisons.values()), 'comparison')} ({by}) to "
            f"{counted(found.queries, 'query', 'queries')}"
        )
    )
    click.echo(f"wrote {printable(str(found.store))}")
    more = "" if found.split is None else f" --split {pasted(found.split)}"
    more += " --format conversational" if found.conversations else ""  # which strings could not show
    click.echo(f"next: coigp pairs {pasted(found.store)} --labels comparisons{more} --out verdicts.jsonl")
