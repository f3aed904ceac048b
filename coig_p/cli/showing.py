"""The command that shows queries in a terminal: show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.options import Finite, as_json, config_options, domains_option, store_argument
from coig_p.cli.screen import json_text, one_line, progress, table
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable, wrapped
from coig_p.pairs.config import PairConfig

if TYPE_CHECKING:
    from coig_p.report.one_query import OneQuery

_WIDEST, _NARROWEST = 100, 40
_MOST_PAIRS = 200  # of a query, for people; --json has all


@command("show")
@store_argument()
@click.argument("query_id", required=False, metavar="[QUERY_ID]")
@click.option("--random", "random_", is_flag=True, help="Queries drawn at random; --seed draws others.")
@click.option("--disagree", is_flag=True, help="Where two judges' margins for one pair are furthest apart.")
@click.option("--rule", metavar="ID", help="Where a rule of `coigp check` finds something.")
@click.option("--near", type=Finite(min=0), metavar="MARGIN", help="Where a pair's margin is nearest to this.")
@click.option("-n", "--number", type=click.IntRange(min=1), default=1, show_default=True, help="How many queries.")
@domains_option
@config_options(PairConfig, ["format"])
@as_json
def show(
    store: Path,
    query_id: str | None,
    random_: bool,
    disagree: bool,
    rule: str | None,
    near: float | None,
    number: int,
    domains: tuple[str, ...],
    json_: bool,
    **options: Any,
) -> None:
    """Show queries of a STORE: what was asked, each response with its scores, and the pairs they give.

    Without QUERY_ID and options the first query is shown.

    \b
    coigp show store math-0001
    coigp show store --disagree -n 10
    coigp show store --near 2 --domain math
    coigp show store --rule refusal --json | jq .[0].query_id
    """
    from coig_p.pairs.config import check_judges
    from coig_p.report import picking
    from coig_p.report.one_query import place_of, read_query
    from coig_p.store.store import Store

    ways = [query_id is not None, random_, disagree, rule is not None, near is not None]
    if sum(ways) > 1:
        raise click.UsageError("QUERY_ID, --random, --disagree, --rule and --near exclude each other.")
    if query_id is not None and (number > 1 or domains):
        raise click.UsageError("QUERY_ID names one query: leave out --number and --domain.")
    config = PairConfig(**options)
    opened = Store.open(store)
    check_judges(config, opened.manifest.judges)
    files = opened.selected_files(domains)
    with progress("Looking", sum(file.rows or 0 for file in files), "queries") as advance:
        if query_id is not None:
            found = [picking.Picked(place_of(opened, query_id), "")]
        elif random_:
            found = picking.drawn(opened, number, domains, config.seed, advance)
        elif disagree:
            found = picking.disagreeing(opened, number, domains, config, advance)
        elif rule is not None:
            found = picking.found_by(opened, number, domains, rule, advance)
        elif near is not None:
            found = picking.near(opened, number, domains, config, near, advance)
        else:
            found = picking.first(opened, number, domains, advance)
    most = None if json_ else _MOST_PAIRS
    shown = [(one.why, read_query(opened, one.place, config, most_pairs=most)) for one in found]
    if json_:
        click.echo(json_text([query.to_dict() | {"why": why or None} for why, query in shown]))
        return
    columns = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    for at, (why, query) in enumerate(shown):
        if at:
            click.echo("\n" + "=" * columns + "\n")
        for line in _lines(query, why, columns):
            click.echo(line)
    if not shown:
        click.echo("no query is like that", err=True)


def _lines(query: OneQuery, why: str, columns: int) -> Iterator[str]:
    raw = query.raw
    source = f"   source: {one_line(raw['source'])}" if raw["source"] else ""
    yield f"{one_line(raw['query_id'])}   {raw['domain']}/{query.split}{source}"
    if why:
        yield one_line(why)
    for turn in query.messages:
        yield ""
        yield f"{one_line(turn['role'])}:"
        yield from wrapped(printable(turn["content"] or ""), columns, "    ")
        yield from _beside(turn["extra"], columns)
    for at, (response, value) in enumerate(zip(query.responses, query.values, strict=True), 1):
        yield ""
        sample = f" #{response['sample']}" if response["sample"] else ""
        scores = ", ".join(
            f"{_judge(score)} {_number(score['score'])}" + ("" if is_counted else " (not counted)")
            for score, is_counted in zip(response["scores"] or [], query.counted[at - 1], strict=True)
        )
        told = "no score" if value is None else f"{value:g}"
        yield f"{at}. {one_line(response['model'])}{sample}   {told}" + (f"   {scores}" if scores else "")
        yield from wrapped(printable(response["text"] or ""), columns, "    ")
        yield from _beside(response["extra"], columns)
        for score in response["scores"] or []:
            if score["rationale"]:
                yield from wrapped(f"{_judge(score)}: {printable(score['rationale'])}", columns, "      | ")
    if query.comparisons:
        yield ""
        yield table(["judge", "shown", "said"], [[_judge(one), *_both(one)] for one in query.comparisons])
        for one in query.comparisons:
            if one["rationale"]:
                said = f"{_judge(one)} on {_both(one)[0]}: {printable(one['rationale'])}"
                yield from wrapped(said, columns, "      | ")
    yield ""
    yield from _pairs(query)


def _pairs(query: OneQuery) -> Iterator[str]:
    strict = " (strict)" if query.config.strict else ""
    yield f"{counted(query.pairs_in_all, 'pair')} at threshold {query.config.margin}{strict}"
    names = [one_line(str(response["model"])) for response in query.responses]
    rows = [
        [
            f"{pair.chosen + 1} over {pair.rejected + 1}",
            f"{pair.chosen_score:g} - {pair.rejected_score:g} = {pair.margin:g}",
            names[pair.chosen],
            names[pair.rejected],
            "compared" if pair.compared else "scores",
        ]
        for pair in query.pairs
    ]
    if rows:
        yield table(["pair", "margin", "chosen", "rejected", "by"], rows)
    if len(rows) < query.pairs_in_all:
        yield f"the first {len(rows):,} of them; --json has all"
    left = query.left_out
    words = [
        f"{number:,} {'tie' if (reason, number) == ('ties', 1) else reason}"
        for reason, number in left.items()
        if number
    ]
    if words:
        yield "no pairs: " + ", ".join(words)


def _beside(extra: str | None, columns: int) -> Iterator[str]:
    """What a turn or an answer is beside its text, for instance calls of tools."""
    if extra:
        yield from wrapped(printable(extra), columns, "    + ")


def _judge(said: dict[str, Any]) -> str:
    dimension = said["dimension"]
    return one_line(said["judge"] if dimension in (None, "overall") else f"{said['judge']}/{dimension}")


def _both(said: dict[str, Any]) -> list[str]:
    """Which two responses a judge was shown, in this order, and what it gave each."""
    return [f"{said['first'] + 1} : {said['second'] + 1}", f"{said['first_score']:g} : {said['second_score']:g}"]


def _number(score: float | None) -> str:
    return "none" if score is None else f"{score:g}"
