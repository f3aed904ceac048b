"""The report for people: the same in both languages and forms, hostile names made harmless, judges beside people."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest
from commands import run
from people import answer_in_browser
from reviewed import tell, told
from voting import make_votes

from coig_p.review.drawing import DrawConfig
from coig_p.review.folder import open_review, read_key
from coig_p.review.making import make_review
from coig_p.review.report_text import as_markdown, as_page, sections
from coig_p.review.report_words import words
from coig_p.review.reporting import review_report
from coig_p.review.votes import read_votes
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walk")
    shutil.copytree(BUNDLED, folder / "store")
    make_review(Store.open(folder / "store"), folder / "review", DrawConfig(per_domain=6), ["a", "b", "c"])
    for name in "abc":
        answer_in_browser(folder / "review", name)
    return folder


def test_both_languages_say_the_same_numbers(reviewed: Path) -> None:
    found = review_report(reviewed / "review", Store.open(reviewed / "store"))
    english, chinese = sections(found), sections(found, "zh")
    assert len(english) == len(chinese) == 9
    for one, other in zip(english, chinese, strict=True):
        assert one.title != other.title
        assert [row[1:] for row in one.rows] == [row[1:] for row in other.rows]
        for section in (one, other):
            assert {len(row) for row in section.rows} <= {len(section.header)}
    assert set(words("en")) == set(words("zh"))
    assert not re.search("[一-鿿]", as_markdown(found))


def test_why_a_number_is_missing_is_said_in_both_languages(tmp_path: Path) -> None:
    make_votes(
        tmp_path / "uneven",
        [("math", {"a": "right", "b": "right", "c": "skip"}), ("math", dict.fromkeys("abc", "right"))],
    )
    make_votes(tmp_path / "alone", [("math", {"a": "right", "b": "skip", "c": "skip"})])
    for name, english, chinese in (
        ("uneven", "all verdicts are alike", "所有判断都相同"),
        ("uneven", "items have different numbers of verdicts", "各条目的判断数不同"),
        ("alone", "no item has two verdicts", "没有条目有两个判断"),
    ):
        found = review_report(tmp_path / name)
        assert english in as_markdown(found)
        assert chinese in as_markdown(found, "zh")


class Page(HTMLParser):
    """Texts of cells, and every tag and address of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.addresses: list[str] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.inside = tag in ("td", "th", "bdi") and (tag != "bdi" or self.inside)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


def test_the_page_holds_every_cell_no_script_and_nothing_from_elsewhere(reviewed: Path) -> None:
    found = review_report(reviewed / "review", Store.open(reviewed / "store"))
    for language in ("en", "zh"):
        page = Page(as_page(found, language))
        wanted = [cell for one in sections(found, language)[1:] for row in [one.header, *one.rows] for cell in row]
        assert page.cells == wanted
        assert page.tags.isdisjoint({"script", "link", "img", "iframe", "form"})
        assert page.addresses == []


def test_judges_beside_people_are_as_counted_from_the_rows(reviewed: Path) -> None:
    """Every cell of the table of people and judges, from the store's scores by hand."""
    store = Store.open(reviewed / "store")
    found = review_report(reviewed / "review", store).judges
    assert found is not None
    raw = {row["query_id"]: row for batch in store.batches() for row in batch.to_pylist()}
    said: dict[str, dict[str, float]] = defaultdict(dict)
    for vote in read_votes(reviewed / "review"):
        said[vote.annotator][vote.item] = float(vote.preferred if vote.preferred is not None else -1)
    for row in read_key(open_review(reviewed / "review")):
        chosen = next(side.model for side in row.sides if side.side == row.chosen)
        other = next(side.model for side in row.sides if side.side != row.chosen)
        scores = {
            one["model"]: {s["judge"]: s["score"] for s in one["scores"] if s["judge"] != one["model"]}
            for one in raw[row.query_id]["responses"]
        }
        for judge in scores[chosen].keys() & scores[other].keys():
            one, two = scores[chosen][judge], scores[other][judge]
            said[judge][row.item] = 0.5 if one == two else float(one > two)
    assert set(found.names) == set(said)
    assert found.names[: found.people] == ("a", "b", "c")
    means: dict[str, list[float]] = defaultdict(list)
    for row_at, at in combinations(range(len(found.names)), 2):
        left, right = said[found.names[row_at]], said[found.names[at]]
        both = left.keys() & right.keys()
        assert found.units[row_at][at] == found.units[at][row_at] == len(both)
        if both:
            share = sum(left[item] == right[item] for item in both) / len(both)
            assert found.cells[row_at][at] == found.cells[at][row_at] == pytest.approx(share)
            means[("people", "both", "judges")[(row_at >= found.people) + (at >= found.people)]].append(share)
    whole = found.parts[0]
    assert (whole.kind, whole.people) == ("all", pytest.approx(sum(means["people"]) / 3))
    assert whole.people_judges == pytest.approx(sum(means["both"]) / len(means["both"]))
    assert whole.judges == pytest.approx(sum(means["judges"]) / len(means["judges"]))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    said = [{"a": {"ranking": [["good"], ["bad"], ["other"]]}}]
    make_votes(tmp_path / "review", [("math", one) for one in said], "triple", ["a"])
    store = told(tmp_path / "review")["store"]
    tell(tmp_path / "review", store=store | {"name": "x\x1b[31m<script>alert(1)</script>|**"})
    found = review_report(tmp_path / "review")
    page, text = as_page(found), as_markdown(found)
    for shown in (page, text, run("review", "report", tmp_path / "review").stdout):
        assert "\x1b" not in shown
    assert "<script" not in page
    assert "<script" not in text
    assert "good &gt; bad" in page


def test_the_command_writes_what_it_is_asked_for_and_nothing_over_another(reviewed: Path, tmp_path: Path) -> None:
    html, markdown = tmp_path / "r.html", tmp_path / "r.md"
    done = run("review", "report", reviewed / "review", "--html", html, "--markdown", markdown, "--language", "zh")
    assert "数据仓库有多少是对的" in done.stdout
    assert "数据仓库有多少是对的" in html.read_text("utf-8")
    assert markdown.read_text("utf-8").startswith("# store 的人工评审：review\n")
    before = html.read_bytes()
    assert "--overwrite" in run("review", "report", reviewed / "review", "--html", html, code=2).stderr
    both = ("--html", tmp_path / "x", "--markdown", tmp_path / "x")
    assert "cannot hold both" in run("review", "report", reviewed / "review", *both, code=2).stderr
    assert html.read_bytes() == before
    told = json.loads(run("review", "report", reviewed / "review", "--json").stdout)
    assert (told["all"]["right"]["n"], told["all"]["right"]["open"]) == (35, 1)
    assert told["judges"] is None
    assert "not a review" in run("review", "report", tmp_path, code=1).stderr
