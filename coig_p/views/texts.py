"""The texts of a store's split as one uncompressed Arrow file in the datasets cache, shared by every selection.

A file is made once for each content of the store, under a lock, and appears whole or not at all. Its folder is named
by the content of the shards, and `facts.json` in it holds the SHA-256 of the Arrow file. Opening compares size, time
stamp and a hash of samples; where the time stamp is another, of a copied cache for instance, all of it is hashed.
While it is open, every access asks the system whether the file was written to.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
from datasets.builder import FileLock

from coig_p.core.arrays import Index
from coig_p.core.atomic import atomic_directory
from coig_p.errors import StoreError
from coig_p.pairs.plan import joined
from coig_p.pairs.rows import bytes_beside, text_bytes
from coig_p.pairs.stream import BATCH_SIZE
from coig_p.schema import PAIRING_SCHEMA, TURN_TYPE
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import DAMAGE, open_shard, read_batches
from coig_p.views.identity import AGAIN, KEYS, difference, identity

VERSION = 2
NUMBER, FIRST = "number of the query", "number of its first response"  # no column of a store has a blank in its name
_FILE, _FACTS = "texts.arrow", "facts.json"
QUERY_COLUMNS = ("query", "messages", "tools", "query_id", "domain")
RESPONSE_COLUMNS = ("text", "extra", "model")
_TYPES = dict.fromkeys((*QUERY_COLUMNS, *RESPONSE_COLUMNS), pa.string()) | {"messages": pa.list_(TURN_TYPE)}
InTurn = Callable[[], Iterable[tuple[str, Callable[[], AbstractContextManager[Any]]]]]
"""Gives the path of every shard, where it is read, and what opens it; see `coig_p.store.fetching.opened_in_turn`."""


@dataclass(frozen=True)
class Kept:
    """Where texts are kept, and what they must be.

    Attributes:
        folder: of `texts.arrow`.
        sha256: of the whole file.
    """

    folder: str
    sha256: str


def folder_name(domain: str, split: str, files: Sequence[StoreFile], identity: object) -> str:
    """The folder of the texts of these shards: another for another content."""
    told = json.dumps([VERSION, str(PAIRING_SCHEMA), [file.sha256 for file in files], identity], default=str)
    return f"texts-{domain}-{split}-{hashlib.sha256(told.encode()).hexdigest()[:32]}"


def keep(folder: Path, in_turn: InTurn, *, anew: bool) -> Kept:
    """Make the texts where they are not there yet. One process does, others wait for it.

    Args:
        in_turn: the shards; asked only where they are read.
        anew: texts that are there and damaged are made again, rather than being an error.

    Raises:
        StoreError: a shard, or what is there already, is damaged.
    """
    if folder.exists() and not anew:  # whole, so that no lock is needed, nor permission to make one
        with suppress(StoreError):
            return _verified(folder, whole=False)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.exists():
            try:
                return _verified(folder, whole=anew)
            except StoreError:
                if not anew:
                    raise
        try:
            with atomic_directory(folder) as made:
                facts = _write(made / _FILE, _joined(_shards(in_turn)))
                facts["folder"] = folder.name
                (made / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise StoreError(
                folder.parent,
                f"the texts of a lazy dataset could not be written there: {error.strerror}. They take about as much "
                "room as the store's texts do unpacked. Make room, or load with another cache_dir=",
            ) from None
        return Kept(str(folder), str(facts["sha256"]))


def _verified(folder: Path, *, whole: bool) -> Kept:
    kept = Kept(str(folder), str(_read_facts(folder)["sha256"]))
    TextFile(kept, whole=whole).close()
    return kept


def write_batches(folder: Path, batches: Sequence[pa.RecordBatch]) -> Kept:
    """Texts of batches of PAIRING_SCHEMA in a new folder."""
    folder.mkdir()
    facts = _write(folder / _FILE, iter(batches)) | {"folder": folder.name}
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return Kept(str(folder), str(facts["sha256"]))


class _Hashing:
    """A file that is hashed while it is written."""

    closed = False

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.digest = stream, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.stream.write(data)

    def tell(self) -> int:
        return self.stream.tell()

    def flush(self) -> None:
        self.stream.flush()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        pass


def _write(path: Path, made: Iterator[pa.RecordBatch]) -> dict[str, Any]:
    batches: list[list[int]] = []
    most = {"query": 0, "response": 0}
    total = {"query": 0, "response": 0}
    empty = {*QUERY_COLUMNS, *RESPONSE_COLUMNS}
    with path.open("wb") as stream:
        hashing = _Hashing(stream)
        with pa.ipc.new_file(pa.PythonFile(hashing, mode="w"), PAIRING_SCHEMA) as writer:
            for batch in made:
                writer.write_batch(batch)
                responses = batch.column("responses").flatten()
                batches.append([batch.num_rows, len(responses)])
                prompts = text_bytes(batch.column("query")) + bytes_beside(batch)
                text, extra = (text_bytes(pc.struct_field(responses, name)) for name in ("text", "extra"))
                for name, lengths in (("query", prompts), ("response", text + extra)):
                    most[name] = max(most[name], int(lengths.max(initial=0)))
                    total[name] += int(lengths.sum())
                empty -= {name for name, one in _columns(batch).items() if one.null_count < len(one)}
        stream.flush()
    return identity(path, hashing.digest.hexdigest()) | {
        "version": VERSION,
        "batches": batches,
        "most": most,
        "total": total,
        "empty": sorted(empty),
    }


def _columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    responses = batch.column("responses").flatten()
    found = {name: batch.column(name) for name in QUERY_COLUMNS}
    return found | {name: pc.struct_field(responses, name) for name in RESPONSE_COLUMNS}


def _shards(in_turn: InTurn) -> Iterator[pa.RecordBatch]:
    for path, opened in in_turn():
        with opened() as stream, open_shard(stream, path) as shard:
            yield from read_batches(shard, BATCH_SIZE, None, PAIRING_SCHEMA, threads=False)


def _joined(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows; small batches that follow each other are one."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if waiting and rows + batch.num_rows > BATCH_SIZE:
            yield _one(waiting)
            waiting, rows = [], 0
        waiting.append(batch)
        rows += batch.num_rows
    if waiting:
        yield _one(waiting)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        if facts["version"] != VERSION or not all(
            name in facts for name in (*KEYS, "batches", "most", "total", "empty")
        ):
            raise ValueError("other facts")
        if facts["folder"] != folder.name:
            raise ValueError(f"they are of {facts['folder']}")
        return dict(facts)
    except FileNotFoundError:
        raise StoreError(folder, f"the texts of a lazy dataset are no longer there. {AGAIN}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            folder, f"what is known of the texts of a lazy dataset cannot be read: {error}. {AGAIN}"
        ) from None


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
        self.facts = _read_facts(folder)
        if self.facts["sha256"] != kept.sha256:
            raise self._changed("is of another content than this dataset was made of")
        path = folder / _FILE
        try:
            self.descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise self._changed(f"cannot be opened ({error.strerror})") from None
        status = os.fstat(self.descriptor)
        self._seen = (status.st_size, status.st_mtime_ns)
        try:
            different = difference(path, self.facts, whole=whole)
            if different is not None:
                raise self._changed(different)
            self.reader = pa.ipc.open_file(pa.memory_map(str(path)))
            sizes = np.array(self.facts["batches"], dtype=np.int64).reshape(-1, 2)
            if self.reader.num_record_batches != len(sizes) or not self.reader.schema.equals(PAIRING_SCHEMA):
                raise self._changed("is not what its facts say")
        except DAMAGE as error:
            self.close()
            raise self._changed(f"cannot be read: {error}") from None
        except BaseException:
            self.close()
            raise
        self.queries, self.responses = (np.concatenate([[0], np.cumsum(sizes[:, at])]) for at in (0, 1))
        self._columns: dict[int, dict[str, pa.Array]] = {}

    def _changed(self, what: str) -> StoreError:
        return StoreError(self.kept.folder, f"{_FILE}, the texts of a lazy dataset, {what}. {AGAIN}")

    def close(self) -> None:
        """Free what only looking at it needed. Once: the number may be another file's by then."""
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if getattr(self, "descriptor", -1) >= 0:
            close(self.descriptor)  # at the end of the interpreter nothing is left of `os`

    def check(self) -> None:
        """Raise StoreError where the file was written to, or cut, since it was opened. A deleted one stays whole."""
        status = os.fstat(self.descriptor)
        if (status.st_size, status.st_mtime_ns) != self._seen:
            raise self._changed("was changed while it was open")

    def batch(self, at: int) -> pa.RecordBatch:
        """Raw rows of PAIRING_SCHEMA."""
        return self.reader.get_batch(at)

    def columns(self, at: int) -> dict[str, pa.Array]:
        """What rows may show of a batch: columns of its queries and of its responses."""
        found = self._columns.get(at)
        if found is None:
            found = self._columns[at] = _columns(self.batch(at))
        return found


_open: dict[Kept, TextFile] = {}


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
        for kept in self.kept:
            if kept not in _open:
                _open[kept] = TextFile(kept)
        return [_open[kept] for kept in self.kept]

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
            file.check()

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
        return StoreError(self.kept[0].folder, f"an index names texts that are not there. {AGAIN}")

    def gather(self, name: str, numbers: Index) -> pa.Array:
        """Values by their numbers, which are of queries or of responses.

        Args:
            name: one of QUERY_COLUMNS or RESPONSE_COLUMNS.
        """
        ends, places = self._places
        bounds = ends["queries" if name in QUERY_COLUMNS else "responses"]
        if not len(numbers):
            return pa.array([], _TYPES[name])
        if numbers.min() < 0 or numbers.max() >= bounds[-1]:
            raise self._foreign()
        if name in self._empty:
            return pa.nulls(len(numbers), _TYPES[name])
        batch = np.searchsorted(bounds, numbers, side="right") - 1
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
