"""`coigp bench run --judge`: a judge that writes, on a benchmark."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.annotate.alone import (
    AskOptions,
    as_one,
    ask_options,
    check_model,
    is_address,
    print_asked,
    print_estimate,
    print_unsettled,
)
from coig_p.cli.screen import json_text, one_line
from coig_p.core.text import counted

if TYPE_CHECKING:
    from coig_p.annotate.alone.running import Asked
    from coig_p.reward.judging.asked import Questions
    from coig_p.reward.judging.config import Judge


@dataclass(frozen=True)
class JudgeOptions(AskOptions):
    """What was said about a judge, option by option."""

    judge: str | None
    judge_model: str | None
    key_env: str | None
    rating: bool

    def check_unused(self, leave_out: Collection[str] = ()) -> None:
        """Raise UsageError where there is no judge, and an option that is for one."""
        for option in fields(self):
            if getattr(self, option.name) and option.name not in leave_out:
                raise click.UsageError(f"--{option.name.replace('_', '-')}: only with --judge. Leave it out.")


judge_options = as_one(
    JudgeOptions,
    "judge",
    (
        click.option(
            "--judge",
            metavar="FILE|URL",
            help="Who judges: a TOML file, or the address of an OpenAI-compatible server, with --judge-model.",
        ),
        click.option("--judge-model", metavar="NAME", help="The model to ask at the address of --judge."),
        click.option("--key-env", metavar="NAME", help="The variable that holds the key of --judge or --server."),
        click.option("--rating", is_flag=True, help="Have --judge rate each response alone, from 1 to 10."),
        *ask_options("--judge", "Write results also where --judge left some unanswered: they count as invalid."),
    ),
)
"""Options of a judge; the command gets them as one, `judge`."""


def run_judge(
    bench: Path, given: JudgeOptions, out: Path, *, official: bool, seed: int, overwrite: bool, json_: bool
) -> None:
    """Ask a judge about a benchmark, and write what it said once nothing is left to ask."""
    from coig_p.annotate.alone.running import check_ledger, estimate
    from coig_p.reward.bench.form import read_bench
    from coig_p.reward.bench.results import check_results_place
    from coig_p.reward.judging.asked import Questions
    from coig_p.reward.judging.official import rule_of

    judge = _judge(given)
    given.approve("--judge", judge.path, judge.wishes)
    ledger = given.ledger_of(out)
    check_ledger(ledger, out)
    found = read_bench(bench)
    questions = Questions(found, judge, rule_of(found.preset, official=official, rating=given.rating), seed)
    if given.estimate:
        print_estimate(estimate(questions.work(), ledger), "judge", judge.endpoint.name, json_)
        return
    check_results_place(out, overwrite)
    _run(questions, ledger, given, out, official, overwrite, json_)


def _judge(given: JudgeOptions) -> Judge:
    from coig_p.reward.judging.config import judge_at, load_judge

    assert given.judge is not None
    check_model("--judge", given.judge, given.judge_model, given.key_env, "--judge-model")
    if is_address(given.judge):
        return judge_at(given.judge, str(given.judge_model), given.key_env)
    return load_judge(given.judge)


def _run(
    questions: Questions, folder: Path, given: JudgeOptions, out: Path, official: bool, overwrite: bool, json_: bool
) -> None:
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.reward.bench.results import write_results
    from coig_p.reward.judging.asked import results_of

    judge, options = questions.judge, questions.options(official)
    asked = given.ask(questions.work(), folder, json_, judge.max_cost)
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
    from coig_p.reward.judging.official import FAULTS

    name, bench = questions.judge.endpoint.name, questions.bench
    if out is not None:
        click.echo(one_line(f"wrote {out}: {name} on {counted(len(bench.items), 'item')} of {bench.name}"))
        if counts:
            words = ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items()))
            click.echo(one_line(f"items where a {_WHAT[questions.kind]} is missing, by the first reason: {words}"))
    for fault in options.get("official", {}).get("faults", ()):
        click.echo(f"as its own code does: {FAULTS[fault]}")
    for fault in options.get("official", {}).get("not_repeated", ()):
        click.echo(f"its own code does this, which is not repeated: {FAULTS[fault]}")
    print_asked(asked, name)
    if asked.unsettled:
        print_unsettled(asked, "" if out is not None else "no results were written", folder)


_WHAT = {"compare": "verdict", "rate": "rating"}
