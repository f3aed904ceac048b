"""The batch files of `coigp annotate run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.annotate.common import EXAMPLES
from coig_p.cli.screen import json_text, pasted
from coig_p.core.text import printable

if TYPE_CHECKING:
    from coig_p.annotate.config import RunConfig


def write_out(config: RunConfig, folder: Path, overwrite: bool, json_: bool) -> None:
    """Write what the next stage asks."""
    from coig_p.annotate.asking.ledger import LedgerWriter
    from coig_p.annotate.batch_stages import batch_out

    with LedgerWriter.open(config.folder) as ledger:
        stage, written = batch_out(config, ledger, folder, overwrite)
    if json_:
        click.echo(json_text({"stage": stage, "files": {str(path): number for path, number in written.items()}}))
        return
    for path, number in written.items():
        click.echo(f"wrote {printable(str(path))}: {number:,} requests")
    if stage is None:
        click.echo("nothing is left to write: answered, or out in batch files already")
    else:
        click.echo(f"stage {stage}; once answered: coigp annotate run {pasted(config.path)} --batch-in FILE")


def read_in(config: RunConfig, paths: tuple[Path, ...], json_: bool) -> None:
    """Read what batch files answered."""
    from coig_p.annotate.asking.ledger import LedgerWriter
    from coig_p.annotate.batch_stages import batch_in

    with LedgerWriter.open(config.folder) as ledger:
        found = batch_in(config, ledger, paths)
    if json_:
        click.echo(json_text({"counts": found.counts, "problems": found.problems}))
    else:
        for problem in found.problems[:EXAMPLES]:
            click.echo(printable(problem), err=True)
        words = ", ".join(f"{state} {number:,}" for state, number in found.counts.items()) or "nothing"
        click.echo(f"{words}; {len(found.problems):,} lines that are none of this run's")
    if found.problems:
        raise SystemExit(1)
