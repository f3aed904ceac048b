"""Jobs that write to S3 and are killed (SIGKILL): after their n-th step, or before their n-th request that writes.

    python killed_uploads.py NAME STORE [MOMENT OUT]...     the job of that name, killed at each moment

A moment is as step:3 or request:7, or never. Files are sent at the same time: of the requests before the n-th some are
answered, some carried out, and some not.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import killed_jobs
from s3fs import S3FileSystem

from coig_p.core.objects import as_path
from coig_p.engine.journal import Journal
from coig_p.store.rewrite import rewrite_store
from coig_p.store.store import Store

NEVER = "never"
_WRITES = ("put_object", "delete_object")


def kill_uploads(name: str, store: Path, moments: Mapping[Any, str]) -> None:
    """Run a job for each of these places, each in a process that is killed at its moment, or not at all."""
    words = [word for out, moment in moments.items() for word in (moment, str(out))]
    killed_jobs.run_script(__file__, name, store, *words)


def job_of(name: str) -> Callable[[Path, Any], object]:
    """One of all in `jobs`, or "rewrite", which is what clean, dedup and review apply end with."""
    return _rewrite if name == "rewrite" else killed_jobs.job_of(name)  # type: ignore[no-any-return]


def _rewrite(store: Path, out: Any) -> object:
    return rewrite_store(Store.open(store), out, lambda *_: None, step="tried", record=lambda dropped: {})


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(moment: str) -> None:
    kind, _, number = moment.partition(":")
    numbers = count(1)
    add, call = Journal.add, S3FileSystem._call_s3

    def added(self: Journal, *told: Any) -> Any:
        done = add(self, *told)
        if kind == "step" and next(numbers) == int(number):
            _die()
        return done

    async def called(self: Any, method: str, *args: Any, **options: Any) -> Any:
        if kind == "request" and method in _WRITES and next(numbers) == int(number):
            _die()
        return await call(self, method, *args, **options)

    Journal.add = added  # type: ignore[method-assign, assignment]
    S3FileSystem._call_s3 = called


def main() -> None:
    """See above. Each run is a fork: all is imported once, and nothing begun."""
    name, store, *moments = sys.argv[1:]
    killed_jobs.write_small_shards()
    for moment, out in zip(moments[::2], moments[1::2], strict=True):
        child = os.fork()
        if not child:
            _kill_at(moment)
            job_of(name)(Path(store), as_path(out))
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended == (0 if moment == NEVER else -signal.SIGKILL), (moment, ended)


if __name__ == "__main__":
    main()
