"""People who answer in a real browser: by keys, by forms alone, two at once, with the server killed in between.

Run by `make test-browser`; without a chromium on the machine all of it is skipped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from looking import CHROMIUM, HOSTILE, SIZES, serious, watched
from playwright.sync_api import Browser, Page
from reviewed import make_review

from coig_p.review.folder import FORMS, KEY, read_key, sides_of, tasks_path, write_review

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

MODELS = ("model-0", "model-1", "model-2")  # of the key


class Server:
    """`coigp review serve` in a process of its own."""

    def __init__(self, folder: Path, *annotators: str) -> None:
        self.words = [*map(str, (sys.executable, "-m", "coig_p", "review", "serve", folder))]
        for name in annotators:
            self.words += ["--annotator", name]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        count = self.words.count("--annotator")
        said = [self.process.stdout.readline().split(maxsplit=1) for _ in range(count)]
        assert all(len(one) == 2 for one in said), said
        self.addresses = {name: address.strip() for name, address in said}

    def kill(self) -> None:
        """As a machine that loses its power does: nothing of the process runs any more."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()  # type: ignore[union-attr]


@contextmanager
def served(folder: Path, *annotators: str) -> Iterator[Server]:
    server = Server(folder, *annotators)
    try:
        yield server
    finally:
        server.kill()


def lines(folder: Path, annotator: str) -> list[dict[str, Any]]:
    path = folder / "answers" / f"{annotator}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def listened(page: Page) -> list[str]:
    """All that a page is sent, and asks for."""
    bodies: list[str] = []

    def keep(response: Any) -> None:
        bodies.append(f"{response.url} {response.headers}")
        with suppress(Exception):  # a redirect has no body, and a page that was left loses it
            bodies.append(response.text())

    page.on("response", keep)
    return bodies


def nothing_told(texts: list[str], folder: Path, addresses: dict[str, str]) -> None:
    whole = "".join(texts)
    assert whole
    for address in addresses.values():  # whose token may hold any letters
        whole = whole.replace(address.rsplit("/", 2)[1], "TOKEN")
    for word in (*MODELS, "q-1", folder.name, "manifest_sha256"):
        assert word not in whole, word


@pytest.mark.parametrize(("wide", "scheme"), SIZES)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_opens_and_is_accessible(
    browser: Browser, form: str, wide: int, scheme: Any, tmp_path: Path
) -> None:
    folder = make_review(tmp_path / "review", form).path
    with served(folder, "a") as server:
        context = browser.new_context(viewport={"width": wide, "height": 900}, color_scheme=scheme)
        page = context.new_page()
        wrong = watched(page)
        for path in ("tasks/1/r-000001", "tasks"):
            for language in ("en", "zh"):
                answer = page.goto(f"{server.addresses['a']}{path}?lang={language}")
                assert answer is not None
                assert answer.ok
                root = "document.documentElement"
                assert not page.evaluate(f"{root}.scrollWidth > {root}.clientWidth"), path
                assert serious(page) == [], (path, language)
                if os.environ.get("COIGP_SCREENSHOTS"):
                    name = f"review-{form}-{path.split('/')[0]}{len(path)}-{language}-{wide}-{scheme}.png"
                    page.screenshot(path=Path(os.environ["COIGP_SCREENSHOTS"]) / name, full_page=True)
        sides = page.goto(f"{server.addresses['a']}tasks/1/r-000001") and page.locator(".answers .answer").all()
        boxes = [box for side in sides or () if (box := side.bounding_box())]
        assert len(boxes) == len(sides_of(form))
        if boxes:
            assert (len({box["y"] for box in boxes}) == 1) == (wide == 1280), "side by side, and stacked where narrow"
        assert wrong == []
        context.close()


KEYS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "pair": (("2", "q", "w", "w", "e"), {"preference": "tie", "correct": ["a"], "query_ok": None}),
    "accept": (("3", "w", "r"), {"preference": "B", "correct": ["b"], "query_ok": False}),
    "triple": (("2", "1", "2"), {"ranking": [["b"], ["a", "c"]]}),
    "query": (("1", "2"), {"feasible": False}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_answered_by_keys_alone(browser: Browser, form: str, tmp_path: Path) -> None:
    folder = make_review(tmp_path / "review", form).path
    keys, wanted = KEYS[form]
    with served(folder, "a") as server:
        page = browser.new_context().new_page()
        wrong = watched(page)
        page.goto(server.addresses["a"])
        press(page, "c")
        page.keyboard.type("12 好j")  # keys of a comment are its text
        press(page, "Escape", *keys, "Enter")
        page.wait_for_url("**/r-000002")
        press(page, "s")
        page.wait_for_url("**/r-000003")
        press(page, "k")
        page.wait_for_url("**/r-000002")
        press(page, "j")
        page.wait_for_url("**/r-000003")
        press(page, "u")  # the skip
        page.wait_for_url("**/r-000002")
        press(page, *keys, "Enter")
        page.wait_for_url("**/r-000003")
        press(page, *keys, "Enter")
        page.wait_for_url("**/tasks")
        assert page.locator("#done").is_visible()
        assert page.locator("#progress").inner_text() == "3 of 3"
        page.locator(".progress summary").click()
        assert page.locator(".progress li").all_inner_texts() == ["math 3 of 3"]
        assert wrong == []
        page.context.close()
    found = lines(folder, "a")
    assert [(one["item"], one["skipped"]) for one in found] == [
        ("r-000001", False), ("r-000002", True), ("r-000002", False), ("r-000002", False), ("r-000003", False),
    ]  # fmt: skip
    assert [one["answer"] for one in found] == [wanted, None, None, wanted, wanted]
    assert found[0]["comment"] == "12 好j"


def test_the_time_that_a_page_was_in_view_is_kept(browser: Browser, tmp_path: Path) -> None:
    folder = make_review(tmp_path / "review").path
    with served(folder, "a") as server:
        page = browser.new_context().new_page()
        page.clock.install()
        page.goto(server.addresses["a"])
        page.clock.fast_forward(40_000)
        page.evaluate(
            """() => {
              Object.defineProperty(document, "hidden", {configurable: true, get: () => window.away});
              window.away = true;
              document.dispatchEvent(new Event("visibilitychange"));
            }"""
        )
        page.clock.fast_forward(5_000_000)  # a night
        page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
        page.clock.fast_forward(2_000)
        press(page, "1", "Enter")
        page.wait_for_url("**/r-000002")
        page.context.close()
    (line,) = lines(folder, "a")
    assert 42 <= line["seconds"] < 400


def test_without_scripts_all_but_the_keys_works(browser: Browser, tmp_path: Path) -> None:
    folder = make_review(tmp_path / "review").path
    with served(folder, "a") as server:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{server.addresses['a']}?lang=zh")
        page.locator("[name=preference][value=B]").check()
        page.locator("[name=correct][value=b]").check()
        page.locator("[name=comment]").fill("第一行\n第二行")
        page.locator("button[value=answer]").click()
        page.wait_for_url("**/r-000002?lang=zh")
        page.locator("button[value=skip]").click()
        page.wait_for_url("**/r-000003?lang=zh")
        page.reload()
        page.locator("#undo button").click()
        page.wait_for_url("**/r-000002?lang=zh")
        page.locator("form#answer").evaluate("form => form.noValidate = true")
        page.locator("button[value=answer]").click()
        assert "未保存" in page.locator("#message").inner_text()
        context.close()
    first, skipped, back = lines(folder, "a")
    assert first["answer"] == {"preference": "B", "correct": ["b"], "query_ok": None}
    assert first["comment"] == "第一行\n第二行"
    assert first["seconds"] is not None
    assert (skipped["skipped"], back["skipped"], back["answer"]) == (True, False, None)


def test_what_the_server_refuses_is_told_in_the_page(browser: Browser, tmp_path: Path) -> None:
    folder = make_review(tmp_path / "review").path
    with served(folder, "a") as server:
        page = browser.new_context().new_page()
        page.goto(server.addresses["a"])
        page.locator("form#answer").evaluate("form => form.noValidate = true")
        press(page, "q", "Enter")
        page.locator("#message").wait_for()
        assert "choose A, tie or B" in page.locator("#message").inner_text()
        assert page.locator("[name=correct][value=a]").is_checked()
        # Another tab answers first: what is said here is told to be another, and replaces it when it is saved again.
        other = page.context.new_page()
        other.goto(server.addresses["a"])
        press(other, "1", "Enter")
        other.wait_for_url("**/r-000002")
        press(page, "3", "Enter")
        page.locator("#message", has_text="Something else").wait_for()
        press(page, "Enter")
        page.wait_for_url("**/r-000002")
        page.context.close()
    assert [one["answer"]["preference"] for one in lines(folder, "a")] == ["A", "B"]


def test_two_annotators_at_once_with_kills_in_between(browser: Browser, tmp_path: Path) -> None:
    """No answer is lost or doubled, each stands in its annotator's file, and nothing told which model stood where."""
    items = 12
    folder = make_review(tmp_path / "qwen-or-llama", items=items).path
    sent: list[str] = []
    wanted: dict[str, dict[str, str]] = {"a": {}, "b": {}}
    with served(folder, "a", "b") as server:
        before = dict(server.addresses)
        people = {name: browser.new_context().new_page() for name in before}
        bodies = [listened(page) for page in people.values()]
        for name, page in people.items():
            page.goto(before[name])
        for number in range(1, items + 1):
            item = f"r-{number:06d}"
            for name, page in people.items():
                key = "123"[(number + (name == "b")) % 3]
                page.wait_for_url(f"**/{item}")
                sent.append(page.content())
                if number % 4 == 2 + (name == "b"):  # killed while the page is open, and nothing saved yet
                    server.kill()
                    press(page, key, "Enter")
                    page.locator("#message", has_text="nothing was saved").wait_for()
                    assert item not in [one["item"] for one in lines(folder, name)]
                    server.start()
                    assert server.addresses == before, "the pages that are open go on"
                    press(page, "Enter", "Enter")  # impatient: the second finds the first on its way
                else:
                    press(page, key)
                    page.keyboard.press("Enter")
                    page.keyboard.press("Enter")
                wanted[name][item] = {"1": "A", "2": "tie", "3": "B"}[key]
                page.wait_for_url("**/tasks" if number == items else f"**/r-{number + 1:06d}")
            if number % 5 == 0:  # killed behind an answer
                server.kill()
                server.start()
        for page in people.values():
            assert page.locator("#progress").inner_text() == f"{items} of {items}"
            sent.append(page.content())
            page.reload()
            page.go_back()
            page.go_forward()
            page.context.close()
        for texts in bodies:
            nothing_told(texts, folder, before)
    nothing_told(sent, folder, before)
    for name, said in wanted.items():
        found = lines(folder, name)
        assert {one["item"]: one["answer"]["preference"] for one in found} == said
        assert len(found) == items, "none twice"
        assert {one["annotator"] for one in found} == {name}


def test_an_annotator_finds_no_page_of_another(browser: Browser, tmp_path: Path) -> None:
    folder = make_review(tmp_path / "review").path
    (folder / KEY).unlink()  # nothing that serves a page needs it
    with served(folder, "a", "b") as server:
        page = browser.new_context().new_page()
        page.goto(server.addresses["a"])
        token = server.addresses["b"].rsplit("/", 2)[1]
        assert token not in page.content()
        # A page of another origin, which somehow learnt the address, can neither read nor answer.
        evil = browser.new_context().new_page()
        evil.route(
            "http://evil.invalid/**", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html")
        )
        evil.goto("http://evil.invalid/")
        said = evil.evaluate(
            """async (address) => {
              const body = new URLSearchParams({action: "answer", stamp: "0", preference: "A"});
              try { return (await fetch(address, {method: "POST", body, mode: "no-cors"})).type; }
              catch { return "refused"; }
            }""",
            f"{server.addresses['b']}tasks/1/r-000001",
        )
        assert said in ("opaque", "refused")
        for one in (page, evil):
            one.context.close()
    assert lines(folder, "b") == []


def test_nothing_of_a_hostile_text_runs(browser: Browser, tmp_path: Path) -> None:
    review = make_review(tmp_path / "drawn")
    tasks = {name: json.loads(tasks_path(review.path, name).read_text("utf-8")) for name in ("a", "b")}
    for own in tasks.values():
        for one in own:
            one["data"] |= {"domain": HOSTILE, "response_a": HOSTILE, "response_b": HOSTILE * 2000}
            one["data"]["dialogue"] = [{"role": HOSTILE, "content": HOSTILE}]
    folder = tmp_path / "review"
    write_review(folder, review, read_key(review), tasks, "<View/>\n")
    with served(folder, "a") as server:
        page = browser.new_context().new_page()
        wrong = watched(page)
        page.goto(server.addresses["a"])
        page.locator("[name=comment]").fill(HOSTILE)
        press(page, "Escape", "1", "Enter")
        page.wait_for_url("**/r-000002")
        for path in ("tasks", "tasks/1/r-000001", "tasks/1/r-000003"):
            page.goto(server.addresses["a"] + path)
            assert page.title() != "broken"
        assert "<script>document.title='broken'</script>" in page.locator("main").inner_text()
        assert wrong == []
        page.context.close()
