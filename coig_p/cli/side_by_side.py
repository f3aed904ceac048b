"""The command that sets datasets side by side: compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from coig_p.cli.engines import num_proc_option
from coig_p.cli.options import (
    against_option,
    as_json,
    config_options,
    language_option,
    map_option,
    overwrite_option,
    rules_option,
)
from coig_p.cli.paths import Place
from coig_p.cli.screen import check_apart, harmless_json, progress, table
from coig_p.cli.tree import command
from coig_p.core.text import printable
from coig_p.pairs.config import PairConfig

NOT_OFFERED = ("format", "multi_turn", "calibrate", "exclude", "agree_with", "min_reward_margin")
"""Those of `coig_p.evaluate.compare.config`, whose import would take a while for --help."""


@command("compare")
@click.argument("stores", nargs=-1, required=True, type=Place(), metavar="STORE...")
@against_option
@map_option
@click.option(
    "--tokenizer",
    metavar="PATH",
    help="Also lengths in tokens of a tokenizer.json, its directory, or tiktoken:NAME.",
)
@rules_option
@click.option("--no-floor", is_flag=True, help="Train no floor on the stores, which takes most of the time.")
@click.option(
    "--max-responses",
    type=click.IntRange(min=2),
    default=20_000,
    show_default=True,
    help="Of the floor: draw whole queries, by hash, up to so many responses.",
)
@click.option("--split", metavar="NAME", help="Of the floor. Default: the only one, or train where there are several.")
@config_options(PairConfig, leave_out=NOT_OFFERED)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Write a page, Markdown, JSON, CSV and plots there."
)
@click.option("--csv", "csv_", is_flag=True, help="Print one line a store in CSV, for programs.")
@overwrite_option("what an earlier run wrote at DIR")
@language_option("Of the words at DIR.")
@num_proc_option
@as_json
def compare_command(
    stores: tuple[Path, ...],
    benchmarks: tuple[str, ...],
    fields: dict[str, str],
    tokenizer: str | None,
    rules_file: Path | None,
    no_floor: bool,
    max_responses: int,
    split: str | None,
    out: Path | None,
    csv_: bool,
    overwrite: bool,
    language: str,
    num_proc: int | None,
    json_: bool,
    **options: Any,
) -> None:
    """Set STOREs side by side: sizes, lengths, languages, judges, checks, contamination, overlap, a floor.

    Every number is the one that the command for one store tells: info, stats, check, dedup, contamination, judges,
    reward train, bench run. Pairs are at each store's own options, or at those given. STOREs are folders, or org/name
    on the Hub, org/name@revision, hf://datasets/org/name.

    \b
    coigp compare coig-p huozi zake --out compared --num-proc 2
    coigp compare store org/name@v1.0.0 --against crbench.jsonl --no-floor
    coigp compare store other --json | jq '.across[] | {store, other, near}'
    """
    from coig_p.evaluate.compare import CompareConfig, side_by_side
    from coig_p.evaluate.compare.page import FILES, STORES, all_files, as_csv
    from coig_p.evaluate.compare.tables import sections
    from coig_p.store.places import check_folder
    from coig_p.validation import load_rules

    if fields and not benchmarks:
        raise click.UsageError("--map names a benchmark's columns: pass --against, too.")
    if json_ and csv_:
        raise click.UsageError("--json and --csv both write to standard output: leave one out.")
    given = click.get_current_context().get_parameter_source
    for name in ("split", "max_responses"):
        if no_floor and given(name) == ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is of the floor, and --no-floor trains none: leave one out."
            )
    if out is not None:
        check_folder(out, FILES, "a folder of coigp compare", overwrite)
        check_apart(out, [*stores, rules_file, *benchmarks])
    config = CompareConfig(
        pairs=PairConfig(**options),
        against=benchmarks,
        fields=fields,
        tokenizer=tokenizer,
        rules=None if rules_file is None else load_rules(rules_file),
        floor=not no_floor,
        max_responses=max_responses,
        split=split,
    )
    found = side_by_side(stores, config, num_proc=num_proc, bar=progress)
    if out is not None:
        _write(out, all_files(found, language))
    if json_:
        click.echo(harmless_json(found.to_json()), nl=False)
        return
    if csv_:
        click.echo(printable(as_csv(found.to_pandas().reset_index())), nl=False)
        return
    for at, section in enumerate(sections(found)):
        click.echo(("\n" if at else "") + section.title)
        if section.note:
            click.echo(section.note)
        click.echo(table(section.header, section.rows))
    if out is not None:
        click.echo(f"\nwrote {printable(str(out))}: {STORES} and others")


def _write(out: Path, made: dict[str, str]) -> None:
    from coig_p.core.atomic import atomic_directory

    with atomic_directory(out) as root:
        for name, text in made.items():
            (root / name).write_text(text, encoding="utf-8", newline="\n")
