"""The command that runs another tool's command: run."""

from __future__ import annotations

import click

from coig_p.cli.tree import command
from coig_p.launch import launch


@command("run")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND [ARGS]...")
def run(words: tuple[str, ...]) -> None:
    """Run another tool's COMMAND, in which load_dataset knows the name "coig-p".

    It and the processes that it starts are as they would be without, but that datasets finds coig-p as if coig_p had
    been imported: standard input, signals and the exit code are the COMMAND's own. COMMAND is looked for beside coigp,
    then on PATH. What its command line has no option for, the variable COIGP_STORE says: which store.
    No --json: what is printed is the COMMAND's own.

    \b
    coigp run -- trl dpo --dataset_name coig-p --dataset_config math --model_name_or_path MODEL --output_dir out
    coigp run -- torchrun --nproc-per-node 8 train.py
    COIGP_STORE=org/name coigp run -- python -c 'from datasets import load_dataset; load_dataset("coig-p", "math")'
    """
    launch(words)


run.allow_interspersed_args = False  # what follows COMMAND is its own, also what looks like an option of ours
