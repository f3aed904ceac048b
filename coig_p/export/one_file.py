"""Pairs of a store in one file, as Parquet or JSON Lines, in the store's order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p.core.atomic import atomic_file
from coig_p.core.objects import ObjectPath, as_path
from coig_p.errors import UnknownNameError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.rows import pair_tables
from coig_p.pairs.selection import one_split, select
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.places import check_file
from coig_p.store.store import Store

FILE_TYPES = ("parquet", "jsonl")


def write_pairs(
    store: Store | str | Path,
    out: str | Path | IO[bytes],
    config: PairConfig,
    *,
    file_type: str = "parquet",
    domains: Sequence[str] = (),
    split: str | None = None,
    columns: Sequence[str] | None = None,
) -> tuple[dict[str, int], PairConfig]:
    """Write a store's pairs to `out`, which appears, or is replaced, whole or not at all.

    Args:
        out: a file's name, or an open stream.
        domains: these alone; default all.
        split: needed where the store has several.
        columns: of the rows, these alone, in this order; default all.

    Returns:
        Rows written by domain, and the config with the thresholds that were in effect.

    Raises:
        UsageError: an unknown domain, split, judge, column or file type, or several splits and none named.
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    if file_type not in FILE_TYPES:
        raise UnknownNameError("file type", file_type, FILE_TYPES)
    target = as_path(out) if isinstance(out, (str, Path, ObjectPath)) else None
    if target is not None:
        check_file(target, "a file of pairs", overwrite=True)
    source = one_split(opened.manifest, split)
    selection = select(opened.manifest, config, domains=domains, splits=(source,), columns=columns, read=opened.rows_of)
    counts = dict.fromkeys(selection.domains, 0)
    kind = partial(_ParquetRows, schema=selection.schema) if file_type == "parquet" else _JsonRows
    place = nullcontext(cast(IO[bytes], out)) if target is None else atomic_file(target)
    # Closed also where a shard cannot be read: left to itself, Arrow's writer complains that its file is gone.
    with place as stream, closing(kind(stream)) as writer:
        for domain in selection.domains:
            for batch in opened.batches(domain, source, schema=PAIRING_SCHEMA, rewards=selection.rewards):
                for rows in pair_tables(batch, selection.pairs, shape=selection.shape):
                    writer.write(rows)
                    counts[domain] += rows.num_rows
    return counts, selection.pairs


class _ParquetRows:
    def __init__(self, stream: IO[bytes], schema: pa.Schema) -> None:
        plain = [field.name for field in schema if not field.name.endswith(("model", "domain"))]
        dictionary = [name for name in schema.names if name not in plain]
        self.writer = pq.ParquetWriter(
            stream, schema, compression="zstd", compression_level=3, use_dictionary=dictionary, write_page_index=True
        )

    def write(self, rows: pa.Table) -> None:
        self.writer.write_table(rows)

    def close(self) -> None:
        self.writer.close()


class _JsonRows:
    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def write(self, rows: pa.Table) -> None:
        for row in rows.to_pylist():
            self.stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        """Nothing is left to write."""
