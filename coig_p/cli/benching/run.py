"""`coigp bench run`: what a scorer says of a benchmark's items."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.benching.judging import JudgeOptions, judge_options, run_judge
from coig_p.cli.benching.scoring import run_model
from coig_p.cli.options import as_json, overwrite_option
from coig_p.cli.scorers import ScorerOptions, scorer_options
from coig_p.cli.screen import json_text, one_line
from coig_p.cli.tree import command
from coig_p.core.text import counted

_BASELINES = ("length", "random")


@command("run")
@click.argument("bench", type=click.Path(path_type=Path))
@click.option(
    "--baseline",
    type=click.Choice(_BASELINES),
    help="Who scores: length, the longer response wins; random, by hash.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Write the results there.")
@scorer_options(leave_out=("key_env",))
@judge_options
@click.option("--official", is_flag=True, help="Ask as the benchmark's own code does, and name its faults.")
@click.option("--seed", type=int, help="Of random, and of the order that a judge is asked first. Default: 0.")
@overwrite_option("results at DIR")
@as_json
def run(
    bench: Path,
    baseline: str | None,
    judge: JudgeOptions,
    scorer: ScorerOptions,
    out: Path,
    official: bool,
    seed: int | None,
    overwrite: bool,
    json_: bool,
) -> None:
    """Score every response of a BENCH, and write what was said, one line an item.

    A model or a server gives every response a reward; a judge says which of two is better, in both orders. A reward
    model must beat both baselines to have learnt anything, which stand beside it. What was scored is kept beside DIR
    until the results are written: run the same command again to go on after a stop.

    \b
    coigp bench run bench --model models/crm --out crm
    coigp bench run bench --server http://127.0.0.1:8000 --out crm
    coigp bench run bench --server http://127.0.0.1:30000 --kind sglang --template models/crm --out crm
    coigp bench run bench --baseline length --out length
    coigp bench run bench --baseline random --seed 1 --out random
    coigp bench run bench --judge judge.toml --out judged --estimate
    coigp bench run bench --judge http://127.0.0.1:8000/v1 --judge-model m --out judged
    """
    from coig_p.reward.bench.baselines import baseline as scored
    from coig_p.reward.bench.form import read_bench
    from coig_p.reward.bench.results import check_results_place, write_results
    from coig_p.reward.seeds import check_seed

    check_seed(seed or 0)
    if (baseline is not None) + (judge.judge is not None) + scorer.given != 1:
        raise click.UsageError("Name who scores: one of --baseline, --model, --server and --judge.")
    if scorer.given:
        judge.check_unused(leave_out=("key_env",))
        if seed is not None:
            raise click.UsageError("--seed: no effect on --model and --server. Leave it out.")
        config = scorer.config(key_env=judge.key_env)
        run_model(bench, config, out, official=official, overwrite=overwrite, json_=json_)
        return
    scorer.check_unused()
    if judge.judge is not None:
        run_judge(bench, judge, out, official=official, seed=seed or 0, overwrite=overwrite, json_=json_)
        return
    assert baseline is not None
    judge.check_unused()
    if official:
        raise click.UsageError("--official: no effect on --baseline. Leave it out.")
    if seed is not None and baseline != "random":
        raise click.UsageError(f"--seed: no effect on --baseline {baseline}. Leave it out.")
    check_results_place(out, overwrite)
    found = read_bench(bench)
    options = {"seed": seed or 0} if baseline == "random" else {}
    number = write_results(
        out,
        found,
        scored(found, baseline, seed or 0),
        scorer={"kind": "baseline", "name": baseline},
        options=options,
        overwrite=overwrite,
    )
    if json_:
        told = {"results": str(out), "bench": found.name, "scorer": baseline, "items": number, "options": options}
        click.echo(json_text(told))
        return
    click.echo(one_line(f"wrote {out}: {baseline} on {counted(number, 'item')} of {found.name}"))
