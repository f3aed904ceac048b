"""Preference data for Chinese language models: stores of observations, pairs made when loaded.

Importing this package registers "coig-p" with Hugging Face datasets:

    import coig_p
    from datasets import load_dataset
    pairs = load_dataset("coig-p", "math", threshold=2)

It imports neither datasets nor pyarrow before something needs them.
"""

from __future__ import annotations

import os
import sys


def _leave(*_: object) -> None:
    """Ctrl-C before the command is there; coig_p.__main__ has more to say later."""
    os.write(2, b"interrupted\n")
    os._exit(130)


_SCRIPTS = ("coigp", "coigp-publish", "coigp.exe", "coigp-publish.exe")
if os.path.basename(sys.argv[0]) in _SCRIPTS or (sys.argv[0] == "-m" and "coig_p" in sys.orig_argv):
    import _signal  # type: ignore[import-not-found]  # built in; signal itself imports more

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _leave)

from importlib import import_module  # noqa: E402 - the handler first

from coig_p._version import __version__  # noqa: E402
from coig_p.registration import register_with_datasets  # noqa: E402

TYPE_CHECKING = False  # typing takes longer to import than all else here; type checkers know this name
if TYPE_CHECKING:
    from coig_p.builder import load_dataset
    from coig_p.errors import CoigPError
    from coig_p.pairs.config import PairConfig
    from coig_p.pairs.counting import PlannedSplit, StreamPlan
    from coig_p.planning import plan
    from coig_p.store.store import Store
    from coig_p.views.dataset import materialize

__all__ = [
    "CoigPError",
    "PairConfig",
    "PlannedSplit",
    "Store",
    "StreamPlan",
    "__version__",
    "load_dataset",
    "materialize",
    "plan",
]

_WHERE = {
    "CoigPError": "coig_p.errors",
    "PairConfig": "coig_p.pairs.config",
    "PlannedSplit": "coig_p.pairs.counting",
    "Store": "coig_p.store.store",
    "StreamPlan": "coig_p.pairs.counting",
    "load_dataset": "coig_p.builder",
    "materialize": "coig_p.views.dataset",
    "plan": "coig_p.planning",
}


if not TYPE_CHECKING:  # type checkers would take every name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(import_module(_WHERE[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_with_datasets()
