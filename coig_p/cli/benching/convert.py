"""`coigp bench convert`: published benchmarks, and a store's pairs, in one form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from coig_p.cli.options import (
    as_json,
    config_options,
    domains_option,
    environment_store,
    list_option,
    one_split_option,
    overwrite_option,
)
from coig_p.cli.paths import Place
from coig_p.cli.screen import json_text, one_line, pasted, table
from coig_p.cli.tree import command
from coig_p.core.text import counted
from coig_p.pairs.config import PairConfig

_SOURCES = ("crbench", "cheemsbench", "rewardbench", "rewardbench2", "rm-bench", "judgebench", "pairs")
_PAIRS = "pairs"
_OF_STORES = {"domains", "split", *(name for name in PairConfig.__dataclass_fields__ if name != "format")}


@command("convert")
@click.option("--from", "source", required=True, type=click.Choice(_SOURCES), help="Whose form the files have.")
@click.argument("files", nargs=-1, type=Place(), metavar="FILE...|STORE")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Write the benchmark there.")
@list_option("--keep", help="Further columns of the files, kept with each item. Without it they are an error.")
@click.option("--name", metavar="TEXT", help="What it is called. Default: as its authors call it, or the store's name.")
@click.option("--licence", metavar="TEXT", help="Default: what its public card says, or all sources of the store.")
@domains_option
@one_split_option
@config_options(PairConfig, leave_out=("format",))
@overwrite_option("a benchmark at DIR")
@as_json
@click.pass_context
def convert(
    context: click.Context,
    /,
    source: str,
    files: tuple[Path, ...],
    out: Path,
    keep: tuple[str, ...],
    name: str | None,
    licence: str | None,
    domains: tuple[str, ...],
    split: str | None,
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Write a published benchmark, or the pairs of a STORE, as a benchmark in our form.

    Published ones are read as their public FILEs are: JSON, JSON Lines or Parquet. A column or value that is not known
    is an error. The last options are those of pairs, for --from pairs.

    \b
    coigp bench convert --from crbench test.parquet --out crbench
    coigp bench convert --from cheemsbench human.jsonl open.jsonl --out cheems
    coigp bench convert --from pairs store --threshold 3 --out bench
    """
    from coig_p.reward.bench.convert import ConvertConfig, convert, convert_store

    given = {one for one in context.params if context.get_parameter_source(one) == ParameterSource.COMMANDLINE}
    config = ConvertConfig(name, licence, keep)
    if source == _PAIRS:
        if keep:
            raise click.UsageError("--keep: a store has no further columns. Leave it out.")
        found = convert_store(
            _one_store(files), out, PairConfig(**options), domains=domains, split=split, config=config,
            overwrite=overwrite,
        )  # fmt: skip
    else:
        if given & _OF_STORES:
            named = ", ".join(f"--{one.replace('_', '-')}" for one in sorted(given & _OF_STORES))
            raise click.UsageError(f"{named.replace('--domains', '--domain')}: only with --from pairs.")
        if not files:
            raise click.UsageError("Missing argument 'FILE...': name the files of the benchmark.")
        found = convert(source, _files(files), out, config, overwrite=overwrite)
    if json_:
        click.echo(json_text(found.to_dict()))
        return
    click.echo(table(["domain", "items", "pairs"], [[one, found.items[one], found.pairs[one]] for one in found.items]))
    items, pairs = sum(found.items.values()), sum(found.pairs.values())
    click.echo(one_line(f"wrote {out}: {found.name}, {counted(items, 'item')}, {counted(pairs, 'pair')}"))
    click.echo(
        f"next: coigp bench run {pasted(out)} --baseline length --out {pasted(out.with_name(out.name + '-length'))}"
    )


def _one_store(given: tuple[Path, ...]) -> Path:
    stores = given or tuple(filter(None, [environment_store()]))
    if len(stores) != 1:
        raise click.UsageError("--from pairs takes one STORE: name it, or set the variable COIGP_STORE.")
    return stores[0]


def _files(given: tuple[Path, ...]) -> list[Path]:
    from coig_p.ingest.readers import find_inputs
    from coig_p.reward.bench.rows import FORMATS

    return find_inputs(given, FORMATS)
