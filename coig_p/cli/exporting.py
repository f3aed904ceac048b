"""The commands that count and write a store's rows for training: pairs, export, plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.engines import engine_options
from coig_p.cli.filtered import filter_lines
from coig_p.cli.options import (
    as_json,
    config_options,
    domains_option,
    list_option,
    one_split_option,
    open_store,
    overwrite_option,
    split_option,
    store_argument,
)
from coig_p.cli.paths import Place
from coig_p.cli.screen import STDOUT, json_text, one_line, progress, row_file, row_stream, table
from coig_p.cli.tree import command
from coig_p.core.text import counted, counted_as, printable
from coig_p.export.settings import PRESETS
from coig_p.export.trainers import TRAINERS
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig
from coig_p.schema import RAW_SUFFIX

if TYPE_CHECKING:
    from coig_p.stats.filtering import FilterEffect
    from coig_p.store.store import Store

_weights_option = click.option(
    "--weights", metavar="DOMAIN=N,...", help="How often an epoch shows a domain: math=2,chat=0.5."
)
_PAIRS = tuple(option for option in PairConfig.__dataclass_fields__ if option != "format")
_LEFT_OUT = "left out by --multi-turn skip, since the rows cannot show them: {}"
_SPLITS, _SHARDS = tuple(SplitConfig.__dataclass_fields__), tuple(ShardConfig.__dataclass_fields__)


@command("pairs")
@store_argument()
@click.option(
    "--out",
    required=True,
    type=Place(),
    metavar="FILE",
    help="The file to write, .parquet or .jsonl; - is JSON Lines on standard output, and nothing else there.",
)
@overwrite_option("FILE where it exists")
@domains_option
@one_split_option
@config_options(PairConfig)
@list_option("--columns", help="Only these columns, in this order. Repeatable. Default: all that the format has.")
@as_json
def pairs(
    store: Path,
    out: Path,
    domains: tuple[str, ...],
    split: str | None,
    columns: tuple[str, ...],
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Write a STORE's pairs to one FILE.

    \b
    coigp pairs store --out pairs.parquet --threshold 3
    coigp pairs store --out math.jsonl --domain math,code --strategy best_worst --format conversational
    coigp pairs store --out agreed.parquet --agree-with crm
    coigp pairs store --out - --domain math --columns prompt,chosen,rejected | head -n 3
    """
    from coig_p.export.one_file import write_pairs
    from coig_p.pairs.exclusion import count_excluded
    from coig_p.stats.results import rounded

    kind = row_file(out, json_, "a file of pairs", overwrite)
    config = PairConfig(**options)
    opened = open_store(store)
    with row_stream(out) if out == STDOUT else nullcontext(out) as place:
        counts, config = write_pairs(
            opened, place, config, file_type=kind, domains=domains, split=split, columns=columns or None
        )
    rows = sum(counts.values())
    if out == STDOUT:
        return
    left_out = _conversations(opened, counts, split, config) if config.multi_turn == "skip" else None
    filtered = _filtered(opened, config, domains, split, SplitConfig())
    if json_:
        found = {"file": str(out), "rows": rows, "domains": counts, "threshold": config.threshold, **config.later}
        if config.exclude is not None:
            found["exclude"] |= count_excluded(opened, config.exclude, domains, split).to_dict()
        found |= {} if left_out is None else {"queries_left_out": left_out}
        click.echo(json_text(found if filtered is None else found | {"filtered": rounded(filtered.to_dict())}))
    else:
        shown = ", ".join(f"{domain} {count}" for domain, count in counts.items())
        click.echo(f"wrote {printable(str(out))}: {rows} rows at threshold {config.margin} ({shown})")
        if left_out is not None:
            click.echo(_LEFT_OUT.format(counted_as(left_out, "queries")))
        _print_filtered(filtered)


def _filtered(
    store: Store, config: PairConfig, domains: Sequence[str], split: str | None, cut: SplitConfig, **shared_by: Any
) -> FilterEffect | None:
    """What rewards did to the pairs of the store that were read, before these are cut, weighted or too long."""
    if config.agree_with is None:
        return None
    from coig_p.pairs.selection import one_split
    from coig_p.stats.filtering import filter_effect

    source = one_split(store.manifest, split, cut)
    files = store.selected_files(domains, source)
    with progress("Counting", sum(file.rows or 0 for file in files), "queries") as advance:
        return filter_effect(store, config, domains=domains, split=source, advance=advance, **shared_by)


def _print_filtered(found: FilterEffect | None) -> None:
    if found is not None:
        click.echo("\n".join(filter_lines(found.config, found.domains, found.total)))


def _conversations(opened: Store, domains: Iterable[str], split: str | None, config: PairConfig) -> int:
    """How many queries of the domains that were read are conversations, without those that are excluded."""
    from coig_p.pairs.selection import one_split
    from coig_p.pairs.shapes import held

    found = held(opened.manifest, list(domains), [one_split(opened.manifest, split)], config.exclude, opened.rows_of)
    return sum(found.conversations.values())


@command("export")
@store_argument()
@click.option("--for", "trainer", required=True, type=click.Choice(list(TRAINERS)), help="Whose form to write.")
@click.option("--out", required=True, type=Place(), metavar="DIR", help="The directory to write.")
@click.option("--conversational", is_flag=True, help="Message lists rather than strings, for trl-*.")
@click.option(
    "--system", metavar="TEXT", help="A system prompt before prompts without one, where the form has messages."
)
@domains_option
@one_split_option
@config_options(PairConfig, leave_out=("format",))
@config_options(SplitConfig)
@_weights_option
@config_options(ShardConfig)
@click.option("--tokenizer", metavar="PATH", help="A tokenizer.json, or its directory: report lengths in tokens.")
@click.option("--max-length", type=int, metavar="N", help="Leave out rows of more tokens, and say how many.")
@click.option(
    "--balance-length",
    is_flag=True,
    help="As many pairs whose chosen response is longer as pairs whose is shorter: leave out some of the larger group.",
)
@click.option(
    "--response-of",
    metavar="MODEL",
    help="For one row a query (trl-sft, ...): this model's response, scored or not, rather than the best.",
)
@click.option(
    "--one-per",
    metavar="KEY",
    help="For one row a query: one of each value of a key of meta, as question_type (of a writer and a subject).",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="The paper whose numbers the trainer's files have. Default: coig-p.",
)
@overwrite_option("an existing export")
@engine_options
@as_json
def export(
    store: Path,
    out: Path,
    weights: str | None,
    overwrite: bool,
    shared_by: dict[str, Any],
    json_: bool,
    **options: Any,
) -> None:
    """Write a STORE's rows as one trainer reads them: its columns, shuffled once, in even shards.

    DIR gets the rows, the small config file that the trainer wants, shards.json with max_steps for a
    batch size, and a README with the line that trains.

    \b
    coigp export store --for trl-dpo --out dpo --threshold 2 --world-size 8 --workers 4
    coigp export store --for llama-factory --out lf --test-size 0.02 --system 你是一个有用的助手。
    coigp export store --for trl-reward --out reward --agree-with crm --balance-length
    coigp export store --for openrlhf-ppo --out ppo --preset tap
    coigp export tap --for trl-sft --out sft --one-per question_type --response-of gpt-4 --conversational
    coigp export store --for trl-kto --out kto --weights math=2,chat=0.5 --tokenizer MODEL_DIR --max-length 2048
    """
    from coig_p.export.write import ExportConfig, export_store
    from coig_p.pairs.weights import parse_weights
    from coig_p.stats.results import rounded

    config = ExportConfig(
        pairs=PairConfig(**{name: options.pop(name) for name in _PAIRS}),
        splits=SplitConfig(**{name: options.pop(name) for name in _SPLITS}),
        order=ShardConfig(**{name: options.pop(name) for name in _SHARDS}),
        weights=parse_weights(weights) if weights else {},
        **options,
    )
    opened = open_store(store)
    files = opened.manifest.data_files()
    queries = sum(file.rows or 0 for file in files if not config.domains or file.domain in config.domains)
    with progress("Exporting", queries, "queries") as advance:
        found = export_store(opened, out, config, overwrite=overwrite, advance=advance, **shared_by).to_dict()
    filtered = _filtered(opened, config.pairs, config.domains, config.split, config.splits, **shared_by)
    if json_:
        told = {} if filtered is None else {"filtered": rounded(filtered.to_dict())}
        click.echo(json_text({"directory": str(out), **found, **told}))
    else:
        _print(found, out)
        _print_filtered(filtered)


def _print(found: dict[str, Any], out: Path) -> None:
    splits = found["splits"]
    domains = list(dict.fromkeys(domain for split in splits.values() for domain in split["rows_by_domain"]))
    rows = [[domain, *(split["rows_by_domain"].get(domain, 0) for split in splits.values())] for domain in domains]
    rows.append(["all", *(split["rows"] for split in splits.values())])
    click.echo(table(["rows", *splits], rows))
    without = sum(split.get("queries_without_pairs", 0) for split in splits.values())
    if without:
        click.echo(f"left out, without a pair at threshold {found['threshold']:g}: {counted_as(without, 'queries')}")
    without = sum(split.get("queries_without_response", 0) for split in splits.values())
    if without:
        of = one_line(found["response_of"])
        click.echo(f"left out, without a response of {of}: {counted_as(without, 'queries')}")
    beside = sum(split.get("queries_beside", 0) for split in splits.values())
    if beside:
        click.echo(f"left out, beside another of their {one_line(found['one_per'])}: {counted_as(beside, 'queries')}")
    left_out = sum(split.get("queries_left_out", 0) for split in splits.values())
    if left_out:
        click.echo(_LEFT_OUT.format(counted_as(left_out, "queries")))
    for name, split in splits.items():
        if "balanced" in split:
            one = split["balanced"]
            click.echo(
                f"{name}: the chosen response was longer in {counted(one['longer'], 'pair')}, shorter in "
                f"{one['shorter']:,}, as long in {one['equal']:,}; left out to balance them: {one['left_out']:,}"
            )
    if "tokens" in found:
        _print_tokens(found["tokens"])
    train = next(iter(splits.values()))
    steps = ", ".join(f"{count:,} at batch size {batch}" for batch, count in train.get("max_steps", {}).items())
    sizes = [shard["rows"] for shard in train["shards"]]
    rows_each = counted(sizes[0], "row") if len(set(sizes)) == 1 else f"{min(sizes):,} to {max(sizes):,} rows"
    click.echo(
        f"wrote {printable(str(out))} for {found['trainer']}"
        + ("" if "response_of" in found else f" at threshold {found['threshold']:g}")
        + ": "
        f"{counted(len(sizes), 'shard')} of {rows_each}"
    )
    if steps:
        click.echo(f"max_steps of one epoch on {found['world_size']} ranks: {steps}")
    for note in found.get("notes", ()):
        click.echo(f"note: {printable(note)}")


@command("plan")
@store_argument()
@click.option("--domain", metavar="NAME", help="Only this domain. Default: all.")
@click.option("--raw", is_flag=True, help="Rows as they are stored, not pairs.")
@split_option
@config_options(PairConfig)
@config_options(SplitConfig)
@_weights_option
@config_options(ShardConfig)
@click.option("--epochs", type=click.IntRange(min=1), default=1, show_default=True, help="So many epochs are counted.")
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Of one rank: also tell max_steps.")
@click.option(
    "--gradient-accumulation", type=click.IntRange(min=1), default=1, show_default=True, help="Batches of a step."
)
@click.option("--drop-last", is_flag=True, help="Batches that are not full do not count.")
@as_json
def plan(
    store: Path,
    domain: str | None,
    raw: bool,
    split: str | None,
    epochs: int,
    batch_size: int | None,
    gradient_accumulation: int,
    drop_last: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Count the rows, shards and steps of a STORE's stream, which has no length, before it is read.

    STORE may also be org/name on the Hub. Options mean what they mean to load_dataset with streaming=True.

    \b
    coigp plan store --shuffle-seed 0 --world-size 8 --workers 4 --epochs 3 --batch-size 4 --gradient-accumulation 8
    coigp plan org/name --domain math --threshold 3 --json | jq .splits.train.rows
    """
    from coig_p.planning import plan as make_plan

    defaults = {one.name: one.default for config in (PairConfig, SplitConfig, ShardConfig) for one in fields(config)}
    given = {name: value for name, value in options.items() if value != defaults.get(name)}
    name = (domain or "all") + (RAW_SUFFIX if raw else "")
    found = make_plan(name, data_dir=str(store), split=split, epochs=epochs, **given)
    steps = {}
    if batch_size is not None:
        # Of a split with fewer queries than ranks, ranks take rows in turn: see coig_p.pairs.plan.make_plan.
        even = [one for one in found.splits if one.num_shards % one.world_size == 0]
        steps = {one.name: one.max_steps(batch_size, gradient_accumulation, drop_last=drop_last) for one in even}
    if json_:
        told = found.to_dict()
        if batch_size is not None:
            told["max_steps"] = {one: steps.get(one) for one in found}
        click.echo(json_text(told))
        return
    rows: list[list[object]] = []
    for one in found.splits:
        sizes = [size for epoch in one.shards for size in epoch]
        each = f"{min(sizes):,}" if len(set(sizes)) == 1 else f"{min(sizes):,} to {max(sizes):,}"
        rows.append([one.name, one.rows, one.num_shards, each, steps.get(one.name, "-")])
    header = ["split", "rows", "shards", "rows of a shard", "max_steps"]
    shown = len(header) if steps else -1
    click.echo(table(header[:shown], [row[:shown] for row in rows]))
    click.echo(f"rows and shards of one epoch of {found.config}" + (f"; max_steps of {epochs}" if steps else ""))


def _print_tokens(tokens: dict[str, Any]) -> None:
    measured = [
        [name.replace("_", " "), *tokens[name].values()] for name in ("prompt", "prompt_and_response") if name in tokens
    ]
    if measured:
        click.echo(table(["tokens", *tokens["prompt"]], measured))
    if tokens["max_length"] is not None:
        by_domain = ", ".join(f"{domain} {count:,}" for domain, count in tokens["too_long_by_domain"].items())
        share = tokens["too_long"] / max(1, tokens["rows"])
        click.echo(
            f"left out, longer than {tokens['max_length']:,} tokens: {tokens['too_long']:,} of {tokens['rows']:,} rows "
            f"({share:.1%})" + (f": {by_domain}" if by_domain else "")
        )
