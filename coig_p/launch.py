"""Another tool's command, in whose processes datasets knows the name "coig-p": `coigp run -- trl dpo ...`.

The command takes the place of this process, so that arguments, standard input, signals and exit code are its own. It
gets our environment with one folder put before the others on PYTHONPATH. In that folder is a sitecustomize, which
Python imports at every start (see coig_p/startup), and PYTHONPATH goes on to the processes that the command starts.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from coig_p.core.text import printable
from coig_p.errors import UsageError

STARTUP = Path(__file__).with_name("startup")
_logger = logging.getLogger("coig_p")


def launch(words: Sequence[str]) -> NoReturn:
    """Become a command.

    Args:
        words: its name or path, then its arguments.

    Raises:
        UsageError: there is no such command, or it cannot be run.
    """
    path = find_command(words[0])
    environment = environment_of(os.environ, os.getpid())
    # By its path: a Python finds its environment by what it is called.
    command = [path, *words[1:]]
    _logger.info("running %s", printable(path))
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    try:
        if os.name != "posix":  # where the shell would not wait for what takes our place
            raise SystemExit(subprocess.call(command, env=environment))
        for name in ("SIGPIPE", "SIGXFSZ"):  # which Python ignores, and what takes its place would, too
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execve(path, command, environment)
    except OSError as error:
        raise UsageError(f"{path} cannot be run: {error.strerror}. {_hint(path)}") from None


def find_command(name: str) -> str:
    """Where a command is: beside coigp, in the environment that has coig_p, then on PATH.

    Raises:
        UsageError: nowhere.
    """
    found = name if os.path.dirname(name) else shutil.which(name, path=sysconfig.get_path("scripts"))
    found = shutil.which(found or name)
    if found is not None:
        return found
    if os.path.isfile(name):
        raise UsageError(f"{name} is not a command. {_hint(name)}")
    where = "" if os.path.dirname(name) else f" in {sysconfig.get_path('scripts')} or on PATH"
    raise UsageError(f"no command {name!r}{where}. Is it installed? For instance: coigp run -- python -m MODULE")


def environment_of(variables: Mapping[str, str], process: int) -> dict[str, str]:
    """These variables with our folder before the others on PYTHONPATH.

    Args:
        process: of the command, which alone says where coig_p is missing.

    Raises:
        UsageError: the folder's name cannot stand on PYTHONPATH.
    """
    ours = str(STARTUP)
    if os.pathsep in ours:
        raise UsageError(f"coig_p is installed in {ours}, and {os.pathsep!r} cannot stand in a name on PYTHONPATH")
    named = variables.get("PYTHONPATH", "")
    others = [place for place in named.split(os.pathsep) if place != ours] if named else []
    return {**variables, "PYTHONPATH": os.pathsep.join([ours, *others]), "COIGP_RUN": str(process)}


def _hint(path: str) -> str:
    return f"A Python file is run with: coigp run -- python {path}" if path.endswith(".py") else "Is it a program?"
