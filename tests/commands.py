"""Commands as people type them: what they print, and how they end."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import click

from coig_p.cli.main import cli, main

Done = subprocess.CompletedProcess[str]


def every_command() -> dict[str, click.Command]:
    """The whole tree, by what is typed after coigp."""
    found: dict[str, click.Command] = {}
    waiting: list[tuple[str, click.Command]] = [("", cli)]
    while waiting:
        words, command = waiting.pop()
        found[words] = command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None, name
                waiting.append((f"{words} {name}".strip(), below))
    return found


TREE = every_command()


class _Terminal(io.TextIOWrapper):
    """Keeps what is printed, bytes too."""

    def __init__(self, encoding: str, errors: str = "strict") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors=errors, newline="")
        self.said = encoding

    def shown(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.said)  # type: ignore[attr-defined]


def run(*arguments: object, code: int | None = 0, encoding: str = "utf-8", decoded: str = "") -> Done:
    """Run coigp in this process, with warnings as errors; a code of None stands for any.

    Args:
        encoding: of both streams, as Python sets them up for a terminal of it.
        decoded: what standard output is in; default: that encoding.
    """
    words = [str(argument) for argument in arguments]
    output, errors = _Terminal(encoding), _Terminal(encoding, "backslashreplace")
    output.said = decoded or encoding
    ended: object = None
    with warnings.catch_warnings(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        warnings.simplefilter("error")
        try:
            main(words)
        except SystemExit as stopped:
            ended = stopped.code
    done = subprocess.CompletedProcess(words, ended, output.shown(), errors.shown())  # type: ignore[arg-type]
    _check(done, code)
    return done


def run_process(*arguments: object, code: int = 0, program: str = "main", **environment: str) -> Done:
    """Run coigp, or another function of coig_p.__main__, in a process of its own, with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"from coig_p.__main__ import {program}; {program}()"]
        + [str(argument) for argument in arguments],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
        check=False,
    )
    _check(done, code)
    return done


def run_code(code: str, *words: object, **environment: str) -> Done:
    """Run Python code in a process of its own, which ends with 0 and without a traceback; it finds words in argv."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | environment,
        timeout=300,
        check=False,
    )
    _check(done, 0)
    return done


def run_each(*commands: Sequence[object], **environment: str) -> list[Done]:
    """Run commands one after another in one process of its own, in an environment that is read on import."""
    code = (
        "import json, sys, commands\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    done = commands.run(*words, code=None)\n"
        "    print(json.dumps([words, done.returncode, done.stdout, done.stderr]))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = run_code(code, json.dumps([list(map(str, words)) for words in commands]), PYTHONPATH=path, **environment)
    return [subprocess.CompletedProcess(*json.loads(line)) for line in process.stdout.splitlines()]


def _check(done: Done, code: int | None) -> None:
    assert "Traceback" not in done.stderr, done.stderr
    assert code in (None, done.returncode), f"ended with {done.returncode}: {done.stderr}{done.stdout}"
