"""The walk of docs/align.md, as it stands there: a benchmark, two models, a judge, a report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import run

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.annotate.scripted import ScriptedServer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "align.md"
ADDRESS = "http://127.0.0.1:8000/v1"


def test_the_page_shows_what_its_commands_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (walk,) = re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    shown = [block.splitlines() for block in re.findall(r"```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)]
    printed: list[str] = []
    with ScriptedServer() as server:
        for name, text in re.findall(r"^cat > (\S+) <<'END'\n(.*?)END\n", walk, re.MULTILINE | re.DOTALL):
            Path(name).write_text(text.replace(ADDRESS, server.base_url), "utf-8")
        for words in re.findall(r"^coigp (.*)$", walk, re.MULTILINE):
            printed += run(*words.replace(ADDRESS, server.base_url).split()).stdout.splitlines()
        assert len(server.seen) == 64
        assert set(server.seen.values()) == {1}
    assert len(shown) == 2
    for line in (line for block in shown for line in block):
        assert line in printed
