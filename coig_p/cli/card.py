"""The command that shows what a release would say of itself: card."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from coig_p.cli.options import language_option, overwrite_option, store_argument
from coig_p.cli.screen import pasted, progress, show_document
from coig_p.cli.tree import command
from coig_p.core.text import printable
from coig_p.pairs.config import PairConfig


@command("card")
@store_argument()
@click.option("--init", is_flag=True, help="Write a card.toml to fill in, beside the store's manifest.")
@overwrite_option("the card.toml that is there")
@language_option("Of the card.")
@click.option(
    "--version",
    metavar="1.0.0",
    help="Of the release that the card is for. Default: the highest that card.toml tells of, else 1.0.0.",
)
def card(store: Path, init: bool, overwrite: bool, language: str, version: str | None) -> None:
    """Print the dataset card that a release of STORE would have, or write the card.toml it needs.

    No --json: a card is Markdown with YAML ahead, which programs read as it is.

    \b
    coigp card store --init
    coigp card store --language zh
    """
    from coig_p.report.card import LANGUAGES
    from coig_p.report.card_toml import CARD_TOML, card_template, newest_release
    from coig_p.store.store import Store

    opened = Store.open(store)
    if init:
        from coig_p.core.atomic import atomic_file

        path = store / CARD_TOML
        if path.exists() and not overwrite:
            raise click.UsageError(f"{path} exists: edit it, or pass --overwrite to replace it.")
        with atomic_file(path) as stream:
            stream.write(card_template().encode())
        click.echo(f"wrote {printable(str(path))}: fill it in, then: coigp card {pasted(store)}")
        return
    from coig_p.publish.plan import check_version
    from coig_p.publish.release import ReleaseConfig, write_release

    version = check_version(version or newest_release(store) or "1.0.0")
    with tempfile.TemporaryDirectory(prefix="coigp-card-") as folder:
        # Strings cannot show conversations, message lists can: nobody need choose to see the card.
        strings = not any(map(opened.manifest.conversations, opened.manifest.domains))
        config = ReleaseConfig(version, PairConfig(format="dpo" if strings else "conversational"))
        released = write_release(opened, Path(folder) / "release", config, bar=progress)
        show_document(printable((released.path / LANGUAGES[language]).read_text("utf-8")))
