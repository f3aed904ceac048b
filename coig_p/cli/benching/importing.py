"""`coigp bench import`: what a scorer said elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.options import as_json, overwrite_option
from coig_p.cli.screen import json_text, one_line
from coig_p.cli.tree import command
from coig_p.core.text import counted

_FORMS = ("judgebench", "rewardbench", "rewardbench2", "rm-bench")
_KINDS = ("model", "server", "judge")


@command("import")
@click.argument("bench", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--from",
    "form",
    type=click.Choice(_FORMS),
    help="Whose own code wrote FILE. Default: rows as this command has them.",
)
@click.option("--name", required=True, metavar="TEXT", help="Who scored.")
@click.option("--kind", type=click.Choice(_KINDS), help="What it is. Default: judge of verdicts, model of rewards.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Write the results there.")
@overwrite_option("results at DIR")
@as_json
def import_(
    bench: Path,
    files: tuple[Path, ...],
    form: str | None,
    name: str,
    kind: str | None,
    out: Path,
    overwrite: bool,
    json_: bool,
) -> None:
    """Take in what a scorer said of each item of a BENCH elsewhere: rewards, or verdicts.

    One row an item, as JSON, JSON Lines or Parquet. Every item has one, or says why not. All is taken in or, with a
    problem in any row, nothing.

    \b
    coigp bench import bench rewards.jsonl --name my-model --out results
    coigp bench import judgebench o1-mini.jsonl --from judgebench --name o1-mini --out results
    """
    from coig_p.ingest.readers import find_inputs
    from coig_p.reward.bench.form import read_bench
    from coig_p.reward.bench.importing import import_results
    from coig_p.reward.bench.results import check_results_place, write_results
    from coig_p.reward.bench.rows import FORMATS

    check_results_place(out, overwrite)
    paths = find_inputs(files, FORMATS)
    found = read_bench(bench)
    results = import_results(found, paths, form)
    judged = any(one.verdicts is not None for one in results)
    scorer = {"kind": kind or ("judge" if judged else "model"), "name": name}
    number = write_results(out, found, results, scorer=scorer, overwrite=overwrite)
    without = sum(one.reason is not None for one in results)
    if json_:
        told = {"results": str(out), "bench": found.name, "scorer": scorer, "items": number, "with_reason": without}
        click.echo(json_text(told))
        return
    click.echo(one_line(f"wrote {out}: {name} on {counted(number, 'item')} of {found.name}"))
    if without:
        click.echo(one_line(f"{counted(without, 'item')} with a reason why something is missing"))
