"""The commands that show what is in a store: info, stats, sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.engines import engine_options
from coig_p.cli.filtered import filter_lines, percent
from coig_p.cli.options import (
    as_json,
    config_options,
    domains_option,
    language_option,
    open_store,
    overwrite_option,
    split_option,
    store_argument,
)
from coig_p.cli.screen import harmless_json, json_text, one_line, progress, table
from coig_p.cli.tree import command
from coig_p.core.svg import signed
from coig_p.core.text import counted, printable
from coig_p.pairs.config import PairConfig

if TYPE_CHECKING:
    from coig_p.stats.intervals import Mean
    from coig_p.stats.lengths import StoreLengths
    from coig_p.stats.results import Statistics
    from coig_p.stats.sweep import Sweep
    from coig_p.store.store import Store

_PLOTS = ("domains", "margins", "margins-by-domain", "lengths", "models", "judges")
_FILES = {"statistics.json", *(f"{name}.svg" for name in _PLOTS)}
_SWEEP_FILES = {"sweep.json", "yield.svg", "balance.svg", "second-judge.svg"}

plots_language = language_option("Of the words in plots.")


@command("info")
@store_argument()
@click.option(
    "--tokenizer",
    metavar="PATH",
    help="Also measure prompts and responses of pairs, in tokens of a tokenizer.json, its directory, or tiktoken:NAME; "
    "builtin:characters counts characters.",
)
@as_json
def info(store: Path, tokenizer: str | None, json_: bool) -> None:
    """What a STORE holds: queries, responses, scores, pairs at the default threshold; models; judges.

    \b
    coigp info store
    coigp info store --json | jq .domains.math.pairs
    coigp info store --tokenizer tiktoken:cl100k_base
    """
    from coig_p.stats.info import store_info

    opened = open_store(store)
    measured = _measured(opened, tokenizer) if tokenizer is not None else None
    found = store_info(opened)
    if json_:
        click.echo(json_text(found.to_dict() | ({} if measured is None else {"lengths": measured.to_dict()})))
        return
    names = found.shown()
    every = {**found.domains, "all": found.total}
    rows = [[domain, *(getattr(counts, name) for name in names)] for domain, counts in every.items()]
    click.echo(table(["domain", *(name.replace("_", " ") for name in names)], rows))
    splits = one_line(", ".join(found.splits))
    by_comparisons = found.comparison_threshold
    apart = "" if by_comparisons is None else f", by comparisons at {by_comparisons:g}"
    apart += ", of judges that saw both orders" if found.both_orders else ""
    click.echo(f"pairs at the default threshold of {found.default_threshold:g}{apart}; splits: {splits}")
    if measured is not None:
        _print_measured(measured)
    kinds = [("model", "responses", found.models), ("judge", "judgements", found.judges)]
    kinds += [("rewards", "responses", found.rewards)] if found.rewards else []
    for kind, unit, given in kinds:
        click.echo()
        click.echo(table([kind, unit], list(map(list, given.items()))))


def _measured(opened: Store, tokenizer: str) -> StoreLengths:
    from coig_p.stats.lengths import store_lengths

    with progress("Measuring", sum(file.rows or 0 for file in opened.data_files()), "queries") as advance:
        return store_lengths(opened, tokenizer, advance)


def _print_measured(found: StoreLengths) -> None:
    from coig_p.core.lengths import CHARACTERS

    rows = [
        [name, one.samples, one.prompts, one.prompt_length, one.response_length]
        for name, one in {**found.domains, "all": found.total}.items()
    ]
    click.echo()
    click.echo(table(["domain", "samples", "prompts", "prompt length", "response length"], rows))
    unit = "characters" if found.tokenizer == CHARACTERS else f"tokens of {found.tokenizer}"
    click.echo(one_line(f"lengths in {unit}, mean ± standard deviation"))


@command("stats")
@store_argument()
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write statistics.json and plots there.")
@overwrite_option("statistics of an earlier run at DIR")
@domains_option
@split_option
@plots_language
@config_options(PairConfig, ["format"])
@engine_options
@as_json
def stats(
    store: Path,
    out: Path | None,
    overwrite: bool,
    domains: tuple[str, ...],
    split: str | None,
    language: str,
    shared_by: dict[str, Any],
    json_: bool,
    **options: Any,
) -> None:
    """Count a STORE and its pairs: sizes, lengths, margins, ties, and how models and judges fare.

    \b
    coigp stats store
    coigp stats store --threshold 3 --domain math
    coigp stats store --agree-with crm
    coigp stats store --out statistics --json | jq .total.pairs_per_query
    """
    from coig_p.report.figures import statistics_plots
    from coig_p.stats.counts import statistics
    from coig_p.store.places import check_folder

    config = PairConfig(**options)
    if out is not None:
        check_folder(out, _FILES, "a folder of statistics", overwrite)
    opened = open_store(store)
    files = opened.selected_files(domains, split)
    with progress("Counting", sum(file.rows or 0 for file in files), "queries") as advance:
        found = statistics(opened, config, domains=domains, split=split, advance=advance, **shared_by)
    if out is not None:
        _write(out, {"statistics.json": found.to_json(), **statistics_plots(found, language)})
    if json_:
        click.echo(harmless_json(found.to_json()), nl=False)
        return
    _print_statistics(found)
    if out is not None:
        click.echo(f"\nwrote {printable(str(out))}: statistics.json and plots")


def _print_statistics(found: Statistics) -> None:
    names = ["queries", "responses", "scores", "comparisons", "pairs", "queries_with_pairs"]
    every = {**found.domains, "all": found.total}
    header = ["domain", *names[:-1], "with pairs", "pairs a query", "longer chosen"]
    rows = [
        [
            domain,
            *(getattr(part, name) for name in names),
            _number(part.pairs_per_query, 1),
            percent(part.chosen_longer),
        ]
        for domain, part in every.items()
    ]
    click.echo(table(header, rows))
    total, kinds = found.total, found.total.combinations
    click.echo(
        f"\npairs at threshold {found.config.margin}. Of {kinds.labelled:,} labelled combinations "
        f"{kinds.same_text:,} hold one text twice, {kinds.ties:,} are ties, {kinds.below_threshold:,} lie "
        f"below, {kinds.left_out:,} are left out by strategy or draw"
    )
    if total.filtered is not None:
        by_domain = {name: part.filtered for name, part in found.domains.items() if part.filtered is not None}
        click.echo("\n" + "\n".join(filter_lines(found.config, by_domain, total.filtered)))
    if total.conversations:
        turns = f", with {counted(total.turns, 'turn')} before their answers" if total.turns else ""
        click.echo(
            f"{counted(total.conversations, 'query is', 'queries are')} more than one user's text{turns}; "
            f"{total.with_tools:,} of them hold tools, or a turn or an answer that is more than text"
        )
    quantiles = ["mean", "min", "p10", "p50", "p90", "p99", "max"]
    lengths = {name: getattr(total.lengths, name) for name in ("query", "response", "chosen", "rejected")}
    spread = {f"{kind} length": of for kind, of in lengths.items()} | {"margin": total.margins}
    click.echo()
    lines = [[kind, *(_number(getattr(of, q), 2) for q in quantiles)] for kind, of in spread.items()]
    click.echo(table(["", *quantiles], lines))
    click.echo()
    rows = [
        [name, model.responses, model.chosen, model.rejected, percent(model.win_rate)]
        for name, model in sorted(total.models.items(), key=lambda item: -(item[1].win_rate.share or 0))
    ]
    click.echo(table(["model", "responses", "chosen", "rejected", "win rate"], rows))
    click.echo()
    header = ["judge", "scores", "comparisons", "mean", "offset", "agrees", "ties", "opposes"]
    rows = [
        [
            name,
            judge.scores,
            judge.comparisons,
            _number(judge.mean_score, 2),
            _mean(judge.offset),
            *(percent(said) for said in (judge.agrees, judge.ties, judge.opposes)),
        ]
        for name, judge in total.judges.items()
    ]
    click.echo(table(header, rows))


@command("sweep")
@store_argument()
@click.option("--thresholds", metavar="T,T,...", help="Default: about 20 even steps over the score range.")
@click.option("--second", metavar="NAME", help="Rewards of the store that say of every pair whether they agree.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write sweep.json and plots there.")
@overwrite_option("a sweep of an earlier run at DIR")
@domains_option
@split_option
@plots_language
@config_options(PairConfig, ["threshold", "format"])
@engine_options
@as_json
def sweep(
    store: Path,
    thresholds: str | None,
    second: str | None,
    out: Path | None,
    overwrite: bool,
    domains: tuple[str, ...],
    split: str | None,
    language: str,
    shared_by: dict[str, Any],
    json_: bool,
    **options: Any,
) -> None:
    """Show what each threshold would give of a STORE: pairs, queries, length, models, a second judge.

    The second judge is each judge in turn, who sees the pairs of the others; or with --second the rewards of a model
    (coigp score), on all pairs.

    \b
    coigp sweep store
    coigp sweep store --thresholds 0.5,1,2,3 --domain math
    coigp sweep store --second crm
    coigp sweep store --out sweep --language zh
    """
    from coig_p.report.figures import sweep_plots
    from coig_p.stats.sweep import sweep as run_sweep
    from coig_p.store.places import check_folder

    config = PairConfig(**options)
    steps = _thresholds(thresholds)
    if out is not None:
        check_folder(out, _SWEEP_FILES, "a folder of a sweep", overwrite)
    opened = open_store(store)
    files = opened.selected_files(domains, split)
    with progress("Counting", sum(file.rows or 0 for file in files), "queries") as advance:
        found = run_sweep(
            opened, config, steps, second=second, domains=domains, split=split, advance=advance, **shared_by
        )
    if out is not None:
        _write(out, {"sweep.json": found.to_json(), **sweep_plots(found, language)})
    if json_:
        click.echo(harmless_json(found.to_json()), nl=False)
        return
    _print_sweep(found)
    if out is not None:
        click.echo(f"wrote {printable(str(out))}: sweep.json and plots")


def _thresholds(given: str | None) -> list[float] | None:
    if given is None:
        return None
    try:
        return [float(part) for part in given.split(",")]
    except ValueError:
        raise click.BadParameter(f"{given!r}: numbers with commas between, for instance 0.5,1,2") from None


def _print_sweep(found: Sweep) -> None:
    header = ["threshold", "pairs", "queries", "kept", "longer chosen", "most chosen", "balance"]
    verdicts = ["agrees", "ties", "opposes"]
    judged = any(row.second_judge.agrees.n for row in found.thresholds)
    rows = []
    for row in found.thresholds:
        name = f"{row.threshold:g}"
        name += " *" if row.threshold == found.paper_optimum else ""
        name += " (default)" if row.threshold == found.default_threshold else ""
        cells: list[object] = [name, row.pairs, row.queries, _percent(row.queries_kept)]
        cells += [percent(row.chosen_longer), _percent(row.most_chosen_share), _number(row.model_balance, 2)]
        rows.append(cells + [percent(getattr(row.second_judge, name)) for name in verdicts] * judged)
    click.echo(table(header + verdicts * judged, rows))
    if any(row.threshold == found.paper_optimum for row in found.thresholds):
        click.echo("* the optimum of COIG-P's authors, on their data")
    unknown = max((row.without_reward for row in found.thresholds), default=0)
    if found.second is not None and unknown:
        click.echo(f"of up to {counted(unknown, 'pair')} the rewards {found.second} say nothing: a response has none")
    if not judged:
        paired = any(row.pairs for row in found.thresholds)
        why = "no judge judged a pair that the others alone make" if paired else "no pair is left"
        if found.second is not None and paired:
            why = f"no pair has two responses with rewards {found.second}"
        click.echo(f"{why}: whether another judge would agree is not known")


def _write(folder: Path, files: Mapping[str, str]) -> None:
    from coig_p.core.atomic import atomic_directory

    with atomic_directory(folder) as root:
        for name, text in files.items():
            (root / name).write_text(text, encoding="utf-8", newline="\n")


def _mean(found: Mean) -> str:
    if found.low is None or found.high is None:
        return _number(found.mean, 2)
    return f"{signed(found.mean or 0)} ({signed(found.low)} to {signed(found.high)})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None, decimals: int) -> str:
    if value is None:
        return "-"
    return f"{value:,.{decimals}f}" if isinstance(value, float) else f"{value:,}"
