"""The command that releases: publish."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from coig_p.cli.dry_run import changes_of_release, print_files, print_plan
from coig_p.cli.engines import engine_options
from coig_p.cli.main import main as run
from coig_p.cli.options import (
    Finite,
    against_option,
    as_json,
    config_options,
    environment_store,
    map_option,
    rules_option,
)
from coig_p.cli.published import end, print_status
from coig_p.cli.screen import check_apart, json_text, pasted, progress
from coig_p.cli.signing import open_key, sign_option
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable
from coig_p.engine.scratch import scratch_folder
from coig_p.pairs.config import PairConfig

if TYPE_CHECKING:
    from coig_p.publish.client import HubConfig
    from coig_p.publish.plan import Release
    from coig_p.publish.results import Published
    from coig_p.publish.since import ReleaseBefore
    from coig_p.stats.changes import StoreDiff
    from coig_p.store.signing import Signer

_HUB = ("pr", "private", "token", "overwrite", "keep", "adopt", "latest", "restore", "timeout")


def main() -> NoReturn:
    """Run `coigp-publish`, which is `coigp publish`."""
    run(["publish", *sys.argv[1:]])


@command("publish")
@click.argument("store", type=click.Path(path_type=Path), required=False)
@click.argument("repo_id", metavar="ORG/NAME", required=False)
@click.option("--version", "version", metavar="1.0.0", help="The release's version; its tag is v1.0.0.")
@click.option(
    "--target",
    metavar="hub|modelscope|dir:PATH",
    default="hub",
    show_default=True,
    help="Where to. dir:PATH writes the release to a folder. modelscope needs the extra of that name, and can "
    "promise less: see docs/publishing.md.",
)
@click.option("--no-pairs", is_flag=True, help="Publish the observations alone, no pairs beside them.")
@rules_option
@against_option
@map_option
@engine_options
@click.option(
    "--since",
    metavar="RELEASE",
    help="The release before, for the notes: a folder, org/name@v1.0.0, or none. Default: the repository's own.",
)
@click.option("--pr", is_flag=True, help="Open a pull request instead of changing main.")
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--token", metavar="TOKEN", help="Default: what hf auth login saved, or HF_TOKEN.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace files that somebody changed on the Hub since the last release, or the folder at dir:PATH.",
)
@click.option(
    "--keep",
    metavar="PATH",
    multiple=True,
    help="A file of others that may stay beside the release. Repeat it for more; no commas.",
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Keep what a repository held before its first release; what is in the way goes to before-first-release/.",
)
@click.option("--latest", is_flag=True, help="Give main a pre-release, or a version lower than the newest.")
@click.option("--restore", is_flag=True, help="Put main back to a version that is published, in one commit.")
@click.option(
    "--timeout",
    type=Finite(min=0.1, max=86_400),
    default=120,
    show_default=True,
    help="Seconds to wait for an answer.",
)
@sign_option
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be published, what differs from the release that is there, and the card. Change nothing.",
)
@click.option("--rehearse", is_flag=True, help="Publish to a Hub on this machine that ends with the command.")
@click.option("--status", "status_of", metavar="ORG/NAME", help="Print where a repository stands, and stop.")
@click.option("--abort", "abort_of", metavar="ORG/NAME", help="End a release that was begun; main and tags stay.")
@click.option("--yank", "yank_of", metavar="ORG/NAME", help="Mark a version as withdrawn, in main's card and manifest.")
@click.option("--reason", metavar="TEXT", help="Why it is withdrawn.")
@config_options(PairConfig, ["format"])
@click.option(
    "--format",
    type=click.Choice(("dpo", "conversational")),
    default="dpo",
    show_default=True,
    help="Columns of its pairs: strings, or message lists, which show conversations.",
)
@as_json
@click.pass_context
def publish(
    context: click.Context,
    /,
    store: Path | None,
    repo_id: str | None,
    version: str | None,
    target: str,
    dry_run: bool,
    rehearse: bool,
    status_of: str | None,
    abort_of: str | None,
    yank_of: str | None,
    reason: str | None,
    sign: Path | None,
    json_: bool,
    **options: Any,
) -> None:
    """Publish a STORE so that readers see the release before or this one, never a part of either.

    The gate comes first: a check without an error, benchmarks where any are named, card.toml filled in, its changelog
    too where it has one. What is wrong with the data is said first.
    The release has the store's shards, its pairs, plots and a card in two languages. A folder that is a
    release already is published as it is. Run it again after any failure: it goes on where it was, and
    does nothing where nothing is left.

    \b
    coigp publish store org/name --version 1.0.0
    coigp publish store --version 1.0.0 --target dir:release
    coigp publish store --version 1.1.0 --target dir:release --since org/name@v1.0.0
    coigp publish store org/name --version 1.0.0 --threshold 3 --against crbench.jsonl --dry-run
    coigp publish store --version 1.0.0 --rehearse
    coigp publish --status org/name
    coigp publish --yank org/name --version 1.0.0 --reason "answers of the judge leaked"

    coigp-publish is the same command. Where COIGP_STORE names the store, ORG/NAME may stand alone.
    """
    from coig_p.publish.client import HubConfig

    hub = HubConfig(**{name: options.pop(name) for name in _HUB})
    if status_of is not None:
        print_status(status_of, hub, json_)
        return
    if (yank_of is None) != (reason is None):
        raise click.UsageError("--yank ORG/NAME --version 1.0.0 --reason TEXT go together.")
    if abort_of is not None or yank_of is not None:
        end(abort_of, yank_of, version, reason or "", sign, hub, json_)
        return
    kind, _, place = target.partition(":")
    if kind not in ("hub", "modelscope", "dir") or (kind == "dir") != bool(place):
        raise click.UsageError(f"--target {target}: use hub, modelscope or dir:PATH")
    if store is not None and repo_id is None and not rehearse and not place and not store.is_dir():
        # ORG/NAME alone; a directory is a store, and then the name was forgotten.
        store, repo_id = environment_store(), str(store)
    store = store or environment_store()
    if store is None or (repo_id is None and not rehearse and not place):
        raise click.UsageError(
            "Missing arguments: coigp publish STORE ORG/NAME --version 1.0.0. The variable COIGP_STORE may name STORE."
        )
    if version is None:
        raise click.UsageError("Missing option '--version'.")
    of_pairs = _given(context, PairConfig.__dataclass_fields__) if options["no_pairs"] else []
    if of_pairs:
        raise click.UsageError(f"{', '.join(of_pairs)}: no effect beside --no-pairs. Leave one or the other out.")
    if repo_id is not None:
        from coig_p.publish.plan import check_repo

        check_repo(repo_id, hub=target != "modelscope")
    say_older_schema(store)
    if is_release(store):
        say_unmade(store)
        refuse_making(store, place, _given(context, set(options) - {"shared_by"}))
    check_apart(Path(place) if place else None, [options["rules_file"], *options["benchmarks"], sign])
    signer = open_key(sign)
    looked = repo_id if target == "hub" and not rehearse else None
    made = _Making(version, repo_id or ".", options, hub, looked, signer if place else None)
    if place and not dry_run:
        before = made.write(store, Path(place), overwrite=hub.overwrite)
        if before is not None and before.is_signed and signer is None:
            words = (
                f"the release before, {before.version}, was signed, and {version} is not. To sign it: --sign KEYFILE"
            )
            click.echo(printable(f"warning: {words}"), err=True)
        print_folder(Path(place), version, json_)
        return
    with made.folder(store) as folder:
        release = replace(read(folder, version), signer=signer)
        if rehearse:
            publish_rehearsal(release, repo_id or "org/name", hub, json_)
        elif dry_run and place:
            print_files(release, place, folder, made.changes, json_)
        elif dry_run:
            changes = made.changes
            if looked and folder == store:  # made before
                changes = changes_of_release(folder, looked, version, hub)
            print_plan(release, str(repo_id), hub, target, folder, changes, json_)
        elif target == "modelscope":
            publish_to_modelscope(release, str(repo_id), hub, json_)
        else:
            publish_to_hub(release, str(repo_id), hub, json_)


def _given(context: click.Context, options: Iterable[str]) -> list[str]:
    """Those of the options that were passed, as they are typed."""
    from click.core import ParameterSource

    default = (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    return [
        option.opts[0]
        for option in context.command.params
        if option.name in options and context.get_parameter_source(option.name) not in default
    ]


def refuse_making(release: Path, place: str, given: Sequence[str]) -> None:
    """Raise UsageError where a folder that is a release already would have to be made anew."""
    from coig_p.errors import UsageError

    if place:
        raise UsageError(
            f"{release} is a release already, and only a store is written to dir:{place}. Publish it as it is: "
            f"coigp-publish {pasted(release)} ORG/NAME; or name the store that it was made of"
        )
    if given:
        does = "does" if len(given) == 1 else "do"
        raise UsageError(
            f"{release} is a release already, published as it is: {', '.join(given)} {does} not apply to it. "
            "Name the store that it was made of instead"
        )


class _Making:
    """How a release is made of a store, as the command's options say.

    Attributes:
        looked: the repository where the release before is looked for; None where nowhere.
        signer: of a folder's manifest; None where it goes to a Hub, or is not signed.
        changes: since the release before, once it is made; None where there is none.
    """

    def __init__(
        self,
        version: str,
        repo: str,
        options: dict[str, Any],
        hub: HubConfig,
        looked: str | None,
        signer: Signer | None,
    ) -> None:
        self.version, self.repo, self.options, self.hub, self.looked = version, repo, dict(options), hub, looked
        self.signer = signer
        self.changes: StoreDiff | None = None

    @contextmanager
    def folder(self, store: Path) -> Iterator[Path]:
        """A release folder: the store itself where it is one, else made of it for as long as the block runs."""
        if is_release(store):
            yield store
            return
        with scratch_folder(self.options["shared_by"]["engine"]) as folder:  # every node writes there
            self.write(store, folder / "release")
            yield folder / "release"

    def write(self, store: Path, out: Path, overwrite: bool = False) -> ReleaseBefore | None:
        """Write the release; what it was compared with."""
        from coig_p.publish.plan import check_version
        from coig_p.publish.release import ReleaseConfig, write_release
        from coig_p.publish.since import release_before
        from coig_p.store.store import Store
        from coig_p.validation import load_rules

        options = dict(self.options)
        rules, against, named = load_rules(options.pop("rules_file")), options.pop("benchmarks"), options.pop("fields")
        if named and not against:
            raise click.UsageError("--map names a benchmark's columns: pass --against, too.")
        shared_by, no_pairs, since = options.pop("shared_by"), options.pop("no_pairs"), options.pop("since")
        config = ReleaseConfig(
            version=check_version(self.version),
            pairs=None if no_pairs else PairConfig(**options),
            rules=rules,
            against=against,
            fields=named,
            **shared_by,
            repo=self.repo,
            signer=self.signer,
        )
        with release_before(since, self.looked, self.version, self.hub, progress) as find:
            before: list[ReleaseBefore | None] = []

            def remembered(opened: Store) -> ReleaseBefore | None:
                before.append(find(opened))
                return before[-1]

            opened = Store.open(store, check_sizes=False)
            write_release(
                opened, out, config, overwrite=overwrite, bar=progress, find=remembered, compared=self._remember
            )
        return before[-1]

    def _remember(self, changes: StoreDiff) -> None:
        self.changes = changes


def is_release(folder: Path) -> bool:
    """Whether a folder is a release already, not only a store."""
    from coig_p.store.store import Store

    manifest = Store.open(folder, check_sizes=False).manifest
    return bool(manifest.release) or any(file.role == "pairs" for file in manifest.files)


def say_unmade(folder: Path) -> None:
    """Where a folder says that it is a release and lacks what every release is made with, say so.

    A release is published as it is, past the gate: a manifest that somebody sent may only say that it is one.
    """
    from coig_p.store.store import Store

    roles = {file.role for file in Store.open(folder, check_sizes=False).manifest.files}
    missing = sorted({"readme", "statistics", "findings"} - roles)
    if missing:
        click.echo(
            f"warning: the manifest of {printable(str(folder))} says that it is a release, which is published without "
            f"a check. It has no {', no '.join(missing)}, which every release has: if it came from somebody, look at "
            "it, and make the release of the store",
            err=True,
        )


def say_older_schema(folder: Path) -> None:
    """Where a store or release is of an older schema version, say what today's adds."""
    from coig_p.publish.release import older_schema_note
    from coig_p.store.store import Store

    note = older_schema_note(Store.open(folder, check_sizes=False).manifest)
    if note:
        click.echo(printable(note), err=True)


def print_folder(folder: Path, version: str, json_: bool) -> None:
    """What was written to a folder."""
    from coig_p.store.store import Store

    files = Store.open(folder).manifest.files
    size = sum(file.bytes for file in files)
    if json_:
        click.echo(json_text({"folder": str(folder), "version": version, "files": len(files), "bytes": size}))
        return
    pairs = sum(file.rows or 0 for file in files if file.role == "pairs")
    click.echo(
        f"wrote {printable(str(folder))}: version {version}, {counted(len(files), 'file')}, {counted(size, 'byte')}, "
        f"{counted(pairs, 'pair')}; "
        f"its card is {printable(str(folder / 'README.md'))}"
    )


def read(folder: Path, version: str) -> Release:
    """A release folder, every file compared with its hash."""
    from coig_p.publish.plan import read_release
    from coig_p.store.store import Store

    opened = Store.open(folder, check_sizes=False)
    with progress("Reading", sum(file.bytes for file in opened.manifest.files)) as advance:
        return read_release(folder, version, advance)


def publish_to_hub(release: Release, repo_id: str, config: HubConfig, json_: bool) -> None:
    """Publish and say what was done."""
    from coig_p.publish.hub import publish

    print_published(publish(release, repo_id, config, progress), json_)


def publish_rehearsal(release: Release, repo_id: str, config: HubConfig, json_: bool) -> None:
    """Rehearse and say what would be done."""
    from coig_p.publish.rehearsal import rehearse

    published = rehearse(release, repo_id, config, progress)
    print_published(published, json_)
    if not json_:
        click.echo("This was a rehearsal on a Hub of this machine, which is gone again.")


def publish_to_modelscope(release: Release, repo_id: str, config: HubConfig, json_: bool) -> None:
    """Publish there and say what was done."""
    from coig_p.publish.modelscope import publish_modelscope

    print_published(publish_modelscope(release, repo_id, config, progress), json_)


def print_published(published: Published, json_: bool) -> None:
    """What a run did."""
    if json_:
        click.echo(json_text(published.to_dict()))
        return
    if published.rows:
        counts = ", ".join(f"{config} {sum(splits.values()):,}" for config, splits in published.rows.items())
        click.echo(printable(f"loaded back, map-style and streaming: {counts} rows"))
    if published.tag is None:
        number = published.pull_request
        url = printable(str(published.url))
        click.echo(f"pull request {number}: {url}" if number else "main holds this release already")
        if number:
            click.echo("Once it is merged, run the same command without --pr: it sets the tag.")
        return
    if published.added or published.deleted:
        put = counted(published.added, "file")
        click.echo(f"{published.repo} {published.tag}: {put} put, {published.deleted:,} deleted")
    else:
        click.echo(f"{published.repo} {published.tag}: published already, nothing to change")
    click.echo(printable(f"commit {published.commit}"))
    click.echo(printable(str(published.url)))
