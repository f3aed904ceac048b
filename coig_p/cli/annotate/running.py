"""`coigp annotate run` and its stages: what is asked, and what came of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.annotate.batches import read_in, write_out
from coig_p.cli.annotate.common import FILE, agree_to_pay_again, approve, limits, trusting
from coig_p.cli.annotate.live import watched
from coig_p.cli.annotate.looking import print_estimate
from coig_p.cli.annotate.reading import readable
from coig_p.cli.options import as_json, overwrite_option
from coig_p.cli.screen import json_text, say
from coig_p.cli.tree import Command, command
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    from coig_p.annotate.config import RunConfig
    from coig_p.annotate.stages import Report


@command("run")
@FILE
@click.option("--estimate", is_flag=True, help="Say what is left to ask and what it will cost; ask nothing.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Ask for the first N queries (with a [taxonomy]: subjects) alone, through all stages, and show them with all "
    "that came of them.",
)
@limits
@click.option(
    "--batch-out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Ask nothing; write what the next stage asks as OpenAI batch files.",
)
@overwrite_option("batch files in the DIR of --batch-out")
@click.option(
    "--batch-in",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Ask nothing; read the answers of batch files. Repeatable; no commas, since a path may hold one.",
)
@click.option("--batch-forget", is_flag=True, help="Ask nothing; what is out in batch files may be asked online again.")
@as_json
def run(
    file: Path,
    estimate: bool,
    limit: int | None,
    max_cost: float | None,
    max_hours: float | None,
    batch_out: Path | None,
    batch_in: tuple[Path, ...],
    batch_forget: bool,
    overwrite: bool,
    yes: bool,
    trust: bool,
    allow: tuple[str, ...],
    json_: bool,
) -> None:
    """Run all stages of FILE: queries, generate, judge, store.

    With a [taxonomy]: types, refine, prompts, generate, select, compare, store.
    Run it again to go on where it ended.

    Ctrl-C waits for what is in flight; a second one abandons it. Where prompts, parameters or queries changed, so that
    what was answered would be paid again, it asks first (--yes). Exits 3 where an endpoint was left
    or requests failed, 1 where the budget or the time was reached.

    \b
    coigp annotate run run.toml --limit 5
    coigp annotate run run.toml --max-cost 20
    coigp annotate run run.toml --batch-out batch
    coigp annotate run run.toml --batch-in batch/answers.jsonl
    """
    from coig_p.annotate.config import load_config
    from coig_p.annotate.stages import stages_of

    if sum([estimate, batch_out is not None, bool(batch_in), batch_forget]) > 1:
        raise click.UsageError("--estimate, --batch-out, --batch-in and --batch-forget exclude each other.")
    if limit is not None and (batch_out is not None or batch_in or batch_forget):
        raise click.UsageError("--limit asks online: leave the batch options out.")
    config = load_config(file)
    approve(config, trust, allow, sends=not estimate or trust or bool(allow))  # a yes that is said holds for the run
    if estimate:
        print_estimate(config, limit, json_)
    elif batch_out is not None:
        agree_to_pay_again(config, stages_of(config), yes)
        write_out(config, batch_out, overwrite, json_)
    elif batch_in:
        read_in(config, batch_in, json_)
    elif batch_forget:
        from coig_p.annotate.asking.ledger import LedgerWriter

        with LedgerWriter.open(config.folder) as ledger:
            number = ledger.forget_batches()
        click.echo(json_text({"forgotten": number}) if json_ else f"{number:,} requests may be asked online again")
    else:
        agree_to_pay_again(config, stages_of(config), yes, limit)
        _run(config, None, max_cost, max_hours, json_, limit=limit)


def _stage(name: str, does: str) -> Command:
    """The command that runs one stage."""

    def stage(
        file: Path,
        max_cost: float | None,
        max_hours: float | None,
        yes: bool,
        trust: bool,
        allow: tuple[str, ...],
        json_: bool,
    ) -> None:
        from coig_p.annotate.config import load_config
        from coig_p.annotate.stages import check_stages

        config = load_config(file)
        check_stages(config, (name,))
        approve(config, trust, allow)
        agree_to_pay_again(config, (name,), yes)
        _run(config, (name,), max_cost, max_hours, json_)

    help_ = f"{does}\n\n\b\ncoigp annotate {name} run.toml"
    return click.command(name, cls=Command, help=help_)(FILE(limits(as_json(stage))))


queries = _stage("queries", "Only collect the queries of FILE: import, remove duplicates, have the filter score them.")
generate = _stage("generate", "Only have the models of FILE answer the queries that passed.")
types = _stage("types", "Only have the writers of FILE list types of questions for each subject of its [taxonomy].")
refine = _stage("refine", "Only have the types of FILE, which has a [taxonomy], described anew.")
prompts = _stage(
    "prompts", "Only have prompts of the refined types of FILE, which has a [taxonomy], written and checked."
)
select = _stage("select", "Only select the responses that are compared, in FILE with a [taxonomy]. Asks no judge.")
compare = _stage("compare", "Only have the judges of FILE, which has a [taxonomy], compare the selected responses.")
judge = _stage("judge", "Only have the judges of FILE score the responses that there are.")


@command("store")
@FILE
@click.option(
    "--all-responses",
    is_flag=True,
    help="In FILE with a [taxonomy]: keep the responses that were not selected, too, without comparisons.",
)
@trusting
@as_json
def store(file: Path, all_responses: bool, trust: bool, allow: tuple[str, ...], json_: bool) -> None:
    """Only write the store of FILE from what there is, at any time, also while a run is working.

    The store in the run's folder is the run's own, and is written anew each time without asking.
    missing.jsonl beside it lists what is not in it yet, and why.

    \b
    coigp annotate store run.toml
    coigp annotate store tap.toml --all-responses
    """
    from coig_p.annotate.config import load_config

    config = load_config(file)
    if all_responses:
        if config.tap is None:
            raise click.UsageError("--all-responses is of a run with a [taxonomy], which selects some. Leave it out.")
        config = replace(config, tap=replace(config.tap, select=replace(config.tap.select, all_responses=True)))
    approve(config, trust, allow)
    _run(config, ("store",), None, None, json_)


def _run(
    config: RunConfig,
    stages: tuple[str, ...] | None,
    max_cost: float | None,
    max_hours: float | None,
    json_: bool,
    *,
    limit: int | None = None,
) -> None:
    from coig_p.annotate.asking.costs import MONEY
    from coig_p.annotate.stages import exit_code, run_stages

    with watched(json_) as watch:
        report = run_stages(
            config,
            stages,
            max_cost=None if max_cost is None else int(Decimal(str(max_cost)) * MONEY),
            max_seconds=None if max_hours is None else max_hours * 3600,
            say=say,
            watch=watch,
            limit=limit,
        )
    told = _as_json(report)
    if limit is not None:
        told |= _show_first(config, limit, json_)
    if json_:
        click.echo(json_text(told))
    else:
        _print(config, report, limit)
    code = exit_code(report)
    if code:
        raise SystemExit(code)


def _show_first(config: RunConfig, limit: int, json_: bool) -> dict[str, Any]:
    """Print the first queries with all that came of them; for JSON, what they are."""
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.annotate.first import first_queries

    found = []
    with Ledger.open(config.folder) as ledger:
        for at, shown in enumerate(first_queries(config, ledger, limit), start=1):
            if json_:
                found.append(shown.to_dict())
            else:
                for line in readable(shown, at):
                    click.echo(line)
    return {"first": found}


def _as_json(report: Report) -> dict[str, Any]:
    from coig_p.annotate.asking.costs import MONEY

    stored = report.stored
    counts = None
    if stored is not None:
        counts = {"queries": stored.queries, "responses": stored.responses, "scores": stored.scores}
    return {
        "queries": report.queries,
        "sent": report.sent,
        "failed": report.failed,
        "left": report.left,
        "abandoned": report.abandoned,
        "unread": report.unread,
        "stopped": report.stopped,
        "cost": report.cost.paid / MONEY,
        "may_cost": report.cost.may_be_paid / MONEY,
        "store": None if stored is None else str(stored.store.path),
        "stored": counts,
        "missing": {} if stored is None else stored.missing,
    }


def _print(config: RunConfig, report: Report, limit: int | None) -> None:
    from coig_p.annotate.asking.costs import MONEY

    if report.queries:
        click.echo("queries: " + ", ".join(f"{name} {number:,}" for name, number in report.queries.items()))
    for name, reason in report.left.items():
        click.echo(printable(f"endpoint {name} was left: {reason}. Run again to go on"), err=True)
    if report.failed:
        words = ", ".join(f"{name} {number:,}" for name, number in report.failed.items())
        click.echo(printable(f"requests failed: {words}. Run again to ask them again"), err=True)
    for kind in report.unread:
        click.echo(
            f"no answer of kind {kind} could be used: coigp annotate run FILE --limit 1 shows what came", err=True
        )
    if report.abandoned:
        words = ", ".join(f"{name} {number:,}" for name, number in report.abandoned.items())
        click.echo(printable(f"abandoned in flight, and perhaps paid: {words}"), err=True)
    if report.stored is not None:
        stored = report.stored
        click.echo(
            f"wrote {printable(str(stored.store.path))}: "
            f"{counted(stored.queries, 'query', 'queries')}, {counted(stored.responses, 'response')}, "
            f"{counted(stored.scores, 'score' if config.tap is None else 'comparison')}"
        )
        for kind, states in stored.missing.items() if limit is None else ():
            words = ", ".join(f"{state} {number:,}" for state, number in states.items())
            click.echo(f"missing, {kind}: {words}; see {printable(str(config.folder / 'missing.jsonl'))}")
    elif report.nothing:
        words = ", ".join(f"{reason} {number:,}" for reason, number in report.nothing.items())
        click.echo(f"no store: no model has answered yet ({words})", err=True)
    paid, may = report.cost.paid / MONEY, report.cost.may_be_paid / MONEY
    sent = sum(report.sent.values())
    click.echo(f"sent {sent:,} requests; cost so far {paid:.4f}, and up to {may:.4f} for attempts without an answer")
    if report.stopped:
        why = {"budget": "the budget is reached: raise --max-cost", "time": "the time is up"}
        click.echo(f"stopped: {why.get(report.stopped, report.stopped)}. Run again to go on", err=True)
