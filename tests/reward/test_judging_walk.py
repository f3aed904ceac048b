"""The walk of docs/judging.md, as it stands there: a file, an estimate, a run, a report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import run

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.annotate.scripted import ScriptedServer
from coig_p.store.locate import BUNDLED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "judging.md"


def test_the_page_shows_what_its_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("store").symlink_to(BUNDLED)
    (walk,) = re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    shown = [block.splitlines() for block in re.findall(r"```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)]
    (toml,) = re.findall(r"<<'END'\n(.*?)END\n", walk, re.DOTALL)
    printed: list[str] = []
    with ScriptedServer() as server:
        Path("judge.toml").write_text(toml.replace("http://127.0.0.1:8000/v1", server.base_url), "utf-8")
        commands = re.findall(r"^coigp (.*)$", walk, re.MULTILINE)
        for words in commands:
            printed += run(*words.split()).stdout.splitlines()
        assert set(server.seen.values()) == {1}
        (data,) = [line for line in re.findall(r"^coigp (reward judge-data .*)$", PAGE.read_text("utf-8"), re.MULTILINE)
                   if "--rationale" not in line]  # fmt: skip
        printed += run(*data.split()).stdout.splitlines()
    assert [line.split()[0] for line in commands] == ["bench"] * 4
    for line in (line for block in shown for line in block):
        assert line in printed
