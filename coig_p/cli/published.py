"""What `coigp publish` does with releases that are there: says where they stand, ends one, withdraws one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.screen import json_text
from coig_p.cli.signing import open_key
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    from coig_p.publish.client import HubConfig


def end(
    abort_of: str | None,
    yank_of: str | None,
    version: str | None,
    reason: str,
    sign: Path | None,
    config: HubConfig,
    json_: bool,
) -> None:
    """Give up a release that was begun, or mark one as withdrawn."""
    from coig_p.publish import abort, yank

    if version is None:
        raise click.UsageError("Missing option '--version'.")
    if abort_of is not None and yank_of is not None:
        raise click.UsageError("--abort and --yank are two things: say one of them.")
    if abort_of is not None:
        commit = abort(abort_of, version, config)
        told = f"{abort_of}: the release of {version} that was begun is ended; its branch stood at {commit}"
    else:
        commit = yank(str(yank_of), version, reason, config, open_key(sign))
        told = f"{yank_of}: {version} is marked as withdrawn on main, commit {commit}; its tag stays"
    click.echo(
        json_text({"repo": abort_of or yank_of, "version": version, "commit": commit}) if json_ else printable(told)
    )


def print_status(repo_id: str, config: HubConfig, json_: bool) -> None:
    """Where a repository stands."""
    from coig_p.publish.hub import status

    found = status(repo_id, config)
    if json_:
        click.echo(json_text(found.to_dict()))
        return
    if not found.exists:
        click.echo(printable(f"{repo_id} at {found.endpoint}: no such dataset, or not visible to you"))
        return
    version = found.version or "no release (main has moved on, or never had one)"
    click.echo(printable(f"{repo_id} at {found.endpoint}, {'private' if found.private else 'public'}"))
    click.echo(printable(f"main      {found.main}: {version}"))
    click.echo(f"          {counted(found.files, 'file')}, {counted(found.bytes, 'byte')}")
    for name, commit in found.versions.items():
        why = f" (withdrawn: {found.withdrawn[name]})" if name in found.withdrawn else ""
        click.echo(printable(f"version   {name}: {commit}{why}"))
    for name in found.unfinished:
        click.echo(printable(f"begun     {name}: publish it again to finish"))
