"""Rows of one shard, of any schema version, as the columns that the caller reads.

Columns that are not asked for are not decoded, also inside `responses`: what judges said at length costs
nothing where pairs are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.schema import RAW_SCHEMA


def read_batches(
    shard: pq.ParquetFile,
    size: int,
    row_groups: Sequence[int] | None = None,
    schema: pa.Schema = RAW_SCHEMA,
    *,
    threads: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Rows of an open shard as batches of `schema`, none of them empty.

    Args:
        size: rows of a batch, at most.
        row_groups: these alone; default all.
        schema: RAW_SCHEMA or a part of it, as PAIRING_SCHEMA is; what an older version does not have is null,
            and sample is 0.
        threads: False decodes in the caller's thread.
    """
    groups = list(range(shard.num_row_groups)) if row_groups is None else list(row_groups)
    columns = None if schema is RAW_SCHEMA else leaves(schema)
    for batch in shard.iter_batches(size, groups, columns, use_threads=threads):
        if batch.num_rows:
            yield conformed(batch, schema)


def part_of(schema: pa.Schema, *columns: str) -> pa.Schema:
    """These columns of a schema alone."""
    return pa.schema([schema.field(name) for name in columns])


def leaves(schema: pa.Schema) -> list[str]:
    """The names of a schema's columns as Parquet has them, for instance responses.list.element.text."""
    return [name for field in schema for name in _leaves(field.name, field.type)]


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_list(kind):
        return _leaves(f"{name}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    return [name]


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch of any schema version as one of `schema`."""
    if batch.schema.equals(schema):
        return batch.replace_schema_metadata(None)
    columns = [
        _conformed(batch.column(field.name), field.type)
        if field.name in batch.schema.names
        else _absent(field.name, field.type, batch.num_rows)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _conformed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if values.type.equals(kind):
        return values
    if pa.types.is_list(kind):
        offsets = values.offsets
        if values.null_count:  # a null offset is a null list
            absent = np.append(values.is_null().to_numpy(zero_copy_only=False), False)
            offsets = pc.if_else(pa.array(absent), pa.scalar(None, offsets.type), offsets)
        return pa.ListArray.from_arrays(offsets, _conformed(values.values, kind.value_type)).cast(kind)
    if pa.types.is_struct(kind):
        there = {field.name for field in values.type}
        parts = [
            _conformed(pc.struct_field(values, field.name), field.type)
            if field.name in there
            else _absent(field.name, field.type, len(values))
            for field in kind
        ]
        mask = values.is_null() if values.null_count else None
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)
    return values.cast(kind)


def _absent(name: str, kind: pa.DataType, length: int) -> pa.Array:
    """What an older version says by not having the field."""
    return pa.array(np.zeros(length, np.int32)) if name == "sample" else pa.nulls(length, kind)
