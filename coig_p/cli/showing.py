"""The command that shows queries in a terminal: show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.options import Finite, as_json, config_options, domains_option, store_argument
from coig_p.cli.screen import json_text, one_line, progress, table
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable, wrapped
from coig_p.errors import named
from coig_p.pairs.config import PairConfig

if TYPE_CHECKING:
    from coig_p.report.one_query import OneQuery
    from coig_p.stats.apart import Apart

_WIDEST, _NARROWEST = 100, 40
_MOST_PAIRS = 200  # of a query, for people
_MOST_IN_JSON = 10_000  # for programs; 5,000 responses have 12 million
_MOST_RESPONSES = 200


@command("show")
@store_argument()
@click.argument("query_id", required=False, metavar="[QUERY_ID]")
@click.option("--random", "random_", is_flag=True, help="Queries drawn at random; --seed draws others.")
@click.option("--disagree", is_flag=True, help="The pairs on which two judges disagree most.")
@click.option("--rule", metavar="ID", help="Where a rule of `coigp check` finds something.")
@click.option("--near", type=Finite(min=0), metavar="MARGIN", help="Where a pair's margin is nearest to this.")
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many queries; with --disagree pairs.",
)
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

    Without QUERY_ID and options the first query is shown. STORE is a folder, org/name on the Hub, org/name@revision, or
    hf://datasets/org/name.

    \b
    coigp show store math-0001
    coigp show store --disagree -n 10
    coigp show store --disagree -n 10 --judges fictional-zhuxi,fictional-songbai
    coigp show store --near 2 --domain math
    coigp show store --rule refusal --json | jq .[0].query_id
    """
    from coig_p.pairs.agreeing import reward_names
    from coig_p.pairs.config import check_judges
    from coig_p.report import picking
    from coig_p.report.one_query import place_of, read_query
    from coig_p.stats.apart import most_apart
    from coig_p.store.locate import locate, open_located

    ways = [query_id is not None, random_, disagree, rule is not None, near is not None]
    if sum(ways) > 1:
        raise click.UsageError("QUERY_ID, --random, --disagree, --rule and --near exclude each other.")
    if query_id is not None and (number > 1 or domains):
        raise click.UsageError("QUERY_ID names one query: leave out --number and --domain.")
    config = PairConfig(**options)
    opened = open_located(locate(store), rewards=reward_names(config))
    check_judges(config, opened.manifest.judges)
    files = opened.selected_files(domains)
    apart: list[Apart] = []
    with progress("Looking", sum(file.rows or 0 for file in files), "queries") as advance:
        if query_id is not None:
            found = [picking.Picked(place_of(opened, query_id), "")]
        elif random_:
            found = picking.drawn(opened, number, domains, config.seed, advance)
        elif disagree:
            apart = most_apart(opened, number, config, domains=domains, advance=advance).of()
            found = picking.where_apart(apart)
        elif rule is not None:
            found = picking.found_by(opened, number, domains, rule, advance)
        elif near is not None:
            found = picking.near(opened, number, domains, config, near, advance)
        else:
            found = picking.first(opened, number, domains, advance)
    most = _MOST_IN_JSON if json_ else _MOST_PAIRS
    shown = [(one.why, read_query(opened, one.place, config, most_pairs=most)) for one in found]
    if json_:
        click.echo(json_text([query.to_dict() | {"why": why or None} for why, query in shown]))
        return
    columns = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    if apart:
        click.echo(_apart_table(apart))
    for at, (why, query) in enumerate(shown):
        if at or apart:
            click.echo("\n" + "=" * columns + "\n")
        for line in _lines(query, why, columns):
            click.echo(line)
    if not shown:
        click.echo("no query is like that", err=True)


def _lines(query: OneQuery, why: str, columns: int) -> Iterator[str]:
    raw = query.raw
    source = f"   source: {one_line(raw['source'])}" if raw["source"] else ""
    yield f"{one_line(raw['query_id'])}   {raw['domain']}/{query.split}{source}"
    for line in why.splitlines():
        yield one_line(line)
    for turn in query.messages:
        yield ""
        yield f"{one_line(turn['role'])}:"
        yield from wrapped(printable(turn["content"] or ""), columns, "    ")
        yield from _beside(turn["extra"], columns)
    both = zip(query.responses, query.values, strict=True)
    for at, (response, value) in enumerate(islice(both, _MOST_RESPONSES), 1):
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
    if len(query.responses) > _MOST_RESPONSES:
        yield ""
        yield f"the first {_MOST_RESPONSES:,} of {len(query.responses):,} responses; --json has all"
    if query.comparisons:
        few = query.comparisons[:_MOST_RESPONSES]
        yield ""
        yield table(["judge", "shown", "said"], [[_judge(one), *_both(one)] for one in few])
        if len(few) < len(query.comparisons):
            yield f"the first {len(few):,} of {len(query.comparisons):,} comparisons; --json has all"
        for one in few:
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
        yield f"the first {len(rows):,} of them; --json has {'all' if query.pairs_in_all <= _MOST_IN_JSON else 'more'}"
    left = query.left_out
    words = [
        f"{number:,} {'tie' if (reason, number) == ('ties', 1) else reason}"
        for reason, number in left.items()
        if number
    ]
    if words:
        yield "no pairs: " + ", ".join(words)


def _apart_table(apart: Sequence[Apart]) -> str:
    """The pairs on which judges disagree most, and what either gave the two."""
    rows = [
        [
            f"{one.apart:g}",
            one.query_id,
            f"{one.first + 1}. {one.first_model}",
            f"{one.second + 1}. {one.second_model}",
            f"{named(one.judge)} {one.gave[0]:g} : {one.gave[1]:g}",
            f"{named(one.other)} {one.other_gave[0]:g} : {one.other_gave[1]:g}",
        ]
        for one in apart
    ]
    return table(["apart", "query", "one response", "another", "a judge gave them", "another judge"], rows)


def _beside(extra: str | None, columns: int) -> Iterator[str]:
    """What a turn or an answer is beside its text, for instance calls of tools."""
    if extra:
        yield from wrapped(printable(extra), columns, "    + ")


def _judge(said: dict[str, Any]) -> str:
    dimension = said["dimension"]
    judge = named(said["judge"])
    return one_line(judge if dimension in (None, "overall") else f"{judge}/{dimension}")


def _both(said: dict[str, Any]) -> list[str]:
    """Which two responses a judge was shown, in this order, and what it gave each."""
    return [f"{said['first'] + 1} : {said['second'] + 1}", f"{said['first_score']:g} : {said['second_score']:g}"]


def _number(score: float | None) -> str:
    return "none" if score is None else f"{score:g}"
