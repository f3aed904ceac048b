"""The main job on the bundled data: annotate, import, look, load pairs by the literal call, release, rehearse."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import click

from coig_p.annotate.demo import JUDGES, MODELS
from coig_p.annotate.demo import run as annotate_scripted
from coig_p.builder import load_by_name, without_bars
from coig_p.cli.options import overwrite_option
from coig_p.cli.screen import progress, table
from coig_p.cli.tree import command
from coig_p.core.text import printable
from coig_p.errors import UsageError
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.publish.plan import read_release
from coig_p.publish.rehearsal import rehearse
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.schema import DOMAINS
from coig_p.stats.info import store_info
from coig_p.store.locate import BUNDLED
from coig_p.store.places import STORE, check_target
from coig_p.store.store import Store, manifest_at
from coig_p.store.writing import sha256_of
from coig_p.validation import check
from coig_p.validation.report import worst_first

RAW = BUNDLED.parent / "raw"
_DOMAIN, _THRESHOLD = "math", 2


@command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="coigp-demo",
    show_default=True,
    metavar="DIR",
    help="Where to leave the release.",
)
@overwrite_option("the release that an earlier demo left at DIR")
def demo(out: Path, overwrite: bool) -> None:
    """Run the main job on the bundled data: annotate, import, look, load pairs, release, rehearse publishing.

    No --json: it is there to be read.

    \b
    coigp demo
    """
    check_target(out, overwrite)
    _check_earlier(out)
    with tempfile.TemporaryDirectory(prefix="coigp-demo-") as folder, without_bars():
        _demo(Path(folder), out, overwrite)


def _check_earlier(out: Path) -> None:
    """Raise UsageError where `out` is a store, but no release of the bundled data: somebody's work."""
    if not STORE.marks(out):
        return
    manifest = manifest_at(out, out)
    ours = {sha256_of(RAW / f"{domain}.jsonl") for domain in DOMAINS}
    if not manifest.release or {source["sha256"] for source in manifest.sources} != ours:
        raise UsageError(f"{out} is a store, but not the release of an earlier demo: choose another place")


def _demo(folder: Path, release: Path, overwrite: bool) -> None:
    _step("1. From queries to scored responses", "coigp annotate demo --out annotated")
    _annotate(folder / "annotated")

    store = folder / "store"
    _step("2. Or import what was answered and scored elsewhere", "coigp import raw/*.jsonl --out store")
    _, report = import_files([RAW / f"{domain}.jsonl" for domain in DOMAINS], store, ImportConfig())
    rows = [[unit, *counts.values()] for unit, counts in report.accounting().items() if counts["read"]]
    click.echo(table(["", "read", "stored", "rejected", "merged"], rows))

    _step("3. What it holds", "coigp info store")
    found = store_info(store)
    names = ["queries", "responses", "scores", "pairs"]
    lines = [[domain, *(getattr(counts, name) for name in names)] for domain, counts in found.domains.items()]
    click.echo(table(["domain", *names], [*lines, ["all", *(getattr(found.total, name) for name in names)]]))

    call = f'load_dataset("coig-p", "{_DOMAIN}", threshold={_THRESHOLD}, data_dir="store")'
    _step("4. What may be wrong with it", "coigp check store")
    checked = check(store)
    found_by = [[rule, number] for rule, number in worst_first(checked) if checked.rules[rule].severity != "metric"]
    click.echo(table(["warning", "findings"], found_by))
    click.echo(f"errors: {checked.count('error')}; the gate is {'open' if checked.passed else 'shut'}")

    _step("5. Pairs, made while loading", f"import coig_p; from datasets import load_dataset\n  pairs = {call}")
    counts = []
    for threshold in (_THRESHOLD, 4, 7):
        pairs = load_by_name(
            _DOMAIN, threshold=threshold, data_dir=str(store), cache_dir=str(folder / "cache"), split="train"
        )
        counts.append([threshold, pairs.num_rows])
        if threshold == _THRESHOLD:
            pair = pairs[0]
    click.echo(table(["threshold", f"{_DOMAIN} pairs"], counts))

    _step(f"6. One of them, at threshold {_THRESHOLD}", 'pairs["train"][0]')
    for name, fact in (
        ("prompt", pair["query_id"]),
        ("chosen", f"{pair['chosen_model']}, {pair['chosen_score']:g} points"),
        ("rejected", f"{pair['rejected_model']}, {pair['rejected_score']:g} points"),
    ):
        click.secho(f"{name} ({printable(fact)})", bold=True)
        click.echo("  " + printable(pair[name]).replace("\n", "\n  "))
    click.echo(f"\nmargin {pair['margin']:g}")

    shutil.copy(BUNDLED.parent / CARD_TOML, store)
    _step("7. A release: checked, paired, documented", "coigp-publish store --version 1.0.0 --target dir:release")
    released = write_release(Store.open(store), release, ReleaseConfig("1.0.0"), overwrite=overwrite, bar=progress)
    roles = Counter(file.role for file in released.manifest.files)
    click.echo(table(["role", "files"], [[role, number] for role, number in sorted(roles.items())]))

    _step("8. A rehearsal on a Hub that lives as long as this step", "coigp-publish release --version 1.0.0 --rehearse")
    published = rehearse(read_release(release, "1.0.0"), bar=progress)
    loaded = sum(sum(splits.values()) for splits in published.rows.values())
    click.echo(f"{published.added} files put in one commit and tagged {published.tag}; loaded back from it, map-style")
    click.echo(f"and streaming: {loaded:,} rows in {len(published.rows)} configs, as many as the release has")
    click.echo(
        "\nYour own data: coigp import --help. Without data_dir, load_dataset reads the bundled store, or COIGP_STORE."
    )
    click.echo(f"The release is in {printable(str(release))}; read its card: {printable(str(release / 'README.md'))}")


def _annotate(folder: Path) -> None:
    try:
        found = store_info(annotate_scripted(folder).path).total
    except UsageError as error:  # the extra [annotate] is not installed; the rest needs no extra
        click.echo(f"left out: {error}")
        return
    names = ["queries", "responses", "scores", "pairs"]
    click.echo(table(names, [[getattr(found, name) for name in names]]))
    click.echo(
        f"{MODELS} models answer each query and {JUDGES} of them judge, never themselves. They are scripts, so that"
    )
    click.echo("this needs no network, and their scores mean nothing. Your own endpoints: coigp annotate init")


def _step(title: str, command: str) -> None:
    click.secho(f"\n{title}", bold=True)
    click.secho(f"  {command}\n", dim=True)
