"""The walk of docs/bench-build.md, as a new user types it: every command, and what it prints."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run
from pooled import answer_pool, strict

from coig_p.pairs.exclusion import read_exclusion
from coig_p.reward.bench.form import read_bench
from coig_p.store.locate import BUNDLED

DOCS = Path(__file__).resolve().parents[2] / "docs"


def walk(page: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each block of the walk's section."""
    section = (DOCS / page).read_text("utf-8").split("\n## ")[1]
    yield from re.findall(r"^```(\w+)\n(.*?)\n```$", section, re.MULTILINE | re.DOTALL)


def test_both_languages_show_the_same_walk() -> None:
    assert list(walk("bench-build.md")) == list(walk("bench-build.zh.md"))


def test_every_command_of_the_walk_prints_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(BUNDLED, "store")
    shown = None
    commands = 0
    for kind, text in walk("bench-build.md"):
        if kind == "text":
            assert shown == text
            shown = None
        elif text.startswith("coigp review serve"):
            answer_pool(Path("pool"), strict)
        else:
            assert shown is None
            shown = run(*text.split()[1:]).stdout.rstrip("\n")
            commands += 1
    assert shown is None  # every output was compared
    assert commands == 5
    items = {item.id for item in read_bench("bench").items}
    assert set(read_exclusion(Path("bench/train-exclude.txt")).query_ids) == items
    # Nobody who answered was told whose a response is, or what the store prefers.
    tasks = "".join(path.read_text("utf-8") for path in Path("pool").glob("tasks-*.json"))
    assert "fictional-" not in tasks
