"""A store written anew, with less in it or more: what becomes of each query, and a count of all that goes.

Shards are written by all processes (see `coig_p.store.recut`), the manifest last, by the one that folds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p._version import __version__
from coig_p.core.objects import ObjectPath
from coig_p.core.progress import Advance
from coig_p.engine.journal import resumable
from coig_p.engine.local import held, threads
from coig_p.errors import DataError, UsageError
from coig_p.store.benchmarks import BenchmarkCheck, added, checks_on_disk, with_checks
from coig_p.store.changes import Change, Changes, Each, Loss, Losses
from coig_p.store.manifest import MANIFEST
from coig_p.store.places import check_target
from coig_p.store.recut import Places, what_stays, write_what_stays
from coig_p.store.replacing import carry_over, check_replaced
from coig_p.store.rewards_carried import with_carried
from coig_p.store.sharing import WRITTEN, workers_for
from coig_p.store.store import Store
from coig_p.store.writing import describe_file, finish_store

# Inside what is being written, so that a killed run leaves nothing that the next does not remove, and every machine
# that writes sees it.
_ASIDE = ".aside"


@dataclass(frozen=True)
class Rewritten:
    """What a rewriting gave.

    Attributes:
        store: the new store.
        dropped: by reason, what went this time.
    """

    store: Store
    dropped: Mapping[str, Loss]

    @property
    def lost(self) -> Loss:
        """What went for any reason."""
        return sum(self.dropped.values(), Loss())

    def to_dict(self) -> dict[str, Any]:
        """The new store's path, and numbers by reason and unit."""
        return {
            "store": str(self.store.path),
            "dropped": {reason: loss.to_dict() for reason, loss in self.dropped.items()},
        }


def rewrite_store(
    store: Store,
    out: Path,
    becomes: Callable[[str, str], Change | None] | Changes,
    *,
    step: str,
    record: Callable[[Mapping[str, Loss]], Mapping[str, Any]],
    reasons: Collection[str] = (),
    earlier: Mapping[str, Loss] | None = None,
    beside: Mapping[str, pa.Table] | None = None,
    checks: Sequence[BenchmarkCheck] = (),
    overwrite: bool = False,
    advance: Advance = lambda queries: None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Rewritten:
    """Write a store of what is left of another, rewards too. Its owner's card.toml comes along, unless `out` has one.

    Args:
        becomes: called with domain and query_id of each row, twice for one that changes; None leaves it as it is. Or
            what knows whole shards of them. What a change takes in is of the same store.
        step: the name under which the new manifest's options tell of it.
        record: what they tell, given all that went by reason, earlier runs of this step included.
        reasons: those that are told even where nothing went for them.
        earlier: what went in earlier runs of this step, by reason.
        beside: tables written to the new store under their names.
        checks: benchmarks that `store` was compared with, once what is dropped is gone. What its manifest remembers of
            others is remembered in the new one, since no row is there that was not compared.
        advance: called with the number of queries read since the last call.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`). One does with
            threads of its own, at least two.
        engine: an executor that takes the work in their place; all of it must see `out`.

    Raises:
        UsageError: `out` cannot be used.
        DataError: nothing would be left, or a comparison that named no response would now name one.
        StoreError: a shard cannot be read.
    """
    check_rewrite(store, out, overwrite)
    files = store.data_files()
    if isinstance(out, ObjectPath):  # what is on its way there lies on this machine
        engine = None
    with held(workers_for(files, num_proc, engine, a_second=WRITTEN, alone=threads(num_proc))) as workers:
        kept = what_stays(store.path, files, Each(becomes) if callable(becomes) else becomes, workers)
        if not any(len(one.places()) for one in kept):
            raise DataError("nothing was written: no query is left")
        check_rewrite(store, out, overwrite)  # again: it was read since
        key = {"command": step, "store": store.content_hash()}
        with resumable(out, MANIFEST, key) as journal:
            root = journal.root
            extra = []
            for name, table in (beside or {}).items():
                pq.write_table(table, root / name, compression="zstd")
                extra.append(describe_file(root, name, Path(name).stem, rows=table.num_rows))
            counted: Losses = {}
            shards = []
            for done in write_what_stays(kept, Places(store.path, root, root / _ASIDE), journal, workers):
                advance(done.read)
                for reason, lost in done.dropped.items():
                    counted.setdefault(reason, Counter()).update(lost)
                if done.written is not None:
                    shards.append(done.written)
            journal.remove(root / _ASIDE)
            tool = f"coig-p {__version__}"
            options = {**store.manifest.options, step: record(_added_up(counted, reasons, earlier or {}))}
            manifest = replace(store.manifest, domains=(), files=tuple(extra), tool=tool, options=options, rewards={})
            remembered = added(checks_on_disk(store), checks)
            finish_store(
                root,
                shards,
                manifest,
                lambda written: with_checks(with_carried(written, root, store, workers), remembered),
            )
            carry_over(root, out, store.path)
    return Rewritten(Store.open(out), _added_up(counted, reasons, {}))


def check_rewrite(store: Store, out: Path, overwrite: bool) -> None:
    """Raise UsageError where `out` cannot become what is left of `store`, before anything is read."""
    check_target(out, overwrite)
    if out.resolve() == store.path.resolve():
        raise UsageError(f"{out} is the store itself: choose another place")
    check_replaced(out)


def dropped_before(store: Store, step: str) -> Mapping[str, Any]:
    """What earlier runs of a step counted as dropped, as the store's manifest has it; empty where none did."""
    told = store.manifest.options.get(step)
    found = told.get("dropped") if isinstance(told, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _added_up(counted: Losses, reasons: Collection[str], earlier: Mapping[str, Loss]) -> dict[str, Loss]:
    return {
        reason: earlier.get(reason, Loss()) + Loss(**counted.get(reason, Counter()))
        for reason in sorted({*counted, *reasons, *earlier})
    }
