"""What a newcomer does first: the walk of the documents, as it is written there, but for pip and the port."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import pytest
from commands import run
from walking import commands, in_bash

pytest.importorskip("aiohttp", reason="annotation needs the extra [annotate]")

from coig_p.annotate import demo, scripted
from coig_p.annotate.scripted import ScriptedServer
from coig_p.errors import UsageError

SECTIONS = {"annotate.md": "A first run", "annotate.zh.md": "第一次运行"}


def walk(name: str) -> str:
    """The commands of the first section of a document."""
    return commands(name, SECTIONS[name])


def test_both_documents_walk_the_same_way() -> None:
    assert walk("annotate.md") == walk("annotate.zh.md") != ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="the documents are for bash")
def test_a_newcomer_annotates_five_queries_on_a_local_server(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said = in_bash(walk("annotate.md"), folder, tmp_path / "bin")
    assert re.search(r"all +20 ", said), "the estimate: five queries, two models, a judge of each response"
    assert "怎样泡好一壶绿茶？" in said
    assert "-- judge-c: " in said
    assert "5 queries, 10 responses, 10 scores" in said
    assert "sent 16 requests" in said, "the first query was paid before"
    assert "nothing is left" in said
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text("utf-8").splitlines()]
    assert pairs
    assert set(pairs[0]) >= {"prompt", "chosen", "rejected"}


def test_the_demo_leaves_a_run_to_play_with(tmp_path: Path) -> None:
    demo.run(tmp_path / "demo")
    file = tmp_path / "demo/run.toml"
    assert "http://127.0.0.1:8000/v1" in file.read_text("utf-8")
    run("annotate", "run", file)  # all is there, so that nobody has to serve
    with ScriptedServer() as server:
        text = file.read_text("utf-8").replace("http://127.0.0.1:8000/v1", server.base_url)
        file.write_text(text.replace("judges_per_response = 2", "judges_per_response = 1"), encoding="utf-8")
        run("annotate", "run", file)
        assert sum(server.seen.values()) == 0, "fewer judges need no request"
        file.write_text(text + "\n[run]\nseed = 9\n", encoding="utf-8")
        run("annotate", "run", file)
        assert sum(server.seen.values()) > 0


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken"), ScriptedServer(port=port):
            pass
        with pytest.raises(SystemExit) as ended:
            scripted.main(["--port", str(port)])
    assert ended.value.code == 2
    assert f"port {port} is taken" in capsys.readouterr().err
