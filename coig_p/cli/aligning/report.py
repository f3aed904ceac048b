"""`coigp align report`: models on a benchmark side by side, and printed tables looked at."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.options import as_json, language_option, overwrite_option
from coig_p.cli.screen import check_apart, json_text, one_line, print_sections, say, table
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable


@command("report")
@click.argument("results", nargs=-1, type=click.Path(path_type=Path), metavar="RESULTS...")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="RESULTS",
    help="Compare each of the others with this one. Default: every two with each other.",
)
@click.option("--official", is_flag=True, help="Also as the benchmark's own code counts, where -1 enters the mean.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write it as a page, with a plot.")
@language_option("Of the report.")
@click.option(
    "--check",
    "check",
    type=click.Path(path_type=Path),
    metavar="TABLE.csv",
    help="Look at a printed table instead: rows that do not follow from their parts, or stand under two models.",
)
@overwrite_option("a file that is there")
@as_json
def report(
    results: tuple[Path, ...],
    against: Path | None,
    official: bool,
    seed: int,
    html: Path | None,
    language: str,
    check: Path | None,
    overwrite: bool,
    json_: bool,
) -> None:
    """Show what models make of a benchmark: RESULTS are folders of coigp align judge, by one judge on one file.

    By category, Reasoning, Language and Overall, or by turn; with intervals, and every two models compared. With
    --check a printed table is looked at; exits 1 where a row of it cannot be right.

    \b
    coigp align report results
    coigp align report ours base --against base --html report.html
    coigp align report ours --json | jq .models[0].overall.mean
    coigp align report --check table.csv
    """
    if check is not None:
        for name, value in (("RESULTS", results), ("--against", against), ("--html", html), ("--official", official)):
            if value:
                raise click.UsageError(f"{name}: --check looks at a table alone. Leave it out.")
        _check(check, json_)
        return
    if not results:
        raise click.UsageError("name RESULTS, folders of coigp align judge, or --check TABLE.csv.")
    from coig_p.core.atomic import atomic_file
    from coig_p.evaluate.align.report_text import as_page, sections
    from coig_p.evaluate.align.reporting import align_report
    from coig_p.reward.seeds import check_seed
    from coig_p.store.places import check_file

    check_seed(seed)
    if html is not None:
        check_file(html, "a report", overwrite)
        check_apart(html, [*results, against])
    found = align_report(results, against=against, official=official, seed=seed)
    if html is not None:
        with atomic_file(html) as stream:
            stream.write(as_page(found, language).encode())
    if json_:
        click.echo(json_text({**({} if html is None else {"html": str(html)}), **found.to_dict()}))
        return
    print_sections(sections(found, language))
    if html is not None:
        say(f"wrote {printable(str(html))}")


def _check(path: Path, json_: bool) -> None:
    from coig_p.evaluate.align.tables import check_table

    found = check_table(path)
    if json_:
        click.echo(json_text(found.to_dict()))
    else:
        for one in found.findings:
            names = ", ".join(filter(None, (one.table, one.model, one.dataset)))
            click.echo(one_line(f"line {one.row} ({names}): {one.says}"))
        told = [[one.row, one.model, one.dataset, f"{one.percent:.2f}%", one.printed or "–"] for one in found.gains]
        if told:
            click.echo(table(["line", "model", "dataset", "gain", "printed"], told))
        where = f" in {counted(found.found, 'row')}" if found.findings else ""
        click.echo(
            f"{counted(found.rows, 'row')}, {found.checked:,} checked against their parts; "
            f"{counted(len(found.findings), 'finding')}{where}"
        )
        if found.rows > found.checked:
            few = counted(found.rows - found.checked, "row")
            click.echo(f"{few} with too few numbers to be checked against their parts", err=True)
    if found.findings:
        raise SystemExit(1)
