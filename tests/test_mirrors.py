"""Mirrors of the Hub: which addresses are some, and that no token goes there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import run_code
from hub_calls import SCRIPT, hub_environment, math
from serving import serve

from coig_p.core.mirrors import is_mirror
from coig_p.publish.local_hub import Account, LocalHub

MIRRORED = """
import socket, sys
stock = socket.getaddrinfo
def resolve(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else str(host)
    return stock("127.0.0.1" if "mirror" in name.lower() else host, *args, **kwargs)
socket.getaddrinfo = resolve
"""


def at_mirror(hub: LocalHub, home: Path, host: str, script: str, *words: object) -> tuple[str, str]:
    """What a program prints whose clients have a saved token, and take the local Hub for `host`."""
    home.mkdir(exist_ok=True)
    (home / "token").write_text(SAVED, encoding="utf-8")
    endpoint = f"http://{host.replace('PORT', str(hub.port))}"
    done = run_code(MIRRORED + script, *words, **hub_environment(endpoint, home) | {"NO_PROXY": "*"})
    assert SAVED not in done.stdout + done.stderr
    return done.stdout, done.stderr


SAVED = "hf_" + "s" * 30
COMMANDS = """
import json
from coig_p.__main__ import main, publish
for program, *words in json.loads(sys.argv[1]):
    sys.argv[:] = [program, *words]
    try:
        {"coigp": main, "coigp-publish": publish}[program]()
    except SystemExit as ended:
        print("ended with", ended.code or 0)
"""


@pytest.mark.parametrize("host", ["hf-mirror.com:PORT", "HF-Mirror.com.:PORT", "127.0.0.1:PORT"])
def test_a_mirror_is_sent_no_token_by_any_way_of_loading(store: Path, rows: Any, tmp_path: Path, host: str) -> None:
    calls: list[dict[str, Any]] = [
        {"data_dir": "org/name"},
        {"data_dir": "org/name@v1.0.0", "token": SAVED},
        {"data_dir": "hf://datasets/org/name", "token": True, "streaming": True},
        {"data_dir": "org/name", "package": True, "streaming": True, "storage_options": {"hf": {"token": SAVED}}},
        {"data_dir": "org/name", "package": True, "storage_options": {"token": SAVED}},
    ]
    with serve(store) as hub:
        hub.accounts = {SAVED: Account("me", ("org",))}
        found, said = at_mirror(hub, tmp_path / "home", host, SCRIPT, json.dumps(calls))
        assert [json.loads(line) for line in found.splitlines()] == [math(rows, 2)] * 5
        sent = [request for request in hub.requests if request.authorized]
    if "mirror" in host.lower():
        assert sent == []
        assert said.count("is a mirror for downloads: the token is not sent there") == 2, "once a call that gives one"
    else:
        assert sent  # a Hub of one's own gets it
        assert "mirror" not in said


def test_a_mirror_is_sent_no_token_by_commands(store: Path, tmp_path: Path) -> None:
    home, host = tmp_path / "home", "hf-mirror.com.:PORT"
    data = next(path.relative_to(store) for path in (store / "data").rglob("*.parquet"))
    shown = shutil.copytree(store, tmp_path / "shown")
    (shown / "lines.jsonl").write_text(
        json.dumps({"prompt": "一加一等于几？请说明理由。"}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    with serve(shown) as hub:
        hub.accounts = {SAVED: Account("me", ("org",))}
        asking: list[tuple[object, ...]] = [
            ("coigp", "import", f"hf://datasets/org/name@v1.0.0/{data.as_posix()}", "--out", tmp_path / "other"),
            ("coigp", "contamination", store, "--against", "hf://datasets/org/name/lines.jsonl"),
            ("coigp", "contamination", store, "--against", "org/name"),  # it is the store itself
        ]
        found, _ = at_mirror(hub, home, host, COMMANDS, json.dumps(asking, default=str))
        assert re.findall("ended with (.*)", found) == ["0", "0", "1"]
        asked = len(hub.requests)
        assert asked > 5
        asking = [
            ("coigp-publish", "--status", "org/name"),
            ("coigp-publish", "--abort", "org/name", "--version", "2.0.0"),
            ("coigp-publish", "--yank", "org/name", "--version", "1.0.0", "--reason", "why"),
        ]
        found, said = at_mirror(hub, home, host, COMMANDS, json.dumps(asking))
        assert re.findall("ended with (.*)", found) == ["2", "2", "2"]
        assert said.count("is a mirror for downloads") == 3
        assert len(hub.requests) == asked
        assert not any(request.authorized for request in hub.requests)


def test_what_only_a_token_opens_is_not_at_a_mirror(store: Path, tmp_path: Path) -> None:
    with serve(store, token=SAVED) as hub:
        calls = [{"data_dir": "org/name", "token": SAVED}]
        (said,) = at_mirror(hub, tmp_path / "home", "hf-mirror.com:PORT", SCRIPT, json.dumps(calls))[0].splitlines()
        assert not any(request.authorized for request in hub.requests)
    assert json.loads(said).startswith("3 ")
    assert "unset HF_ENDPOINT: hf-mirror.com is a mirror, which is sent no token" in said


def test_a_token_does_not_follow_to_another_host(store: Path, rows: Any, tmp_path: Path) -> None:
    with serve(store, token=SAVED) as hub:
        calls = [{"data_dir": "org/name", "streaming": streaming} for streaming in (True, False)]
        found, _ = at_mirror(hub, tmp_path / "home", "127.0.0.1:PORT", SCRIPT, json.dumps(calls))
        assert [json.loads(line) for line in found.splitlines()] == [math(rows, 2)] * 2
        elsewhere = [request for request in hub.requests if request.path.startswith("/lfs/")]
        assert elsewhere, {request.path for request in hub.requests}
        assert not any(request.authorized for request in elsewhere)


@pytest.mark.parametrize(
    ("endpoint", "known"),
    [
        ("https://hf-mirror.com", True),
        ("https://HF-MIRROR.com:8443/x", True),
        ("https://me:word@www.hf-mirror.com.", True),
        ("hf-mirror.com", True),
        ("https://hf%2Dmirror.com", True),
        ("https://\uff48f-mirror\uff0ecom", True),
        ("https://hf-mirror\u3002com", True),
        ("http://hf-cdn.sufy.com", True),
        ("https://huggingface.co", False),
        ("https://hf-mirror.com.example.org", False),
        ("https://my-hf-mirror.com", False),
        ("https://huggingface.co/hf-mirror.com", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_which_addresses_are_mirrors(endpoint: str, known: bool) -> None:
    assert is_mirror(endpoint) is known
