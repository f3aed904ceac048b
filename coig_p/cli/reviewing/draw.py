"""`coigp review draw`: which items people are asked about, and again about which."""

from __future__ import annotations

from collections.abc import Sequence
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
from coig_p.cli.screen import json_text, one_line, pasted, progress, table
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable
from coig_p.pairs.config import PairConfig

if TYPE_CHECKING:
    from coig_p.review.drawing import DrawConfig, Order
    from coig_p.review.making import Made
    from coig_p.stats.intervals import Share
    from coig_p.store.store import Store

_FORMS = ("pair", "triple", "accept", "query")
_WAYS = ("disagreement", "margin", "length", "rule")
_OF_AUDITS = {"store", "out", "audit", "annotators", "overlap", "gold", "json_"}
_YIELD = (
    "What looking at the first pairs by {by} would find, as large a share of the pairs as is drawn: each judge, or "
    "person, in turn is left out, the others make the pairs and their order, and a pair is opposed, so likely wrong, "
    "where the one left out prefers the other response."
)
_YIELD_HEADER = ["left out", "pairs", "looked at", "opposed of all", "opposed of looked at", "opposed that are found"]
_TRIPLES = "a query gives 1 triple of three different responses, 4 of four, 5 of five or more"
_ITEMS = {"pair": "pair", "triple": "triple", "accept": "pair", "query": "query"}


@command("draw")
@store_argument()
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Write the review there.")
@list_option("--annotators", help="Who is asked: a name each, part of the names of their files.", once=True)
@click.option(
    "--form",
    type=click.Choice(_FORMS),
    default="pair",
    show_default=True,
    help="What is asked: which of two answers is better, and correct; the ranking of three; whether a pair can be "
    "accepted, its query being fit; whether a query can be answered.",
)
@click.option("--per-domain", type=int, metavar="N", help="Queries of each domain. Default: 40; a smaller gives all.")
@click.option(
    "--total",
    type=int,
    metavar="N",
    help="Queries in all, evenly by domain, in place of --per-domain; what a small domain lacks, others give. In form "
    "triple a query gives 1, 4 or 5 tasks: of 3, of 4, of more different responses.",
)
@click.option("--overlap", type=int, metavar="N", help="How many annotators see an item. Default: all; 1 in an audit.")
@click.option("--split-domains", is_flag=True, help="A domain goes to one annotator, or to as many as --overlap says.")
@click.option(
    "--gold",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON Lines of items whose answer is known. They are mixed in, a tenth of each annotator's tasks.",
)
@click.option(
    "--audit",
    type=Finite(0, 1, min_open=True),
    metavar="SHARE",
    help="Ask again about this share of all items of the review at DIR that were answered, rounded up, as a round of "
    "its own.",
)
@click.option("--by", type=click.Choice(_WAYS), help="Take the pairs that are most likely wrong, by this, not any.")
@click.option("--budget", type=int, metavar="N", help="With --by: so many pairs in all, of whatever domain.")
@list_option("--rule", "rules", help="With --by rule: only what these rules find. Repeatable. Default: all.")
@click.option(
    "--strata", type=click.Choice(["margin"]), help="Pairs of each whole point of margin, evenly. Not with --by."
)
@domains_option
@split_option
@config_options(PairConfig, ["format", "multi_turn"])
@overwrite_option("a review at DIR that nobody has answered yet")
@as_json
@click.pass_context
def draw(
    context: click.Context,
    /,
    store: Path,
    out: Path,
    annotators: tuple[str, ...],
    form: str,
    per_domain: int | None,
    total: int | None,
    overlap: int | None,
    split_domains: bool,
    gold: Path | None,
    audit: float | None,
    by: str | None,
    budget: int | None,
    rules: tuple[str, ...],
    strata: str | None,
    domains: tuple[str, ...],
    split: str | None,
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Draw pairs of a STORE that people judge, blind: per domain, by hash, one pair a query.

    Form triple takes all triples of a query that hold every two of its responses: 1 of three different responses, 4
    of four, 5 of five or more, whose first five by hash count. So 30 queries may be 150 tasks.

    DIR holds each annotator's tasks, also in Label Studio's form, and a key that stays with you.

    \b
    coigp review draw store --out review --annotators a,b,c
    coigp review draw store --out review --annotators a,b,c --total 240 --gold gold.jsonl --strata margin
    coigp review draw store --out review --annotators a,b --by disagreement --budget 100
    coigp review draw store --out review --audit 0.3 --annotators d --gold gold.jsonl
    """
    from coig_p.review.drawing import DrawConfig
    from coig_p.review.making import check_place, make_audit, make_review
    from coig_p.store.store import Store

    given = {name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE}
    if audit is not None:
        _check_alone(given - _OF_AUDITS)
        made = make_audit(out, Store.open(store), audit, annotators=annotators, overlap=overlap or 1, gold=gold)
        _show(made, None, [], json_, {})
        return
    if not annotators:
        raise click.UsageError("Missing option '--annotators': name those who are asked, as --annotators a,b,c.")
    if by is None and budget is not None:
        raise click.UsageError("--budget: say by what pairs are ranked, as --by margin.")
    if by is not None and form not in ("pair", "accept"):
        raise click.UsageError(f"--by {by}: form {form} asks about no pairs.")
    if by is not None and strata is not None:
        raise click.UsageError(
            f"--strata beside --by {by}: one takes all margins evenly, the other the pairs it ranks "
            "first. Leave one of them out."
        )
    if by != "rule" and rules:
        raise click.UsageError("--rule: only with --by rule.")
    config = DrawConfig(form, per_domain, total, budget, strata, domains, split, options["seed"])
    pairs = PairConfig(**options)
    check_place(out, overwrite)
    opened = Store.open(store)
    queries = sum(file.rows or 0 for file in opened.selected_files(domains, split))
    told = {"per_domain": per_domain, "total": total, "budget": budget, "by": by, "rules": list(rules)}
    told |= {"strata": strata, "split_domains": split_domains, "domains": list(domains), "split": split}
    order, said, fields = None, list[str](), dict[str, Any]()
    if by is not None:
        order, said, fields = _ranked(opened, by, rules, config, pairs, queries)
    with progress("Drawing", queries, "queries") as advance:
        made, _ = make_review(
            opened,
            out,
            config,
            annotators,
            pairs=pairs,
            overlap=overlap,
            gold=gold,
            split_domains=split_domains,
            order=order,
            overwrite=overwrite,
            options={name: value for name, value in told.items() if value},
            advance=advance,
        )
    _show(made, total, said, json_, fields)


def _ranked(
    store: Store, by: str, rules: Sequence[str], config: DrawConfig, pairs: PairConfig, queries: int
) -> tuple[Order, list[str], dict[str, Any]]:
    """The order of pairs, and what is said of it: for people, and as fields of JSON."""
    from coig_p.pairs.reach import check_reachable
    from coig_p.review.ranking import ELSEWHERE, findings_of, ranking, yields

    resolved = check_reachable(pairs, store.manifest)
    findings, said = None, []
    if by == "rule":
        with progress("Checking", queries, "queries") as advance:
            findings = findings_of(store, rules, config.domains, advance)
        number = sum(map(len, findings.values()))
        said.append(f"rules found something in {counted(number, 'response')} of {len(findings):,} queries")
    domains = list(dict.fromkeys(str(file.domain) for file in store.selected_files(config.domains, config.split)))
    with progress("Counting what it finds", queries, "queries") as advance:
        found, why_not = yields(
            store,
            by,
            resolved,
            config.budget or config.wanted(domains),
            refill=config.total is not None,
            findings=findings,
            domains=config.domains,
            split=config.split,
            advance=advance,
        )
    if found:
        rows = [
            [one.judge, one.pairs, one.budget, _told(one.opposed), _told(one.in_budget), _told(one.found)]
            for one in found
        ]
        said += [_YIELD.format(by=by), table(_YIELD_HEADER, rows)]
    said += [*([why_not] if why_not else []), ELSEWHERE[by]]
    fields = {
        "by": by,
        "yield": [one.to_dict() for one in found],
        "why_not": why_not or None,
        "elsewhere": ELSEWHERE[by],
    }
    return ranking(by, pairs, findings), said, fields


def _check_alone(others: set[str]) -> None:
    if others:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(others))
        raise click.UsageError(f"{named}: no effect beside --audit, which asks about what was drawn before.")


def _told(share: Share) -> str:
    if share.share is None:
        return "-"
    between = "" if share.low is None or share.high is None else f" ({share.low:.1%} to {share.high:.1%})"
    return f"{share.share:.1%}{between}"


def _show(made: Made, total: int | None, more: Sequence[str], json_: bool, fields: dict[str, Any]) -> None:
    if json_:
        click.echo(json_text(made.to_dict() | fields))
        return
    review = made.review
    if made.short:
        named = ", ".join(f"{domain} {has:,} of {wanted:,}" for domain, (has, wanted) in made.short.items())
        in_all = "" if total is None else f"; with what the others have, {made.queries:,} of {total:,}"
        click.echo(one_line(f"fewer queries than were wanted, all of them are drawn: {named}{in_all}"))
    if not made.same_store:
        click.echo("the store is another than the review was drawn from; all that was shown is there, unchanged")
    if made.waiting:
        click.echo(f"{counted(made.waiting, 'task')} of earlier audits still to be answered; this audit adds to them")
    rows = [[name, number, made.gold[name]] for name, number in made.tasks.items()]
    click.echo(table(["annotator", "tasks", "gold"], rows))
    for line in ["", *more, ""] if more else []:
        click.echo(printable(line))
    by_domain = ", ".join(f"{domain} {number:,}" for domain, number in made.domains.items())
    what = counted(made.items, _ITEMS[review.form], {"query": "queries"}.get(_ITEMS[review.form]))
    if review.form == "triple":
        click.echo(_TRIPLES)
        what += f" of {counted(made.queries, 'query', 'queries')}"
    click.echo(one_line(f"wrote {review.path}, round {review.rounds}: {what} ({by_domain})"))
    first = next(iter(made.tasks))
    click.echo(f"next: coigp review serve {pasted(review.path)} --annotator {pasted(first)}")
