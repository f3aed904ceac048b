"""A page as a test reads it, and what no page of ours may hold, whatever the texts in it."""

from __future__ import annotations

from html.parser import HTMLParser


class Read(HTMLParser):
    """What is in a page: its tags with attributes, its text, and the cells of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._cell: list[str] | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append("".join(self._cell).strip())
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._cell is not None:
            self._cell.append(data)


KNOWN = """
html head meta title link script style body header nav main footer section article a bdi b small br h1 h2 h3 p div span
ul li table thead tbody tr th td form fieldset legend label input select option datalist button output details summary
pre code q mark ins del img figure figcaption
"""


def check_harmless(html: str) -> Read:
    found = Read(html)
    assert {tag for tag, _ in found.tags} <= {*KNOWN.split()}
    for tag, attrs in found.tags:
        assert not any(name.startswith("on") or name in ("style", "srcdoc", "formaction") for name in attrs)
        for name in ("href", "src", "action"):
            assert (attrs.get(name) or "/").startswith(("/", "#", "data:image/svg+xml;base64,")), (tag, attrs)
        if tag == "script":
            assert attrs["src"] == "/static/view.js"
    for letter in "\u202e\u2066\x1b\x07\x00":
        assert letter not in html
    return found
