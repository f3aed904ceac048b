"""The command that publishes: parse, call, print."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p._version import __version__
from coig_p.cli import run_command
from coig_p.terminal import printable, progress

if TYPE_CHECKING:
    from coig_p.publish.hub import Published
    from coig_p.publish.remote import HubConfig
    from coig_p.publish.upload import Release

_SHOWN = 20


def main() -> None:
    """Run `coigp-publish`; every error on purpose becomes one line and an exit code."""
    run_command(publish)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.argument("repo_id", metavar="ORG/NAME", required=False)
@click.option("--version", "version", metavar="1.0.0", help="The release's version; its tag is v1.0.0.")
@click.option(
    "--target",
    type=click.Choice(["hub", "modelscope"]),
    default="hub",
    show_default=True,
    help="Where to. modelscope needs the extra of that name, and can promise less: see docs/publishing.md.",
)
@click.option("--pr", is_flag=True, help="Open a pull request instead of changing main.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--token", metavar="TOKEN", help="Default: what hf auth login saved, or HF_TOKEN.")
@click.option(
    "--overwrite", is_flag=True, help="Replace files that somebody changed on the Hub since the last release."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=120, show_default=True, help="Seconds to wait for an answer."
)
@click.option("--dry-run", is_flag=True, help="Print what would change on the Hub, and change nothing.")
@click.option("--rehearse", is_flag=True, help="Publish to a Hub on this machine that ends with the command.")
@click.option("--status", "status_of", metavar="ORG/NAME", help="Print where a repository stands, and stop.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object for programs.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors on standard error.")
@click.version_option(__version__, "--tool-version", prog_name="coigp-publish")
@click.pass_context
def publish(
    context: click.Context,
    /,
    folder: Path | None,
    repo_id: str | None,
    version: str | None,
    target: str,
    dry_run: bool,
    rehearse: bool,
    status_of: str | None,
    json_: bool,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Publish a release FOLDER so that readers see the release before or this one, never a part.

    Run it again after any failure: it goes on where it was, and does nothing where nothing is left.

    \b
    coigp-publish release org/name --version 1.0.0
    coigp-publish release org/name --version 1.0.0 --dry-run
    coigp-publish release --version 1.0.0 --rehearse
    coigp-publish --status org/name
    """
    log_to_stderr(context, verbose, quiet)
    from coig_p.publish.remote import HubConfig

    config = HubConfig(**options)
    if status_of is not None:
        print_status(status_of, config, json_)
        return
    if folder is None or (repo_id is None and not rehearse):
        raise click.UsageError("Missing arguments: coigp-publish FOLDER ORG/NAME --version 1.0.0")
    if version is None:
        raise click.UsageError("Missing option '--version'.")
    release = read(folder, version)
    if rehearse:
        publish_rehearsal(release, repo_id or "org/name", config, json_)
    elif dry_run:
        print_plan(release, str(repo_id), config, target, json_)
    elif target == "modelscope":
        publish_to_modelscope(release, str(repo_id), config, json_)
    else:
        publish_to_hub(release, str(repo_id), config, json_)


def log_to_stderr(context: click.Context, verbose: bool, quiet: bool) -> None:
    """The package's log while a command runs."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("coig_p")
    logger.setLevel(logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING)
    logger.addHandler(handler)
    context.call_on_close(lambda: logger.removeHandler(handler))


def read(folder: Path, version: str) -> Release:
    """A release folder, every file compared with its hash."""
    from coig_p.publish.upload import read_release
    from coig_p.store import Store

    opened = Store.open(folder, check_sizes=False)
    with progress("Reading", sum(file.bytes for file in opened.manifest.files)) as advance:
        return read_release(folder, version, advance)


def publish_to_hub(release: Release, repo_id: str, config: HubConfig, json_: bool) -> None:
    """Publish and say what was done."""
    from coig_p.publish.hub import publish

    print_published(publish(release, repo_id, config), json_)


def publish_rehearsal(release: Release, repo_id: str, config: HubConfig, json_: bool) -> None:
    """Rehearse and say what would be done."""
    from coig_p.publish.rehearsal import rehearse

    published = rehearse(release, repo_id, config)
    print_published(published, json_)
    if not json_:
        click.echo("This was a rehearsal on a Hub of this machine, which is gone again.")


def publish_to_modelscope(release: Release, repo_id: str, config: HubConfig, json_: bool) -> None:
    """Publish there and say what was done."""
    from coig_p.publish.modelscope import publish_modelscope

    print_published(publish_modelscope(release, repo_id, config), json_)


def print_plan(release: Release, repo_id: str, config: HubConfig, target: str, json_: bool) -> None:
    """What would change on main."""
    from coig_p.publish.upload import Add

    if target == "modelscope":
        from coig_p.publish.modelscope import plan_modelscope as plan
    else:
        from coig_p.publish.hub import plan
    operations = plan(release, repo_id, config)
    adds = [operation.file for operation in operations if isinstance(operation, Add)]
    deletes = [operation.path for operation in operations if not isinstance(operation, Add)]
    if json_:
        found: dict[str, Any] = {"repo": repo_id, "version": release.version, "delete": deletes}
        found["add"] = [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in adds]
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for file in adds[:_SHOWN]:
        click.echo(printable(f"add     {file.path} ({file.bytes:,} bytes)"))
    if len(adds) > _SHOWN:
        click.echo(f"... and {len(adds) - _SHOWN:,} more")
    for path in deletes:
        click.echo(printable(f"delete  {path}"))
    size = sum(file.bytes for file in adds)
    click.echo(
        f"{repo_id} {release.tag}: {len(adds):,} of {len(release.files):,} files to add ({size:,} bytes), "
        f"{len(deletes):,} to delete. Nothing was changed."
    )


def print_published(published: Published, json_: bool) -> None:
    """What a run did."""
    from coig_p.publish.hub import as_dict

    if json_:
        click.echo(json.dumps(as_dict(published), ensure_ascii=False))
        return
    if published.rows:
        counts = ", ".join(f"{config} {sum(splits.values()):,}" for config, splits in published.rows.items())
        click.echo(printable(f"loaded back, map-style and streaming: {counts} rows"))
    if published.tag is None:
        number = published.pull_request
        click.echo(f"pull request {number}: {published.url}" if number else "main holds this release already")
        if number:
            click.echo("Once it is merged, run the same command without --pr: it sets the tag.")
        return
    if published.added or published.deleted:
        click.echo(f"{published.repo} {published.tag}: {published.added:,} files put, {published.deleted:,} deleted")
    else:
        click.echo(f"{published.repo} {published.tag}: published already, nothing to change")
    click.echo(f"commit {published.commit}")
    click.echo(published.url)


def print_status(repo_id: str, config: HubConfig, json_: bool) -> None:
    """Where a repository stands."""
    from coig_p.publish.hub import status

    found = status(repo_id, config)
    if json_:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    if not found["exists"]:
        click.echo(f"{repo_id} at {found['endpoint']}: no such dataset, or not visible to you")
        return
    version = found["version"] or "no release (main has moved on, or never had one)"
    click.echo(printable(f"{repo_id} at {found['endpoint']}, {'private' if found['private'] else 'public'}"))
    click.echo(printable(f"main      {found['main']}: {version}"))
    click.echo(f"          {found['files']:,} files, {found['bytes']:,} bytes")
    for name, commit in found["versions"].items():
        click.echo(printable(f"version   {name}: {commit}"))
    for name in found["unfinished"]:
        click.echo(printable(f"begun     {name}: publish it again to finish"))
