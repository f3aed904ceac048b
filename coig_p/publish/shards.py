"""The shards of a release: a store's copied as they are, its pairs written anew; hashed and measured on the way."""

from __future__ import annotations

import hashlib
import io
import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.core.bombs import check_bomb
from coig_p.core.progress import Bar
from coig_p.engine.local import Processes, in_order, threads
from coig_p.errors import DataError
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig
from coig_p.pairs.stream import Shard, shard_tables
from coig_p.pairs.turns import Shape
from coig_p.schema import PAIR_SCHEMAS
from coig_p.stats.results import Statistics
from coig_p.store.manifest import MANIFEST, StoreFile
from coig_p.store.reading import DAMAGE
from coig_p.store.rewarded import rewards_beside
from coig_p.store.rewards import REWARDS
from coig_p.store.sharing import workers_for
from coig_p.store.store import Store
from coig_p.store.writing import cut, describe_file, even_sizes

ROWS_PER_SHARD = 10_000
ROWS_PER_GROUP = 1_000
_PIECE = 1 << 20  # bytes


def copy_shards(store: Store, root: Path, bar: Bar) -> list[StoreFile]:
    """The store's shards, the rewards of their responses, and who its duplicates were.

    The texts of duplicates stay at home, as rejects do: they went, and nobody vouched for them.
    """
    files = [file for file in store.manifest.files if file.role in ("data", REWARDS, "duplicates")]
    made = []
    with bar("Copying", sum(file.bytes for file in files), "bytes") as advance:
        for file in files:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            if _copy_file(store.path / file.path, root / file.path) != file.sha256:
                raise DataError(
                    f"{store.path}: {file.path} is not what {MANIFEST} says. "
                    f"Run: coigp verify {shlex.quote(str(store.path))}"
                )
            made.append(_without_texts(root, file) if file.role == "duplicates" else file)
            advance(file.bytes)
    return made


def _without_texts(root: Path, file: StoreFile) -> StoreFile:
    """The file anew, without the columns that hold texts."""
    path = root / file.path
    try:
        with pq.ParquetFile(path) as found:
            check_bomb(found, path)
            table = found.read()
    except DAMAGE as error:
        raise DataError(f"{file.path} cannot be read: {error}. Make it with: coigp dedup") from None
    texts = [name for name in table.column_names if name == "text" or name.endswith("_text")]
    if not texts:  # of an older coig-p
        return file
    pq.write_table(table.drop_columns(texts), path, compression="zstd")
    return describe_file(root, file.path, file.role)


def _copy_file(source: Path, target: Path) -> str:
    """Copy a file; the SHA-256 of what was read."""
    with source.open("rb") as stream, _Hashed(target) as copy:
        while piece := stream.read(_PIECE):
            copy.write(piece)
    return copy.sha256.hexdigest()


class _Hashed(io.RawIOBase):
    """A file that is written from its beginning to its end, and hashed meanwhile."""

    def __init__(self, path: Path) -> None:
        self.stream = path.open("wb")
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Append."""
        self.sha256.update(data)
        self.bytes += len(data)
        return self.stream.write(data)

    def close(self) -> None:
        """End."""
        self.stream.close()
        super().close()


@dataclass(frozen=True)
class _Shard:
    """Pairs on their way to a file: one list of batches for each row group."""

    name: str
    domain: str
    split: str
    groups: list[list[pa.RecordBatch]]


def write_pairs(
    store: Store,
    root: Path,
    config: PairConfig,
    counted: Statistics,
    advance: Callable[[int], None],
    shape: Shape,
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Iterator[tuple[StoreFile, int]]:
    """Shards of pairs, equal in rows to within one for each domain and split; each with its num_bytes.

    Args:
        shape: how they show conversations.
        num_proc: processes that share the shards of the store, and threads that write those of the pairs; None for as
            many as pay (see `coig_p.store.sharing`).
        engine: an executor that makes the pairs in their place.

    A split without a pair has no shard: the stock library does not load a split of no rows.
    """
    writers = threads(num_proc)
    for domain, summary in counted.domains.items():
        for split, counts in summary.splits.items():
            if not counts.pairs:
                continue
            (root / "pairs" / domain).mkdir(parents=True, exist_ok=True)
            shards = even_sizes(counts.pairs, max(1, counts.pairs // ROWS_PER_SHARD))
            groups = [even_sizes(rows, max(1, -(-rows // ROWS_PER_GROUP))) for rows in shards]
            parts = cut(
                _pair_batches(store, config, domain, split, shape, num_proc, engine),
                [size for shard in groups for size in shard],
            )
            named = (
                _Shard(
                    f"pairs/{domain}/{split}-{at:05d}-of-{len(groups):05d}.parquet",
                    domain,
                    split,
                    [next(parts) for _ in groups[at]],
                )
                for at in range(len(groups))
            )
            for _, (file, loaded) in in_order(partial(_write_pair_shard, root), named, writers):
                yield file, loaded
                advance(file.rows or 0)


def _pair_batches(
    store: Store,
    config: PairConfig,
    domain: str,
    split: str,
    shape: Shape,
    num_proc: int | None,
    engine: Executor | None,
) -> Iterator[pa.RecordBatch]:
    files = store.data_files(domain, split)
    workers = workers_for(files, num_proc, engine)
    if workers == Processes(1):
        yield from _pairs_of(store.path, config, shape, files)
        return
    for _, batches in in_order(partial(_made_pairs, store.path, config, shape), files, workers):
        yield from batches


def _pairs_of(root: Path, config: PairConfig, shape: Shape, files: Sequence[StoreFile]) -> Iterator[pa.RecordBatch]:
    names = reward_names(config)
    shards = (
        Shard(partial(nullcontext, path), rewards=partial(rewards_beside, str(path), names, nullcontext))
        for path in (root / file.path for file in files)
    )
    for _, table in shard_tables(shards, config, shape=shape):
        yield from table.to_batches()


def _made_pairs(root: Path, config: PairConfig, shape: Shape, file: StoreFile) -> list[pa.RecordBatch]:
    """All pairs of a shard, for another process."""
    return list(_pairs_of(root, config, shape, [file]))


def _write_pair_shard(root: Path, shard: _Shard) -> tuple[StoreFile, int]:
    """Write one file; its line for the manifest, and what the stock library will count as its num_bytes."""
    schema = next(batch.schema for group in shard.groups for batch in group)
    rows = loaded = 0
    with (
        _Hashed(root / shard.name) as stream,
        pq.ParquetWriter(
            stream,
            schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=["domain", "chosen_model", "rejected_model"],
            write_page_index=True,
        ) as writer,
    ):
        for group in shard.groups:
            table = pa.Table.from_batches(group, schema).combine_chunks()
            if table.num_rows:
                writer.write_table(table, row_group_size=table.num_rows)
            rows += table.num_rows
            loaded += _loaded_bytes(table)
    file = StoreFile(
        path=shard.name,
        role="pairs",
        sha256=stream.sha256.hexdigest(),
        bytes=stream.bytes,
        domain=shard.domain,
        split=shard.split,
        rows=rows,
    )
    return file, loaded


def _loaded_bytes(table: pa.Table) -> int:
    """What the stock library will count for a row group of pairs, which it reads as one batch."""
    if table.schema != PAIR_SCHEMAS["dpo"]:  # lists of messages are read again: what they take is not their texts alone
        return _bytes_read(table)
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    nulls = tuple(column.null_count > 0 for column in table.columns)
    return _bytes_around(table.num_rows, nulls) + sum(
        int(pc.sum(pc.binary_length(text)).as_py() or 0) for text in texts
    )


@lru_cache(maxsize=256)
def _bytes_around(rows: int, nulls: tuple[bool, ...]) -> int:
    """What a row group of pairs takes once it is read, without its texts: pyarrow's versions differ, so it is tried."""
    columns = []
    for column, has_null in zip(PAIR_SCHEMAS["dpo"], nulls, strict=True):
        filler: Any = "" if pa.types.is_string(column.type) else 0.0
        columns.append(pa.array([None if has_null else filler, *[filler] * (rows - 1)][:rows], column.type))
    return _bytes_read(pa.table(columns, schema=PAIR_SCHEMAS["dpo"]))


def _bytes_read(table: pa.Table) -> int:
    """What a table takes once it was written as one row group and read as one batch."""
    stream, rows = io.BytesIO(), max(table.num_rows, 1)
    pq.write_table(table, stream, row_group_size=rows)
    return sum(int(batch.nbytes) for batch in pq.ParquetFile(stream).iter_batches(rows))
