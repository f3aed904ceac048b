"""`coigp annotate`: parse, call, print. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import click

from coig_p.cli.annotate.looking import audit, status
from coig_p.cli.annotate.making import demo, init
from coig_p.cli.annotate.redoing import judgements, retry
from coig_p.cli.annotate.running import compare, generate, judge, prompts, queries, refine, run, select, store, types
from coig_p.cli.annotate.taxonomy import taxonomy
from coig_p.cli.tree import Group


@click.group(cls=Group)
def annotate() -> None:
    """From queries to scored responses: many models answer, judges of other families score.

    \b
    coigp annotate init --out run.toml
    coigp annotate run run.toml --estimate
    coigp annotate run run.toml --max-cost 20
    coigp annotate status run.toml
    """


_STAGES = (queries, types, refine, prompts, generate, judge, select, compare, store)
for _command in (init, taxonomy, run, *_STAGES, status, retry, judgements, audit, demo):
    annotate.add_command(_command)
