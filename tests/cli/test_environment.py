"""coigp env, and completion in shells."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from commands import run

import coig_p


def test_the_environment_names_versions_and_nothing_private(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"HF_TOKEN": "hf_secret", "COIGP_STORE": "/srv/somebody/store", "HF_ENDPOINT": "https://a:b@c.org"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    found = json.loads(run("env", "--json").stdout)
    assert found["versions"]["coig_p"] == coig_p.__version__
    assert found["versions"]["pyarrow"] == pa.__version__
    assert found["extras"]["annotate"] in (True, False)
    assert {"dev", "bench"}.isdisjoint(found["extras"])
    for shown in (run("env").stdout, json.dumps(found)):
        assert not any(secret in shown for secret in (*secrets.values(), str(Path.home()), str(Path.cwd())))
    assert re.search(r"^COIGP_STORE +set$", run("env").stdout, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("shell", "written", "configured"),
    [
        ("bash", ".local/share/coigp/completion.bash", ".bashrc"),
        ("zsh", ".zfunc/_coigp", ".zshrc"),
        ("fish", ".config/fish/completions/coigp.fish", None),
    ],
)
def test_completion_is_installed_once(
    shell: str, written: str, configured: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    if configured:
        (tmp_path / configured).write_text("alias a=b")  # no line break at its end
    assert str(tmp_path / written) in run("--install-completion").stdout
    before = {path: path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()}
    assert "_COIGP_COMPLETE" in before[tmp_path / written]
    if configured:
        assert before[tmp_path / configured].startswith("alias a=b\n")
    assert "already" in run("--install-completion", shell).stdout
    assert {path: path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()} == before


def test_completion_knows_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_COIGP_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "coigp co")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert run().stdout == "plain,compare\nplain,contamination\n"
