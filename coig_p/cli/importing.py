"""The command that makes a store of files: import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.engines import threads_option
from coig_p.cli.options import Finite, as_json, list_option, overwrite_option, renames, split_list
from coig_p.cli.paths import Place
from coig_p.cli.screen import json_text, one_line, progress, table
from coig_p.cli.tree import command, is_quiet
from coig_p.core.text import printable
from coig_p.ingest.forms import FORMS
from coig_p.ingest.recipes import RECIPES

if TYPE_CHECKING:
    from coig_p.ingest.accounting import ImportReport


def _judges_of(_context: Any, _option: Any, values: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """Who judged where neither rows nor files say, and who judged a file."""
    everywhere, files = None, dict[str, str]()
    for value in split_list(values):
        file, equals, name = (part.strip() for part in value.rpartition("="))
        if not name or (equals and not file):
            raise click.BadParameter(f"{value!r}: give NAME, or FILE=NAME")
        if equals and files.setdefault(file, name) != name:
            raise click.BadParameter(f"{file} is given two judges, {files[file]} and {name}")
        if not equals and everywhere not in (None, name):
            raise click.BadParameter(f"{everywhere} and {name}: say which judged which file: FILE=NAME")
        everywhere = everywhere if equals else name
    return everywhere, files


class _Form(click.Choice[str]):
    """A shape of rows."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """One of them, or click's error, which says where the word belongs."""
        if str(value).lower() in ("jsonl", "ndjson", "json", "csv", "tsv", "parquet", "xlsx"):
            self.fail(f"{value!r} is a kind of file, which the ending of its name says: leave out --format", param, ctx)
        if str(value).lower() in ("dpo", "preference", "conversational", "trl", "trl-dpo", "sharegpt", "alpaca"):
            self.fail(f"{value!r} is what auto finds out by itself: leave out --format, or say pairs", param, ctx)
        return super().convert(value, param, ctx)


@command("import")
@click.argument("inputs", nargs=-1, required=True)
@click.option("--out", required=True, type=Place(), metavar="STORE", help="The store to make.")
@click.option(
    "--format",
    "form",
    type=_Form(["auto", *FORMS]),
    default="auto",
    show_default=True,
    help="The shape of rows. auto takes what each row looks like, and says so.",
)
@click.option(
    "--map",
    "fields",
    multiple=True,
    metavar="OURS=THEIRS,...",
    callback=renames,
    help="The rows' name for a field: query, text, model, judge, score, chosen, ... Repeatable.",
)
@click.option(
    "--score-column",
    "score_columns",
    multiple=True,
    metavar="JUDGE=COLUMN,...",
    callback=renames,
    help="The column that holds a judge's scores, where each judge has one. Repeatable.",
)
@click.option(
    "--values",
    multiple=True,
    metavar="first=VALUE,second=VALUE,...",
    callback=renames,
    help="What a winner's column says for first, second and tie, where its coding is unusual.",
)
@list_option("--keep", help="Fields that are not read, to keep in meta as they are; all: every one. Repeatable.")
@list_option("--drop", help="Fields to leave unread, also where they carry meaning, as images do. Repeatable.")
@click.option("--round", "round_scores", is_flag=True, help="Round scores and verdicts of more than 4 decimals.")
@click.option("--recipe", metavar="NAME", help=f"Read a published set: {', '.join(RECIPES)}.")
@click.option(
    "--judge",
    "judges",
    multiple=True,
    metavar="[FILE=]NAME,...",
    callback=_judges_of,
    help="Who judged, where rows do not say; FILE=NAME: in one of several files. Repeatable. Default: unknown.",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files, for instance gb18030.")
@click.option("--domain", help="Domain of every row. Default: each row's own field.")
@click.option(
    "--domain-map",
    multiple=True,
    callback=renames,
    metavar="OLD=NEW,...",
    help="New names for the rows' own domains. Repeatable.",
)
@click.option("--split", help="Split of every row. Default: the recipe's, else train.")
@click.option(
    "--score-range",
    nargs=2,
    type=Finite(),
    default=None,
    metavar="LOW HIGH",
    help="Lowest and highest score that a judge may give. Default: 1 10, or what the shape of the rows says.",
)
@click.option(
    "--default-threshold",
    type=Finite(),
    help="Smallest margin of a pair where a user gives none. Default: 2 on a score range of 1 to 10, the same "
    "part of another one to one digit (20 of 0 to 100); 1 for labels and for comparisons alone.",
)
@click.option(
    "--comparison-threshold",
    type=Finite(),
    help="The same of pairs by comparisons. Default: 1 where all are verdicts, 0 where both sides were scored; "
    "--default-threshold where that is given and there are comparisons alone.",
)
@click.option(
    "--both-orders",
    is_flag=True,
    help="Of the store's comparisons a judge counts for two responses only where it saw them in both orders, unless a "
    "user says otherwise.",
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
@threads_option
@as_json
def import_command(
    inputs: tuple[str, ...],
    out: Path,
    form: str,
    fields: dict[str, str],
    score_columns: dict[str, str],
    values: dict[str, str],
    keep: tuple[str, ...],
    drop: tuple[str, ...],
    round_scores: bool,
    recipe: str | None,
    judges: tuple[str | None, dict[str, str]],
    license_: str | None,
    overwrite: bool,
    num_proc: int | None,
    json_: bool,
    **options: Any,
) -> None:
    """Import INPUTs into a new store: JSON Lines, JSON, CSV, TSV or Parquet, also with .gz or .zst,
    patterns such as 'data/*.jsonl', hf://datasets/org/name/file, and s3://bucket/file.

    Each row is a query with its responses and their scores, or has another shape: see --format. Rows of a key
    and scores belong to the responses of the other files.

    \b
    {"query_id": "m-1", "domain": "math", "query": "1+1等于几？", "responses": [
      {"model": "a", "text": "2。", "scores": [{"judge": "j", "score": 9}]}]}

    \b
    coigp import answers.jsonl --out store --domain math
    coigp import halluqa.jsonl --out store --domain chat --score-range 0 1 --default-threshold 1 --on-error skip
    coigp import answers.jsonl scores.csv --out store --domain chat
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
        judge=judges[0] or recipe or UNKNOWN,
        score_columns=score_columns,
        values=values,
        keep=keep,
        drop=drop,
        round_scores=round_scores,
    )
    config = ImportConfig(form=shape, license=license_, judges=judges[1], **options)
    paths = find_inputs(inputs)
    try:
        with progress("Importing", sum(path.stat().st_size for path in paths)) as advance:
            store, report = import_files(paths, out, config, overwrite=overwrite, advance=advance, num_proc=num_proc)
    except ImportFailed as error:
        _print_import(error.report, json_, written=None)
        raise
    _print_import(report, json_, written=out)
    if not json_ and not is_quiet():
        manifest, domains = store.manifest, ", ".join(store.manifest.domains)
        low, high = manifest.score_range
        scale = "" if (low, high) == (1, 10) else f"scores from {low:g} to {high:g}, "
        apart = manifest.comparison_threshold
        apart = None if apart == manifest.default_threshold else apart
        margin = f"{manifest.default_threshold:g}" + ("" if apart is None else f", by comparisons {apart:g}")
        margin += ", of judges that saw both orders" if manifest.both_orders else ""
        click.echo(f"wrote {printable(str(out))}: {domains}; {scale}default threshold {margin}")


def _print_import(report: ImportReport, json_: bool, written: Path | None) -> None:
    names = ["read", "stored" if written else "valid", "rejected", "merged"]
    accounting = {unit: dict(zip(names, counts.values(), strict=True)) for unit, counts in report.accounting().items()}
    if json_:
        result = {
            "store": str(written) if written else None,
            "accounting": accounting,
            "reasons": dict(report.reasons),
            "problems": [problem._asdict() for problem in report.problems],
            "ignored_fields": report.ignored_fields,
            "kept_fields": dict(report.kept),
            "dropped_fields": dict(report.dropped),
            "differing_fields": dict(report.differing),
            "formats": {path: dict(forms) for path, forms in report.forms.items()},
            "encodings": report.encodings,
            "missing_scores": report.missing_scores,
            "text_scores": report.text_scores,
            "score_range": report.score_range,
            "default_threshold": report.default_threshold,
            "comparison_threshold": report.comparison_threshold,
            "advice": report.advice(),
        }
        click.echo(json_text(result))
        return
    quiet = is_quiet()
    for path, forms in report.forms.items():
        if not quiet and forms and set(forms) != {"nested"}:
            listed = ", ".join(f"{form} ({count:,})" for form, count in forms.most_common())
            click.echo(f"{printable(path)}: read as {next(iter(forms)) if len(forms) == 1 else listed} rows")
    for problem in report.problems:
        click.echo(one_line(str(problem)), err=True)
    total = sum(report.reasons.values())
    if total > len(report.problems):
        click.echo(f"... and {total - len(report.problems)} more", err=True)
    if quiet:
        return
    if report.reasons:
        click.echo(table(["reason", "problems"], [[reason, count] for reason, count in report.reasons.most_common()]))
    click.echo(table(["", *names], [[unit, *counts.values()] for unit, counts in accounting.items()]))
    for line in report.advice():
        click.echo(one_line(line))
