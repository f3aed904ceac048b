"""`coigp annotate taxonomy`: which subjects a tree has, and what is wrong with its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.annotate.alone import EndpointOptions, endpoint_options, print_asked, print_estimate, print_unsettled
from coig_p.cli.options import as_json, overwrite_option
from coig_p.cli.screen import json_text, one_line, table
from coig_p.cli.tree import Group, command
from coig_p.core.text import counted
from coig_p.errors import DataError, UsageError

if TYPE_CHECKING:
    from coig_p.annotate.growing import Grown
    from coig_p.annotate.taxonomy.tree import Selection, Taxonomy

_SHOWN = 20  # codes
_SELECTIONS = ("tap",)
_FILE = click.argument("file", type=click.Path(path_type=Path), required=False, metavar="[FILE]")


@click.group(cls=Group)
def taxonomy() -> None:
    """The tree of subjects that queries are made for, without seed queries (TaP).

    FILE is a TSV, TOML or JSON; without one, China's undergraduate catalogue of 2024 that comes along.

    \b
    coigp annotate taxonomy list --select tap
    coigp annotate taxonomy check subjects.tsv
    coigp annotate taxonomy grow subjects.tsv --endpoint endpoint.toml --out more.tsv
    """


@command("list")
@_FILE
@click.option("--select", type=click.Choice(_SELECTIONS), help="A named selection; tap: 724 of the bundled catalogue.")
@click.option("--only", multiple=True, metavar="CODE", help="Only what is below this node. May be repeated; no commas.")
@click.option("--drop", multiple=True, metavar="CODE", help="Not what is below this node. May be repeated; no commas.")
@click.option("--keep", multiple=True, metavar="CODE", help="What is below this node, too. May be repeated; no commas.")
@as_json
def list_(
    file: Path | None,
    select: str | None,
    only: tuple[str, ...],
    drop: tuple[str, ...],
    keep: tuple[str, ...],
    json_: bool,
) -> None:
    """List the subjects of a taxonomy, each with the way to it and the domain of its queries.

    \b
    coigp annotate taxonomy list --select tap
    coigp annotate taxonomy list subjects.toml --drop 0502 --json | jq .subjects[0]
    """
    from coig_p.annotate.taxonomy.reading import read_taxonomy

    found = read_taxonomy(file)
    subjects = found.subjects(_selection(file, select, only, drop, keep))
    if not subjects:
        raise UsageError(f"--only, --drop and --keep leave no subject of the {len(found.subjects()):,} in {found.name}")
    if json_:
        told = {"name": found.name, "source": found.source, "levels": list(found.levels), "of": len(found.subjects())}
        click.echo(json_text({**told, "subjects": [subject.to_dict() for subject in subjects]}))
        return
    rows = [[one.code, one.domain, " > ".join(one.names[:-1]), one.name] for one in subjects]
    click.echo(table(["code", "domain", "above", "subject"], rows))
    domains = dict.fromkeys(one.domain for one in subjects)
    click.echo(
        one_line(
            f"{counted(len(subjects), 'subject')} of {len(found.subjects()):,} in {counted(len(domains), 'domain')} "
            f"of {found.name}"
        )
    )


@command("check")
@_FILE
@as_json
def check(file: Path | None, json_: bool) -> None:
    """Say what is wrong in a taxonomy's FILE, all of it at once, or what it holds; exit 1 where something is wrong.

    \b
    coigp annotate taxonomy check subjects.tsv
    coigp annotate taxonomy check subjects.json --json | jq .problems
    """
    from coig_p.annotate.taxonomy.reading import check_taxonomy

    found, problems = check_taxonomy(file)
    told = {"problems": [{"where": one.where, "what": one.what} for one in problems], **_holds(found)}
    if json_:
        click.echo(json_text(told))
    elif found is not None:
        levels = [name or f"level {at}" for at, name in enumerate(found.levels, 1)]
        click.echo(table(["level", "nodes"], list(map(list, zip(levels, found.counts(), strict=True)))))
        click.echo(one_line(f"{found.name} is right: {counted(len(found.subjects()), 'subject')}"))
    else:
        for problem in problems:
            click.echo(one_line(str(problem)))
    if problems:
        raise DataError(f"{counted(len(problems), 'problem')} in {file}")


@command("grow")
@_FILE
@click.option("--about", metavar="TOPIC", help="Begin without a FILE: a tree of this.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="NEW",
    help="The file to write: .tsv, .toml or .json. It has all of FILE's nodes, and the new ones.",
)
@click.option("--under", multiple=True, metavar="CODE", help="Grow this node. Default: leaves. Repeat it; no commas.")
@click.option("--children", type=int, default=10, show_default=True, help="Most nodes below each that grows.")
@click.option("--levels", type=int, default=1, show_default=True, help="How many levels are added.")
@click.option("--language", type=click.Choice(("zh", "en")), default="zh", show_default=True, help="Of the prompt.")
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of templates in place of the package's: grow.md, words.toml.",
)
@overwrite_option("the file at NEW")
@endpoint_options
@as_json
def grow(
    file: Path | None,
    about: str | None,
    out: Path,
    under: tuple[str, ...],
    children: int,
    levels: int,
    language: str,
    prompts: Path | None,
    overwrite: bool,
    given: EndpointOptions,
    json_: bool,
) -> None:
    """Have an endpoint propose nodes below those of a taxonomy's FILE, or a tree of a topic, for a person to edit.

    FILE stays as it is; without one and without a topic it is the catalogue that comes along. What was answered lies
    in a ledger, so that a run that ended early goes on where it was.

    \b
    coigp annotate taxonomy grow --about 校园生活 --levels 2 --endpoint endpoint.toml --out campus.toml
    coigp annotate taxonomy grow subjects.tsv --under 0502 --endpoint endpoint.toml --out more.tsv --estimate
    """
    from coig_p.annotate.alone.running import check_ledger, estimate
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.annotate.growing import GrowConfig, Growing
    from coig_p.annotate.taxonomy.prompts import read_prompts
    from coig_p.annotate.taxonomy.reading import read_taxonomy
    from coig_p.annotate.taxonomy.tree import Taxonomy
    from coig_p.annotate.taxonomy.writing import check_place, write_taxonomy

    if file is not None and about is not None:
        raise click.UsageError("a tree grows from a FILE, or from --about a topic: name one of the two.")
    config = GrowConfig(children, levels, under)
    texts = read_prompts(language, prompts)
    tree = read_taxonomy(file) if about is None else Taxonomy(out.stem, (), (), ())
    check_place(out, overwrite=overwrite or given.estimate)
    if file is not None and out.exists() and out.samefile(file):
        raise click.UsageError(f"--out {out} is FILE, which stays as it is: name another file.")
    ledger = given.ledger_of(out)
    check_ledger(ledger)
    endpoint = given.open()
    growing = Growing(tree, endpoint, texts, config, about)
    if given.estimate:
        print_estimate(estimate(growing.work(), ledger), "endpoint", endpoint.name, json_)
        return
    asked = given.ask(growing.work(), ledger, json_)
    with Ledger.open(ledger) as opened:
        grown = growing.grown(opened)
    written = grown.added > 0 and (given.partial or not asked.unsettled)
    if written:
        write_taxonomy(grown.taxonomy, out)
    if json_:
        told = {"taxonomy": str(out) if written else None, "subjects": len(grown.taxonomy.subjects())}
        click.echo(json_text({**told, **grown.to_dict(), "ledger": str(ledger), **asked.to_dict()}))
    else:
        _print_grown(grown, out if written else None)
        print_asked(asked, endpoint.name)
        if asked.unsettled:
            print_unsettled(asked, "" if written else "nothing was written", ledger)
    if (asked.unsettled and not written) or asked.stopped == "interrupted":
        raise SystemExit(asked.exit_code)
    if not grown.added and not asked.unsettled:
        raise DataError(f"{endpoint.name} proposed nothing that is new and can be a name")


def _print_grown(grown: Grown, out: Path | None) -> None:
    if out is not None:
        subjects = counted(len(grown.taxonomy.subjects()), "subject")
        click.echo(one_line(f"wrote {out}: {subjects}, {grown.added:,} new below {counted(grown.grew, 'node')}"))
    for number, what in (
        (grown.repeated, "stand there already"),
        (grown.unfit, "cannot be names"),
        (grown.beyond, "were more than --children"),
    ):
        if number:
            click.echo(f"left out of what was listed: {number:,} that {what}")
    if grown.without:
        codes = ", ".join(grown.without[:_SHOWN]) + (", ..." if len(grown.without) > _SHOWN else "")
        click.echo(one_line(f"answers that could not be used, so that nothing grew: {codes}"))


def _holds(found: Taxonomy | None) -> dict[str, object]:
    if found is None:
        return {}
    told = {"name": found.name, "source": found.source, "levels": list(found.levels), "nodes": found.counts()}
    return {**told, "subjects": len(found.subjects()), "domains": list(dict.fromkeys(found.domains))}


def _selection(
    file: Path | None, select: str | None, only: tuple[str, ...], drop: tuple[str, ...], keep: tuple[str, ...]
) -> Selection:
    from coig_p.annotate.taxonomy.reading import SELECTIONS
    from coig_p.annotate.taxonomy.tree import Selection

    if select is not None and file is not None:
        raise click.UsageError(f"--select {select} is of the catalogue that comes along: name no FILE, or use --drop")
    named = Selection() if select is None else SELECTIONS[select]
    return Selection(only, (*named.drop, *drop), (*named.keep, *keep))


for _command in (list_, check, grow):
    taxonomy.add_command(_command)
