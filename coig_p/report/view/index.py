"""What the pages need of a store, counted once and kept: a row a query, statistics, the sweep, matrices, plots.

It stands in a folder of its own whose name says the manifest's SHA-256 and this package's version, so that what was
made of another store, or by other code, is never shown.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p._version import __version__
from coig_p.core.atomic import atomic_directory
from coig_p.core.text import printable
from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.report.captions import captions
from coig_p.report.figures import LANGUAGES, statistics_plots, sweep_plots
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.apart import MOST, MostApart
from coig_p.stats.counts import statistics
from coig_p.stats.matrix import Matrices
from coig_p.stats.queries import QUERIES, query_table
from coig_p.stats.sweep import sweep
from coig_p.store.fetching import over_shards
from coig_p.store.manifest import MANIFEST, StoreFile
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP, sha256_of

_TABLE, _COUNTS = "queries.parquet", "counts.json"
_PASSES = 4  # over the store
_LAYOUT = 4
_FEW = 10  # pairs that are kept of every two judges where these are many
_MANY = 200
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class Index:
    """What was counted.

    Attributes:
        store: what it is of.
        queries: a row a query, as `coig_p.stats.queries` has it.
        statistics, sweep: as their `to_dict` has them, at the store's default threshold.
        apart: on which pairs every two judges disagree most.
        plots: SVG by language and file name.
        captions: what is read where a plot cannot be seen, and what stands below it, by language and plot.
    """

    store: Store
    queries: pa.Table
    statistics: Mapping[str, Any]
    sweep: Mapping[str, Any]
    matrices: Matrices
    apart: MostApart
    plots: Mapping[str, Mapping[str, str]]
    captions: Mapping[str, Mapping[str, Sequence[str]]]


def default_cache() -> Path:
    """Where indexes are kept: XDG_CACHE_HOME/coig_p/view, or ~/.cache/coig_p/view."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "coig_p" / "view"


def place_of_index(store: Store, cache: Path) -> Path:
    """The folder of a store's index."""
    return cache / f"{sha256_of(store.path / MANIFEST)[:32]}-{__version__}-{_LAYOUT}"


def load_index(
    store: Store, cache: Path, *, num_proc: int | None = 1, advance: Callable[[int], None] = lambda queries: None
) -> Index:
    """The index of a store: the one that is kept, else made, and kept for the next time.

    Args:
        advance: called with the number of queries read since the last call; each is read `passes` times.

    Raises:
        StoreError: a shard that cannot be read.
    """
    folder = place_of_index(store, cache)
    found = _kept(store, folder)
    if found is None:
        found = make_index(store, num_proc=num_proc, advance=advance)
        try:
            _keep(found, folder)
        except (OSError, UsageError) as error:  # what was counted is good all the same
            if _kept(store, folder) is None:  # and not another view's, that was quicker
                _logger.warning("the index is not kept, so that the next view counts again: %s", printable(str(error)))
    return found


def queries_to_read(store: Store, cache: Path) -> int:
    """How many queries `load_index` will read, for a bar; 0 where the index is there."""
    if _kept(store, place_of_index(store, cache)) is not None:
        return 0
    return _PASSES * sum(file.rows or 0 for file in store.data_files())


def make_index(
    store: Store, *, num_proc: int | None = 1, advance: Callable[[int], None] = lambda queries: None
) -> Index:
    """Count all of it anew."""
    config = PairConfig()
    counted = statistics(store, config, advance=advance)
    swept = sweep(store, config, advance=advance)
    plots = {
        language: {**statistics_plots(counted, language), **sweep_plots(swept, language)} for language in LANGUAGES
    }
    won, apart = _by_two(store, config, num_proc, advance)
    return Index(
        store=store,
        queries=query_table(store, num_proc=num_proc, advance=advance),
        statistics=counted.to_dict(),
        sweep=swept.to_dict(),
        matrices=won,
        apart=apart,
        plots=plots,
        captions={language: captions(counted, swept, language) for language in LANGUAGES},
    )


def _by_two(
    store: Store, config: PairConfig, num_proc: int | None, advance: Callable[[int], None]
) -> tuple[Matrices, MostApart]:
    """What is known of every two models and every two judges, in one pass."""
    files, judges = store.data_files(), len(store.manifest.judges)
    won = Matrices()
    apart = MostApart(MOST if judges * (judges - 1) // 2 <= _MANY else _FEW)
    places = {file.path: at for at, file in enumerate(files)}
    config = config.with_defaults(store.manifest)
    given = (config, places, apart.most)
    for file, (own, own_apart) in over_shards(_of_shard, store.path, given, files, workers_for(files, num_proc)):
        won.merge(own)
        apart.merge(own_apart)
        advance(file.rows or 0)
    return won, apart


def _of_shard(
    root: Path, config: PairConfig, places: Mapping[str, int], most: int, file: StoreFile
) -> tuple[Matrices, MostApart]:
    won, apart, begin = Matrices(), MostApart(most), 0
    for batch in shard_batches(root, file, ROWS_PER_GROUP, PAIRING_SCHEMA, threads=False):
        won.add(batch, config)
        apart.add(batch, places[file.path], begin, config)
        begin += batch.num_rows
    return won, apart


def _keep(index: Index, folder: Path) -> None:
    with atomic_directory(folder) as root:
        pq.write_table(index.queries, root / _TABLE, compression="zstd")
        told = {
            "statistics": index.statistics,
            "sweep": index.sweep,
            "matrices": index.matrices.to_dict(),
            "apart": index.apart.to_dict(),
            "plots": index.plots,
            "captions": index.captions,
        }
        (root / _COUNTS).write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")


def _kept(store: Store, folder: Path) -> Index | None:
    """What is kept; None where there is none, or none that can be read."""
    try:
        told = json.loads((folder / _COUNTS).read_text(encoding="utf-8"))
        table = pq.read_table(folder.absolute() / _TABLE, memory_map=True)
        if not table.schema.remove_metadata().equals(QUERIES):
            return None
        return Index(
            store=store,
            queries=table,
            statistics=told["statistics"],
            sweep=told["sweep"],
            matrices=Matrices.from_dict(told["matrices"]),
            apart=MostApart.from_dict(told["apart"]),
            plots=told["plots"],
            captions=told["captions"],
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
