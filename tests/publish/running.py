"""`coigp-publish` in this process: what it prints, and how it ends."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

import pytest


@dataclass(frozen=True)
class Said:
    stdout: str
    stderr: str


def run_publish(*arguments: object, code: int = 0, **environment: str) -> Said:
    """Run the command; an error that it does not turn into words is the test's to see.

    Args:
        environment: variables that are read when the command runs. The Hub's clients read most of theirs
            on import: what those say is set in huggingface_hub.constants.
    """
    from coig_p.cli.publish import main

    out, err = io.StringIO(), io.StringIO()
    argv = ["coigp-publish", *map(str, arguments)]
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(sys, "argv", argv),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert ended.value.code == code, err.getvalue() + out.getvalue()
    return Said(out.getvalue(), err.getvalue())
