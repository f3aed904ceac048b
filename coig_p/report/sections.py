"""A report as sections of words and tables, in English or Chinese, and the page that shows them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from coig_p.errors import UnknownNameError
from coig_p.report.templating import environment

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Section:
    """A heading, lines of text, and a table of texts, whose first column names its rows."""

    title: str
    lines: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def in_language(words: Mapping[str, tuple[str, str]], language: str) -> dict[str, str]:
    """All words of a language.

    Args:
        words: by their key, in both LANGUAGES.

    Raises:
        UnknownNameError: a language that is none of LANGUAGES.
    """
    if language not in LANGUAGES:
        raise UnknownNameError("language", language, LANGUAGES)
    return {key: both[LANGUAGES.index(language)] for key, both in words.items()}


def as_page(sections: Sequence[Section], language: str, plots: Mapping[str, str] | None = None) -> str:
    """One HTML file without any script.

    Args:
        sections: the first one is the page's head.
        plots: SVG, by the words for it.
    """
    style = (files("coig_p.report.view") / "static" / "view.css").read_text(encoding="utf-8")
    head, *others = sections
    shown = [{"alt": alt, "data": b64encode(svg.encode()).decode()} for alt, svg in (plots or {}).items()]
    template = environment().get_template("review.html.jinja")
    return str(template.render(lang=language, style=style, head=head, sections=others, plots=shown))
