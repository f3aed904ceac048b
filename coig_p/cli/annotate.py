"""`coigp annotate`: parse, call, print. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coig_p.cli.options import Finite, as_json, overwrite_option
from coig_p.cli.screen import STDOUT, json_text, one_line, pasted, progress, say, show_document, table
from coig_p.cli.tree import Group
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    from coig_p.annotate.config import RunConfig
    from coig_p.annotate.stages import Report

Command = TypeVar("Command", bound=Callable[..., Any])


def _regular(_context: click.Context, _option: click.Parameter, file: Path) -> Path:
    if file.exists() and not file.is_file():
        what = "a directory" if file.is_dir() else "a pipe or a device"
        raise click.UsageError(
            f"{file} is {what}: name the file that describes the run, beside which its folder stands."
        )
    return file


_FILE = click.argument("file", type=click.Path(path_type=Path), callback=_regular)
_EXAMPLES = 20


def limits(command: Command) -> Command:
    """Options of every command that asks models."""
    command = trusting(command)
    command = click.option(
        "--max-hours", type=Finite(min=0), metavar="H", help="Send nothing more after so many hours."
    )(command)
    return click.option(
        "--max-cost",
        type=Finite(min=0),
        metavar="N",
        help="Most that all runs of the folder may cost, in the currency of the prices. Default: the file's.",
    )(command)


def trusting(command: Command) -> Command:
    """Options of every command that does what a file asks for, which somebody may have sent."""
    command = click.option(
        "--allow",
        metavar="NAME@HOST|http://HOST",
        multiple=True,
        help="Also what FILE asks for and is refused otherwise: another service's secret, a connection that is not "
        "encrypted. Repeat it for more; no commas.",
    )(command)
    return click.option(
        "--trust",
        is_flag=True,
        help="Yes to what FILE asks for the first time: keys by host, files outside its folder.",
    )(command)


def approve(config: RunConfig, trust: bool, allow: tuple[str, ...]) -> None:
    """Have somebody say yes to what a run's file asks for, the first time that it does.

    Raises:
        UsageError: nobody did.
    """
    from coig_p.annotate.trust import check_named, grant, unknown
    from coig_p.errors import UsageError

    left = unknown(config)
    check_named(left, allow, config.path)
    asked = [wish for wish in left if not wish.name]
    if asked and not trust:
        said = one_line(f"{config.path} wants to {'; to '.join(wish.words for wish in asked)}")
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{said}. Nothing was sent. If you mean it, say so once with --trust")
        click.echo(said, err=True)
        if not click.confirm("Is that what you mean?", err=True):
            raise UsageError("nothing was sent")
    if left:
        grant(left)


@click.group(cls=Group)
def annotate() -> None:
    """From queries to scored responses: many models answer, judges of other families score.

    \b
    coigp annotate init --out run.toml
    coigp annotate run run.toml --estimate
    coigp annotate run run.toml --max-cost 20
    coigp annotate status run.toml
    """


@annotate.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    default=STDOUT,
    metavar="FILE",
    help="Write it here, a .toml. Default: -, standard output.",
)
@overwrite_option("FILE where it exists")
def init(out: Path, overwrite: bool) -> None:
    """Write a commented TOML file that describes a run. No --json: what it writes is the file itself.

    \b
    coigp annotate init --out run.toml
    """
    from coig_p.annotate.config import template
    from coig_p.core.atomic import atomic_file
    from coig_p.store.places import check_file, file_type

    if out == STDOUT:
        show_document(template())
        return
    file_type(out, {".toml": "toml"})
    check_file(out, "a description of a run", overwrite)
    with atomic_file(out) as stream:
        stream.write(template().encode())
    click.echo(f"wrote {printable(str(out))}; then: coigp annotate run {pasted(out)} --estimate")


@annotate.command()
@_FILE
@click.option("--estimate", is_flag=True, help="Say what is left to ask and what it will cost; ask nothing.")
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
    max_cost: float | None,
    max_hours: float | None,
    batch_out: Path | None,
    batch_in: tuple[Path, ...],
    batch_forget: bool,
    overwrite: bool,
    trust: bool,
    allow: tuple[str, ...],
    json_: bool,
) -> None:
    """Run all stages of FILE: queries, generate, judge, store. Run it again to go on where it ended.

    Ctrl-C waits for what is in flight; a second one abandons it. Exits 3 where an endpoint was left
    or requests failed, 1 where the budget or the time was reached.

    \b
    coigp annotate run run.toml --max-cost 20
    coigp annotate run run.toml --batch-out batch
    coigp annotate run run.toml --batch-in batch/answers.jsonl
    """
    from coig_p.annotate.config import load_config

    if sum([estimate, batch_out is not None, bool(batch_in), batch_forget]) > 1:
        raise click.UsageError("--estimate, --batch-out, --batch-in and --batch-forget exclude each other.")
    config = load_config(file)
    approve(config, trust, allow)
    if estimate:
        _estimate(config, json_)
    elif batch_out is not None:
        _batch_out(config, batch_out, overwrite, json_)
    elif batch_in:
        _batch_in(config, batch_in, json_)
    elif batch_forget:
        from coig_p.annotate.asking.ledger import LedgerWriter

        with LedgerWriter.open(config.folder) as ledger:
            number = ledger.forget_batches()
        click.echo(json_text({"forgotten": number}) if json_ else f"{number:,} requests may be asked online again")
    else:
        _run(config, None, max_cost, max_hours, json_)


def _stage(name: str, does: str) -> None:
    """Add the command that runs one stage."""

    def command(
        file: Path,
        max_cost: float | None,
        max_hours: float | None,
        trust: bool,
        allow: tuple[str, ...],
        json_: bool,
    ) -> None:
        from coig_p.annotate.config import load_config

        config = load_config(file)
        approve(config, trust, allow)
        _run(config, (name,), max_cost, max_hours, json_)

    help_ = f"{does}\n\n\b\ncoigp annotate {name} run.toml"
    annotate.command(name, help=help_)(_FILE(limits(as_json(command))))


_stage("queries", "Only collect the queries of FILE: import, remove duplicates, have the filter score them.")
_stage("generate", "Only have the models of FILE answer the queries that passed.")
_stage("judge", "Only have the judges of FILE score the responses that there are.")


@annotate.command()
@_FILE
@trusting
@as_json
def store(file: Path, trust: bool, allow: tuple[str, ...], json_: bool) -> None:
    """Only write the store of FILE from what there is, at any time, also while a run is working.

    The store in the run's folder is the run's own, and is written anew each time without asking.
    missing.jsonl beside it lists what is not in it yet, and why.

    \b
    coigp annotate store run.toml
    """
    from coig_p.annotate.config import load_config

    config = load_config(file)
    approve(config, trust, allow)
    _run(config, ("store",), None, None, json_)


@annotate.command()
@_FILE
@as_json
def status(file: Path, json_: bool) -> None:
    """How far FILE's run is: requests, cost, rates and time left, by endpoint. Also while it is working.

    \b
    coigp annotate status run.toml
    coigp annotate status run.toml --json | jq .cost
    """
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.annotate.config import load_config
    from coig_p.annotate.status import status_of

    config = load_config(file)
    with Ledger.open(config.folder) as ledger:
        found = status_of(config, ledger).to_dict()
    if json_:
        click.echo(json_text(found))
        return
    names = ["asked", "answered", "invalid", "failed", "in_flight", "batched", "sent"]
    rows = [
        [
            name,
            *(one[key] for key in names),
            f"{one['invalid_rate']:.1%}",
            f"{one['failure_rate']:.1%}",
            f"{one['per_minute']:g}",
            f"{one['cost']:.4f}",
        ]
        for name, one in found["endpoints"].items()
    ]
    click.echo(table(["endpoint", *names, "invalid %", "failing %", "a minute", "cost"], rows))
    click.echo()
    stages = [[name, one["planned"], one["done"]] for name, one in found["stages"].items()]
    click.echo(table(["stage", "planned", "done"], stages))
    left = found["minutes_left"]
    words = "nothing is left" if left == 0 else "time left unknown" if left is None else f"about {left:g} minutes left"
    most = "" if found["max_cost"] is None else f" of at most {found['max_cost']:g}"
    click.echo(
        f"\ncost {found['cost']:.4f}{most}, and up to {found['may_cost']:.4f} for attempts without an answer; "
        f"{found['per_minute']:g} answers a minute; {words}"
    )


@annotate.command()
@_FILE
@click.option("--apply", is_flag=True, help="Record what the parser reads now.")
@trusting
@as_json
def audit(file: Path, apply: bool, trust: bool, allow: tuple[str, ...], json_: bool) -> None:
    """Parse every stored judgement again and show what is now read otherwise. Exits 1 where any is.

    \b
    coigp annotate audit run.toml
    coigp annotate audit run.toml --apply
    """
    from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
    from coig_p.annotate.config import load_config
    from coig_p.annotate.status import audit as find

    config = load_config(file)
    if apply:
        approve(config, trust, allow)
    counts: Counter[str] = Counter()
    with LedgerWriter.open(config.folder) if apply else Ledger.open(config.folder) as ledger:
        found = list(find(config, ledger, counts))
        changes = [one for one in found if one.changed]
        repeating = [one for one in found if one.repeats]
        if isinstance(ledger, LedgerWriter):
            ledger.read_again(change.reading for change in changes)
    kinds = Counter((change.before, change.after) for change in changes)
    if json_:
        told = {"changes": [one.to_dict() for one in changes], "repeats": [one.to_dict() for one in repeating]}
        click.echo(json_text({"judgements": counts["judgements"], **told, "applied": apply}))
    else:
        for one in changes[:_EXAMPLES]:
            click.echo(one_line(f"{one.who}: {one.before} -> {one.after}"))
        if kinds:
            rows = [[before, after, number] for (before, after), number in kinds.most_common()]
            click.echo(table(["was", "is", "judgements"], rows))
        for one in repeating[:_EXAMPLES]:
            click.echo(one_line(f"{one.who}: repeats a score that stands in the response; read as {one.after}"))
        done = "recorded" if apply else "would change"
        words = f"; {len(repeating):,} repeat a score that stands in the response" if repeating else ""
        click.echo(f"{counts['judgements']:,} judgements parsed again; {len(changes):,} {done}{words}")
    if changes and not apply:
        raise SystemExit(1)


@annotate.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="A new folder for the run.")
@as_json
def demo(out: Path, json_: bool) -> None:
    """A whole run offline: 12 bundled queries, scripted models and judges. Its scores mean nothing.

    \b
    coigp annotate demo --out demo
    """
    from coig_p.annotate import demo as material

    found = material.run(out)
    if json_:
        click.echo(json_text({"store": str(found.path), "domains": list(found.manifest.domains)}))
        return
    click.echo(f"wrote {printable(str(found.path))}: {', '.join(found.manifest.domains)}")


def _run(
    config: RunConfig, stages: tuple[str, ...] | None, max_cost: float | None, max_hours: float | None, json_: bool
) -> None:
    from decimal import Decimal

    from coig_p.annotate.asking.costs import MONEY
    from coig_p.annotate.stages import STAGES, exit_code, run_stages

    report = run_stages(
        config,
        stages or STAGES,
        max_cost=None if max_cost is None else int(Decimal(str(max_cost)) * MONEY),
        max_seconds=None if max_hours is None else max_hours * 3600,
        say=say,
        progress=lambda what, total: progress(what, total, "requests"),
    )
    if json_:
        click.echo(json_text(_as_json(report)))
    else:
        _print(config, report)
    code = exit_code(report)
    if code:
        raise SystemExit(code)


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
        "stopped": report.stopped,
        "cost": report.cost.paid / MONEY,
        "may_cost": report.cost.may_be_paid / MONEY,
        "store": None if stored is None else str(stored.store.path),
        "stored": counts,
        "missing": {} if stored is None else stored.missing,
    }


def _print(config: RunConfig, report: Report) -> None:
    from coig_p.annotate.asking.costs import MONEY

    if report.queries:
        click.echo("queries: " + ", ".join(f"{name} {number:,}" for name, number in report.queries.items()))
    for name, reason in report.left.items():
        click.echo(printable(f"endpoint {name} was left: {reason}. Run again to go on"), err=True)
    if report.failed:
        words = ", ".join(f"{name} {number:,}" for name, number in report.failed.items())
        click.echo(printable(f"requests failed: {words}. Run again to ask them again"), err=True)
    if report.abandoned:
        words = ", ".join(f"{name} {number:,}" for name, number in report.abandoned.items())
        click.echo(printable(f"abandoned in flight, and perhaps paid: {words}"), err=True)
    if report.stored is not None:
        stored = report.stored
        click.echo(
            f"wrote {printable(str(stored.store.path))}: "
            f"{counted(stored.queries, 'query', 'queries')}, {counted(stored.responses, 'response')}, "
            f"{counted(stored.scores, 'score')}"
        )
        for kind, states in stored.missing.items():
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


def _estimate(config: RunConfig, json_: bool) -> None:
    from coig_p.annotate.asking.costs import MONEY
    from coig_p.annotate.asking.ledger import LedgerWriter
    from coig_p.annotate.status import estimate
    from coig_p.annotate.tasks.queries import collect

    with LedgerWriter.open(config.folder) as ledger:
        collect(config, ledger)
        found = estimate(config, ledger)
        spent = ledger.spent().paid
    total = {
        "requests": sum(one.requests for one in found.values()),
        "expected": sum(one.expected for one in found.values()) / MONEY,
        "most": sum(one.most for one in found.values()) / MONEY,
    }
    if json_:
        each = {
            name: {"requests": one.requests, "expected": one.expected / MONEY, "most": one.most / MONEY}
            for name, one in found.items()
        }
        click.echo(json_text({"endpoints": each, "total": total, "spent": spent / MONEY}))
        return
    rows = [
        [name, one.requests, f"{one.expected / MONEY:.4f}", f"{one.most / MONEY:.4f}"] for name, one in found.items()
    ]
    rows.append(["all", total["requests"], f"{total['expected']:.4f}", f"{total['most']:.4f}"])
    click.echo(table(["endpoint", "requests left", "cost, about", "at most"], rows))
    click.echo(f"spent so far: {spent / MONEY:.4f}. At most: every answer at its max_tokens, every ask used")


def _batch_out(config: RunConfig, folder: Path, overwrite: bool, json_: bool) -> None:
    from coig_p.annotate.asking.ledger import LedgerWriter
    from coig_p.annotate.batch_stages import batch_out

    with LedgerWriter.open(config.folder) as ledger:
        stage, written = batch_out(config, ledger, folder, overwrite)
    if json_:
        click.echo(json_text({"stage": stage, "files": {str(path): number for path, number in written.items()}}))
        return
    for path, number in written.items():
        click.echo(f"wrote {printable(str(path))}: {number:,} requests")
    if stage is None:
        click.echo("nothing is left to write: answered, or out in batch files already")
    else:
        click.echo(f"stage {stage}; once answered: coigp annotate run {pasted(config.path)} --batch-in FILE")


def _batch_in(config: RunConfig, paths: tuple[Path, ...], json_: bool) -> None:
    from coig_p.annotate.asking.ledger import LedgerWriter
    from coig_p.annotate.batch_stages import batch_in

    with LedgerWriter.open(config.folder) as ledger:
        found = batch_in(config, ledger, paths)
    if json_:
        click.echo(json_text({"counts": found.counts, "problems": found.problems}))
    else:
        for problem in found.problems[:_EXAMPLES]:
            click.echo(printable(problem), err=True)
        words = ", ".join(f"{state} {number:,}" for state, number in found.counts.items()) or "nothing"
        click.echo(f"{words}; {len(found.problems):,} lines that are none of this run's")
    if found.problems:
        raise SystemExit(1)
