"""What publishing would do, in words: files, and what differs from the release that is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.comparing import difference_lines
from coig_p.cli.screen import json_text, progress
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    from coig_p.publish.client import HubConfig
    from coig_p.publish.plan import Release
    from coig_p.stats.changes import StoreDiff

_SHOWN = 20


def print_files(release: Release, place: str, folder: Path, changes: StoreDiff | None, json_: bool) -> None:
    """What a folder would hold, and the card."""
    if json_:
        files = [
            {"path": file.path, "role": file.role, "bytes": file.bytes, "sha256": file.sha256} for file in release.files
        ]
        told = {"changes": changes and changes.to_dict()}
        click.echo(json_text({"folder": place, "version": release.version, "add": files, **told}))
        return
    for file in release.files:
        click.echo(printable(f"{file.sha256[:12]}  {file.bytes:>12,}  {file.role:10}  {file.path}"))
    click.echo(f"{printable(place)}: {counted(len(release.files), 'file')} would be written. Nothing was.\n")
    for line in _changes(changes):
        click.echo(line)
    click.echo(printable((folder / "README.md").read_text("utf-8")))


def print_plan(
    release: Release, repo_id: str, config: HubConfig, target: str, folder: Path, changes: StoreDiff | None, json_: bool
) -> None:
    """What would change on main, what differs from the release that is there, and the card."""
    from coig_p.publish import plan_modelscope, plan_release

    plan = (plan_modelscope if target == "modelscope" else plan_release)(release, repo_id, config)
    if json_:
        click.echo(json_text(plan.to_dict() | {"changes": changes and changes.to_dict()}))
        return
    for file in plan.add[:_SHOWN]:
        click.echo(printable(f"add     {file.path} ({file.bytes:,} bytes)"))
    if len(plan.add) > _SHOWN:
        click.echo(f"... and {len(plan.add) - _SHOWN:,} more")
    for path in plan.delete:
        click.echo(printable(f"delete  {path}"))
    click.echo(
        f"{repo_id} {release.tag}: {len(plan.add):,} of {plan.files:,} files to add ({plan.bytes:,} bytes), "
        f"{len(plan.delete):,} to delete. Nothing was changed.\n"
    )
    for line in _changes(changes):
        click.echo(line)
    click.echo(printable((folder / "README.md").read_text("utf-8")))


def _changes(changes: StoreDiff | None) -> Iterator[str]:
    """What the new release, B, has gained, lost and changed since the one before, A."""
    if changes is None:
        yield "No release was compared with.\n"
        return
    yield f"A is {changes.before.version}, B is {changes.after.version}, this release:"
    yield from difference_lines(changes)
    yield ""


def changes_of_release(folder: Path, repo_id: str, version: str, config: HubConfig) -> StoreDiff | None:
    """What a release that is made already differs in from the one that is there; None where there is none before it.

    Where the two cannot be compared that is said and no error: they are published all the same.

    Raises:
        RemoteError: the Hub refused or failed.
    """
    from coig_p.errors import StoreError
    from coig_p.publish.since import ReleaseBefore, compared_with, release_before
    from coig_p.store.store import Store

    store = Store.open(folder)
    with release_before(None, repo_id, version, config, progress) as find:
        try:
            before = find(store)
            if before is None:
                return None
            return compared_with(before, store, ReleaseBefore.of(store).pairs, version, bar=progress)
        except StoreError as error:
            click.echo(printable(f"warning: not compared with the release that is there: {error}"), err=True)
            return None
