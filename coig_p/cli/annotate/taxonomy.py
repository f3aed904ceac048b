"""`coigp annotate taxonomy`: which subjects a tree has, and what is wrong with its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.options import as_json
from coig_p.cli.screen import json_text, one_line, table
from coig_p.cli.tree import Group, command
from coig_p.core.text import counted

if TYPE_CHECKING:
    from coig_p.annotate.taxonomy.tree import Selection, Taxonomy

_SELECTIONS = ("tap",)
_FILE = click.argument("file", type=click.Path(path_type=Path), required=False, metavar="[FILE]")


@click.group(cls=Group)
def taxonomy() -> None:
    """The tree of subjects that queries are made for, without seed queries (TaP).

    FILE is a TSV, TOML or JSON; without one, China's undergraduate catalogue of 2024 that comes along.

    \b
    coigp annotate taxonomy list --select tap
    coigp annotate taxonomy check subjects.tsv
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
    from coig_p.errors import DataError

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


for _command in (list_, check):
    taxonomy.add_command(_command)
