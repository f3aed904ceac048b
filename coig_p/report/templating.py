"""Jinja for the pages of a browser: templates from folders of this package, and the filters that all of them use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from coig_p.core.listing import join_names
from coig_p.core.svg import signed
from coig_p.core.text import printable


@cache
def environment(*packages: str) -> Any:
    """Jinja's, with the templates of `coig_p.report.view`, which hold the frame, and of other packages.

    Args:
        packages: each has a folder `templates`; a later one's template stands for an earlier one's of its name.
    """
    import markupsafe
    from jinja2 import DictLoader, Environment, StrictUndefined

    found = {}
    for package in ("coig_p.report.view", *packages):
        for one in (files(package) / "templates").iterdir():
            if one.name.endswith(".jinja"):
                found[one.name] = one.read_text(encoding="utf-8")
    environment = Environment(
        loader=DictLoader(found), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True
    )
    environment.filters |= {
        "safe_text": printable,
        "trusted": markupsafe.Markup,  # our own style sheet, and nothing else
        "names": join_names,
        "number": _number,
        "percent": lambda value: "–" if value is None else f"{value:.1%}",
        "score": lambda value: "–" if value is None else f"{value:g}",
        "interval": _interval,
        "mean": lambda of: "–" if of["mean"] is None else signed(of["mean"]),
        "mean_interval": lambda of: "–" if of["low"] is None else f"{signed(of['low'])} – {signed(of['high'])}",
    }
    return environment


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")


def _interval(share: Mapping[str, Any]) -> str:
    return "–" if share["low"] is None else f"{100 * share['low']:.1f} – {100 * share['high']:.1f}"
