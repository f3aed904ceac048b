"""`coigp bench run`: what a scorer says of a benchmark's items."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.options import as_json, overwrite_option
from coig_p.cli.screen import json_text, one_line
from coig_p.cli.tree import command
from coig_p.core.text import counted

_BASELINES = ("length", "random")


@command("run")
@click.argument("bench", type=click.Path(path_type=Path))
@click.option(
    "--baseline",
    required=True,
    type=click.Choice(_BASELINES),
    help="Who scores: length, the longer response wins; random, by hash.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Write the results there.")
@click.option("--seed", type=int, help="Seed of random. Default: 0.")
@overwrite_option("results at DIR")
@as_json
def run(bench: Path, baseline: str, out: Path, seed: int | None, overwrite: bool, json_: bool) -> None:
    """Score every response of a BENCH, and write what was said, one line an item.

    A reward model must beat both baselines to have learnt anything: run them beside it.

    \b
    coigp bench run bench --baseline length --out length
    coigp bench run bench --baseline random --seed 1 --out random
    """
    from coig_p.reward.bench.baselines import baseline as scored
    from coig_p.reward.bench.form import read_bench
    from coig_p.reward.bench.results import check_results_place, write_results

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
