"""The texts of a store's split as one uncompressed Arrow file in the datasets cache, shared by every selection.

A file is made once for each content of the store, under a lock, and appears whole or not at all. Its folder is named
by the content of the shards, and `facts.json` in it holds the hash of the Arrow file. Opening compares size, time
stamp and a hash of samples; where the time stamp is another, of a copied cache for instance, all of it is hashed.
While it is open, every access asks the system whether the file was written to.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from coig_p.core.arrays import Index
from coig_p.errors import StoreError
from coig_p.pairs.plan import joined
from coig_p.schema import PAIRING_SCHEMA, TURN_TYPE
from coig_p.store.reading import DAMAGE
from coig_p.views.identity import AGAIN, Watched, new_digest

VERSION = 3
NUMBER, FIRST = "number of the query", "number of its first response"  # no column of a store has a blank in its name
FILE, FACTS = "texts.arrow", "facts.json"
WHAT = "the texts of a lazy dataset"
_FEW = 64  # values that are sliced one by one: to take them by batches costs more
QUERY_COLUMNS = ("query", "messages", "tools", "query_id", "domain")
RESPONSE_COLUMNS = ("text", "extra", "model")
_TYPES = dict.fromkeys((*QUERY_COLUMNS, *RESPONSE_COLUMNS), pa.string()) | {"messages": pa.list_(TURN_TYPE)}


@dataclass(frozen=True)
class Kept:
    """Where texts are kept, and what they must be.

    Attributes:
        folder: of `texts.arrow`.
        digest: of their facts, which have that of the whole file.
    """

    folder: str
    digest: str


def columns_of(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """QUERY_COLUMNS of a batch's queries and RESPONSE_COLUMNS of its responses."""
    responses = batch.column("responses").flatten()
    found = {name: batch.column(name) for name in QUERY_COLUMNS}
    return found | {name: pc.struct_field(responses, name) for name in RESPONSE_COLUMNS}


def read_facts(folder: Path) -> dict[str, Any]:
    """What `facts.json` says.

    Raises:
        StoreError: it is not there, or is not that of texts.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if facts["version"] != VERSION or not _are_facts(facts):
            raise ValueError("other facts")
        if facts["folder"] != folder.name:
            raise ValueError(f"they are of {facts['folder']}")
        if facts["seal"] != seal_of(facts):
            raise ValueError("they were changed since they were written")
        return dict(facts)
    except FileNotFoundError:
        raise StoreError(folder, f"the texts of a lazy dataset are no longer there. {AGAIN}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            folder, f"what is known of the texts of a lazy dataset cannot be read: {error}. {AGAIN}"
        ) from None


def seal_of(facts: dict[str, Any]) -> str:
    """The hash of all of them but the seal itself."""
    told = json.dumps({name: value for name, value in facts.items() if name != "seal"}, sort_keys=True)
    digest = new_digest()
    digest.update(told.encode())
    return digest.hexdigest()


def _are_facts(facts: dict[str, Any]) -> bool:
    sizes = [size for batch in facts["batches"] for size in batch]
    sizes += [facts[name][side] for name in ("most", "total") for side in ("query", "response")]
    shown = {*QUERY_COLUMNS, *RESPONSE_COLUMNS}
    return (
        all(type(size) is int and size >= 0 for size in [*sizes, facts["bytes"], facts["mtime_ns"]])
        and all(type(facts[name]) is str for name in ("xxh3", "samples", "seal"))
        and set(facts["empty"]) <= shown
    )


class TextFile:
    """Texts that are open, memory-mapped.

    Attributes:
        facts: what `facts.json` says.
        queries, responses: how many are before each batch, and at the end.
    """

    def __init__(self, kept: Kept, *, whole: bool = False) -> None:
        """Open and verify.

        Args:
            whole: hash all of it, whatever its time stamp.

        Raises:
            StoreError: missing, or not what was kept.
        """
        self.kept, folder = kept, Path(kept.folder)
        self.facts = read_facts(folder)
        if self.facts["seal"] != kept.digest:
            raise self._changed("is of another content than this dataset was made of")
        self.watched = Watched(folder / FILE, self.facts, WHAT, whole=whole)
        try:
            # Not one buffer of it all: Arrow asks the system to read what a buffer is taken of.
            self.reader = pa.ipc.open_file(pa.memory_map(str(folder / FILE)))
            sizes = np.array(self.facts["batches"], dtype=np.int64).reshape(-1, 2)
            if self.reader.num_record_batches != len(sizes) or not self.reader.schema.equals(PAIRING_SCHEMA):
                raise self._changed("is not what its facts say")
        except DAMAGE as error:
            raise self._changed(f"cannot be read: {error}") from None
        self.queries, self.responses = (np.concatenate([[0], np.cumsum(sizes[:, at])]) for at in (0, 1))
        self._columns: dict[int, dict[str, pa.Array]] = {}
        self._pieces: dict[tuple[int, str], _Pieces | None] = {}

    def _changed(self, what: str) -> StoreError:
        return StoreError(self.kept.folder, f"{FILE}, {WHAT}, {what}. {AGAIN}")

    def batch(self, at: int) -> pa.RecordBatch:
        """Raw rows of PAIRING_SCHEMA."""
        return self.reader.get_batch(at)

    def columns(self, at: int) -> dict[str, pa.Array]:
        """What rows may show of a batch: columns of its queries and of its responses."""
        found = self._columns.get(at)
        if found is None:
            found = self._columns[at] = columns_of(self.batch(at))
        return found

    def pieces(self, at: int, name: str) -> _Pieces | None:
        """A column of `columns` as its bytes lie in the file; None where it is not of strings, or some are null."""
        try:
            return self._pieces[at, name]
        except KeyError:
            found = self._pieces[at, name] = _pieces(self.columns(at)[name])
            return found


_Pieces = tuple[npt.NDArray[np.int32], memoryview]
"""Where each string begins and the last one ends, and the bytes of all."""


def _pieces(column: pa.Array) -> _Pieces | None:
    if column.type != pa.string() or column.null_count or not len(column):
        return None
    _, ends, content = column.buffers()
    bounds = np.frombuffer(ends, np.int32, len(column) + 1, offset=column.offset * 4)
    return bounds, memoryview(content or b"").cast("B")


_open: WeakValueDictionary[Kept, TextFile] = WeakValueDictionary()


class Texts:
    """Texts of several domains, numbered through. Pickled as where they are kept.

    Attributes:
        kept: in their order.
    """

    def __init__(self, kept: Sequence[Kept]) -> None:
        self.kept = tuple(kept)

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": self.kept}

    @cached_property
    def files(self) -> list[TextFile]:
        """All of them open; one that this process has open already is not verified again.

        Raises:
            StoreError: see `TextFile`.
        """
        found = []
        for kept in self.kept:
            one = _open.get(kept)
            if one is None or one.watched.is_changed():
                one = _open[kept] = TextFile(kept)
            found.append(one)
        return found

    @cached_property
    def _places(self) -> tuple[dict[str, Index], list[tuple[TextFile, int]]]:
        """The first number of each batch and the end, of queries and of responses; and where each batch is."""
        places = [(file, at) for file in self.files for at in range(len(file.queries) - 1)]
        ends = {}
        for name in ("queries", "responses"):
            sizes = [np.diff(getattr(file, name)) for file in self.files]
            ends[name] = np.concatenate([[0], np.cumsum(np.concatenate([*sizes, np.zeros(0, np.int64)]))])
        return ends, places

    @cached_property
    def _begins(self) -> dict[str, list[int]]:
        """The numbers of `_places`, which plain integers are found in faster."""
        return {name: ends.tolist() for name, ends in self._places[0].items()}

    @cached_property
    def _empty(self) -> frozenset[str]:
        """Columns that are null throughout: of most stores turns, tools and what answers are beside their text."""
        return frozenset.intersection(*(frozenset(file.facts["empty"]) for file in self.files))

    @property
    def responses(self) -> int:
        """How many there are."""
        return int(self._places[0]["responses"][-1])

    def mean_bytes(self, side: str) -> float:
        """Of a prompt or an answer."""
        count = max(1, int(self._places[0]["queries" if side == "query" else "responses"][-1]))
        return float(sum(file.facts["total"][side] for file in self.files) / count)

    def most_bytes(self) -> int:
        """Of any text."""
        return max((max(file.facts["most"].values()) for file in self.files), default=0)

    def check(self) -> None:
        """Raise StoreError where one of them was written to since it was opened."""
        for file in self.files:
            file.watched.check()

    @property
    def batches(self) -> int:
        """How many there are."""
        return len(self._places[1])

    def before(self, batch: int) -> int:
        """How many queries are before a batch."""
        return self._begins["queries"][batch]

    def numbered(self, batches: Iterable[int]) -> Iterator[pa.RecordBatch]:
        """The raw rows of some batches, with the columns NUMBER and FIRST."""
        ends, places = self._places
        for at in batches:
            file, own = places[at]
            batch = file.batch(own)
            sizes = pc.fill_null(pc.list_value_length(batch.column("responses")), 0).to_numpy(zero_copy_only=False)
            first = ends["responses"][at] + np.cumsum(sizes) - sizes
            number = ends["queries"][at] + np.arange(batch.num_rows)
            yield pa.RecordBatch.from_arrays(
                [*batch.columns, pa.array(number), pa.array(first)], names=[*batch.schema.names, NUMBER, FIRST]
            )

    def rows(self, begin: int, end: int) -> pa.RecordBatch:
        """The raw rows of the queries of these numbers, as `numbered` has them."""
        ends = self._begins["queries"]
        first, last = bisect_right(ends, begin) - 1, bisect_left(ends, end)
        batches = self.numbered(range(first, last))
        return joined(
            batch.slice(max(0, begin - ends[at]), min(end, ends[at + 1]) - max(begin, ends[at]))
            for at, batch in zip(range(first, last), batches, strict=True)
        )

    def one(self, name: str, number: int) -> pa.Array:
        """One value by its number, as `gather` has several: a slice of the file."""
        bounds = self._begins["queries" if name in QUERY_COLUMNS else "responses"]
        if not 0 <= number < bounds[-1]:
            raise self._foreign()
        at = bisect_right(bounds, number) - 1
        file, own = self._places[1][at]
        if name in self._empty:
            return pa.nulls(1, _TYPES[name])
        return file.columns(own)[name].slice(number - bounds[at], 1)

    def _foreign(self) -> StoreError:
        where = self.kept[0].folder if self.kept else FILE
        return StoreError(where, f"an index names texts that are not there. {AGAIN}")

    def gather(self, name: str, numbers: Index) -> pa.Array:
        """Values by their numbers, which are of queries or of responses.

        Args:
            name: one of QUERY_COLUMNS or RESPONSE_COLUMNS.
        """
        ends, places = self._places
        bounds = ends["queries" if name in QUERY_COLUMNS else "responses"]
        if len(numbers) <= _FEW:
            parts = [self.one(name, number) for number in numbers.tolist()]
            return pa.concat_arrays(parts) if parts else pa.array([], _TYPES[name])
        if numbers.min() < 0 or numbers.max() >= bounds[-1]:
            raise self._foreign()
        if name in self._empty:
            return pa.nulls(len(numbers), _TYPES[name])
        batch = np.searchsorted(bounds, numbers, side="right") - 1
        if (batch != batch[0]).any():
            scattered = self._scattered(name, batch, numbers - bounds[batch])
            if scattered is not None:
                return scattered
        order = None
        if (batch[1:] < batch[:-1]).any():
            order = np.argsort(batch, kind="stable")
            numbers, batch = numbers[order], batch[order]
        starts = np.flatnonzero(np.diff(batch, prepend=-1))
        parts = []
        for begin, end in zip(starts.tolist(), [*starts[1:].tolist(), len(batch)], strict=True):
            file, own = places[int(batch[begin])]
            parts.append(file.columns(own)[name].take(pa.array(numbers[begin:end] - bounds[batch[begin]])))
        found = parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
        if order is not None:
            back = np.empty(len(order), dtype=np.int64)
            back[order] = np.arange(len(order))
            found = found.take(pa.array(back))
        return found

    def _scattered(self, name: str, batch: Index, local: Index) -> pa.Array | None:
        """Strings of several batches, copied once: to take them batch by batch, and in their order, copies thrice.

        Args:
            batch, local: of each, its batch and its place there.
        """
        places = self._places[1]
        begins, ends = np.empty(len(batch), np.int64), np.empty(len(batch), np.int64)
        contents = {}
        for at in np.unique(batch).tolist():
            file, own = places[at]
            pieces = file.pieces(own, name)
            if pieces is None:
                return None
            where = batch == at
            begins[where], ends[where] = pieces[0][local[where]], pieces[0][local[where] + 1]
            contents[at] = pieces[1]
        some = zip(batch.tolist(), begins.tolist(), ends.tolist(), strict=True)
        bounds = np.concatenate([[0], np.cumsum(ends - begins)])
        if bounds[-1] > np.iinfo(np.int32).max:
            return None
        content = b"".join([contents[at][begin:end] for at, begin, end in some])
        return pa.StringArray.from_buffers(len(batch), pa.py_buffer(bounds.astype(np.int32)), pa.py_buffer(content))
