"""The command that makes a store of files: import."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.options import Finite, as_json, overwrite_option
from coig_p.cli.screen import json_text, one_line, progress, table
from coig_p.cli.tree import command
from coig_p.core.text import printable
from coig_p.ingest.recipes import RECIPES

if TYPE_CHECKING:
    from coig_p.ingest.accounting import ImportReport


def _pairs_of(_context: Any, _option: Any, values: Sequence[str]) -> dict[str, str]:
    renamed = {}
    # A comma ends an entry where another old=new comes behind it: a column's name may hold one.
    for entry in (entry for value in values for entry in re.split(r",(?=[^,=]*=)", value)):
        old, equals, new = entry.rpartition("=")
        if not equals or not old.strip() or not new.strip():
            raise click.BadParameter(f"{entry!r} is not of the form old=new")
        renamed[old.strip()] = new.strip()
    return renamed


@command("import")
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
    metavar="OURS=THEIRS,...",
    callback=_pairs_of,
    help="The rows' name for a field: query, text, model, judge, score, chosen, ... Repeatable.",
)
@click.option("--recipe", metavar="NAME", help=f"Read a published set: {', '.join(RECIPES)}.")
@click.option("--judge", metavar="NAME", help="Who judged, where rows do not say. Default: unknown.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files, for instance gb18030.")
@click.option("--domain", help="Domain of every row. Default: each row's own field.")
@click.option(
    "--domain-map",
    multiple=True,
    callback=_pairs_of,
    metavar="OLD=NEW,...",
    help="New names for the rows' own domains. Repeatable.",
)
@click.option("--split", help="Split of every row. Default: the recipe's, else train.")
@click.option(
    "--score-range",
    nargs=2,
    type=Finite(),
    default=(1.0, 10.0),
    show_default=True,
    metavar="LOW HIGH",
    help="Lowest and highest score that a judge may give.",
)
@click.option(
    "--default-threshold",
    type=Finite(),
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
@overwrite_option("an existing store")
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
    coigp import scores.csv --out store --domain chat --map query=question,text=output
    coigp import cvalues/*.jsonl.gz --out store --recipe cvalues
    """
    from coig_p.ingest.accounting import ImportFailed
    from coig_p.ingest.fields import UNKNOWN, FormConfig
    from coig_p.ingest.files import import_files
    from coig_p.ingest.intake import ImportConfig
    from coig_p.ingest.readers import find_inputs
    from coig_p.ingest.recipes import Recipe, find_recipe

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
    names = ["read", "stored" if written else "valid", "rejected", "merged"]
    accounting = {unit: dict(zip(names, counts.values(), strict=True)) for unit, counts in report.accounting().items()}
    if json_:
        result = {
            "store": str(written) if written else None,
            "accounting": accounting,
            "reasons": dict(report.reasons),
            "problems": [problem._asdict() for problem in report.problems],
            "ignored_fields": dict(report.ignored_fields),
            "formats": report.forms,
        }
        click.echo(json_text(result))
        return
    for path, form in report.forms.items():
        if form != "nested":
            click.echo(f"{printable(path)}: read as {form} rows")
    for problem in report.problems:
        click.echo(one_line(str(problem)), err=True)
    total = sum(report.reasons.values())
    if total > len(report.problems):
        click.echo(f"... and {total - len(report.problems)} more", err=True)
    if report.reasons:
        click.echo(table(["reason", "problems"], [[reason, count] for reason, count in report.reasons.most_common()]))
    click.echo(table(["", *names], [[unit, *counts.values()] for unit, counts in accounting.items()]))
    if report.ignored_fields:
        ignored = ", ".join(f"{name} ({count})" for name, count in report.ignored_fields.most_common(10))
        click.echo(f"fields that a store has no place for: {printable(ignored)}")
