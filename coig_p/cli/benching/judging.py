"""`coigp bench run --judge`: a judge that writes, on a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coig_p.cli.annotate.alone import agree, print_estimate, print_unsettled
from coig_p.cli.annotate.common import approve_wishes, trusting
from coig_p.cli.annotate.live import watched
from coig_p.cli.options import Finite
from coig_p.cli.screen import json_text, one_line, say
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    from coig_p.annotate.alone.running import Asked
    from coig_p.reward.judging.asked import Questions
    from coig_p.reward.judging.config import Judge

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class JudgeOptions:
    """What was said about a judge, option by option."""

    judge: str | None
    judge_model: str | None
    key_env: str | None
    rating: bool
    ledger: Path | None
    estimate: bool
    max_cost: float | None
    max_hours: float | None
    partial: bool
    yes: bool
    trust: bool
    allow: tuple[str, ...]

    def check_unused(self, leave_out: Collection[str] = ()) -> None:
        """Raise UsageError where there is no judge, and an option that is for one."""
        for option in fields(self):
            if getattr(self, option.name) and option.name not in leave_out:
                raise click.UsageError(f"--{option.name.replace('_', '-')}: only with --judge. Leave it out.")


def judge_options(command: Command) -> Command:
    """Options of a judge; the command gets them as one, `judge`."""

    @wraps(command)
    def collected(*args: Any, **kwargs: Any) -> Any:
        given = {option.name: kwargs.pop(option.name) for option in fields(JudgeOptions)}
        return command(*args, judge=JudgeOptions(**given), **kwargs)

    found: Any = trusting(collected)
    for option in reversed(_OPTIONS):
        found = option(found)
    return found  # type: ignore[no-any-return]


_OPTIONS = (
    click.option(
        "--judge",
        metavar="FILE|URL",
        help="Who judges: a TOML file, or the address of an OpenAI-compatible server, with --judge-model.",
    ),
    click.option("--judge-model", metavar="NAME", help="The model to ask at the address of --judge."),
    click.option("--key-env", metavar="NAME", help="The variable that holds the key of --judge or --server."),
    click.option("--rating", is_flag=True, help="Have --judge rate each response alone, from 1 to 10."),
    click.option(
        "--ledger",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where --judge keeps what was asked, so that nothing is paid twice. Default: DIR of --out and .ledger.",
    ),
    click.option("--estimate", is_flag=True, help="Say what is left to ask --judge and what it costs; ask nothing."),
    click.option(
        "--max-cost",
        type=Finite(min=0),
        metavar="N",
        help="Most that all runs of the ledger may cost, in the currency of the prices. Default: the file's.",
    ),
    click.option("--max-hours", type=Finite(min=0), metavar="H", help="Ask --judge nothing more after so many hours."),
    click.option(
        "--partial", is_flag=True, help="Write results also where --judge left some unanswered: they count as invalid."
    ),
    click.option("--yes", is_flag=True, help="Yes to paying again for what was answered in other words."),
)


def run_judge(
    bench: Path, given: JudgeOptions, out: Path, *, official: bool, seed: int, overwrite: bool, json_: bool
) -> None:
    """Ask a judge about a benchmark, and write what it said once nothing is left to ask."""
    from coig_p.annotate.alone.running import check_ledger, estimate
    from coig_p.annotate.trust import check_named
    from coig_p.reward.bench.form import read_bench
    from coig_p.reward.bench.results import check_results_place
    from coig_p.reward.judging.asked import Questions
    from coig_p.reward.judging.official import rule_of

    judge = _judge(given)
    if judge.path is not None:
        approve_wishes(judge.path, judge.wishes, given.trust, given.allow)
    else:  # typed by hand, and meant; but for what is meant only where it is named
        check_named([wish for wish in judge.wishes if wish.name], given.allow, Path("--judge"))
    ledger = given.ledger or out.with_name(f"{out.name}.ledger")
    check_ledger(ledger, out)
    found = read_bench(bench)
    questions = Questions(found, judge, rule_of(found.preset, official=official, rating=given.rating), seed)
    if given.estimate:
        print_estimate(estimate(questions.work(), ledger), "judge", judge.endpoint.name, json_)
        return
    check_results_place(out, overwrite)
    agree(estimate(questions.work(), ledger), given.yes)
    _run(questions, ledger, given, out, official, overwrite, json_)


def _judge(given: JudgeOptions) -> Judge:
    from coig_p.reward.judging.config import judge_at, load_judge

    assert given.judge is not None
    if given.judge.lower().startswith(("http://", "https://")):
        if given.judge_model is None:
            raise click.UsageError("--judge names an address: say with --judge-model which model to ask there.")
        return judge_at(given.judge, given.judge_model, given.key_env)
    for name, value in (("--judge-model", given.judge_model), ("--key-env", given.key_env)):
        if value is not None:
            raise click.UsageError(f"{name}: only where --judge is an address; a file says it itself. Leave it out.")
    return load_judge(given.judge)


def _run(
    questions: Questions, folder: Path, given: JudgeOptions, out: Path, official: bool, overwrite: bool, json_: bool
) -> None:
    from coig_p.annotate.alone.running import ask
    from coig_p.annotate.asking.costs import MONEY
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.reward.bench.results import write_results
    from coig_p.reward.judging.asked import results_of

    judge, options = questions.judge, questions.options(official)
    with watched(json_) as watch:
        asked = ask(
            questions.work(),
            folder,
            max_cost=judge.max_cost if given.max_cost is None else int(Decimal(str(given.max_cost)) * MONEY),
            max_seconds=None if given.max_hours is None else given.max_hours * 3600,
            say=say,
            watch=watch,
        )
    written = not asked.unsettled or given.partial
    counts: dict[str, int] = {}
    if written:
        with Ledger.open(folder) as ledger:
            results = list(results_of(questions, ledger))
        scorer = judge.describe(questions.kind)
        write_results(out, questions.bench, results, scorer=scorer, options=options, overwrite=overwrite)
        for reason in (one.reason for one in results if one.reason is not None):
            counts[reason] = counts.get(reason, 0) + 1
    if json_:
        told: dict[str, Any] = {
            "results": str(out) if written else None,
            "bench": questions.bench.name,
            "scorer": judge.endpoint.name,
        }
        told |= {"items": len(questions.bench.items), "without": counts, "ledger": str(folder), "options": options}
        click.echo(json_text({**told, **asked.to_dict()}))
    else:
        _print(questions, asked, out if written else None, folder, counts, options)
    if not written or asked.stopped == "interrupted":
        raise SystemExit(asked.exit_code)


def _print(
    questions: Questions,
    asked: Asked,
    out: Path | None,
    folder: Path,
    counts: dict[str, int],
    options: dict[str, Any],
) -> None:
    from coig_p.annotate.asking.costs import MONEY
    from coig_p.reward.judging.official import FAULTS

    name, bench = questions.judge.endpoint.name, questions.bench
    if asked.left is not None:
        click.echo(printable(f"{name} was left: {asked.left}"), err=True)
    if asked.abandoned:
        click.echo(f"abandoned in flight, and perhaps paid: {asked.abandoned:,}", err=True)
    if out is not None:
        click.echo(one_line(f"wrote {out}: {name} on {counted(len(bench.items), 'item')} of {bench.name}"))
        if counts:
            words = ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items()))
            click.echo(one_line(f"items where a {_WHAT[questions.kind]} is missing, by the first reason: {words}"))
    for fault in options.get("official", {}).get("faults", ()):
        click.echo(f"as its own code does: {FAULTS[fault]}")
    for fault in options.get("official", {}).get("not_repeated", ()):
        click.echo(f"its own code does this, which is not repeated: {FAULTS[fault]}")
    paid, may = asked.cost.paid / MONEY, asked.cost.may_be_paid / MONEY
    click.echo(
        f"sent {asked.sent:,} for {counted(asked.requests, 'request')}; cost so far {paid:.4f}, and up to {may:.4f} "
        "for attempts without an answer"
    )
    if asked.unsettled:
        print_unsettled(asked, "" if out is not None else "no results were written", folder)


_WHAT = {"compare": "verdict", "rate": "rating"}
