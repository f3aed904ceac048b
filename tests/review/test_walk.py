"""The walk of docs/review.md, as a new user types it: every command, and what it prints, from the draw to the card."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import run
from people import answer_in_browser, export_of_label_studio

from coig_p.review.folder import open_review
from coig_p.store.locate import BUNDLED

DOCS = Path(__file__).resolve().parents[2] / "docs"


def walk(page: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each block of the walk's section."""
    section = (DOCS / page).read_text("utf-8").split("\n## ")[1]
    yield from re.findall(r"^```(\w+)\n(.*?)\n```$", section, re.MULTILINE | re.DOTALL)


def test_the_walk_is_ten_commands_in_both_languages() -> None:
    commands = [line for kind, text in walk("review.md") if kind == "sh" for line in text.splitlines()]
    assert len([line for line in commands if line.startswith("coigp ")]) == 10
    assert list(walk("review.md")) == list(walk("review.zh.md"))


def test_every_command_of_the_walk_prints_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    shutil.copytree(BUNDLED, "store")  # what the first block does
    shutil.copy(BUNDLED.parent / "card.toml", "store")
    blocks = list(walk("review.md"))
    assert "cp -r" in blocks[0][1]
    review = Path("review")
    shown = None
    for kind, text in blocks[1:]:
        if kind == "python":
            namespace: dict[str, Any] = {}
            exec(text, namespace)
        elif kind == "text":
            if shown is not None:
                assert shown == text
            shown = None
        elif text.startswith("coigp review serve"):
            round_ = open_review(review).rounds
            for name in re.findall("--annotator (.*)", text) or open_review(review).annotators:
                answer_in_browser(review, name, round_)
        else:
            for name in re.findall(r"export-(\w+)\.json", text):
                export_of_label_studio(review, name, Path(f"export-{name}.json"))
            command, _, filtered = text.partition(" | ")
            done = run(*command.split()[1:]).stdout
            if filtered:
                done = subprocess.run(
                    ["sh", "-c", filtered], input=done, capture_output=True, text=True, check=True
                ).stdout
            shown = done.rstrip("\n")
    assert shown is None  # every output was compared
    assert {"review.html", "verdicts.jsonl", "checked"} <= {path.name for path in tmp_path.iterdir()}
    # Nobody who answered was told what the store prefers.
    tasks = "".join(path.read_text("utf-8") for path in review.glob("tasks-*.json"))
    assert "fictional-" not in tasks
    assert "score" not in tasks
