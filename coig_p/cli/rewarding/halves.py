"""`coigp reward halves`: a store's queries in two files, one a half."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.options import as_json, overwrite_option, store_argument
from coig_p.cli.screen import json_text, one_line, pasted, progress
from coig_p.cli.tree import command
from coig_p.core.text import counted


@command("halves")
@store_argument()
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Write the two files there.")
@overwrite_option("halves at DIR")
@as_json
def halves(store: Path, out: Path, overwrite: bool, json_: bool) -> None:
    """Write the query ids of each half of a STORE: one half for a reward model, the other for the policy it judges.

    By hash, near-duplicates in one half. --exclude takes such a file: excluding half 2 leaves half 1.

    \b
    coigp reward halves store --out halves
    coigp export store --for trl-dpo --exclude halves/half-1.txt --out policy
    """
    from coig_p.reward.halves import FILES, write_halves
    from coig_p.store.store import Store

    opened = Store.open(store)
    with progress("Reading", sum(file.rows or 0 for file in opened.data_files()), "queries") as advance:
        found = write_halves(opened, out, overwrite=overwrite, advance=advance)
    if json_:
        click.echo(json_text({"halves": str(out), "queries": found}))
        return
    for number, name in enumerate(FILES, 1):
        click.echo(one_line(f"wrote {out / name}: {counted(found[number - 1], 'query', 'queries')}"))
    train = f"coigp reward train {pasted(store)} --half 1 --model builtin:ngram --out floor"
    click.echo(f"next: {train}")
