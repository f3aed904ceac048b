"""`coigp bench run --model` and `--server`: a reward model, on a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.scorers import opened
from coig_p.cli.screen import json_text, one_line, progress, say, table
from coig_p.core.text import counted, printable
from coig_p.errors import RemoteError
from coig_p.reward.opening import FAULTS, OFFICIAL, ScorerConfig

if TYPE_CHECKING:
    from coig_p.reward.bench.form import Bench
    from coig_p.reward.bench.scoring import Ran


def run_model(folder: Path, config: ScorerConfig, out: Path, *, official: bool, overwrite: bool, json_: bool) -> None:
    """Score a benchmark's responses, and print how that stands beside both baselines."""
    from coig_p.reward.bench.form import read_bench
    from coig_p.reward.bench.results import check_results_place
    from coig_p.reward.bench.scoring import journal_of, run_scorer

    check_results_place(out, overwrite)
    bench = read_bench(folder)
    scorer = opened(config, bench.preset if official else None)
    options: dict[str, Any] = {}
    if official:
        options["official"] = {"faults": list(OFFICIAL[bench.preset]), "not_repeated": []}
    kept = journal_of(out)
    if kept.exists():
        say(f"going on with what {kept} holds")
    try:
        ran = run_scorer(
            bench,
            scorer,
            out,
            tokens_per_batch=config.tokens_per_batch,
            options=options,
            overwrite=overwrite,
            bar=progress,
        )
    except (KeyboardInterrupt, RemoteError):
        if kept.exists():
            say(f"what was scored is kept in {kept}: run the same command again to go on")
        raise
    finally:
        scorer.close()
    if json_:
        told = {"results": str(out), "bench": bench.name, "scorer": ran.scorer, "options": options}
        click.echo(json_text({**ran.to_dict(), **told}))
        return
    _print(bench, ran, out, options)


def _print(bench: Bench, ran: Ran, out: Path, options: dict[str, Any]) -> None:
    from coig_p.reward.bench.report_text import sections
    from coig_p.reward.bench.reporting import bench_report

    board = sections(bench_report([out]))[1]
    click.echo(table(board.header, board.rows))
    for reason, number in ran.without.items():
        click.echo(one_line(f"not scored, {reason}: {counted(number, 'response')} of {ran.responses:,}"))
    if ran.truncated:
        click.echo(f"cut to fit: {counted(ran.truncated, 'response')} of {ran.responses:,}")
    if ran.squashed:
        click.echo(
            "every reward lies from 0 to 1: a sigmoid seems to be on in the server. The order stays, but what is near "
            "0 or 1 may be one, and NLL, Brier and ECE mean nothing"
        )
    for fault in options.get("official", {}).get("faults", ()):
        click.echo(f"as its own code does: {FAULTS[fault]}")
    click.echo(printable(f"wrote {out}: {ran.scorer['name']} on {counted(ran.items, 'item')} of {bench.name}"))
