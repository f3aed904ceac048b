"""`coigp verify`: is a store as its manifest says?"""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.engines import threads_option
from coig_p.cli.options import as_json, open_store, store_argument
from coig_p.cli.screen import json_text, one_line, progress
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable


@command("verify")
@store_argument()
@click.option("--key", metavar="PUBKEY", help="Also see that the manifest is signed with it: KEY.pub, or its line.")
@threads_option
@as_json
def verify(store: Path, key: str | None, num_proc: int | None, json_: bool) -> None:
    """Compare every file of a STORE with its manifest by size, hash and rows. Exits 1 on a difference.

    With --key the signature of the manifest comes first, so that all that is compared is what was signed.

    \b
    coigp verify store
    coigp verify release --key release.key.pub
    """

    signed = None
    if key is not None:
        from coig_p.store.signing import check_signature, read_public_key

        signed = check_signature(store, read_public_key(key))
    opened = open_store(store, check_files=False)
    with progress("Verifying", sum(file.bytes for file in opened.manifest.files)) as advance:
        problems = opened.verify(advance, num_proc)
    left = opened.leftovers()
    if json_:
        found = {"store": str(store), "files": len(opened.manifest.files), "problems": problems, "leftovers": left}
        found |= {} if signed is None else {"signed": signed}
        click.echo(json_text(found))
    else:
        if left:
            click.echo(printable(f"left there by other tools, and no part of it: {', '.join(left)}"), err=True)
        for problem in problems:
            click.echo(one_line(problem), err=True)
        if not problems:
            files = counted(len(opened.manifest.files), "file is", "files are")
            told = "" if signed is None else f", and the manifest is signed with that key: {printable(signed)}"
            click.echo(f"{printable(str(store))}: {files} as the manifest says{told}")
    if problems:
        raise SystemExit(1)
