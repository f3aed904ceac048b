"""`python -m coig_p`, and what the scripts coigp and coigp-publish call: Ctrl-C at any moment ends quietly."""

from __future__ import annotations

import os
import signal
from importlib import import_module

TYPE_CHECKING = False  # see coig_p/__init__.py
if TYPE_CHECKING:
    from typing import Any, NoReturn


def main() -> None:
    """Run `coigp`."""
    _run("coig_p.cli.main")


def publish() -> None:
    """Run `coigp-publish`, which is `coigp publish`."""
    _run("coig_p.cli.publish")


def _run(module: str) -> None:
    # Not where the signal is ignored, as it is for a job in the background.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        # An exception while modules are imported may be caught by one of them, or be shown with a traceback.
        _interrupt(_leave, ours)
        command = import_module(module).main
        _interrupt(signal.default_int_handler, ours)
        try:
            command()
        finally:
            _interrupt(_leave, ours)  # all is written; Python is only shutting down
    except KeyboardInterrupt:
        _leave()


def _interrupt(handler: Any, ours: bool) -> None:
    if ours:
        signal.signal(signal.SIGINT, handler)


def _leave(*_: object) -> NoReturn:
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
