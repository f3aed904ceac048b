"""How many processes share the shards of a store: as many as were asked for, or as many as pay."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

from coig_p.engine.local import Processes, Workers, check_num_proc, processes
from coig_p.store.manifest import StoreFile

COUNTED = 150_000
"""Responses that one process counts and pairs in a second, about (`coigp stats`)."""
WRITTEN = 30_000
"""Responses that it reads and writes again, about (`coigp clean`)."""
LOOKED_AT = 10_000
"""Responses whose texts it looks at, about (`coigp check`)."""


def workers_for(
    files: Sequence[StoreFile],
    num_proc: int | None,
    engine: Executor | None = None,
    *,
    a_second: float = COUNTED,
    alone: Workers | None = None,
) -> Workers:
    """Who does the work on these shards.

    Args:
        num_proc: processes of this machine, at most one a shard; None for as many as there are cores, where each has
            two seconds of work (see `coig_p.engine.local.processes`).
        engine: an executor that takes the work in their place.
        a_second: responses that one process sees in a second, about.
        alone: who does what one process does. Default: the caller's thread.

    Raises:
        UsageError: num_proc below 1.
    """
    check_num_proc(num_proc)
    if engine is not None:
        return engine
    number = processes(len(files), sum(file.responses or 0 for file in files) / a_second, num_proc)
    return Processes(number) if number > 1 or alone is None else alone
