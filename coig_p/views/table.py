"""A table of datasets that decodes rows where they leave it.

To datasets it is a memory-mapped table of plain types. Its rows are an index (`coig_p.views.indexing`), whose numbers
become texts in `fast_slice`, `fast_gather`, `to_reader` and `to_batches`, which is all that iteration and indexing
use. Columns that are selected, dropped or renamed, slices and metadata stay as cheap. Whatever needs the whole table
has it written once, "spilled", to a file beside the index that `cleanup_cache_files` finds.
"""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets.fingerprint import Hasher
from datasets.table import InMemoryTable, MemoryMappedTable, Table, list_table_cache_files

from coig_p.core.arrays import Index
from coig_p.core.atomic import atomic_file
from coig_p.errors import StoreError, UsageError
from coig_p.pairs.turns import messages
from coig_p.views.indexing import Shown
from coig_p.views.texts import Texts

_TOGETHER = 1000  # rows that are decoded at a time
_BYTES = 1 << 30  # of a text column of one array, at most: Arrow's limit is 2 GiB
_IN_MEMORY = 256 << 20  # bytes that one slice may take in memory, about; a larger one is read from the spilled table
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class Recipe:
    """What a view is made of. Pickled, it is paths and hashes.

    Attributes:
        index: of all its rows.
        texts: that its numbers are of.
        columns: what each column shows, in order.
    """

    index: Table
    texts: Texts
    columns: Mapping[str, Shown]


class ViewTable(MemoryMappedTable):  # type: ignore[misc]
    """See the module."""

    def __init__(self, recipe: Recipe, metadata: Any = None) -> None:
        self.recipe, self.metadata = recipe, metadata
        self.replays: list[Any] = []
        self._schema = pa.schema([(name, one.type) for name, one in recipe.columns.items()], metadata)
        paths = list_table_cache_files(recipe.index)
        self.path = os.path.abspath(paths[0]) if paths else ""
        self._batches = [batch for batch in recipe.index.to_batches() if len(batch)]
        self._offsets = np.cumsum([0, *(len(batch) for batch in self._batches)], dtype=np.int64)
        self._begins: list[int] = self._offsets.tolist()
        self._numbers: dict[str, list[Any]] = {
            name: [batch.column(name).to_numpy() for batch in self._batches]
            for name in {one.number for one in recipe.columns.values()}
        }

    def __getstate__(self) -> dict[str, Any]:
        return {"recipe": self.recipe, "metadata": self.metadata}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ViewTable.__init__(self, state["recipe"], state["metadata"])

    def __deepcopy__(self, memo: dict[int, Any]) -> ViewTable:
        return self  # nothing in it is ever changed

    def _with(self, columns: Mapping[str, Shown], index: Table | None = None, metadata: Any = None) -> ViewTable:
        recipe = Recipe(self.recipe.index if index is None else index, self.recipe.texts, columns)
        return ViewTable(recipe, self.metadata if metadata is None else metadata)

    # What it is, without a row

    @property
    def schema(self) -> pa.Schema:
        """Of plain types."""
        return self._schema

    @property
    def num_rows(self) -> int:
        """Rows of the index."""
        return int(self._offsets[-1])

    @property
    def num_columns(self) -> int:
        """Columns that are shown."""
        return len(self._schema)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)"""
        return self.num_rows, self.num_columns

    @property
    def column_names(self) -> list[str]:
        """In order."""
        return list(self._schema.names)

    @property
    def nbytes(self) -> int:
        """About what it would take decoded, in bytes."""
        return int(self.num_rows * self._row_bytes)

    @cached_property
    def _row_bytes(self) -> float:
        texts, total = self.recipe.texts, 0.0
        for one in self.recipe.columns.values():
            long = one.text in ("prompt", "answer")
            total += 8 if not long else texts.mean_bytes("query" if one.text == "prompt" else "response")
        return total

    def __len__(self) -> int:
        return self.num_rows

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_rows} rows)\n{self._schema.to_string(show_schema_metadata=False)}"

    __str__ = __repr__

    def field(self, *args: Any, **kwargs: Any) -> pa.Field:
        """See `pyarrow.Table.field`."""
        return self._schema.field(*args, **kwargs)

    # What stays a view

    def select(self, columns: Sequence[str | int], *_: Any, **__: Any) -> ViewTable:
        """These columns alone."""
        names = [name if isinstance(name, str) else self.column_names[name] for name in columns]
        return self._with({name: self.recipe.columns[name] for name in names})

    def drop(self, columns: str | Sequence[str], *_: Any, **__: Any) -> ViewTable:
        """Without these columns."""
        columns = [columns] if isinstance(columns, str) else columns
        for name in columns:
            if name not in self.recipe.columns:
                raise KeyError(f"Column {name!r} not found")
        return self._with({name: one for name, one in self.recipe.columns.items() if name not in columns})

    def remove_column(self, i: int, *_: Any, **__: Any) -> ViewTable:
        """Without the i-th."""
        return self.drop([self.column_names[i]])

    def rename_columns(self, names: Sequence[str], *_: Any, **__: Any) -> ViewTable:
        """The same columns under other names."""
        return self._with(dict(zip(names, self.recipe.columns.values(), strict=True)))

    def slice(self, offset: int = 0, length: int | None = None) -> ViewTable:
        """These rows alone."""
        return self._with(self.recipe.columns, self.recipe.index.slice(offset, length))

    def replace_schema_metadata(self, metadata: Any = None, *_: Any, **__: Any) -> ViewTable:
        """With other metadata."""
        return ViewTable(self.recipe, metadata)

    def cast(self, target_schema: pa.Schema, *args: Any, **kwargs: Any) -> Table:
        """With other metadata where types are the same; otherwise spilled and cast."""
        if target_schema.equals(self._schema):
            return ViewTable(self.recipe, target_schema.metadata)
        return self._spilled.cast(target_schema, *args, **kwargs)

    # Where rows leave

    def fast_slice(self, offset: int = 0, length: int | None = None) -> pa.Table:
        """Rows decoded."""
        if offset < 0:
            raise IndexError("Offset must be non-negative")
        end = self.num_rows if length is None else min(self.num_rows, offset + max(0, length))
        if offset >= end:
            return pa.Table.from_batches([], schema=self._schema)
        if end - offset == 1:
            return self._row(offset)
        if self._is_large(end - offset):
            return self._spilled.fast_slice(offset, end - offset).replace_schema_metadata(self.metadata)
        return self._decoded(*self._sliced(offset, end))

    def _row(self, at: int) -> pa.Table:
        """One row: slices of what is there, without arrays of numbers."""
        texts = self.recipe.texts
        if self._holds_text:
            texts.check()
        own = bisect_right(self._begins, at) - 1
        batch, local = self._batches[own], at - self._begins[own]
        made: dict[tuple[str, str | None, pa.DataType], pa.Array] = {}
        for one in self.recipe.columns.values():
            key = (one.number, one.text, one.type)
            if key not in made:
                numbers = batch.column(one.number).slice(local, 1)
                if one.text is None:
                    made[key] = numbers.cast(one.type) if pa.types.is_boolean(one.type) else numbers
                else:
                    made[key] = _as_type(one, texts.one(one.text, numbers[0].as_py()))
        arrays = [made[one.number, one.text, one.type] for one in self.recipe.columns.values()]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def fast_gather(self, indices: Sequence[int] | Index) -> pa.Table:
        """Rows decoded, in this order."""
        if not len(indices):
            raise ValueError("Indices must be non-empty")
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.min() < 0 or wanted.max() >= self.num_rows:
            raise IndexError(f"a row that is not among {self.num_rows:,}")
        if self._is_large(len(wanted)):
            return self._spilled.fast_gather(wanted).replace_schema_metadata(self.metadata)
        return self._decoded(self._gathered(wanted), len(wanted))

    def to_reader(self, max_chunksize: int | None = None) -> pa.RecordBatchReader:
        """All rows, decoded some at a time."""
        return pa.RecordBatchReader.from_batches(self._schema, self._stream(max_chunksize))

    def to_batches(self, max_chunksize: int | None = None, **_: Any) -> list[pa.RecordBatch]:
        """All rows."""
        return list(self._stream(max_chunksize))

    def _stream(self, size: int | None) -> Iterator[pa.RecordBatch]:
        step = _TOGETHER if not size or size > _TOGETHER else _TOGETHER // size * size
        for begin in range(0, self.num_rows, step):
            table = self._decoded(*self._sliced(begin, min(self.num_rows, begin + step)))
            yield from table.to_batches(max_chunksize=size)

    def _is_large(self, rows: int) -> bool:
        return rows > 1 and self._holds_text and rows * self._row_bytes > _IN_MEMORY

    @cached_property
    def _holds_text(self) -> bool:
        return any(one.text for one in self.recipe.columns.values())

    def _sliced(self, begin: int, end: int) -> tuple[dict[str, Any], int]:
        first = int(np.searchsorted(self._offsets, begin, side="right")) - 1
        last = int(np.searchsorted(self._offsets, end, side="left"))
        found = {}
        for name, parts in self._numbers.items():
            some = [
                parts[at][max(0, begin - int(self._offsets[at])) : end - int(self._offsets[at])]
                for at in range(first, last)
            ]
            found[name] = some[0] if len(some) == 1 else np.concatenate(some)
        return found, end - begin

    def _gathered(self, wanted: Index) -> dict[str, Any]:
        batch = np.searchsorted(self._offsets, wanted, side="right") - 1
        places = [(at, np.flatnonzero(batch == at)) for at in np.unique(batch).tolist()]
        found = {}
        for name, parts in self._numbers.items():
            column = np.empty(len(wanted), dtype=parts[0].dtype)
            for at, where in places:
                column[where] = parts[at][wanted[where] - self._offsets[at]]
            found[name] = column
        return found

    def _decoded(self, numbers: Mapping[str, Any], rows: int) -> pa.Table:
        """The rows of these numbers, in tables small enough that no string column passes Arrow's limit."""
        texts = self.recipe.texts
        if self._holds_text:
            texts.check()
        step = (
            max(1, min(max(rows, 1), _BYTES // max(1, texts.most_bytes()))) if rows > 1 and self._holds_text else rows
        )
        step = max(1, step)
        tables = [
            self._decoded_part({name: column[begin : begin + step] for name, column in numbers.items()})
            for begin in range(0, rows, step)
        ]
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables)

    def _decoded_part(self, numbers: Mapping[str, Any]) -> pa.Table:
        made: dict[tuple[str, str | None, pa.DataType], pa.Array] = {}
        arrays = []
        for one in self.recipe.columns.values():
            key = (one.number, one.text, one.type)
            if key not in made:
                made[key] = self._array(one, numbers[one.number])
            arrays.append(made[key])
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _array(self, one: Shown, numbers: Any) -> pa.Array:
        if one.text is None:
            return pa.array(numbers != 0) if pa.types.is_boolean(one.type) else pa.array(numbers)
        return _as_type(one, self.recipe.texts.gather(one.text, numbers))

    # What needs the whole

    @property
    def table(self) -> pa.Table:
        """All rows as Arrow has them: spilled, or in memory where there are numbers alone."""
        return self._spilled.table.replace_schema_metadata(self.metadata)

    @cached_property
    def _spilled(self) -> Table:
        if not self._holds_text or not self.num_rows or not self.path:
            return InMemoryTable(self.in_memory())
        state = (self.recipe.texts.kept, list(self.recipe.columns.items()), self.recipe.index)
        target = Path(self.path).parent / f"cache-view-{Hasher.hash(state)}.arrow"
        if not target.exists():
            size = self.nbytes
            _logger.warning(
                "this needs all rows of a lazy dataset at once: about %s MB are written to %s. They stay until "
                "cleanup_cache_files(); coig_p.materialize or lazy=False copies rows once and for all",
                f"{max(1, size >> 20):,}", target,
            )  # fmt: skip
            self._spill(target)
        return MemoryMappedTable.from_file(str(target))

    def _spill(self, target: Path) -> None:
        try:
            with atomic_file(target) as stream, pa.ipc.new_stream(stream, self._schema) as writer:
                for batch in self._stream(None):
                    writer.write_batch(batch)
        except UsageError:
            if not target.exists():  # else another process has just written the same
                raise
        except OSError as error:
            raise StoreError(
                target.parent,
                f"the rows of a lazy dataset could not be written to {target.name}: {error.strerror or error}. Make "
                "room there, or load with another cache_dir=; iterating, map, filter and shuffle need none of it",
            ) from None

    def column(self, i: int | str) -> pa.ChunkedArray:
        """One column. Only it is spilled, and a number is not."""
        name = i if isinstance(i, str) else self.column_names[i]
        if self.num_columns == 1:
            return self.table.column(0)
        return self.select([name]).table.column(0)

    def __getitem__(self, i: int | str) -> pa.ChunkedArray:
        return self.column(i)

    @property
    def columns(self) -> list[pa.ChunkedArray]:
        """All of them."""
        return list(self.table.columns)

    def filter(self, *args: Any, **kwargs: Any) -> Table:
        """Spilled."""
        return self._spilled.filter(*args, **kwargs)

    def flatten(self, *args: Any, **kwargs: Any) -> Table:
        """Spilled."""
        return self._spilled.flatten(*args, **kwargs)

    def combine_chunks(self, *args: Any, **kwargs: Any) -> Table:
        """Spilled."""
        return self._spilled.combine_chunks(*args, **kwargs)

    def add_column(self, *args: Any, **kwargs: Any) -> Table:
        """Spilled."""
        return self._spilled.add_column(*args, **kwargs)

    def append_column(self, *args: Any, **kwargs: Any) -> Table:
        """Spilled."""
        return self._spilled.append_column(*args, **kwargs)

    def set_column(self, *args: Any, **kwargs: Any) -> Table:
        """Spilled."""
        return self._spilled.set_column(*args, **kwargs)

    def in_memory(self) -> pa.Table:
        """All rows, decoded."""
        return pa.Table.from_batches(self._stream(None), schema=self._schema)

    def plain(self) -> Table:
        """The same rows as a table of datasets' own."""
        return self._spilled.replace_schema_metadata(self.metadata)


def _as_type(one: Shown, texts: pa.StringArray) -> pa.Array:
    return texts if pa.types.is_string(one.type) else messages("user" if one.text == "prompt" else "assistant", texts)
