"""`coigp review report`: what people said of a store, and how far they can be trusted."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.options import as_json, language_option, overwrite_option
from coig_p.cli.paths import Place
from coig_p.cli.screen import json_text, print_sections, say
from coig_p.cli.tree import command
from coig_p.core.text import printable


@command("report")
@click.argument("review", type=click.Path(path_type=Path), metavar="REVIEW")
@click.option(
    "--store",
    type=Place(),
    metavar="STORE",
    help="The store that was drawn from: also show how far people agree with its judges.",
)
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write it as a page.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Also write it as Markdown.")
@language_option("Of the report.")
@overwrite_option("a file that is there")
@as_json
def report(
    review: Path,
    store: Path | None,
    html: Path | None,
    markdown: Path | None,
    language: str,
    overwrite: bool,
    json_: bool,
) -> None:
    """Show how often a store is right by the people of a REVIEW, by domain and margin; and how far they agree.

    With signs that somebody guesses or hurries, and how many items an interval of 5 points would take.

    \b
    coigp review report review
    coigp review report review --store store --html review.html
    coigp review report review --json | jq .all.right.share
    """
    from coig_p.core.atomic import atomic_file
    from coig_p.review.report_text import as_markdown, as_page, sections
    from coig_p.review.reporting import review_report
    from coig_p.store.places import check_file
    from coig_p.store.store import Store

    for path in (html, markdown):
        if path is not None:
            check_file(path, "a report", overwrite)
    if html is not None and markdown is not None and html.resolve() == markdown.resolve():
        raise click.UsageError(f"--html and --markdown: {html} cannot hold both.")
    found = review_report(review, None if store is None else Store.open(store))
    for path, text in ((html, as_page), (markdown, as_markdown)):
        if path is not None:
            with atomic_file(path) as stream:
                stream.write(text(found, language).encode())
    if json_:
        files = {name: str(path) for name, path in (("html", html), ("markdown", markdown)) if path is not None}
        click.echo(json_text({"review": str(review), **files, **found.to_dict()}))
        return
    print_sections(sections(found, language))
    for path in (html, markdown):
        if path is not None:
            say(f"wrote {printable(str(path))}")
