"""A table of datasets that decodes rows where they leave it.

To datasets it is a memory-mapped table of plain types. Its rows are an index (`coig_p.views.indexing`), whose numbers
become texts in `fast_slice`, `fast_gather`, `to_reader` and `to_batches`, which is all that iteration and indexing
use. Columns that are selected, dropped or renamed, slices and metadata stay as cheap. Whatever needs the whole table
has it written once, "spilled", to a file beside the index that `cleanup_cache_files` finds.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets.table import InMemoryTable, MemoryMappedTable, Table, list_table_cache_files

from coig_p.core.arrays import Index
from coig_p.core.atomic import atomic_file
from coig_p.core.in_pieces import InPieces
from coig_p.errors import StoreError, UsageError
from coig_p.pairs.turns import Shape
from coig_p.views.closed import NO_ROOM, is_closed, passing_folder
from coig_p.views.decoding import ANSWER, PROMPT, Shown, decoded
from coig_p.views.identity import Watched
from coig_p.views.texts import Texts

_TOGETHER = 1000  # rows that are decoded at a time
_BYTES = 1 << 30  # of a text column of one array, at most: Arrow's limit is 2 GiB
_IN_MEMORY = 256 << 20  # bytes that one slice may take in memory, about; a larger one is read from the spilled table
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class Recipe:
    """What a view is made of. Pickled, it is paths and hashes.

    Attributes:
        watched: the files of the index; before it, so that they are verified before it is mapped.
        index: of all its rows.
        texts: that its numbers are of.
        columns: what each column shows, in order.
        shape: how they show conversations.
    """

    watched: tuple[Watched, ...]
    index: Table
    texts: Texts
    columns: Mapping[str, Shown]
    shape: Shape


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
        self._numbers: dict[str, list[_Numbers]] = {
            name: [_numbers(batch.column(name)) for batch in self._batches]
            for name in {one.number for one in recipe.columns.values()}
        }

    def __getstate__(self) -> dict[str, Any]:
        return {"recipe": self.recipe, "metadata": self.metadata}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ViewTable.__init__(self, state["recipe"], state["metadata"])

    def __deepcopy__(self, memo: dict[int, Any]) -> ViewTable:
        return self  # nothing in it is ever changed

    def _with(self, columns: Mapping[str, Shown], index: Table | None = None, metadata: Any = None) -> ViewTable:
        recipe = replace(self.recipe, index=self.recipe.index if index is None else index, columns=columns)
        return ViewTable(recipe, self.metadata if metadata is None else metadata)

    # What it is, without a row

    @property
    def schema(self) -> pa.Schema:
        """Of plain types."""
        return self._schema

    @property
    def num_rows(self) -> int:
        """Rows of the index; as Arrow has it, none where there are no columns."""
        return int(self._offsets[-1]) if self.recipe.columns else 0

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
            of_one = 8.0
            if one.text in (PROMPT, "tools", ANSWER):
                of_one = texts.mean_bytes("response" if one.text == ANSWER else "query")
            total += of_one * sum(map(_size, self._numbers[one.number])) / max(1, self.num_rows)
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
        self._check()
        own = bisect_right(self._begins, at) - 1
        batch, local = self._batches[own], at - self._begins[own]
        found: dict[str, Any] = {}
        arrays = []
        for one in self.recipe.columns.values():
            numbers = batch.column(one.number).slice(local, 1)
            if one.text is None:
                array = numbers if one.made == numbers.type else numbers.cast(one.made)
            elif pa.types.is_list(numbers.type):
                array = self._made(one, numbers)
            else:
                if one.number not in found:
                    found[one.number] = partial(texts.one, number=numbers[0].as_py())
                array = decoded(one.text, found[one.number], self.recipe.shape)
            arrays.append(array if one.given is None else one.cast(array))
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

    def _check(self) -> None:
        for file in self.recipe.watched:
            file.check()
        if self._holds_text:
            self.recipe.texts.check()

    def _is_large(self, rows: int) -> bool:
        return rows > 1 and self._holds_text and rows * self._row_bytes > _IN_MEMORY

    @cached_property
    def _holds_text(self) -> bool:
        return any(one.text for one in self.recipe.columns.values())

    def _sliced(self, begin: int, end: int) -> tuple[dict[str, Any], int]:
        self._check()
        first = int(np.searchsorted(self._offsets, begin, side="right")) - 1
        last = int(np.searchsorted(self._offsets, end, side="left"))
        found = {}
        for name, parts in self._numbers.items():
            some = [
                parts[at][max(0, begin - int(self._offsets[at])) : end - int(self._offsets[at])]
                for at in range(first, last)
            ]
            found[name] = _joined(some)
        return found, end - begin

    def _gathered(self, wanted: Index) -> dict[str, Any]:
        self._check()
        batch = np.searchsorted(self._offsets, wanted, side="right") - 1
        places = [(at, np.flatnonzero(batch == at)) for at in np.unique(batch).tolist()]
        back = np.argsort(np.concatenate([where for _, where in places])) if len(places) > 1 else None
        found: dict[str, _Numbers] = {}
        for name, parts in self._numbers.items():
            some = [_taken(parts[at], wanted[where] - self._offsets[at]) for at, where in places]
            found[name] = some[0] if back is None else _taken(_joined(some), back)
        return found

    def _decoded(self, numbers: Mapping[str, _Numbers], rows: int) -> pa.Table:
        """The rows of these numbers, in tables small enough that no string column passes Arrow's limit."""
        texts = self.recipe.texts
        step = max(1, rows)
        if rows > 1 and self._holds_text:
            most = texts.most_bytes() * max(_most(one) for one in numbers.values())
            step = max(1, min(rows, _BYTES // max(1, most)))
        tables = [
            self._decoded_part({name: column[begin : begin + step] for name, column in numbers.items()})
            for begin in range(0, rows, step)
        ]
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables)

    def _decoded_part(self, numbers: Mapping[str, _Numbers]) -> pa.Table:
        arrays = [one.cast(self._made(one, numbers[one.number])) for one in self.recipe.columns.values()]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _made(self, one: Shown, numbers: _Numbers) -> pa.Array:
        if one.text is not None:
            own = numbers.flatten().to_numpy() if isinstance(numbers, pa.Array) else numbers
            texts = decoded(one.text, partial(self.recipe.texts.gather, numbers=own), self.recipe.shape)
            return _lists(numbers, texts) if isinstance(numbers, pa.Array) else texts
        if isinstance(numbers, pa.Array):
            return numbers
        return pa.array(numbers != 0) if pa.types.is_boolean(one.made) else pa.array(numbers)

    # What needs the whole

    @property
    def table(self) -> pa.Table:
        """All rows as Arrow has them: spilled, or in memory where there are numbers alone."""
        return self._spilled.table.replace_schema_metadata(self.metadata)

    @cached_property
    def _spilled(self) -> Table:
        if not self._holds_text or not self.num_rows or not self.path:
            return InMemoryTable(self.in_memory())
        recipe = self.recipe
        state = (recipe.texts.kept, list(recipe.columns.items()), recipe.shape, recipe.index)
        target = Path(self.path).parent / f"cache-view-{_digest(state)}.arrow"
        stay = "They stay until cleanup_cache_files()"
        if not target.exists() and is_closed(target):
            stay = f"They go when this process ends, since {target.parent} may not be written"
            target = passing_folder() / target.name
        if not target.exists():
            _logger.warning(
                "this needs all rows of a lazy dataset at once: about %s MB are written to %s. %s; "
                "coig_p.materialize or lazy=False copies rows once and for all",
                f"{max(1, self.nbytes >> 20):,}", target, stay,
            )  # fmt: skip
            self._spill(target)
        try:
            return MemoryMappedTable.from_file(str(target))
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(
                target.parent,
                f"{target.name}, rows that a lazy dataset wrote here, cannot be read: {error}. Delete it, as "
                "cleanup_cache_files() of that dataset does: it is then written anew",
            ) from None

    def _spill(self, target: Path) -> None:
        try:
            with atomic_file(target) as stream, pa.ipc.new_stream(InPieces(stream), self._schema) as writer:
                for batch in self._stream(None):
                    writer.write_batch(batch)
        except UsageError:
            if not target.exists():  # else another process has just written the same
                raise
        except OSError as error:
            passing = target.parent != Path(self.path).parent
            ways = ["Make room there"] * (error.errno in NO_ROOM) + ["set TMPDIR to another folder"] * passing
            way = ", ".join([*ways, "or load with another cache_dir="] if ways else ["Load with another cache_dir="])
            raise StoreError(
                target.parent,
                f"the rows of a lazy dataset could not be written to {target.name}: {error.strerror or error}. {way}; "
                "iterating, map, filter and shuffle need none of it",
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


def _digest(state: Any) -> str:
    """Equal for what is equal: a pickle that says nothing of which objects are one."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 4)
    pickler.fast = True
    pickler.dump(state)
    return hashlib.sha256(stream.getvalue()).hexdigest()[:16]


_Numbers: TypeAlias = npt.NDArray[Any] | pa.ListArray
"""A column of an index, or some of it: one element a row, or in Arrow's form a list a row."""


def _numbers(column: pa.Array) -> _Numbers:
    return column if pa.types.is_list(column.type) else column.to_numpy()


def _taken(numbers: _Numbers, places: Index) -> _Numbers:
    return numbers.take(pa.array(places)) if isinstance(numbers, pa.Array) else numbers[places]


def _joined(some: Sequence[_Numbers]) -> _Numbers:
    if len(some) == 1:
        return some[0]
    return pa.concat_arrays(some) if isinstance(some[0], pa.Array) else np.concatenate(some)


def _size(numbers: _Numbers) -> int:
    """How many elements there are, those of lists one by one."""
    return len(numbers.flatten()) if isinstance(numbers, pa.Array) else len(numbers)


def _most(numbers: _Numbers) -> int:
    """How many elements a row has at most."""
    return int(np.diff(numbers.offsets).max(initial=0)) if isinstance(numbers, pa.Array) else 1


def _lists(like: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """Values in lists as long as others are."""
    offsets = np.asarray(like.offsets)
    return pa.ListArray.from_arrays(pa.array(offsets - offsets[0]), values)
