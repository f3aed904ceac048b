"""`coigp align`: models on AlignBench and MT-Bench-zh. One module a command; nothing heavy at first."""

from __future__ import annotations

import click

from coig_p.cli.aligning.answer import answer
from coig_p.cli.aligning.judge import judge
from coig_p.cli.aligning.report import report
from coig_p.cli.tree import Group


@click.group(cls=Group)
def align() -> None:
    """Models on AlignBench or MT-Bench-zh: their answers, a judge's scores, and what they come to.

    \b
    coigp align answer --data alignbench.jsonl --endpoint model.toml --out answers
    coigp align judge answers --judge judge.toml --out results
    coigp align report results
    coigp align report --check table.csv
    """


for _command in (answer, judge, report):
    align.add_command(_command)
