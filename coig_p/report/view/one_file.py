"""A report in one HTML file that anyone can open: numbers, plots and a sample of queries. No script is in it.

`coigp view --out` writes one of a store, and every release has one in each language.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from coig_p.pairs.config import PairConfig
from coig_p.report.captions import captions
from coig_p.report.figures import statistics_plots, sweep_plots
from coig_p.report.one_query import OneQuery, read_query
from coig_p.report.picking import drawn
from coig_p.report.templating import environment
from coig_p.report.view.pages import MOST_PAIRS, View, by_win_rate, findings_by_rule, marked
from coig_p.report.view.words import words
from coig_p.stats.results import Statistics
from coig_p.stats.sweep import Sweep
from coig_p.store.store import Store
from coig_p.validation import Report
from coig_p.validation.condemned import Condemned

PAGES = {"en": "report.html", "zh": "report.zh.html"}
"""Of a release, by language."""
MOST_BYTES = 5_000_000
_RESPONSES = 40  # of a query
_SAMPLE = 20  # queries in a release's


@dataclass(frozen=True)
class _Told:
    """What a report tells.

    Attributes:
        statistics, sweep: as their `to_dict` has them.
        plots, captions: SVG by file name, and what is said of each by its name.
        findings: see `findings_by_rule`; None without a check.
        shown: queries, with their findings as `marked` has them.
        drawn_of: among how many they were drawn.
    """

    title: str
    statistics: Mapping[str, Any]
    sweep: Mapping[str, Any]
    plots: Mapping[str, str]
    captions: Mapping[str, Sequence[str]]
    findings: list[dict[str, Any]] | None
    shown: list[tuple[OneQuery, dict[str, Any]]]
    drawn_of: int


def report_page(
    view: View, *, sample: int, seed: int = 0, domains: Collection[str] = (), language: str = "en"
) -> tuple[str, int]:
    """The HTML, and how many queries are in it: those drawn, less the largest where not all fit into MOST_BYTES.

    Args:
        sample: how many queries are drawn.
        domains: from these alone; default all.

    Raises:
        UnknownNameError: the store has no such domain.
        StoreError: a shard that cannot be read.
    """
    store, index = view.index.store, view.index
    picked = drawn(store, sample, domains, seed, lambda queries: None)
    found = [read_query(store, one.place, PairConfig(), most_pairs=MOST_PAIRS) for one in picked]
    told = _Told(
        title=view.name,
        statistics=index.statistics,
        sweep=index.sweep,
        plots=index.plots[language],
        captions=index.captions[language],
        findings=findings_by_rule(view.findings),
        shown=[(one, marked(view.findings, one)) for one in found],
        drawn_of=index.queries.num_rows,
    )
    return _within(told, language)


def release_pages(
    store: Store, config: PairConfig, statistics: Statistics, sweep: Sweep, report: Report
) -> dict[str, str]:
    """The HTML of a release by file name, in both languages. Of what a rule found it has counts alone.

    Args:
        config: which pairs it has.
        report: of its check; queries of which a rule has an error or a warning to tell are not in the sample.

    Raises:
        StoreError: a shard that cannot be read.
    """
    warnings = [id for id, rule in report.rules.items() if rule.severity == "warning"]
    suspect = Condemned(report, warnings)
    told_of = lambda domain, ids: suspect.among(domain, ids).places  # noqa: E731
    picked = drawn(store, _SAMPLE, (), 0, lambda queries: None, without=told_of)
    found = [read_query(store, one.place, config, most_pairs=MOST_PAIRS) for one in picked]
    pages = {}
    for language, name in PAGES.items():
        told = _Told(
            title=words(language)["release"],
            statistics=statistics.to_dict(),
            sweep=sweep.to_dict(),
            plots={**statistics_plots(statistics, language), **sweep_plots(sweep, language)},
            captions=captions(statistics, sweep, language),
            findings=findings_by_rule(report.findings),
            shown=[(one, marked(None, one)) for one in found],
            drawn_of=statistics.total.queries,
        )
        pages[name] = _within(told, language)[0]
    return pages


def _within(told: _Told, language: str) -> tuple[str, int]:
    """A report of at most MOST_BYTES, and how many queries it shows."""
    shown = list(told.shown)
    sizes = [len(repr(one.raw)) for one, _ in shown]  # near enough to tell which are large
    while True:
        html = _rendered(told, shown, language)
        if len(html.encode()) <= MOST_BYTES or not shown:
            return html, len(shown)
        largest = sorted(range(len(shown)), key=lambda at: sizes[at], reverse=True)[: -(-len(shown) // 3)]
        shown = [one for at, one in enumerate(shown) if at not in largest]
        sizes = [size for at, size in enumerate(sizes) if at not in largest]


def _rendered(told: _Told, shown: list[tuple[OneQuery, dict[str, Any]]], language: str) -> str:
    template = environment().get_template("report.html.jinja")
    return str(
        template.render(
            w=words(language),
            lang=language,
            style=(files("coig_p.report.view") / "static" / "view.css").read_text(encoding="utf-8"),
            title=told.title,
            statistics=told.statistics,
            models=by_win_rate(told.statistics["total"]["models"]),
            sweep=told.sweep,
            plots=[
                {"data": b64encode(svg.encode()).decode(), "alt": alt, "line": line}
                for name, svg in told.plots.items()
                for alt, line in [told.captions[name.removesuffix(".svg")]]
            ],
            findings=told.findings,
            shown=shown,
            drawn_of=told.drawn_of,
            most_responses=_RESPONSES,
        )
    )
