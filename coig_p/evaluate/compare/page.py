"""Stores side by side as files: a page, Markdown, JSON, two tables in CSV, and plots."""

from __future__ import annotations

import csv
import io
import math
from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from coig_p.core.markdown import cell
from coig_p.core.markdown import table as markdown_table
from coig_p.core.svg import Dot, dots, heat
from coig_p.evaluate.compare.results import SideBySide
from coig_p.evaluate.compare.tables import sections
from coig_p.evaluate.compare.words import words
from coig_p.report.templating import environment

if TYPE_CHECKING:
    import pandas as pd

PAGE, DOCUMENT, NUMBERS, STORES, ACROSS = "compare.html", "compare.md", "compare.json", "stores.csv", "across.csv"
PLOTS = ("longer", "overlap", "across")
FILES = {PAGE, DOCUMENT, NUMBERS, STORES, ACROSS, *(f"{name}.svg" for name in PLOTS)}
_MOST = 16  # stores in a plot; the tables have all of them
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def all_files(found: SideBySide, language: str = "en") -> dict[str, str]:
    """Every file of a folder, by name.

    Raises:
        UnknownNameError: a language that is none of `coig_p.report.sections.LANGUAGES`.
    """
    return {
        PAGE: as_page(found, language),
        DOCUMENT: as_markdown(found, language),
        NUMBERS: found.to_json(),
        STORES: as_csv(found.to_pandas().reset_index()),
        ACROSS: as_csv(found.matrix_to_pandas()),
        **plots(found, language),
    }


def plots(found: SideBySide, language: str = "en") -> dict[str, str]:
    """SVG by file name, those that there is anything to draw of: length bias, overlap, and floors across."""
    w = words(language)
    shown = found.stores[:_MOST]
    names = [one.name for one in shown]
    made = {}
    longer = [
        Dot(one.name, one.chosen_longer.share, one.chosen_longer.low, one.chosen_longer.high)
        for one in shown
        if one.chosen_longer.share is not None
    ]
    if longer:
        made["longer.svg"] = dots(w["longer"], longer, low=0, high=1, percent=True, axis=w["longer"])
    if len(shown) > 1:
        shares = [[_near(found, one.name, other, one.counts.queries) for other in names] for one in shown]
        made["overlap.svg"] = heat(w["overlap"], names, names, shares, axis=w["overlap-axis"])
        tested = [[_accuracy(found, one.name, other) for other in names] for one in shown]
        if any(share is not None for line in tested for share in line):
            made["across.svg"] = heat(w["across"], names, names, tested, axis=w["across-axis"])
    return made


def _near(found: SideBySide, store: str, other: str, queries: int) -> float | None:
    beside = found.between(store, other)
    return None if beside is None or not queries else beside.near / queries


def _accuracy(found: SideBySide, store: str, other: str) -> float | None:
    beside = found.between(store, other)
    if beside is not None:
        return None if beside.floor is None else beside.floor.share.value
    floor = next(one.floor for one in found.stores if one.name == store)
    return None if floor is None or floor.held_out is None else floor.held_out.model.accuracy


def as_page(found: SideBySide, language: str = "en") -> str:
    """compare.html: one file that anyone can open. No script is in it."""
    w = words(language)
    return str(
        environment("coig_p.evaluate.compare")
        .get_template("side_by_side.html.jinja")
        .render(
            w=w,
            lang=language,
            style=(files("coig_p.report.view") / "static" / "view.css").read_text(encoding="utf-8"),
            sections=sections(found, language),
            plots=[
                {"alt": w[name.removesuffix(".svg")], "data": b64encode(svg.encode()).decode()}
                for name, svg in plots(found, language).items()
            ],
        )
    )


def as_markdown(found: SideBySide, language: str = "en") -> str:
    """compare.md."""
    text = [f"# {words(language)['title']}", ""]
    for section in sections(found, language):
        text += [f"## {section.title}", ""]
        text += [cell(section.note), ""] if section.note else []
        text += [*markdown_table(section.header, section.rows), ""]
    return "\n".join(text)


def as_csv(frame: pd.DataFrame) -> str:
    """A table in CSV: floats to 6 decimals, what is not there empty, and no cell that a spreadsheet would calculate."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_csv_cell(name) for name in frame.columns])
    rows: Sequence[Sequence[Any]] = frame.astype(object).to_numpy().tolist()
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.6f}".rstrip("0")
    told = str(value)
    return f"'{told}" if isinstance(value, str) and told.startswith(_FORMULA) else told
