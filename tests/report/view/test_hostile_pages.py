"""Hostile texts and names are text on every page, and in the report."""

from __future__ import annotations

import pytest
from harmless import check_harmless
from viewed import ADDRESSES, HOSTILE, PATHS, hostile_view

from coig_p.errors import UsageError
from coig_p.report.view.pages import (
    View,
    error_page,
    page,
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> View:
    return hostile_view(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("path", PATHS)
def test_hostile_texts_are_texts(path: str, hostile: View) -> None:
    for at in range(len(HOSTILE) + 1):
        address = (
            {"file": "0", "row": str(at), "first": "0", "second": "1"} if path == "query" else ADDRESSES.get(path, {})
        )
        html = page(hostile, path, {**address, "q": HOSTILE[0], "lang": HOSTILE[1]} if path == "query" else address)
        assert html is not None
        found = check_harmless(html)
        if path == "query" and at < 5:
            assert HOSTILE[at] in "".join(found.text)
        if path != "query":
            return


def test_what_an_address_says_is_text(hostile: View) -> None:
    for text in HOSTILE:
        names = ("q", "source", "judge", "rule", "lang", "a_threshold")  # what stands in the store, or may be anything
        check_harmless(page(hostile, "queries", dict.fromkeys(names, text)) or "")
        for name in ("domain", "model", "margin", "sort", "page"):  # what is refused
            with pytest.raises(UsageError) as refused:
                page(hostile, "queries", {name: text})
            check_harmless(error_page(hostile, {name: text}, str(refused.value)))
