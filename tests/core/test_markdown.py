"""Hostile text in Markdown: readers of every kind show it and make nothing of it."""

from __future__ import annotations

import importlib.util
import re
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from coig_p.core.markdown import cell, code, fenced, markdown, table
from coig_p.core.text import printable

COMMENT = "<!-- -->"
KNOWN = [
    *("mailto:a@b.com", "xmpp:a@b.com/x", "//host.com/x", "www.a.com", "WWW.a.com", "a@b.com", "http://a.com"),
    *("ftp://a.com", "<mailto:a@b.com>", "a.com", "![x](http://a.b/c)", "[x](y)", "<img src=x>", "[y]: http://a"),
    *("HTTPS://A.COM", "a_b+c@d-e.co.uk", "\\@a.com", "a\\@b.com", "`http://a.com`", "|.com", "-@_.com", "1.com"),
    *("[mailto:ftp|.cn", "http:/\\/x.com", "a&#64;b.com", "javascript:x", "git@github.com:a/b", "@user", "#1"),
]
PIECES = [*"ab1 @:/\\<>`[]()!*_|#-~.\n", ".com", "//", "www.", "http", "mailto:", "xmpp:", "&#64;", "中"]
hostile = st.sampled_from(KNOWN) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
# What GitHub's reader makes a link of in plain text, and what others do, by far too widely.
ADDRESS = re.compile(r"(?i)www\.|\w+://|//\w|(mailto|xmpp):\S|[\w.+-]+@[\w.-]|\w@\w")


def shown(html: str) -> list[str]:
    """The texts of a page, as they stand between its tags."""
    return [unescape(one) for one in re.split(r"<!-- -->|<[^>]*>", html)]


def tags(html: str) -> set[str]:
    return set(re.findall(r"</?(\w+)", html.replace(COMMENT, "")))


@given(hostile)
def test_a_cell_is_text(text: str) -> None:
    for source in (
        f"- {cell(text)}\n",
        "\n".join(table(["x"], [[text]])),
        "\n".join(table([text], [["x"]])),
        f"words {cell(text)} words\n",
    ):
        html = MarkdownIt("commonmark").enable("table").render(source)
        assert not tags(html) - {"ul", "li", "p", "table", "thead", "tbody", "tr", "th", "td"}, html
        assert not [one for one in shown(html) if ADDRESS.search(one)], html
        assert " ".join(printable(text).split()) in " ".join("".join(shown(html)).split())


@given(hostile)
def test_no_reader_makes_links_of_a_cell(text: str) -> None:
    if importlib.util.find_spec("linkify_it") is None:
        pytest.skip("linkify-it-py is not installed")
    reader: Any = MarkdownIt("gfm-like", {"linkify": True, "html": True})
    assert not tags(reader.render(f"- {cell(text)}\n")) & {"a", "img"}


@given(hostile | st.text("`a ", max_size=9))
def test_code_is_code(text: str) -> None:
    html = MarkdownIt("commonmark").render(f"options: {code(text)}, {code(text)}.\n")
    assert html.count("<code>") == 2
    assert tags(html) == {"p", "code"}
    assert " ".join(printable(text).split()) in " ".join("".join(shown(html)).split())


@given(hostile | st.text("`a~ \n", max_size=12))
def test_nothing_in_a_block_of_code_ends_it(text: str) -> None:
    html = MarkdownIt("commonmark").render(f"{fenced(text, 'bibtex')}\n\nafter\n")
    assert tags(html) == {"pre", "code", "p"}
    assert html.endswith("</code></pre>\n<p>after</p>\n")


@pytest.mark.parametrize(
    "text",
    ["<script>x</script>", "a <img src=x onerror=y>", "</td><b>", "<!-- x", "<?x?>", "<![CDATA[x]]>", "<a\nhref=x>"],
)
def test_html_of_an_owner_is_text(text: str) -> None:
    html = MarkdownIt("commonmark").render(markdown(text))
    assert not tags(html) - {"p"}
    assert unescape(html.removeprefix("<p>").removesuffix("</p>\n")) == text


def test_markdown_of_an_owner_is_markdown() -> None:
    html = MarkdownIt("commonmark").render(markdown("**a** [b](https://c.d) <https://e.f/g> 1 < 2, x<3\n\n- d\u202e"))
    assert tags(html) == {"p", "strong", "a", "ul", "li"}
    assert html.count("<a ") == 2
    assert "\\u202e" in html


def test_numbers_and_colons_of_a_sentence_stay_as_they_are() -> None:
    for text in ("0.0% (0.0–3.7)", "Aggregates: crbench.", "1.5"):
        assert cell(text) == text
    assert [cell(text) for text in ("1. x", "2)", ": x", ":x: y")] == ["1\\. x", "2\\)", "\\: x", "\\:x: y"]
