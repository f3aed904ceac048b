"""`python -m coig_p`, and what the scripts coigp and coigp-publish call: Ctrl-C at any moment ends quietly."""

from __future__ import annotations

import os
import sys
from importlib import import_module

_signal = import_module("_signal")  # built in; signal itself imports enum and more, and Ctrl-C may come meanwhile
_SHOW_CURSOR = b"\x1b[?25h\n"  # a bar hides it, and stands in this line
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
    try:
        # Not where the signal is ignored, as it is for a job in the background.
        ours = _signal.getsignal(_signal.SIGINT) in (_signal.default_int_handler, _leave)
        try:
            if ours:
                _signal.signal(_signal.SIGINT, _interrupted)
            import_module(module).main()
        finally:
            if ours:
                _signal.signal(_signal.SIGINT, _leave)  # all is written; Python is only shutting down
    except KeyboardInterrupt:
        _leave()


def _interrupted(_number: int, frame: Any) -> None:
    """Leave at once where a module is being imported, which may make another error of an exception, or swallow it.

    What is being written is then as it is after any kill: the old files, and a leftover that the next write removes.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _leave()
        frame = frame.f_back
    raise KeyboardInterrupt


def _leave(*_: object) -> NoReturn:
    if getattr(sys.modules.get("coig_p.cli.screen"), "bars", None):
        os.write(2, _SHOW_CURSOR)
    os.write(2, b"interrupted\n")
    os._exit(130)


_NAMES = ("coigp", "coigp-publish", "coigp.exe", "coigp-publish.exe")

if __name__ == "__main__":
    main()
elif os.path.basename(sys.argv[0]) in _NAMES and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # A script that pip made imports this module and then does a little of its own before it calls.
    _signal.signal(_signal.SIGINT, _leave)
