"""`coigp experiment`: a file that says what is trained on what, and asked what; its table."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.annotate.common import FILE, approve_wishes, trusting
from coig_p.cli.annotate.live import watched
from coig_p.cli.options import as_json, language_option, overwrite_option
from coig_p.cli.screen import check_apart, json_text, one_line, print_sections, say, table
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    from coig_p.evaluate.experiment.config import Experiment
    from coig_p.evaluate.experiment.plan import Plan
    from coig_p.evaluate.experiment.table import Table


@command("experiment")
@FILE
@click.option(
    "--plan", is_flag=True, help="Say what would run, what is there, what it would cost, what stands in the way."
)
@click.option("--keep-going", is_flag=True, help="Go on with the other cells where one fails; the table lacks it.")
@trusting
@click.option("--csv", "csv_", type=click.Path(path_type=Path), metavar="FILE", help="Also write the table as CSV.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write it as a page.")
@language_option("Of the table.")
@overwrite_option("a CSV or a page that is there")
@as_json
def experiment(
    file: Path,
    plan: bool,
    keep_going: bool,
    trust: bool,
    allow: tuple[str, ...],
    csv_: Path | None,
    html: Path | None,
    language: str,
    overwrite: bool,
    json_: bool,
) -> None:
    """Run what FILE describes: stores, exports, trainings, answers, a judge; one table at the end.

    FILE names datasets, ways to make pairs, models and seeds. Every step is kept under the hash of what it was made
    of: what is there is not run again, a run that was stopped goes on with the same command. FILE's commands are shown
    and have to be agreed to once, or with --trust; they get no secret that FILE does not name and --allow does not
    grant.

    \b
    coigp experiment table5.toml --plan
    coigp experiment table5.toml --html table5.html
    coigp experiment table5.toml --trust --json | jq '.rows[].over_seeds.value'
    """
    from coig_p.evaluate.experiment.grid import baselines
    from coig_p.evaluate.experiment.plan import plan_experiment
    from coig_p.evaluate.experiment.reading import load_experiment

    files = _check_files(csv_, html, overwrite, plan)
    found = load_experiment(file)
    for path in files.values():
        check_apart(path, [file, found.folder, *(found.beside / one.store for one in found.datasets)])
    if plan:
        _show_plan(found, plan_experiment(found), json_)
        return
    baselines(found)
    _approve(found, trust, allow)
    _run(found, keep_going, files, language, json_)


def _check_files(csv_: Path | None, html: Path | None, overwrite: bool, plan: bool) -> dict[str, Path]:
    from coig_p.store.places import check_file

    files = {name: path for name, path in (("csv", csv_), ("html", html)) if path is not None}
    if plan and files:
        raise click.UsageError(f"--{next(iter(files))}: a plan has no table yet. Leave it or --plan out")
    for path in files.values():
        check_file(path, "a table", overwrite)
    if csv_ is not None and html is not None and csv_.resolve() == html.resolve():
        raise click.UsageError(f"{printable(str(csv_))} is named for two files: give each its own")
    return files


def _approve(found: Experiment, trust: bool, allow: tuple[str, ...]) -> None:
    """Have somebody say yes to the commands of a file, and to what else it asks for, the first time."""
    from coig_p.evaluate.experiment.trusting import wishes

    approve_wishes(found.path, wishes(found), trust, allow, "run")


def _run(found: Experiment, keep_going: bool, files: dict[str, Path], language: str, json_: bool) -> None:
    from coig_p.core.atomic import atomic_file
    from coig_p.evaluate.experiment.report import as_csv, as_page
    from coig_p.evaluate.experiment.run import run_experiment
    from coig_p.evaluate.experiment.table import make_table

    ran = run_experiment(found, keep_going=keep_going, say=_say, watched=partial(watched, json_))
    made = make_table(found, ran)
    result = json.dumps(made.to_dict(), ensure_ascii=False, indent=1) + "\n"
    with atomic_file(found.folder / "result.json") as stream:
        stream.write(result.encode())
    texts = {"csv": lambda: as_csv(made), "html": lambda: as_page(made, language)}
    for name, path in files.items():
        with atomic_file(path) as stream:
            stream.write(texts[name]().encode())
    counts = {"made": dict(ran.made), "cached": dict(ran.cached), "damaged": list(ran.damaged)}
    if json_:
        told = {name: str(path) for name, path in files.items()}
        click.echo(json_text({**told, "folder": str(found.folder), **counts, **made.to_dict()}))
    else:
        _show(made, language)
    for path in (*files.values(), found.folder / "result.json"):
        say(f"wrote {printable(str(path))}")
    if ran.failed:
        click.echo(f"failed: {counted(len(ran.failed), 'cell')}. Run again to try them anew", err=True)
        raise SystemExit(1)


def _say(text: str) -> None:
    """A line of progress, or an error that shows the end of a log, in lines."""
    for one in text.split("\n"):
        say(one_line(one))


def _show(made: Table, language: str) -> None:
    from coig_p.evaluate.experiment.report import sections

    print_sections(sections(made, language))


def _show_plan(found: Experiment, plan: Plan, json_: bool) -> None:
    from coig_p.evaluate.experiment.config import JudgeCommand

    if json_:
        click.echo(json_text({"folder": str(found.folder), **plan.to_dict()}))
    else:
        kinds = list(dict.fromkeys([*plan.cached, *plan.to_run]))
        kinds.sort(key=["export", "train", "answer", "judge"].index)
        click.echo(one_line(f"{found.name}: {counted(plan.cells, 'cell')}, in {found.folder}"))
        if kinds:
            rows = [[kind, plan.cached.get(kind, 0), plan.to_run.get(kind, 0)] for kind in kinds]
            click.echo(table(["step", "there", "to run"], rows))
        for name, one in (("answer", found.answer), ("judge", found.judge)):
            endpoint = getattr(one, "endpoint", None)
            if endpoint is not None:
                words = endpoint if isinstance(endpoint, str) else endpoint.words[0]
                click.echo(one_line(f"{name}: coigp align {name}, {words}"))
        for name, (words, env) in found.commands().items():
            given = f"; gets {', '.join(env)}" if env else ""
            click.echo(one_line(f"{name}: {words.shown()}{given}"))
        if plan.at_least:
            click.echo(
                "Each checkpoint of a training answers the validation benchmark: here one a training is counted."
            )
        for line in _costs(plan, aligned=not isinstance(found.judge, JudgeCommand)):
            click.echo(one_line(line))
        for problem in plan.damaged:
            click.echo(one_line(f"damaged, to be made anew: {problem}"))
        for problem in plan.obstacles:
            click.echo(one_line(f"in the way: {problem}"))
    if plan.obstacles:
        raise SystemExit(1)


def _costs(plan: Plan, *, aligned: bool) -> list[str]:
    """About what is still to be paid, in lines; `aligned`: coigp align judges, and a judge's file has the prices."""
    cost, lines = plan.cost, []
    for one in cost.judges:
        money = "" if one.currency is None else f" {one.currency}"
        left = f"{counted(one.left, 'request')} left of {one.requests:,}"
        lines.append(
            f"judge {one.name}: {left}, about {one.expected:.4f}{money}, at most {one.most:.4f}; "
            f"spent so far {one.spent:.4f}"
        )
    if cost.judgings and not cost.judges:
        priced = "not priced: judge.price says what one costs" if cost.judging is None else f"about {cost.judging:.2f}"
        unknown = "not priced: what stands in the way has to go first"
        lines.append(f"{counted(cost.judgings, 'judging')}, {unknown if aligned else priced}")
    if cost.trainings:
        told = counted(cost.trainings, "training")
        if cost.hours is not None:
            measured = f"by {counted(cost.measured, 'training')} that ran"
            told += f", about {cost.hours:.3g} hours {measured if cost.measured else 'by train.hours'}"
        priced = "not priced: train.hours and train.price_per_hour say it"
        lines.append(f"{told}, {priced if cost.training is None else f'about {cost.training:.2f}'}")
    return lines
