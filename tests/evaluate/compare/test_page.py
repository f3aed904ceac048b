"""What is written: a page and tables in two languages, with every number, and nothing in it that runs or breaks out."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html import unescape

import pandas as pd
import pytest
from compared import labelled, scored

from coig_p.core.text import printable
from coig_p.errors import UnknownNameError
from coig_p.evaluate.compare import CompareConfig, SideBySide, side_by_side
from coig_p.evaluate.compare.page import FILES, all_files, as_csv, as_markdown, as_page, plots
from coig_p.evaluate.compare.tables import sections
from coig_p.evaluate.compare.words import words
from coig_p.report.sections import LANGUAGES

HOSTILE = "<script>alert(1)</script>|\u202e=1+1\x1b[31m&`"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SideBySide:
    folder = tmp_path_factory.mktemp("stores")
    stores = [scored(folder / "a", queries=8), scored(folder / "b", 1, 8), labelled(folder / "k")]
    return side_by_side(stores, CompareConfig(against=(str(stores[2]),), max_responses=60))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_has_every_cell_of_every_table(found: SideBySide, language: str) -> None:
    html = as_page(found, language)
    cells = [unescape(re.sub("<[^>]*>", "", one)) for one in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", html, re.S)]
    told = [cell for section in sections(found, language) for row in (section.header, *section.rows) for cell in row]
    assert cells == [printable(cell) for cell in told]
    assert "<script" not in html
    assert "http" not in re.sub(r"http-equiv", "", html)
    assert f'lang="{"zh-Hans" if language == "zh" else "en"}"' in html
    assert html.count("<img ") == len(plots(found, language)) == 3
    for word in ("sizes", "overlap", "across", "empty"):
        assert words(language)[word] in html


def test_chinese_tables_have_no_english_words(found: SideBySide) -> None:
    own = {one.name for one in found.stores}
    for section in sections(found, "zh"):
        for name in section.header:
            assert name in own or re.search(r"[一-鿿]", name) or name == "alpha", name
    with pytest.raises(UnknownNameError):
        sections(found, "fr")


def test_hostile_names_stay_text(found: SideBySide) -> None:
    stores = (replace(found.stores[0], name=HOSTILE), *found.stores[1:])
    own = found.stores[0].name
    across = tuple(
        replace(
            one,
            store=HOSTILE if one.store == own else one.store,
            other=HOSTILE if one.other == own else one.other,
        )
        for one in found.across
    )
    hostile = replace(found, stores=stores, across=across)
    html, markdown = as_page(hostile), as_markdown(hostile)
    assert "<script>" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert html.count("</script>") == 0
    assert "<script>" not in markdown
    assert "\x1b" not in markdown
    for svg in plots(hostile).values():
        assert "<script>" not in svg


def test_files_are_those_that_are_named(found: SideBySide) -> None:
    made = all_files(found)
    assert set(made) == FILES
    assert json.loads(made["compare.json"])["stores"][0]["name"] == "a"
    rows = list(csv.DictReader(io.StringIO(made["stores.csv"])))
    assert [row["name"] for row in rows] == ["a", "b", "k"]
    assert [int(row["pairs"]) for row in rows] == [one.counts.pairs for one in found.stores]
    assert rows[2]["floor_accuracy"] == rows[2]["chosen_longer_share"] == ""
    across = list(csv.DictReader(io.StringIO(made["across.csv"])))
    assert len(across) == 6
    assert across[0]["floor"]
    assert not across[1]["floor"]
    assert across[1]["why"]


def test_csv_is_no_formula_and_loses_no_number() -> None:
    frame = pd.DataFrame({"=name": ["=1+1", 'a,b\n"c"', "-"], "n": [1, 2, 3], "x": [0.5, None, -1.0]})
    rows = list(csv.reader(io.StringIO(as_csv(frame))))
    assert rows == [["'=name", "n", "x"], ["'=1+1", "1", "0.5"], ['a,b\n"c"', "2", ""], ["'-", "3", "-1"]]


def test_frames(found: SideBySide) -> None:
    frame = found.to_pandas()
    assert list(frame.index) == ["a", "b", "k"]
    assert frame.loc["a", "queries in k"] == found.stores[0].contamination[0].queries
    assert frame.loc["k", "queries in k"] == found.stores[2].counts.queries
    matrix = found.matrix_to_pandas()
    assert len(matrix) == 6
    assert "<table" in found._repr_html_()
    assert repr(found) == "SideBySide(a, b, k)"


def test_a_star_where_two_stores_share_queries(found: SideBySide) -> None:
    across = next(section for section in sections(found) if section.title == words("en")["across"])
    assert across.rows[0][2].endswith("*")
    assert not across.rows[0][1].endswith("*")


def test_one_store_alone_has_no_matrix(found: SideBySide) -> None:
    alone = replace(found, stores=found.stores[:1], across=())
    titles = [section.title for section in sections(alone)]
    assert words("en")["overlap"] not in titles
    assert words("en")["floor"] in titles
    assert set(plots(alone)) == {"longer.svg"}
