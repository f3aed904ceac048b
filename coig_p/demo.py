"""The main job on the bundled data: import, look at the store, load pairs by the literal call."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import datasets
from datasets import load_dataset

from coig_p.importing import import_files
from coig_p.info import store_info
from coig_p.intake import ImportConfig
from coig_p.locate import BUNDLED
from coig_p.schema import DOMAINS
from coig_p.terminal import printable, table
from coig_p.validation import check
from coig_p.validation.report import worst_first

RAW = BUNDLED.parent / "raw"
_DOMAIN, _THRESHOLD = "math", 2


def run_demo() -> None:
    """Print the main job, step by step. Everything it writes is in a temporary folder and goes with it."""
    bars = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory(prefix="coigp-demo-") as folder:
            _demo(Path(folder))
    finally:
        if bars:
            datasets.enable_progress_bars()


def _demo(folder: Path) -> None:
    store = folder / "store"
    _step("1. Import: raw generations and scores into a store", "coigp import raw/*.jsonl --out store")
    _, report = import_files([RAW / f"{domain}.jsonl" for domain in DOMAINS], store, ImportConfig())
    rows = [[unit, *counts.values()] for unit, counts in report.accounting().items() if counts["read"]]
    click.echo(table(["", "read", "stored", "rejected", "merged"], rows))

    _step("2. What it holds", "coigp info store")
    found = store_info(store)
    names = ["queries", "responses", "scores", "pairs"]
    lines = [[domain, *(counts[name] for name in names)] for domain, counts in found["domains"].items()]
    click.echo(table(["domain", *names], [*lines, ["all", *(found["total"][name] for name in names)]]))

    call = f'load_dataset("coig-p", "{_DOMAIN}", threshold={_THRESHOLD}, data_dir="store")'
    _step("3. What may be wrong with it", "coigp check store")
    checked = check(store)
    found_by = [[rule, number] for rule, number in worst_first(checked) if checked.rules[rule].severity != "metric"]
    click.echo(table(["warning", "findings"], found_by))
    click.echo(f"errors: {checked.count('error')}; the gate is {'open' if checked.passed else 'shut'}")

    _step("4. Pairs, made while loading", f"import coig_p; from datasets import load_dataset\n  pairs = {call}")
    counts = []
    for threshold in (_THRESHOLD, 4, 7):
        pairs = load_dataset(
            "coig-p", _DOMAIN, threshold=threshold, data_dir=str(store), cache_dir=str(folder / "cache"), split="train"
        )
        counts.append([threshold, pairs.num_rows])
        if threshold == _THRESHOLD:
            pair = pairs[0]
    click.echo(table(["threshold", f"{_DOMAIN} pairs"], counts))

    _step(f"5. One of them, at threshold {_THRESHOLD}", "pairs[0]")
    for name, fact in (
        ("prompt", pair["query_id"]),
        ("chosen", f"{pair['chosen_model']}, {pair['chosen_score']:g} points"),
        ("rejected", f"{pair['rejected_model']}, {pair['rejected_score']:g} points"),
    ):
        click.secho(f"{name} ({printable(fact)})", bold=True)
        click.echo("  " + printable(pair[name]).replace("\n", "\n  "))
    click.echo(f"\nmargin {pair['margin']:g}")
    click.echo(
        "\nYour own data: coigp import --help. Without data_dir, load_dataset reads the bundled store, or COIGP_STORE."
    )


def _step(title: str, command: str) -> None:
    click.secho(f"\n{title}", bold=True)
    click.secho(f"  {command}\n", dim=True)
