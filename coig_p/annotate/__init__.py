"""From queries to scored responses with models alone, as COIG-P was made (COIG-P, section 3).

A run is one TOML file (`config`). Its stages collect queries, have every model answer them and have
judges of other families score the answers (`stages`, `tasks`). Every request goes through a ledger
in SQLite (`asking`), so that what was answered once is never paid twice; the store at the end is
read from it.

    config = load_config("run.toml")
    report = run_stages(config)              # report.stored.store is the store
    with Ledger.open(config.folder) as ledger:
        print(status_of(config, ledger))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coig_p.annotate.asking.ledger.reading import Ledger
    from coig_p.annotate.config import RunConfig, load_config
    from coig_p.annotate.estimating import Estimate, estimate
    from coig_p.annotate.stages import Report, run_stages
    from coig_p.annotate.status import Status, status_of

_HOMES = {
    "Estimate": "estimating",
    "Ledger": "asking.ledger.reading",
    "Report": "stages",
    "RunConfig": "config",
    "Status": "status",
    "estimate": "estimating",
    "load_config": "config",
    "run_stages": "stages",
    "status_of": "status",
}

__all__ = [
    "Estimate",
    "Ledger",
    "Report",
    "RunConfig",
    "Status",
    "estimate",
    "load_config",
    "run_stages",
    "status_of",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: the store and dedup come with most of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
