"""The pages in a real browser: they open, filter, slide, obey keys, and nothing of a text runs or leaves the machine.

Run by `make test-browser`; without a chromium on the machine all of it is skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from looking import CHROMIUM, HOSTILE, SIZES, serious, watched
from make import completed, make_rows, make_store
from playwright.sync_api import Browser, Page

from coig_p.store.locate import BUNDLED

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
PATHS = (
    "",
    "queries",
    "query?file=0&row=0&first=0&second=1",
    "judges",
    "apart?judge=judge-a&judge_too=judge-b",
    "models",
    "compare?a_threshold=1&b_threshold=3",
)


@contextmanager
def served(store: Path, cache: Path, *more: object) -> Iterator[str]:
    """The address of a view, while the block runs."""
    words = [*map(str, (sys.executable, "-m", "coig_p", "view", store, "--cache", cache, *more))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browser")
    store = make_store(folder / "store", make_rows({"math": 120, "chat": 30}))
    report = folder / "report"
    subprocess.run(
        [sys.executable, "-m", "coig_p", "check", store, "--report", report, "-q"], check=False, capture_output=True
    )
    with served(store, folder / "cache", "--report", report) as found:
        yield found


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("hostile")
    answers = [
        {
            "model": f"{name} {HOSTILE}",
            "text": HOSTILE * times,
            "scores": [{"judge": HOSTILE, "dimension": HOSTILE, "score": score, "rationale": HOSTILE}],
        }
        for name, times, score in (("a", 1, 9.0), ("b", 5000, 2.0))
    ]
    row = {"query_id": f"q {HOSTILE}", "domain": "math", "query": HOSTILE, "source": HOSTILE, "responses": answers}
    store = make_store(folder / "store", completed([row]))
    with served(store, folder / "cache") as found:
        yield found, folder


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    made = context.new_page()
    wrong = watched(made)
    yield made
    assert wrong == []
    context.close()


def kept(page: Page, name: str, whole: bool = True) -> None:
    """A screenshot, where COIGP_SCREENSHOTS names a folder."""
    if os.environ.get("COIGP_SCREENSHOTS"):
        page.screenshot(path=Path(os.environ["COIGP_SCREENSHOTS"]) / f"{name}.png", full_page=whole)


@pytest.mark.parametrize(("wide", "scheme"), SIZES)
def test_every_page_opens_and_is_accessible(browser: Browser, address: str, wide: int, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": wide, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    wrong = watched(page)
    for path in PATHS:
        for language in ("", "lang=zh"):
            answer = page.goto(address + path + ("&" if "?" in path else "?") + language)
            assert answer is not None
            assert answer.ok
            root = "document.documentElement"
            assert not page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"), path
            if not language:
                assert serious(page) == [], path
            name = re.sub(r"\W+", "-", path) or "overview"
            kept(page, f"{name}-{language or 'en'}-{wide}-{scheme}")
    assert wrong == []
    context.close()


def test_the_slider_shows_a_threshold(page: Page, address: str) -> None:
    page.goto(address)
    slider, said = page.locator("#slider"), page.locator("#at")
    before = said.inner_text()
    assert before.startswith("2 ")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    after = said.inner_text()
    assert after != before
    row = page.locator("#thresholds tr.here")
    cells = [cell.strip() for cell in row.locator("th, td").all_inner_texts()]
    assert cells[0].split()[0] == after.split()[0]
    assert cells[1] in after


def entered(page: Page) -> None:
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_filters_change_what_is_listed(page: Page, address: str) -> None:
    page.goto(address + "queries")
    every = page.locator("#found b").inner_text()
    assert every == "150"
    page.locator("select[name=domain]").select_option("chat")
    page.locator("button[type=submit]").click()
    assert page.locator("#found b").inner_text() == "30"
    assert "domain=chat" in page.url
    page.reload()  # a link is a view
    assert page.locator("#found b").inner_text() == "30"
    page.locator("#q").fill("CHAT-0007")
    entered(page)
    assert page.locator("#found b").inner_text() == "0"  # an id as it stands
    page.locator("#q").fill("问题７：Ｃhat")
    entered(page)
    assert page.locator("a.go").all_inner_texts() == ["chat-0007"]


def test_keys(page: Page, address: str) -> None:
    page.goto(address + "queries")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate("document.activeElement.textContent") == "math-0000"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#keys").get_attribute("open") is not None
    page.keyboard.press("o")
    page.wait_for_url("**/query?**")
    page.keyboard.press("j")
    page.wait_for_url("**row=1**")
    assert page.locator("h1").inner_text() == "math-0001"
    page.keyboard.press("k")
    page.wait_for_url("**row=0**")


def test_without_scripts_everything_but_slider_and_keys_works(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#thresholds tr").count() > 5
    assert not page.locator("#slider").is_visible()
    page.goto(address + "queries")
    page.locator("select[name=sort]").select_option("disagreement")
    page.locator("button[type=submit]").click()
    page.locator("a.go").first.click()
    page.locator("input[name=threshold]").fill("4")
    page.locator("button[type=submit]").click()
    assert "≥ 4" in page.locator(".pairs").inner_text() or page.locator(".pairs tbody tr").count() == 0
    context.close()


def test_the_pairs_on_which_judges_disagree_most(page: Page, address: str) -> None:
    page.goto(address + "queries?sort=disagreement")
    shown = [row.locator("td").nth(3).inner_text().split()[0] for row in page.locator("tr.row").all()[:10]]
    values = list(map(float, shown))
    assert values == sorted(values, reverse=True)
    page.locator("a.go").first.click()
    assert re.search(r"= \d+(\.\d+)? ≥ 2", page.locator(".pairs").inner_text())


def test_nothing_of_a_hostile_text_runs(browser: Browser, hostile: tuple[str, Path]) -> None:
    address, folder = hostile
    context = browser.new_context()
    page = context.new_page()
    wrong = watched(page)
    for path in PATHS:
        page.goto(address + path.partition("?judge")[0])  # judges of that name are not there
        assert page.title() != "broken"
    page.goto(address + "query?file=0&row=0")
    assert "<script>document.title='broken'</script>" in page.locator("main").inner_text()
    out = folder / "report.html"
    subprocess.run(
        [sys.executable, "-m", "coig_p", "view", folder / "store", "--cache", folder / "cache", "--out", out],
        check=True,
    )
    page.goto(out.as_uri())
    assert page.title() != "broken"
    assert "<script>document.title='broken'</script>" in page.locator("main").inner_text()
    assert page.locator("img").count() == page.evaluate(
        "[...document.images].filter((image) => image.complete && image.naturalWidth > 0).length"
    )
    assert wrong == []
    context.close()


@pytest.fixture(scope="session")
def from_disk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every page that is opened from disk, by name: of a store, of its check, beside another, and of a release."""
    folder = tmp_path_factory.mktemp("disk")
    store = make_store(folder / "store", make_rows({"math": 12, "chat": 30}))
    found = {}

    def coigp(*words: object) -> None:
        done = subprocess.run([sys.executable, "-m", "coig_p", *map(str, words)], check=False, capture_output=True)
        assert done.returncode in (0, 1), done.stderr

    for language in ("en", "zh"):
        found[f"report-{language}"] = out = folder / f"{language}.html"
        coigp("view", store, "--cache", folder / "cache", "--out", out, "--sample", 5, "--language", language)
        coigp("check", store, "--report", folder / language, "--language", language)
        found[f"check-{language}"] = folder / language / "report.html"
        compared = folder / f"compared-{language}"
        coigp("compare", store, BUNDLED, "--against", BUNDLED, "--out", compared, "--language", language)
        found[f"compare-{language}"] = compared / "compare.html"
    bundled = folder / "bundled"
    shutil.copytree(BUNDLED, bundled)
    shutil.copy(BUNDLED.parent / "card.toml", bundled)
    coigp("publish", bundled, "--version", "1.0.0", "--target", f"dir:{folder / 'release'}")
    return found | {
        "release-en": folder / "release" / "report.html",
        "release-zh": folder / "release" / "report.zh.html",
    }


@pytest.mark.parametrize(("wide", "scheme"), SIZES)
def test_pages_opened_from_disk_are_accessible(
    browser: Browser, from_disk: dict[str, Path], wide: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": wide, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    wrong = watched(page)
    for name, path in from_disk.items():
        assert path.stat().st_size < 5_000_000
        page.goto(path.as_uri())
        assert page.locator("h1").inner_text()
        root = "document.documentElement"
        assert not page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"), name
        assert serious(page) == [], name
        broken = "[...document.images].filter((image) => !image.complete || image.naturalWidth === 0).length"
        assert page.evaluate(broken) == 0, name
        kept(page, f"{name}-{wide}-{scheme}", whole=False)
    assert wrong == []
    context.close()
