"""`coigp bench`: benchmarks of reward models. One module a command; nothing heavy is imported before it is used."""

from __future__ import annotations

import click

from coig_p.cli.benching.build import build
from coig_p.cli.benching.convert import convert
from coig_p.cli.benching.importing import import_
from coig_p.cli.benching.report import report
from coig_p.cli.benching.run import run
from coig_p.cli.tree import Group


@click.group(cls=Group)
def bench() -> None:
    """Benchmarks of reward models and judges: one form for all of them, and scorers run on it.

    \b
    coigp bench build store --review pool --annotators a,b,c
    coigp bench convert --from rewardbench filtered.parquet --out bench
    coigp bench convert --from pairs store --out bench
    coigp bench run bench --baseline length --out results
    coigp bench import bench rewards.jsonl --name my-model --out results
    coigp bench report results --html report.html
    """


for _command in (build, convert, run, import_, report):
    bench.add_command(_command)
