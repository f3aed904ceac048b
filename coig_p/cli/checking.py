"""The commands that look for what is wrong in a store, or leave it out: check, clean, dedup, contamination."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from coig_p.cli.engines import engine_options, one_pool
from coig_p.cli.options import (
    Finite,
    against_option,
    as_json,
    domains_option,
    language_option,
    list_option,
    map_option,
    need_store,
    open_store,
    overwrite_option,
    quoted,
    rules_option,
    store_argument,
)
from coig_p.cli.paths import Place
from coig_p.cli.screen import (
    STDOUT,
    check_apart,
    json_text,
    one_line,
    pasted,
    progress,
    row_file,
    row_stream,
    table,
)
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    import pyarrow as pa

    from coig_p.validation import Report, Rule

_ROWS_AT_ONCE = 4096


@command("check")
@store_argument(required=False)
@rules_option
@against_option
@map_option
@click.option("--report", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Write every finding there.")
@overwrite_option("a report of an earlier check at DIR")
@language_option("Of DIR/report.html.")
@domains_option
@click.option("--list", "list_", is_flag=True, help="Print the rules and stop.")
@engine_options
@as_json
def check(
    store: Path | None,
    rules_file: Path | None,
    benchmarks: tuple[str, ...],
    fields: dict[str, str],
    folder: Path | None,
    overwrite: bool,
    language: str,
    domains: tuple[str, ...],
    list_: bool,
    shared_by: dict[str, Any],
    json_: bool,
) -> None:
    """Look for what is wrong in a STORE: texts, privacy, scores, pairs. Exits 1 where there is an error.

    \b
    coigp check store
    coigp check store --report report --rules rules.toml
    coigp check store --report report --language zh
    coigp check store --against crbench.jsonl
    coigp check --list
    """
    from coig_p.store.places import check_folder
    from coig_p.validation import load_rules
    from coig_p.validation.report import FILES, write_report

    rules = load_rules(rules_file)
    if list_:
        _print_rules(rules, json_)
        return
    store = need_store(store)
    if folder is not None:
        check_folder(folder, FILES, "a report", overwrite)
        check_apart(folder, [rules_file, *benchmarks])
    report = checked(store, rules, domains, benchmarks, fields, **shared_by)
    if folder is not None:
        from coig_p.report.view.check_page import check_page

        write_report(report, folder, overwrite, check_page(report, store.resolve().name, language))
    given = ["--rules", str(rules_file)] if rules_file is not None else []
    given += [word for one in benchmarks for word in ("--against", one)]
    given += [word for pair in fields.items() for word in ("--map", "=".join(map(quoted, pair)))]
    _print_check(report, json_, store, folder, "".join(f" {pasted(word)}" for word in given))
    if not report.passed:
        raise SystemExit(1)


def checked(
    store: Path,
    rules: dict[str, Rule],
    domains: Sequence[str] = (),
    benchmarks: Sequence[str] = (),
    fields: Mapping[str, str] | None = None,
    **shared_by: Any,
) -> Report:
    """`coig_p.validation.check`, with benchmarks where any are named, and progress bars."""
    from coig_p.validation import check as run_check

    opened = open_store(store, check_sizes=False)
    queries = sum(file.rows or 0 for file in opened.data_files() if not domains or file.domain in domains)
    with progress("Checking", queries, "queries") as advance:
        report = run_check(opened, rules=rules, domains=domains, advance=advance, **shared_by)
    if benchmarks:
        from coig_p.dedup.benchmarks import ContaminationConfig
        from coig_p.dedup.contamination import with_contamination

        with progress("Comparing", queries, "queries") as advance:
            config = ContaminationConfig(fields=fields or {})
            report = with_contamination(report, opened, benchmarks, config, advance, domains, **shared_by)
    elif fields:
        raise click.UsageError("--map names a benchmark's columns: pass --against, too.")
    return report


def _print_rules(on: dict[str, Rule], json_: bool) -> None:
    from coig_p.validation.rules import with_off

    rules = with_off(on)
    if json_:
        listed = {id: {**rule.effective(), "scope": list(rule.scope), "why": rule.why} for id, rule in rules.items()}
        click.echo(json_text(listed))
        return
    for id, rule in rules.items():
        options = "".join(f"; {name} = {value}" for name, value in rule.options.items())
        click.echo(one_line(f"{rule.severity:8} {id:24} {'+'.join(rule.scope):20} {rule.why}{options}"))


def _print_check(report: Report, json_: bool, store: Path, folder: Path | None, same_options: str) -> None:
    from coig_p.validation.report import examples, worst_first

    counts = report.counts
    if json_:
        told = report.to_dict()
        found = {id: told["rules"][id] | {"examples": examples(report, id)} for id, _ in worst_first(report)}
        click.echo(json_text({"store": str(store), **told, "rules": found}))
        return
    for id, number in worst_first(report):
        rule = report.rules[id]
        click.echo(one_line(f"{report.told_severity(id)} {id} ({number:,}): {rule.why}"))
        for finding in examples(report, id):
            names = ("domain", "query_id", "model", "judge", "field")
            where = " ".join(str(finding[name]) for name in names if finding[name])
            click.echo(one_line(f"    {where}: {finding['excerpt']}".replace("\n", " ")))
    for line in report.told_of_rules():
        click.echo(one_line(line))
    verdict = "passed" if report.passed else "not to be released"
    click.echo(
        f"{printable(str(store))}: {verdict}; {counted(counts.error, 'error')}, "
        f"{counted(counts.warning, 'warning')}, {counted(counts.metric, 'metric')} in "
        f"{counted(report.queries, 'query', 'queries')} and {counted(report.responses, 'response')}"
        f"{report.told_of_changes()}"
    )
    if folder is not None:
        click.echo(f"every finding: {printable(str(folder))}/report.html, report.md and findings.parquet")
    elif report.findings.num_rows:
        click.echo("every finding, by rule, model and domain: add --report DIR")
    if not report.passed:
        rules = {id for id, number in report.by_rule().items() if number and report.rules[id].severity == "error"}
        if "files" in rules:
            click.echo(f"put files back that are not as they were, or import again; see: coigp verify {pasted(store)}")
        if rules - {"files"}:
            click.echo(f"drop what the errors name: coigp clean {pasted(store)} --out STORE2{same_options}")


@command("clean")
@store_argument()
@click.option("--out", required=True, type=Place(), metavar="DIR", help="The store to write.")
@overwrite_option("the store at DIR")
@list_option("--rule", "more", metavar="ID,...", help="Also drop what these rules name. Repeatable.")
@rules_option
@against_option
@map_option
@engine_options
@as_json
def clean(
    store: Path,
    out: Path,
    overwrite: bool,
    more: tuple[str, ...],
    rules_file: Path | None,
    benchmarks: tuple[str, ...],
    fields: dict[str, str],
    shared_by: dict[str, Any],
    json_: bool,
) -> None:
    """Write a STORE without the queries, responses and scores that errors name. Texts are never edited.

    Of meta, source and what a judge said, where personal data stand there, the field alone goes.

    \b
    coigp clean store --out clean
    coigp clean store --out clean --rule mobile,truncated
    """
    from coig_p.store.sharing import LOOKED_AT
    from coig_p.validation import load_rules
    from coig_p.validation.cleaning import check_clean, clean_store

    rules = load_rules(rules_file)
    opened = open_store(store)
    check_clean(opened, out, rules, more, overwrite)
    check_apart(out, [rules_file, *benchmarks])
    with one_pool(opened.data_files(), shared_by, LOOKED_AT) as shared_by:
        before = checked(store, rules, (), benchmarks, fields, **shared_by)
        with progress("Cleaning", before.queries, "queries") as advance:
            written = clean_store(opened, before, out, more=more, overwrite=overwrite, advance=advance, **shared_by)
        after = checked(out, rules, (), benchmarks, fields, **shared_by)
    dropped = {rule: loss.to_dict() for rule, loss in written.dropped.items()}
    left = {id: number for id, number in after.by_rule().items() if number and after.rules[id].severity == "error"}
    if json_:
        rules = {name: after.to_dict()[name] for name in ("rules_changed", "not_checked")}
        click.echo(json_text({"store": str(out), "dropped": dropped, "errors_left": left, **rules}))
    else:
        if dropped:
            units = list(dict.fromkeys(unit for counts in dropped.values() for unit in counts))
            rows = [[rule, *(counts.get(unit, 0) for unit in units)] for rule, counts in dropped.items()]
            click.echo(table(["dropped for", *units], rows))
        for line in after.told_of_rules():
            click.echo(one_line(line))
        for id, number in left.items():
            click.echo(one_line(f"error {id} ({number:,}) remains: {after.rules[id].why}"), err=True)
        click.echo(
            f"wrote {printable(str(out))}: {after.queries:,} of {counted(before.queries, 'query', 'queries')}, "
            f"{after.responses:,} of {counted(before.responses, 'response')}"
        )
    if left:
        raise SystemExit(1)


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) == ParameterSource.COMMANDLINE


@command("dedup")
@store_argument()
@click.option("--out", type=Place(), metavar="DIR", help="The store to write.")
@overwrite_option("the store at DIR")
@click.option("--dry-run", is_flag=True, help="Say what would go and write nothing.")
@click.option(
    "--scope",
    type=click.Choice(["queries", "responses"]),
    default="queries",
    show_default=True,
    help="Queries across the store, or responses within each query.",
)
@click.option(
    "--method",
    type=click.Choice(["minhash", "semantic"]),
    default="minhash",
    show_default=True,
    help="Shared n-grams, or the cosine of sentence vectors (queries only).",
)
@click.option(
    "--similarity",
    "threshold",
    type=Finite(0, 1, min_open=True),
    help="Smallest similarity. Default: 0.7, with --method semantic 0.85.",
)
@click.option(
    "--ngram", type=click.IntRange(min=1), help="Characters of an n-gram. Default: 3 for queries, 5 for responses."
)
@click.option(
    "--num-perm", type=click.IntRange(2, 1024), default=128, show_default=True, help="Values of a MinHash signature."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of signatures and draws.")
@click.option("--merge", is_flag=True, help="Append the duplicates' responses to the query that stays.")
@click.option(
    "--against",
    "others",
    multiple=True,
    type=Place(),
    metavar="STORE",
    help="Queries must not be like this store's either, for instance an earlier release's. "
    "Repeatable; no commas, since a path may hold one.",
)
@click.option("--model", help="With --method semantic: a sentence-transformers model, by name or directory.")
@click.option("--cache", type=click.Path(path_type=Path), metavar="DIR", help="Keep sentence vectors there.")
@engine_options
@as_json
def dedup(
    store: Path,
    out: Path | None,
    overwrite: bool,
    dry_run: bool,
    scope: str,
    method: str,
    others: tuple[Path, ...],
    model: str | None,
    cache: Path | None,
    shared_by: dict[str, Any],
    json_: bool,
    **options: Any,
) -> None:
    """Write a STORE without near-duplicate queries, within domains and across them.

    Of each cluster the query with the most scored responses stays, then the smallest query_id.
    DIR/duplicates.parquet names every member, who stays, how similar they are and why, with both texts.

    \b
    coigp dedup store --out unique
    coigp dedup store --dry-run --similarity 0.8
    coigp dedup store --out new --against last-release
    coigp dedup store --out unique --scope responses
    """
    from coig_p.cli.duplicates import dedup_queries, dedup_responses, lines
    from coig_p.store.places import check_target
    from coig_p.store.sharing import COUNTED, LOOKED_AT, WRITTEN

    if out is None and not dry_run:
        raise click.UsageError("Missing option '--out', or pass --dry-run.")
    if out is not None and not dry_run:
        check_target(out, overwrite)
        check_apart(out, others)
    chosen = {name: value for name, value in options.items() if value is not None and name != "ngram"}
    if options["ngram"] is not None:
        chosen["n"] = options["ngram"]
    if method != "semantic" and (model is not None or cache is not None):
        raise click.UsageError("--model and --cache are for --method semantic.")
    if method == "semantic" and (options["ngram"] is not None or _is_given("num_perm")):
        raise click.UsageError("--ngram and --num-perm are for --method minhash: vectors have neither.")
    opened = open_store(store)
    target = None if dry_run else out
    if scope == "responses":
        if others or method != "minhash" or chosen.pop("merge"):
            raise click.UsageError("--against, --method and --merge are for queries: leave out --scope responses.")
        with one_pool(opened.data_files(), shared_by, LOOKED_AT) as shared_by:
            found = dedup_responses(opened, target, overwrite, chosen, shared_by)
        one, unit = "response", "responses"
    else:
        with one_pool(opened.data_files(), shared_by, COUNTED if target is None else WRITTEN) as shared_by:
            found = dedup_queries(opened, target, overwrite, chosen, method, others, model, cache, shared_by)
        one, unit = "query", "queries"
    if json_:
        click.echo(json_text({"store": None if dry_run else str(out), **found}))
        return
    click.echo(
        f"{counted(found[unit], one, unit)}: {counted(found['clusters'], 'cluster')} of near-duplicates, "
        f"the largest of {found['largest']:,}; {counted(found['duplicates'], one, unit)} "
        f"{'would go' if dry_run else 'went'}"
    )
    if found["by_domain"]:
        click.echo(table(["domain", "duplicates"], list(map(list, found["by_domain"].items()))))
    for line in lines(found["examples"], unit):
        click.echo(line)
    if target is not None:
        click.echo(f"wrote {printable(str(out))}; who stays for whom: {printable(str(target / 'duplicates.parquet'))}")


@command("contamination")
@store_argument()
@click.option(
    "--against",
    "names",
    multiple=True,
    required=True,
    metavar="FILE|STORE|ORG/NAME",
    help="A benchmark. Repeatable; also hf://. No commas, since a path may hold one.",
)
@click.option(
    "--profile",
    type=click.Choice(["auto", "alignbench", "crbench", "mt-bench-zh"]),
    default="auto",
    show_default=True,
    help="What the benchmark calls its prompts and answers.",
)
@map_option
@click.option(
    "--similarity",
    "threshold",
    type=Finite(0, 1, min_open=True),
    default=0.8,
    show_default=True,
    help="Smallest share of its n-grams that stand in ours.",
)
@click.option("--ngram", "n", type=click.IntRange(1, 12), default=5, show_default=True, help="Characters of an n-gram.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write all findings there, .parquet or .jsonl; - is JSON Lines on standard output, and nothing else there.",
)
@overwrite_option("FILE where it exists")
@click.option(
    "--record",
    is_flag=True,
    help="Write into STORE's manifest what it was compared with and what was found, for the card of its release.",
)
@engine_options
@as_json
def contamination(
    store: Path,
    names: tuple[str, ...],
    out: Path | None,
    overwrite: bool,
    record: bool,
    shared_by: dict[str, Any],
    json_: bool,
    **options: Any,
) -> None:
    """Look for a benchmark's prompts and answers in a STORE. Exits 1 where there are any.

    Width, case, script and punctuation are ignored, and a prompt inside a longer query is found.

    \b
    coigp contamination store --against crbench.jsonl --profile crbench
    coigp contamination store --against org/benchmark --out found.parquet
    coigp contamination store --against exam.csv --map prompt=题目,answer=答案,id=编号
    coigp contamination store --against crbench.jsonl --out - | jq .query_id
    coigp contamination store --against crbench.jsonl --record
    """
    from coig_p.dedup.benchmarks import ContaminationConfig
    from coig_p.dedup.contamination import compare
    from coig_p.store.benchmarks import check_remember, remember

    config = ContaminationConfig(**options)
    kind = row_file(out, json_, "a file of findings", overwrite) if out is not None else None
    check_apart(out, names)
    opened = open_store(store)
    if record:
        check_remember(opened)
    with progress("Comparing", sum(file.rows or 0 for file in opened.data_files()), "queries") as advance:
        findings, compared = compare(opened, names, config, advance, **shared_by)
    if record:
        remember(opened, compared)
    if out is not None:
        with row_stream(out) as stream:
            _write_findings(findings, stream, kind)
    shown = findings.slice(0, 20).to_pylist()
    looked_for = {"prompts": compared.prompts, "answers": compared.answers}
    if out == STDOUT:
        pass
    elif json_:
        click.echo(json_text({"store": str(store), **looked_for, "findings": findings.num_rows, "examples": shown}))
    else:
        for finding in shown:
            place = " ".join(str(finding[name]) for name in ("domain", "query_id", "field"))
            click.echo(one_line(f"{place}: {finding['excerpt']}".replace("\n", " ")))
        if findings.num_rows > len(shown):
            click.echo(f"... and {findings.num_rows - len(shown):,} more: pass --out FILE")
        click.echo(
            f"{printable(str(store))}: {counted(findings.num_rows, 'text holds', 'texts hold')} one of "
            f"{counted(compared.prompts, 'prompt')} or {counted(compared.answers, 'answer')}"
        )
    if findings.num_rows:
        raise SystemExit(1)


def _write_findings(findings: pa.Table, stream: IO[bytes], kind: str | None) -> None:
    if kind == "jsonl":
        for batch in findings.to_batches(_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        return
    import pyarrow.parquet as pq

    pq.write_table(findings, stream, compression="zstd")
