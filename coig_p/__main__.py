"""`python -m coig_p`, and what the scripts coigp and coigp-publish call: Ctrl-C at any moment ends quietly.

Until the package is imported Python itself is starting, and what it then says of Ctrl-C is a traceback of its own.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

_signal = import_module("_signal")  # built in; signal itself imports enum and more, and Ctrl-C may come meanwhile
_INTERRUPTED = 130
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
    code = 1
    try:
        # Not where the signal is ignored, as it is for a job in the background.
        found = _signal.getsignal(_signal.SIGINT)
        # The package itself has one for the time before this: a script that pip made does a little of its own first.
        ours = found is _signal.default_int_handler or getattr(found, "__module__", None) in ("coig_p", __name__)
        # Where processes share work and this one is ended, Python frees what they shared, and would warn of it.
        os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
        try:
            if ours:
                _signal.signal(_signal.SIGINT, _interrupted)
            for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
                number = getattr(_signal, name, None)
                if number is not None and _signal.getsignal(number) is _signal.SIG_DFL:
                    _signal.signal(number, _terminated)
            import_module(module).main()
        except SystemExit as ended:
            if ended.code == _INTERRUPTED:  # all is said; threads that only read are not waited for
                _tidy()
                os._exit(_INTERRUPTED)
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            raise
        finally:
            _tidy()
            if ours:  # all is written and said; Python is only shutting down
                _signal.signal(_signal.SIGINT, lambda *_: os._exit(code))
    except KeyboardInterrupt:
        _leave()


def _interrupted(_number: int, frame: Any) -> None:
    """Leave at once where a module is being imported, which may make another error of an exception, or swallow it.

    What is being written is then as it was before, the old files or none.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _leave()
        frame = frame.f_back
    raise KeyboardInterrupt


def _leave(*_: object) -> NoReturn:
    if getattr(sys.modules.get("coig_p.cli.screen"), "bars", None):
        os.write(2, _SHOW_CURSOR)
    _tidy()
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)


def _terminated(number: int, _frame: object) -> None:
    """End as by the signal itself, with nothing half written left behind."""
    _tidy()
    _signal.signal(number, _signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _tidy() -> None:
    writing = sys.modules.get("coig_p.core.atomic")
    if writing is not None:
        writing.remove_unfinished()


if __name__ == "__main__":
    main()
