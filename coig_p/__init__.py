"""Preference data for Chinese language models: stores of observations, pairs made when loaded.

Importing this package registers "coig-p" with Hugging Face datasets:

    import coig_p
    from datasets import load_dataset
    pairs = load_dataset("coig-p", "math", threshold=2)
"""

from __future__ import annotations

from typing import Any

from coig_p._version import __version__
from coig_p.errors import CoigPError
from coig_p.pairs.config import PairConfig
from coig_p.registration import register
from coig_p.store.store import Store

__all__ = ["CoigPError", "PairConfig", "Store", "__version__", "load_dataset"]


def load_dataset(*args: Any, **kwargs: Any) -> Any:
    """`datasets.load_dataset("coig-p", ...)` without datasets' registry: see `coig_p.builder.load_dataset`."""
    from coig_p.builder import load_dataset

    return load_dataset(*args, **kwargs)


register()
