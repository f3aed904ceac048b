"""`coigp diversity`: how many different things a store asks, also beside another store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.options import Finite, as_json, store_argument
from coig_p.cli.paths import Place
from coig_p.cli.screen import json_text, one_line, progress, table
from coig_p.cli.tree import command
from coig_p.dedup.diversity import GRAMS, DiversityConfig

if TYPE_CHECKING:
    from coig_p.dedup.diversity import Measured, Text


@command("diversity")
@store_argument()
@click.option(
    "--beside",
    type=Place(),
    metavar="STORE",
    help="Also another store, of which as many texts are measured: one that was asked for plainly, say.",
)
@click.option("--sample", type=int, metavar="N", help="At most so many texts of a domain and of all, drawn by hash.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is drawn.")
@click.option(
    "--similarity",
    "threshold",
    type=Finite(0, 1, min_open=True),
    default=0.7,
    show_default=True,
    help="Smallest Jaccard of near-duplicates.",
)
@click.option("--n", type=int, default=3, show_default=True, help="Characters of an n-gram of near-duplicates.")
@as_json
def diversity(store: Path, beside: Path | None, json_: bool, **options: Any) -> None:
    """How diverse the queries of a STORE are: distinct n-grams and near-duplicates, by domain.

    Of a store made from a taxonomy also its types of questions and their descriptions. Shares of distinct n-grams fall
    as texts are added: compare rows where as many texts were measured, with --sample.

    \b
    coigp diversity store
    coigp diversity tap --beside plain --sample 1000
    """
    from coig_p.dedup.diversity import measure_beside, measure_diversity

    config = DiversityConfig(**options)
    texts = _read(store)
    others = _read(beside) if beside is not None else None
    found = measure_diversity(texts, config)
    both = measure_beside(texts, others, config) if others is not None else {}
    if json_:
        told: dict[str, Any] = {"stages": found.to_dict()}
        if others is not None:
            # In the form of the stages: "own" and "other" instead of domains.
            pairs = {stage: {"own": own, "other": other} for stage, (own, other) in both.items()}
            told["beside"] = type(found)(pairs).to_dict()
        click.echo(json_text(told))
        return
    for stage, domains in found.stages.items():
        _print(stage, domains)
    for stage, (own, other) in both.items():
        _print(f"{stage}, as many of both", {str(store): own, str(beside): other})


def _read(path: Path) -> Mapping[str, list[Text]]:
    from coig_p.dedup.diversity import read_texts
    from coig_p.store.store import Store

    store = Store.open(path)
    with progress("Reading", sum(file.rows or 0 for file in store.data_files()), "queries") as advance:
        return read_texts(store, advance)


def _print(title: str, rows: Mapping[str, Measured]) -> None:
    header = [title, "texts", "measured", *(f"distinct {n}" for n in GRAMS), "near-duplicates", "exact"]
    lines = [
        [
            one_line(name),
            one.texts,
            one.measured,
            *("-" if one.distinct[n] is None else f"{one.distinct[n]:.1%}" for n in GRAMS),
            f"{one.near_duplicates:.1%}",
            f"{one.exact:.1%}",
        ]
        for name, one in rows.items()
    ]
    click.echo(table(header, lines))
    click.echo()
