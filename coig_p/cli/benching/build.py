"""`coigp bench build`: from a store, by what people say, to a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from coig_p.cli.options import (
    Finite,
    as_json,
    config_options,
    domains_option,
    list_option,
    overwrite_option,
    split_option,
    store_argument,
)
from coig_p.cli.screen import json_text, one_line, pasted, progress, say, table
from coig_p.cli.tree import command
from coig_p.core.text import counted
from coig_p.pairs.config import PairConfig

if TYPE_CHECKING:
    from coig_p.reward.bench.building import Built
    from coig_p.reward.bench.judged import Judged
    from coig_p.reward.bench.pool import Pool
    from coig_p.stats.reliability import Estimate

_OF_DRAWS = {"form", "pool", "by", "double", "gold", "domains", "split"} | {
    name for name in PairConfig.__dataclass_fields__ if name not in ("format", "multi_turn")
}
_OF_BUILDS = {"name", "licence"}
_FAILED = {
    "query_ok": "query not fit",
    "correct": "chosen not correct",
    "preferred": "chosen not better",
    "tied": "all tied",
}


@command("build")
@store_argument()
@click.option("--review", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Where people are asked.")
@list_option("--annotators", help="Draw a pool and ask these: a name each, part of their files' names.", once=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="BENCH", help="Write the benchmark there.")
@click.option(
    "--form",
    type=click.Choice(["accept", "triple"]),
    default="accept",
    show_default=True,
    help="What is asked: whether a pair can be accepted, as for CRBench; or the ranking of triples of up to five "
    "responses, as for CheemsBench.",
)
@click.option("--pool", type=click.IntRange(min=1), default=5000, show_default=True, help="Queries that are drawn.")
@click.option(
    "--by",
    type=click.Choice(["query", "domain", "pair"]),
    default="query",
    show_default=True,
    help="Each query as likely as any other, as many of each domain, or the likelier the more pairs a query has.",
)
@click.option(
    "--double", type=Finite(0, 1), default=0.1, show_default=True, help="Share of items that a second one judges, too."
)
@click.option(
    "--stop-after", type=click.IntRange(min=1), metavar="N", help="Accepted items that are enough. Default: 1000."
)
@click.option(
    "--gold",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON Lines of items whose answer is known. They are mixed in, a tenth of each annotator's tasks.",
)
@click.option("--name", metavar="TEXT", help="What the benchmark is called. Default: the store's name.")
@click.option("--licence", metavar="TEXT", help="Of the benchmark. Default: that of all sources of the store.")
@domains_option
@split_option
@config_options(PairConfig, ["format", "multi_turn"])
@overwrite_option("a review that nobody has answered yet, or a benchmark at BENCH")
@as_json
@click.pass_context
def build(
    context: click.Context,
    /,
    store: Path,
    review: Path,
    annotators: tuple[str, ...],
    out: Path | None,
    form: str,
    pool: int,
    by: str,
    double: float,
    stop_after: int | None,
    gold: Path | None,
    name: str | None,
    licence: str | None,
    domains: tuple[str, ...],
    split: str | None,
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Build a benchmark of a STORE by what people say, in three steps, each this command.

    With --annotators it draws a pool of queries and the tasks of each annotator; then people answer, as coigp review
    has it. With neither --annotators nor --out it says how far they are, and ends the handing out of tasks once more
    are accepted than --stop-after. With --out it writes what was accepted, and train-exclude.txt beside it: the queries
    that must not be trained on, near-duplicates included, for --exclude.

    \b
    coigp bench build store --review pool --annotators a,b,c
    coigp review serve pool
    coigp bench build store --review pool
    coigp bench build store --review pool --out bench
    coigp export store --for trl-reward --out train --exclude bench/train-exclude.txt
    coigp bench build store --review triples --annotators a,b,c --form triple --pool 200 --stop-after 100
    """
    from coig_p.reward.bench.building import BuildConfig, build_bench, standing
    from coig_p.reward.bench.pool import STOP_AFTER, PoolConfig, make_pool
    from coig_p.reward.seeds import check_seed
    from coig_p.store.store import Store

    given = {one for one in context.params if context.get_parameter_source(one) == ParameterSource.COMMANDLINE}
    check_seed(options["seed"])
    if annotators and out is not None:
        raise click.UsageError("--annotators draws a pool, --out builds of what was said of one: first the one.")
    if annotators:
        _check_alone(given & _OF_BUILDS, "with --out, once people have answered")
        config = PoolConfig(form, pool, by, double, stop_after or STOP_AFTER, domains, split, options["seed"])  # type: ignore[arg-type]
        opened = Store.open(store)
        queries = sum(file.rows or 0 for file in opened.selected_files(domains, split))
        with progress("Drawing", 2 * queries, "queries") as advance:
            drawn = make_pool(
                opened, review, config, annotators, pairs=PairConfig(**options), gold=gold, overwrite=overwrite,
                advance=advance,
            )  # fmt: skip
        click.echo(json_text(drawn.to_dict())) if json_ else _show_pool(drawn, config.pool, store)
        return
    _check_alone(given & _OF_DRAWS, "with --annotators, where a pool is drawn")
    if out is None:
        _check_alone(given & _OF_BUILDS, "with --out")
        found = standing(review, stop_after)
        click.echo(json_text(found.to_dict())) if json_ else _show_standing(found, store, review)
        return
    built = build_bench(
        Store.open(store), review, out, BuildConfig(name, licence, stop_after), overwrite=overwrite, bar=progress
    )
    click.echo(json_text(built.to_dict())) if json_ else _show_built(built, store)


def _check_alone(others: set[str], where: str) -> None:
    if others:
        named = ", ".join(f"--{one.replace('_', '-')}" for one in sorted(others)).replace("--domains", "--domain")
        raise click.UsageError(f"{named}: only {where}.")


def _show_pool(pool: Pool, wanted: int, store: Path) -> None:
    made = pool.made
    if pool.unfit:
        unfit = counted(pool.unfit, "query", "queries")
        say(f"not drawn, since a benchmark has no form for tools, calls or reasoning: {unfit}")
    rows = [[name, number, made.gold[name]] for name, number in made.tasks.items()]
    click.echo(table(["annotator", "tasks", "gold"], rows))
    if made.queries < wanted:
        click.echo(f"fewer queries than were wanted, all of them are drawn: {made.queries:,} of {wanted:,}")
    by_domain = ", ".join(f"{domain} {number:,}" for domain, number in made.domains.items())
    items = counted(made.items, "triple" if made.review.form == "triple" else "pair")
    of = f" of {counted(made.queries, 'query', 'queries')}" if made.review.form == "triple" else ""
    click.echo(one_line(f"wrote {made.review.path}: {items}{of} ({by_domain}), {pool.doubled:,} of them for two"))
    click.echo(f"next: coigp review serve {pasted(made.review.path)}")
    click.echo(f"then: coigp bench build {pasted(store)} --review {pasted(made.review.path)}")


def _show_standing(found: Judged, store: Path, review: Path) -> None:
    _show_judged(found)
    number = len(found.accepted)
    if found.stopped is not None:
        since = found.stopped.isoformat(timespec="seconds")
        said = "pages hand out no more, and what is in hand is finished"
        click.echo(f"{number:,} are accepted, more than {found.stop_after:,} since {since}: {said}")
    else:
        click.echo(f"{number:,} are accepted; enough are more than {found.stop_after:,}")
    if any(one.state == "open" for one in found.queries):
        click.echo(f"without a majority: asked once more by coigp review resolve {pasted(review)}")
    if number:
        click.echo(f"next: coigp bench build {pasted(store)} --review {pasted(review)} --out bench")


def _show_built(built: Built, store: Path) -> None:
    _show_judged(built.judged)
    if not built.same_store:
        click.echo("the store is another than the pool was drawn from; all that was shown is there, unchanged")
    items, pairs, exclude = sum(built.items.values()), sum(built.pairs.values()), built.exclude
    click.echo(one_line(f"wrote {built.path}: {built.name}, {counted(items, 'item')}, {counted(pairs, 'pair')}"))
    listed = built.path / "train-exclude.txt"
    click.echo(
        one_line(
            f"wrote {listed}: {counted(exclude.listed.count, 'query', 'queries')} that must not be trained on, "
            f"{exclude.near:,} of them near-duplicates"
        )
    )
    click.echo(f"next: coigp export {pasted(store)} --for trl-reward --out train --exclude {pasted(listed)}")


def _show_judged(found: Judged) -> None:
    from coig_p.reward.bench.judged import part_of

    parts = {**found.domains(), "all": part_of(found.queries)}
    states = ["accepted", "rejected", "open", "skipped", "waiting", *(["late"] if found.stopped is not None else [])]
    rows = [[name, part.drawn, *(part.states[state] for state in states)] for name, part in parts.items()]
    click.echo(table(["domain", "drawn", *states], rows))
    failed = parts["all"].failed
    if failed:
        click.echo("rejected: " + ", ".join(f"{_FAILED[name]} {number:,}" for name, number in failed.items()))
    if found.agreement is not None:
        units = counted(found.agreement.units, "verdict")
        click.echo(
            f"judged by two in time: {units}, {found.equal:,} of them equal: {_told(found.share, 100, '%')}, "
            f"alpha {_told(found.agreement.alpha)}, AC1 {_told(found.agreement.ac1)}"
        )
    elif found.doubled:
        when = "yet" if found.stopped is None else "in time"
        click.echo(f"for two: {counted(found.doubled, 'item')}, of which two judged none {when}")
    if found.conflict_rate is not None:
        missing = sum(one.missing for one in found.accepted)
        click.echo(
            f"of {found.relations:,} relations {found.kept:,} hold: a conflict rate of {found.conflict_rate:.1%}"
            + (f"; {counted(missing, 'triple')} of accepted queries missing" if missing else "")
        )


def _told(number: Estimate, times: int = 1, unit: str = "") -> str:
    if number.value is None:
        return "–"
    digits = 1 if times > 1 else 2
    between = ""
    if number.low is not None and number.high is not None:
        between = f" ({times * number.low:.{digits}f} – {times * number.high:.{digits}f})"
    return f"{times * number.value:.{digits}f}{unit}{between}"
