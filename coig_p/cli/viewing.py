"""The command that shows a store in the browser, or as one file: view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.engines import num_proc_option
from coig_p.cli.options import domains_option, language_option, overwrite_option, store_argument
from coig_p.cli.screen import progress, say
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    import pyarrow as pa


@command("view")
@store_argument()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: a free one.")
@click.option("--report", type=click.Path(path_type=Path), metavar="DIR", help="Findings: of coigp check --report DIR.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.html", help="Write one file; start no server.")
@overwrite_option("the file of --out")
@click.option("--sample", type=click.IntRange(min=0), default=50, show_default=True, help="Queries in that file.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw of those queries.")
@domains_option
@language_option("Of that file.")
@click.option("--cache", type=click.Path(path_type=Path), metavar="DIR", help="Where the index is kept.")
@click.option("--browser/--no-browser", default=False, help="Open the address in the browser.")
@num_proc_option
def view(
    store: Path,
    port: int,
    report: Path | None,
    out: Path | None,
    overwrite: bool,
    sample: int,
    seed: int,
    domains: tuple[str, ...],
    language: str,
    cache: Path | None,
    browser: bool,
    num_proc: int | None,
) -> None:
    """Look at a STORE in the browser: queries, responses, pairs, judges, models. Ctrl-C ends it.

    STORE is a folder, org/name on the Hub, org/name@revision, or hf://datasets/org/name.

    The server answers this machine alone, and only who knows the address. With --out: one HTML file that
    anyone can open. No --json: the numbers are those of coigp stats, sweep and show, which have it.

    \b
    coigp view store
    coigp check store --report report; coigp view store --report report
    coigp view store --out report.html --sample 100 --language zh
    """
    from coig_p.report.view.index import default_cache, load_index, queries_to_read
    from coig_p.report.view.pages import View, check_findings
    from coig_p.store.locate import locate, open_located
    from coig_p.store.places import check_file

    if out is not None:
        check_file(out, "a page", overwrite)
    location = locate(store)
    opened = open_located(location, rewards=location.manifest.rewards)
    findings = _findings(report)
    kept_at = cache or default_cache()
    with progress("Counting", queries_to_read(opened, kept_at), "queries") as advance:
        index = load_index(opened, kept_at, num_proc=num_proc, advance=advance)
    if report is not None:
        check_findings(findings, index.queries, report)
    shown = View(index, findings, called=location.called)
    if out is not None:
        from coig_p.core.atomic import atomic_file
        from coig_p.report.view.one_file import report_page

        html, number = report_page(shown, sample=sample, seed=seed, domains=domains, language=language)
        with atomic_file(out) as stream:
            stream.write(html.encode())
        click.echo(
            f"wrote {printable(str(out))}: {counted(number, 'query', 'queries')}, {len(html.encode()) / 1e6:.1f} MB"
        )
        return
    from coig_p.report.view.app import serve

    def ready(address: str) -> None:
        click.echo(address)
        say("Ctrl-C ends it")
        if browser:
            import webbrowser

            webbrowser.open(address)

    serve(shown, port, ready)


def _findings(report: Path | None) -> pa.Table | None:
    if report is None:
        return None
    from coig_p.validation.report import read_findings

    return read_findings(report)
