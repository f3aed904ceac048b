"""Keys that releases are signed with: the command that makes them, and how a secret one is opened."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.options import as_json
from coig_p.cli.screen import json_text, pasted
from coig_p.cli.tree import command
from coig_p.core.text import printable

if TYPE_CHECKING:
    from coig_p.store.signing import Signer

PASSWORD = "COIGP_SIGN_PASSWORD"

sign_option = click.option(
    "--sign",
    metavar="KEYFILE",
    type=click.Path(path_type=Path),
    help="Sign the manifest with this secret key, of coigp keygen or of minisign. Needs the extra sign.",
)


@command("keygen")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--no-password", is_flag=True, help="Do not encrypt the secret key: whoever reads the file can sign.")
@as_json
def keygen(out: Path, no_password: bool, json_: bool) -> None:
    """Make a key to sign releases with: OUT, the secret one, and OUT.pub, to give to everybody.

    The secret key is encrypted with a password, which is asked for; the variable COIGP_SIGN_PASSWORD has it where
    nobody can be asked. Both files are of minisign's form, and neither is ever overwritten.

    \b
    coigp keygen release.key
    coigp-publish store org/name --version 1.0.0 --sign release.key
    coigp verify store --key release.key.pub
    """
    from coig_p.store.signing import make_keys

    public, _ = make_keys(out, "" if no_password else ask_password(f"a password for {out}", new=True))
    if json_:
        click.echo(json_text({"secret": str(out), "public": str(public)}))
        return
    click.echo(
        f"wrote {printable(str(out))}, which nobody else may read, and {printable(str(public))}, which everybody may.\n"
        f"Whoever has a release checks it with: coigp verify STORE --key {pasted(public)}\n"
        f"To sign one: coigp-publish STORE ORG/NAME --version 1.0.0 --sign {pasted(out)}"
    )


def open_key(path: Path | None) -> Signer | None:
    """The secret key of --sign; its password is asked for where it has one."""
    if path is None:
        return None
    from coig_p.store.signing import read_secret_key

    return read_secret_key(path, lambda: ask_password(f"the password of {path}"))


def ask_password(what: str, new: bool = False) -> str:
    """The password of a key, from the environment or a person. It is shown nowhere.

    Args:
        new: of a key that is made now: it is asked for twice.

    Raises:
        UsageError: neither says one.
    """
    from coig_p.errors import UsageError

    given = os.environ.get(PASSWORD)
    if given:
        return given
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        instead = ", or pass --no-password" if new else ""
        raise UsageError(f"{what} is needed, and there is no terminal to ask at: set the variable {PASSWORD}{instead}")
    found: str = click.prompt(printable(what), hide_input=True, confirmation_prompt=new, err=True)
    return found
