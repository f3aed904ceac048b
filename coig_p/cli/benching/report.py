"""`coigp bench report`: what scorers make of a benchmark, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from coig_p.cli.options import as_json, language_option, overwrite_option
from coig_p.cli.screen import check_apart, json_text, print_sections, say
from coig_p.cli.tree import command
from coig_p.core.text import printable


@command("report")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULTS...")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="RESULTS",
    help="Compare each of the others with this one. Default: every two with each other.",
)
@click.option(
    "--tie",
    type=click.Choice(["wrong", "half"]),
    default="wrong",
    show_default=True,
    help="What two equal rewards count.",
)
@click.option("--official", is_flag=True, help="The benchmark's aggregates with the faults of its own code, by name.")
@click.option("--power", is_flag=True, help="Also say how likely such differences are seen, and items for 80%.")
@click.option("--no-baselines", is_flag=True, help="Leave out what the longer response and a guess would give.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the bootstrap, and of the guess.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Also write it as a page, with a plot.")
@click.option(
    "--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Also write it as Markdown, leaderboard first."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Also write its plot, as SVG.")
@language_option("Of the report.")
@overwrite_option("a file that is there")
@as_json
def report(
    results: tuple[Path, ...],
    against: Path | None,
    tie: Literal["wrong", "half"],
    official: bool,
    power: bool,
    no_baselines: bool,
    seed: int,
    html: Path | None,
    markdown: Path | None,
    plot: Path | None,
    language: str,
    overwrite: bool,
    json_: bool,
) -> None:
    """Show how scorers do on a benchmark: RESULTS are folders of coigp bench run, all of one benchmark.

    By domain, over all pairs, and as the benchmark itself counts; with intervals, ties and what is invalid or missing
    in columns of their own, accuracy at equal length, and every two scorers compared on the same items.

    \b
    coigp bench report results
    coigp bench report crm claude --against length --power
    coigp bench report crm --official --html report.html --markdown board.md
    coigp bench report crm --json | jq .scorers[0].micro.share
    """
    from coig_p.core.atomic import atomic_file
    from coig_p.reward.bench.report_text import as_markdown, as_page, as_plot, sections
    from coig_p.reward.bench.reporting import ReportConfig, bench_report
    from coig_p.reward.seeds import check_seed
    from coig_p.store.places import check_file

    check_seed(seed)
    files = {name: path for name, path in (("html", html), ("markdown", markdown), ("plot", plot)) if path is not None}
    for name, path in files.items():
        check_file(path, "a report", overwrite)
        check_apart(path, [*results, against])
        if any(path.resolve() == other.resolve() for at, other in files.items() if at != name):
            raise click.UsageError(f"{printable(str(path))} is named for two files: give each its own")
    config = ReportConfig(tie=tie, official=official, baselines=not no_baselines, seed=seed)
    found = bench_report(results, config, against=against)
    texts = {
        "html": lambda: as_page(found, language, power=power),
        "markdown": lambda: as_markdown(found, language, power=power),
        "plot": lambda: as_plot(found, language),
    }
    for name, path in files.items():
        with atomic_file(path) as stream:
            stream.write(texts[name]().encode())
    if json_:
        click.echo(json_text({**{name: str(path) for name, path in files.items()}, **found.to_dict()}))
        return
    print_sections(sections(found, language, power=power))
    for path in files.values():
        say(f"wrote {printable(str(path))}")
