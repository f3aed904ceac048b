"""`coigp annotate init` and `demo`: a file that describes a run, and a whole run without any model."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.options import as_json, overwrite_option
from coig_p.cli.screen import STDOUT, json_text, pasted, show_document
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable


@command("init")
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    default=STDOUT,
    metavar="FILE",
    help="Write it here, a .toml. Default: -, standard output.",
)
@click.option(
    "--recipe",
    type=click.Choice(("coig-p", "tap")),
    default="coig-p",
    show_default=True,
    help="coig-p: queries from files, scored responses. tap: prompts from a taxonomy.",
)
@overwrite_option("FILE where it exists")
def init(out: Path, recipe: str, overwrite: bool) -> None:
    """Write a commented TOML file that describes a run. No --json: what it writes is the file itself.

    \b
    coigp annotate init --out run.toml
    coigp annotate init --recipe tap --out run.toml
    """
    from coig_p.annotate.config import template
    from coig_p.core.atomic import atomic_file
    from coig_p.store.places import check_file, file_type

    if out == STDOUT:
        show_document(template(recipe))
        return
    file_type(out, {".toml": "toml"})
    check_file(out, "a description of a run", overwrite)
    with atomic_file(out) as stream:
        stream.write(template(recipe).encode())
    click.echo(f"wrote {printable(str(out))}; then: coigp annotate run {pasted(out)} --estimate")


@command("demo")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="A new folder for the run.")
@click.option(
    "--recipe",
    type=click.Choice(("coig-p", "tap")),
    default="coig-p",
    show_default=True,
    help="coig-p: 12 bundled queries. tap: ten subjects of the bundled catalogue, and no query.",
)
@as_json
def demo(out: Path, recipe: str, json_: bool) -> None:
    """A whole run offline: 12 bundled queries or ten subjects, scripted models and judges. Its scores mean nothing.

    \b
    coigp annotate demo --out demo
    coigp annotate demo --recipe tap --out demo
    python -m coig_p.annotate.scripted & coigp annotate run demo/run.toml
    """
    from coig_p.annotate import demo as material

    found = material.run(out) if recipe == "coig-p" else material.run_tap(out)
    if json_:
        click.echo(json_text({"store": str(found.path), "domains": list(found.manifest.domains)}))
        return
    click.echo(f"wrote {printable(str(found.path))}: {', '.join(found.manifest.domains)}")
    if recipe == "tap":
        from coig_p.stats.info import store_info

        total = store_info(found.path).total
        click.echo(
            f"from {counted(len(material.SUBJECTS), 'subject')} alone: {counted(total.queries, 'prompt')}, and of"
        )
        click.echo(f"each the responses that were selected, {total.responses:,} in all: {counted(total.pairs, 'pair')}")
