"""What looks at pages: the system's chromium, sizes and schemes, and what may not be found in any page."""

from __future__ import annotations

import shutil

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
SIZES = ((1280, "light"), (390, "dark"))
HOSTILE = (
    "<script>document.title='broken'</script><img src=https://example.invalid/x onerror=\"document.title='broken'\">"
    "<svg onload=\"document.title='broken'\"></svg>\u202eRTL \x1b[31m \"quotes\" 'and'\nline breaks {{ 7*7 }}"
)


def watched(page: Page) -> list[str]:
    """What a page says to the console, and what it asks of anybody else."""
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith(("http://127.0.0.1:", "file:", "data:")) else wrong.append(asked.url)
        ),
    )
    return wrong


def serious(page: Page) -> list[tuple[str, str]]:
    """What axe-core finds that keeps people out."""
    found = Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
