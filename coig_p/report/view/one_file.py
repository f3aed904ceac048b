"""A report in one HTML file that anyone can open: numbers, plots and a sample of queries. No script is in it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection
from importlib.resources import files

from coig_p.pairs.config import PairConfig
from coig_p.report.one_query import read_query
from coig_p.report.picking import drawn
from coig_p.report.view.pages import MOST_PAIRS, View, findings_by_rule, marked, render

MOST_BYTES = 5_000_000
_RESPONSES = 40  # of a query


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
    store = view.index.store
    style = (files("coig_p.report.view") / "static" / "view.css").read_text(encoding="utf-8")
    plots = [(name, b64encode(svg.encode()).decode()) for name, svg in view.index.plots[language].items()]
    picked = drawn(store, sample, domains, seed, lambda queries: None)
    found = [read_query(store, one.place, PairConfig(), most_pairs=MOST_PAIRS) for one in picked]
    shown = [(one, marked(view.findings, one)) for one in found]
    sizes = [len(repr(one.raw)) for one in found]  # near enough to tell which are large
    while True:
        html = render(
            "report.html.jinja",
            view,
            "",
            {"lang": language},
            {
                "style": style,
                "plots": plots,
                "statistics": view.index.statistics,
                "sweep": view.index.sweep,
                "most_responses": _RESPONSES,
                "findings": findings_by_rule(view.findings),
                "shown": shown,
                "drawn_of": view.index.queries.num_rows,
                "manifest": store.manifest,
            },
        )
        if len(html.encode()) <= MOST_BYTES or not shown:
            return html, len(shown)
        largest = sorted(range(len(shown)), key=lambda at: sizes[at], reverse=True)[: -(-len(shown) // 3)]
        shown = [one for at, one in enumerate(shown) if at not in largest]
        sizes = [size for at, size in enumerate(sizes) if at not in largest]
