"""Preference data for Chinese language models: stores of observations, pairs made when loaded.

Importing this package registers "coig-p" with Hugging Face datasets:

    import coig_p
    from datasets import load_dataset
    pairs = load_dataset("coig-p", "math", threshold=2)

It imports neither datasets nor pyarrow before something needs them.
"""

from __future__ import annotations

from importlib import import_module

from coig_p._version import __version__
from coig_p.registration import register_with_datasets

TYPE_CHECKING = False  # typing takes longer to import than all else here; type checkers know this name
if TYPE_CHECKING:
    from coig_p.builder import load_dataset
    from coig_p.errors import CoigPError
    from coig_p.pairs.config import PairConfig
    from coig_p.pairs.counting import PlannedSplit, StreamPlan
    from coig_p.planning import plan
    from coig_p.store.store import Store

__all__ = ["CoigPError", "PairConfig", "PlannedSplit", "Store", "StreamPlan", "__version__", "load_dataset", "plan"]

_WHERE = {
    "CoigPError": "coig_p.errors",
    "PairConfig": "coig_p.pairs.config",
    "PlannedSplit": "coig_p.pairs.counting",
    "Store": "coig_p.store.store",
    "StreamPlan": "coig_p.pairs.counting",
    "load_dataset": "coig_p.builder",
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
