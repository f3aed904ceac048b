"""The command line: parse, call, print. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from coig_p._version import __version__
from coig_p.errors import CoigPError
from coig_p.pairs import PairConfig
from coig_p.recipes import RECIPES
from coig_p.terminal import printable, table

if TYPE_CHECKING:
    from coig_p.accounting import ImportReport
    from coig_p.validation import Report, Rule

Command = TypeVar("Command", bound=Callable[..., Any])

_EXIT_INTERRUPTED = 130


def main() -> NoReturn:
    """Run `coigp`; every error on purpose becomes one line and an exit code."""
    try:
        code = cli.main(standalone_mode=False)
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


def pair_options(command: Command) -> Command:
    """Add an option for every field of PairConfig; the command gets them under the same names."""
    for option in reversed(fields(PairConfig)):
        name = f"--{option.name.replace('_', '-')}"
        settings: dict[str, Any] = {"help": option.metadata["help"], "default": option.default}
        if option.metadata.get("choices"):
            settings |= {"type": click.Choice(option.metadata["choices"]), "show_default": True}
        elif option.name == "judges":
            settings |= {"multiple": True, "metavar": "NAME", "default": (), "help": settings["help"] + " Repeatable."}
        elif isinstance(option.default, bool):
            settings["is_flag"] = True
        else:
            settings["type"] = float if option.name == "threshold" else int
            settings["show_default"] = option.default is not None
        command = click.option(name, **settings)(command)
    return command


def _pair_config(options: dict[str, Any]) -> PairConfig:
    return PairConfig(**{**options, "judges": options["judges"] or None})


as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object for programs.")


@contextmanager
def _progress(what: str, total: int, unit: str = "bytes") -> Iterator[Callable[[int], None]]:
    """A bar on standard error while the block runs; silent where that is not a terminal."""
    console = Console(stderr=True)
    done = DownloadColumn() if unit == "bytes" else TextColumn(f"{{task.completed:,}}/{{task.total:,}} {unit}")
    columns = TextColumn("{task.description}"), BarColumn(), done, TimeRemainingColumn()
    quiet = not console.is_terminal or logging.getLogger("coig_p").level >= logging.ERROR
    with Progress(*columns, console=console, disable=quiet, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda amount: progress.advance(task, amount)


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
    from coig_p.accounting import ImportFailed
    from coig_p.forms import UNKNOWN, FormConfig
    from coig_p.importing import import_files
    from coig_p.intake import ImportConfig
    from coig_p.recipes import Recipe, find_recipe
    from coig_p.sources import find_inputs

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
        with _progress("Importing", sum(path.stat().st_size for path in paths)) as advance:
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
    from coig_p.info import store_info

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
@pair_options
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
    from coig_p.export import write_pairs

    if file_type is None:
        file_type = "jsonl" if out.suffix.lower() in (".jsonl", ".ndjson") else "parquet"
    counts, config = write_pairs(store, out, _pair_config(options), file_type=file_type, domains=domains, split=split)
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
    from coig_p.store import Store

    opened = Store.open(store, check_sizes=False)
    with _progress("Verifying", sum(file.bytes for file in opened.manifest.files)) as advance:
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


rules_option = click.option(
    "--rules",
    "rules_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML that changes severities, thresholds, word lists, or switches rules off.",
)
num_proc_option = click.option(
    "--num-proc", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that share the shards."
)


@cli.command()
@click.argument("store", type=click.Path(path_type=Path), required=False)
@rules_option
@click.option("--report", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Write every finding there.")
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Only this domain. Repeatable. Default: all.")
@click.option("--list", "list_", is_flag=True, help="Print the rules and stop.")
@num_proc_option
@as_json
def check(
    store: Path | None,
    rules_file: Path | None,
    folder: Path | None,
    domains: tuple[str, ...],
    list_: bool,
    num_proc: int,
    json_: bool,
) -> None:
    """Look for what is wrong in a STORE: texts, privacy, scores, pairs. Exits 1 where there is an error.

    \b
    coigp check store
    coigp check store --report report --rules rules.toml
    coigp check --list
    """
    from coig_p.validation import load_rules
    from coig_p.validation.report import check_folder, write_report

    rules = load_rules(rules_file)
    if list_:
        _print_rules(rules, json_)
        return
    if store is None:
        raise click.UsageError("Missing argument 'STORE'.")
    if folder is not None:
        check_folder(folder)
    report = _checked(store, rules, domains, num_proc)
    if folder is not None:
        write_report(report, folder)
    _print_check(report, json_, store, folder)
    if not report.passed:
        raise SystemExit(1)


def _checked(store: Path, rules: dict[str, Rule], domains: Sequence[str] = (), num_proc: int = 1) -> Report:
    from coig_p.store import Store
    from coig_p.validation import check as run_check

    opened = Store.open(store, check_sizes=False)
    queries = sum(file.rows or 0 for file in opened.data_files() if not domains or file.domain in domains)
    with _progress("Checking", queries, "queries") as advance:
        return run_check(opened, rules=rules, domains=domains, num_proc=num_proc, advance=advance)


def _print_rules(rules: dict[str, Rule], json_: bool) -> None:
    if json_:
        listed = {id: {**rule.effective(), "scope": list(rule.scope), "why": rule.why} for id, rule in rules.items()}
        click.echo(json.dumps(listed, ensure_ascii=False))
        return
    for id, rule in rules.items():
        options = "".join(f"; {name} = {value}" for name, value in rule.options.items())
        click.echo(f"{rule.severity:8} {id:24} {'+'.join(rule.scope):15} {rule.why}{options}")


def _print_check(report: Report, json_: bool, store: Path, folder: Path | None) -> None:
    from coig_p.validation.report import examples, worst_first
    from coig_p.validation.rules import SEVERITIES

    counts = {severity: report.count(severity) for severity in SEVERITIES}
    if json_:
        found = {
            id: {"severity": report.rules[id].severity, "findings": number, "examples": examples(report, id)}
            for id, number in worst_first(report)
        }
        result = {"store": str(store), "passed": report.passed, **counts, "rules": found}
        result |= {"queries": report.queries, "responses": report.responses}
        click.echo(json.dumps(result, ensure_ascii=False))
        return
    for id, number in worst_first(report):
        rule = report.rules[id]
        click.echo(f"{rule.severity} {id} ({number:,}): {rule.why}")
        for finding in examples(report, id):
            names = ("domain", "query_id", "model", "judge", "field")
            where = " ".join(str(finding[name]) for name in names if finding[name])
            click.echo(printable(f"    {where}: {finding['excerpt']}".replace("\n", " ")))
    verdict = "passed" if report.passed else "not to be released"
    click.echo(
        f"{printable(str(store))}: {verdict}; {counts['error']:,} errors, {counts['warning']:,} warnings, "
        f"{counts['metric']:,} metrics in {report.queries:,} queries and {report.responses:,} responses"
    )
    if folder is not None:
        click.echo(f"every finding: {printable(str(folder))}/report.md and findings.parquet")
    elif report.findings.num_rows:
        click.echo("every finding, by rule, model and domain: add --report DIR")
    if not report.passed:
        click.echo(f"drop what the errors name: coigp clean {printable(str(store))} --out STORE2")


@cli.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The store to write.")
@click.option("--overwrite", is_flag=True, help="Replace the store at DIR.")
@click.option("--rule", "more", multiple=True, metavar="ID", help="Also drop what this rule names. Repeatable.")
@rules_option
@num_proc_option
@as_json
def clean(
    store: Path, out: Path, overwrite: bool, more: tuple[str, ...], rules_file: Path | None, num_proc: int, json_: bool
) -> None:
    """Write a STORE without the queries, responses and scores that errors name. Texts are never edited.

    \b
    coigp clean store --out clean
    coigp clean store --out clean --rule mobile --rule truncated
    """
    from coig_p.cleaning import check_clean, clean_store
    from coig_p.store import Store
    from coig_p.validation import load_rules

    rules = load_rules(rules_file)
    opened = Store.open(store)
    check_clean(opened, out, rules, more, overwrite)
    before = _checked(store, rules, num_proc=num_proc)
    with _progress("Cleaning", before.queries, "queries") as advance:
        _, dropped = clean_store(opened, before, out, more=more, overwrite=overwrite, advance=advance)
    after = _checked(out, rules, num_proc=num_proc)
    left = {id: number for id, number in after.by_rule().items() if number and rules[id].severity == "error"}
    if json_:
        click.echo(json.dumps({"store": str(out), "dropped": dropped, "errors_left": left}))
    else:
        if dropped:
            rows = [[rule, *counts.values()] for rule, counts in dropped.items()]
            click.echo(table(["dropped for", *next(iter(dropped.values()))], rows))
        for id, number in left.items():
            click.echo(f"error {id} ({number:,}) remains: {rules[id].why}", err=True)
        click.echo(
            f"wrote {printable(str(out))}: {after.queries:,} of {before.queries:,} queries, "
            f"{after.responses:,} of {before.responses:,} responses"
        )
    if left:
        raise SystemExit(1)


@cli.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The store to write.")
@click.option("--overwrite", is_flag=True, help="Replace the store at DIR.")
@click.option("--dry-run", is_flag=True, help="Say what would go and write nothing.")
@click.option(
    "--threshold",
    type=float,
    default=0.7,
    show_default=True,
    help="Smallest Jaccard similarity of two queries' n-grams.",
)
@click.option("--ngram", "n", type=int, default=3, show_default=True, help="Characters of an n-gram.")
@click.option("--num-perm", type=int, default=128, show_default=True, help="Values of a MinHash signature.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the signatures.")
@click.option("--merge", is_flag=True, help="Append the duplicates' responses to the query that stays.")
@as_json
def dedup(store: Path, out: Path | None, overwrite: bool, dry_run: bool, json_: bool, **options: Any) -> None:
    """Write a STORE without near-duplicate queries, within domains and across them.

    Of each cluster the query with the most scored responses stays, then the smallest query_id.
    DIR/duplicates.parquet names every member, who stays and how similar they are.

    \b
    coigp dedup store --out unique
    coigp dedup store --dry-run --threshold 0.8
    """
    from coig_p.dedup.queries import DedupConfig, dedup_store, find_duplicates, read_queries, summary
    from coig_p.store import Store, check_target

    config = DedupConfig(**options)
    if out is None and not dry_run:
        raise click.UsageError("Missing option '--out', or pass --dry-run.")
    if out is not None and not dry_run:
        check_target(out, overwrite)
    opened = Store.open(store)
    with _progress("Reading", sum(file.rows or 0 for file in opened.data_files()), "queries") as advance:
        queries = read_queries(opened, advance)
    duplicates = find_duplicates(queries, config)
    found = summary(duplicates, queries)
    if out is not None and not dry_run:
        with _progress("Writing", found["queries"], "queries") as advance:
            _, found["dropped"] = dedup_store(opened, out, config, duplicates, overwrite=overwrite, advance=advance)
    if json_:
        click.echo(json.dumps({"store": None if dry_run else str(out), **found}))
        return
    click.echo(
        f"{found['queries']:,} queries: {found['clusters']:,} clusters of near-duplicates, the largest of "
        f"{found['largest']:,}; {found['duplicates']:,} queries {'would go' if dry_run else 'went'}"
    )
    if found["by_domain"]:
        click.echo(table(["domain", "duplicates"], list(map(list, found["by_domain"].items()))))
    if out is not None and not dry_run:
        click.echo(f"wrote {printable(str(out))}; who stays for whom: {printable(str(out / 'duplicates.parquet'))}")


@cli.command()
def demo() -> None:
    """Run the main job on the bundled data: import, look, load pairs. Writes to a temporary folder alone.

    \b
    coigp demo
    """
    from coig_p.demo import run_demo

    run_demo()
