"""The command line: parse, call, print. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from coig_p._version import __version__
from coig_p.cli.annotate import annotate
from coig_p.cli.exporting import export
from coig_p.cli.options import config_options, pair_config
from coig_p.cli.quality import as_json, check, clean, contamination, dedup
from coig_p.cli.reporting import card, stats, sweep
from coig_p.cli.screen import progress, table
from coig_p.core.text import printable
from coig_p.errors import CoigPError
from coig_p.ingest.recipes import RECIPES
from coig_p.pairs.config import PairConfig

if TYPE_CHECKING:
    from coig_p.ingest.accounting import ImportReport

_EXIT_INTERRUPTED = 130


def main() -> NoReturn:
    """Run `coigp`."""
    run_command(cli)


def run_command(command: click.Command) -> NoReturn:
    """Run a command; every error on purpose becomes one line and an exit code."""
    try:
        code = command.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        code = _EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except CoigPError as error:
        click.echo(f"error: {printable(str(error))}", err=True)
        code = error.exit_code
    except BrokenPipeError:  # the reader of our output has left, as head does
        sys.stderr.close()
        code = 0
    except OSError as error:  # a full disk, no permission
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"error: {printable(where)}{error.strerror or error}", err=True)
        code = 1
    raise SystemExit(code or 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="coigp")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors on standard error.")
@click.pass_context
def cli(context: click.Context, verbose: bool, quiet: bool) -> None:
    """Preference data for Chinese language models: stores of scored responses, pairs under any threshold.

    \b
    coigp import answers.jsonl --out store --domain math
    coigp info store
    coigp pairs store --out pairs.parquet --threshold 3
    """
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("coig_p")
    logger.setLevel(level)
    logger.addHandler(handler)
    context.call_on_close(lambda: logger.removeHandler(handler))


for command in (check, clean, dedup, contamination, stats, sweep, card, annotate, export):
    cli.add_command(command)


def _domain_map(_context: Any, _option: Any, value: str | None) -> dict[str, str]:
    return _pairs_of(value.split(",") if value else ())


def _pairs_of(entries: Sequence[str]) -> dict[str, str]:
    renamed = {}
    for entry in entries:
        old, equals, new = entry.rpartition("=")
        if not equals or not old.strip() or not new.strip():
            raise click.BadParameter(f"{entry!r} is not of the form old=new")
        renamed[old.strip()] = new.strip()
    return renamed


@cli.command("import")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="STORE", help="The store to make.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "nested", "flat", "ultrafeedback", "pairwise", "pairs"]),
    default="auto",
    show_default=True,
    help="The shape of rows. auto takes what the first row of a file looks like, and says so.",
)
@click.option(
    "--map",
    "fields",
    multiple=True,
    metavar="OURS=THEIRS",
    callback=lambda context, option, value: _pairs_of(value),
    help="The rows' name for a field: query, text, model, judge, score, chosen, ... Repeatable.",
)
@click.option("--recipe", metavar="NAME", help=f"Read a published set: {', '.join(RECIPES)}.")
@click.option("--judge", metavar="NAME", help="Who judged, where rows do not say. Default: unknown.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files, for instance gb18030.")
@click.option("--domain", help="Domain of every row. Default: each row's own field.")
@click.option("--domain-map", callback=_domain_map, metavar="OLD=NEW,...", help="New names for the rows' own domains.")
@click.option("--split", help="Split of every row. Default: the recipe's, else train.")
@click.option(
    "--score-range",
    nargs=2,
    type=float,
    default=(1.0, 10.0),
    show_default=True,
    metavar="LOW HIGH",
    help="Lowest and highest score that a judge may give.",
)
@click.option(
    "--default-threshold",
    type=float,
    help="Smallest margin of a pair where a user gives none. Default 2 (1 for comparisons alone); "
    "required where the score range is narrower.",
)
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="On bad input write nothing, or leave out the smallest bad unit and list it in rejects.jsonl.",
)
@click.option("--license", "license_", metavar="NAME", help="Licence of the input, for the manifest.")
@click.option("--overwrite", is_flag=True, help="Replace an existing store.")
@as_json
def import_command(
    inputs: tuple[str, ...],
    out: Path,
    form: str,
    fields: dict[str, str],
    recipe: str | None,
    judge: str | None,
    license_: str | None,
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Import INPUTs into a new store: JSON Lines, JSON, CSV, TSV or Parquet, also with .gz or .zst,
    patterns such as 'data/*.jsonl', and hf://datasets/org/name/file.

    Each row is a query with its responses and their scores:

    \b
    {"query_id": "m-1", "domain": "math", "query": "1+1等于几？", "responses": [
      {"model": "a", "text": "2。", "scores": [{"judge": "j", "score": 9}]}]}

    \b
    coigp import answers.jsonl --out store --domain math
    coigp import halluqa.jsonl --out store --domain chat --score-range 0 1 --default-threshold 1 --on-error skip
    coigp import scores.csv --out store --domain chat --map query=question --map text=output
    coigp import cvalues/*.jsonl.gz --out store --recipe cvalues
    """
    from coig_p.ingest.accounting import ImportFailed
    from coig_p.ingest.files import import_files
    from coig_p.ingest.intake import ImportConfig
    from coig_p.ingest.readers import find_inputs
    from coig_p.ingest.recipes import Recipe, find_recipe
    from coig_p.ingest.shapes import UNKNOWN, FormConfig

    known = find_recipe(recipe) if recipe else Recipe("auto", "", domain="")
    options["split"] = options["split"] or known.split
    if not options["domain"]:
        options["domain_map"] = {**known.domain_map, **options["domain_map"]}
        options["default_domain"] = known.domain or None
    shape = FormConfig(
        form=known.form if form == "auto" else form,
        fields={**known.fields, **fields},
        judge=judge or recipe or UNKNOWN,
    )
    config = ImportConfig(form=shape, license=license_, **options)
    paths = find_inputs(inputs)
    try:
        with progress("Importing", sum(path.stat().st_size for path in paths)) as advance:
            store, report = import_files(paths, out, config, overwrite=overwrite, advance=advance)
    except ImportFailed as error:
        _print_import(error.report, json_, written=None)
        raise
    _print_import(report, json_, written=out)
    if not json_:
        domains = ", ".join(store.manifest.domains)
        click.echo(f"wrote {printable(str(out))}: {domains}; default threshold {store.manifest.default_threshold:g}")


def _print_import(report: ImportReport, json_: bool, written: Path | None) -> None:
    if json_:
        result = {
            "store": str(written) if written else None,
            "accounting": report.accounting(),
            "reasons": dict(report.reasons),
            "problems": [problem._asdict() for problem in report.problems],
            "ignored_fields": dict(report.ignored_fields),
            "formats": report.forms,
        }
        click.echo(json.dumps(result))
        return
    for path, form in report.forms.items():
        if form != "nested":
            click.echo(f"{printable(path)}: read as {form} rows")
    for problem in report.problems:
        click.echo(printable(str(problem)), err=True)
    total = sum(report.reasons.values())
    if total > len(report.problems):
        click.echo(f"... and {total - len(report.problems)} more", err=True)
    if report.reasons:
        click.echo(table(["reason", "problems"], [[reason, count] for reason, count in report.reasons.most_common()]))
    names = ["read", "stored" if written else "valid", "rejected", "merged"]
    click.echo(table(["", *names], [[unit, *counts.values()] for unit, counts in report.accounting().items()]))
    if report.ignored_fields:
        ignored = ", ".join(f"{name} ({count})" for name, count in report.ignored_fields.most_common(10))
        click.echo(f"fields that a store has no place for: {printable(ignored)}")


@cli.command()
@click.argument("store", type=click.Path(path_type=Path))
@as_json
def info(store: Path, json_: bool) -> None:
    """What a STORE holds: queries, responses, scores, pairs at the default threshold; models; judges.

    \b
    coigp info store
    coigp info store --json | jq .domains.math.pairs
    """
    from coig_p.stats.info import store_info

    found = store_info(store)
    if json_:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    names = ["queries", "responses", "scores", "comparisons", "pairs"]
    rows = [[domain, *(counts[name] for name in names)] for domain, counts in found["domains"].items()]
    rows.append(["all", *(found["total"][name] for name in names)])
    click.echo(table(["domain", *names], rows))
    click.echo(
        f"pairs at the default threshold of {found['default_threshold']:g}; splits: {', '.join(found['splits'])}"
    )
    for kind, unit in (("models", "responses"), ("judges", "judgements")):
        click.echo()
        click.echo(table([kind[:-1], unit], [[printable(name), count] for name, count in found[kind].items()]))


@cli.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The file to write.")
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Only this domain. Repeatable. Default: all.")
@click.option("--split", metavar="NAME", help="Only this split. Needed where the store has several.")
@click.option(
    "--file-type",
    type=click.Choice(["parquet", "jsonl"]),
    help="Default: by FILE's suffix, else parquet.",
)
@config_options(PairConfig)
@as_json
def pairs(
    store: Path,
    out: Path,
    domains: tuple[str, ...],
    split: str | None,
    file_type: str | None,
    json_: bool,
    **options: Any,
) -> None:
    """Write a STORE's pairs to one FILE.

    \b
    coigp pairs store --out pairs.parquet --threshold 3
    coigp pairs store --out math.jsonl --domain math --strategy best_worst --format conversational
    """
    from coig_p.export.one_file import write_pairs

    if file_type is None:
        file_type = "jsonl" if out.suffix.lower() in (".jsonl", ".ndjson") else "parquet"
    counts, config = write_pairs(store, out, pair_config(options), file_type=file_type, domains=domains, split=split)
    rows = sum(counts.values())
    if json_:
        click.echo(json.dumps({"file": str(out), "rows": rows, "domains": counts, "threshold": config.threshold}))
    else:
        shown = ", ".join(f"{domain} {count}" for domain, count in counts.items())
        click.echo(f"wrote {printable(str(out))}: {rows} rows at threshold {config.threshold:g} ({shown})")


@cli.command()
@click.argument("store", type=click.Path(path_type=Path))
@as_json
def verify(store: Path, json_: bool) -> None:
    """Compare every file of a STORE with its manifest by size, hash and rows. Exits 1 on a difference.

    \b
    coigp verify store
    """
    from coig_p.store.store import Store

    opened = Store.open(store, check_sizes=False)
    with progress("Verifying", sum(file.bytes for file in opened.manifest.files)) as advance:
        problems = opened.verify(advance)
    if json_:
        click.echo(json.dumps({"store": str(store), "files": len(opened.manifest.files), "problems": problems}))
    else:
        for problem in problems:
            click.echo(printable(problem), err=True)
        if not problems:
            click.echo(f"{printable(str(store))}: {len(opened.manifest.files)} files are as the manifest says")
    if problems:
        raise SystemExit(1)


@cli.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="coigp-demo",
    show_default=True,
    metavar="DIR",
    help="Where to leave the release; one that is there is replaced.",
)
def demo(out: Path) -> None:
    """Run the main job on the bundled data: annotate, import, look, load pairs, release, rehearse publishing.

    \b
    coigp demo
    """
    from coig_p.cli.demo import run_demo

    run_demo(out)
