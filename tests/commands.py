"""Commands as people type them: what they print, and how they end."""

from __future__ import annotations

import os
import subprocess
import sys


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run coigp in a process of its own, with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from coig_p.cli.main import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr + done.stdout
    return done
