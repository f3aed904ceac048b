"""The commands of a document, run in a shell as they are printed there, but for pip and the port."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commands(name: str, title: str) -> str:
    """What is fenced as commands in the section of a document under a title of the second level."""
    text = (ROOT / "docs" / name).read_text("utf-8")
    assert f"\n## {title}\n" in text, f"{name} has no section {title}"
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return "".join(re.findall(r"```(?:bash|sh)\n(.*?)```", section, re.DOTALL))


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def in_bash(text: str, folder: Path, programs: Path) -> str:
    """Run commands in a folder until one fails, which none may; what all said.

    Args:
        programs: a folder to be made, with `python` and `coigp` as they are here.
    """
    programs.mkdir()
    for name, command in (("python", ""), ("coigp", "-m coig_p")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    lines = [line for line in text.splitlines() if not line.startswith("pip install")]
    shown = "\n".join(lines).replace("8000", str(free_port()))
    folder.mkdir(exist_ok=True)
    # Servers that run in the background are ended, also where a line fails.
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{shown}"],
        cwd=folder,
        env=os.environ
        | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
        | {"XDG_CONFIG_HOME": str(programs / "config")},
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Traceback" not in said
    return said
