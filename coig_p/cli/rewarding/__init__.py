"""`coigp reward`: reward models trained on a store's pairs. One module a command; nothing heavy is imported early."""

from __future__ import annotations

import click

from coig_p.cli.rewarding.halves import halves
from coig_p.cli.rewarding.judge_data import judge_data
from coig_p.cli.rewarding.train import train
from coig_p.cli.tree import Group


@click.group(cls=Group)
def reward() -> None:
    """Reward models: trained on a store's pairs, with the accuracy on queries that they never saw.

    \b
    coigp reward train store --model builtin:ngram --out floor
    coigp reward halves store --out halves
    coigp reward judge-data store --out judge-data
    """


for _command in (train, halves, judge_data):
    reward.add_command(_command)
