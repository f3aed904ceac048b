"""The command that asks people in the browser: review serve."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.options import list_option
from coig_p.cli.screen import say
from coig_p.cli.tree import command
from coig_p.core.text import printable


@command("serve")
@click.argument("review", type=click.Path(path_type=Path))
@list_option("--annotator", "annotators", help="Whose pages; repeatable. Default: everybody who is asked.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: that of the last time, or a free one.")
@click.option("--browser/--no-browser", default=False, help="Open the first address in the browser.")
def serve(review: Path, annotators: tuple[str, ...], port: int, browser: bool) -> None:
    """Ask people in the browser: a page for each annotator of a REVIEW. Ctrl-C ends it.

    Prints a line for each annotator: the name, and the address to open. The server answers this machine alone; an
    address shows its annotator's tasks and no other's, and neither models nor scores nor what the store prefers.
    Every answer is on the disk before the next task is shown: end the server, or the machine, at any time, and
    start it again, at the same addresses. No --json: its lines are few, and answers are coigp review report's.

    \b
    coigp review serve review
    coigp review serve review --annotator a
    coigp review serve review --annotator a,b --port 8000
    """
    from coig_p.review.page.app import serve

    def ready(addresses: list[tuple[str, str]]) -> None:
        for name, address in addresses:
            click.echo(f"{printable(name)} {address}")
        say("Ctrl-C ends it")
        if browser:
            import webbrowser

            webbrowser.open(addresses[0][1])

    def failed(message: str) -> None:
        click.echo(printable(f"error: {message}"), err=True)

    serve(review, annotators, port, ready, failed)
