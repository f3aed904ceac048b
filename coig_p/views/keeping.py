"""Makes the texts of a store's split in the datasets cache: see `coig_p.views.texts`, which reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq
from datasets.builder import FileLock

from coig_p.core.atomic import atomic_directory
from coig_p.core.in_pieces import InPieces
from coig_p.engine.local import Threads, in_order
from coig_p.errors import StoreError
from coig_p.pairs.plan import joined
from coig_p.pairs.rows import bytes_beside, text_bytes
from coig_p.pairs.stream import BATCH_SIZE
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import Fetched, open_shard, read_batches
from coig_p.views.closed import NO_ROOM
from coig_p.views.identity import identity, new_digest
from coig_p.views.texts import (
    FACTS,
    FILE,
    QUERY_COLUMNS,
    RESPONSE_COLUMNS,
    VERSION,
    Kept,
    TextFile,
    columns_of,
    read_facts,
)

Opened = Callable[[], AbstractContextManager[Any]]
InTurn = Callable[[], Iterable[tuple[str, Opened]]]
"""Gives the path of every shard, where it is read, and what opens it; see `coig_p.store.fetching.opened_in_turn`."""

ROWS = 512  # of a batch, at most: of many small ones few rows are read slower
_ROOM = 48 << 20  # bytes, unpacked, of ROWS usual queries, and of what waits of each of three units for its turn


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
                facts = _write(made / FILE, _together(_read(in_turn)))
                facts["folder"] = folder.name
                (made / FACTS).write_text(json.dumps(facts), encoding="utf-8")
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise StoreError(
                folder.parent,
                f"the texts of a lazy dataset could not be written there: {error.strerror}. They take about as much "
                "room as the store's texts do unpacked. Make room, or load with another cache_dir=",
            ) from None
        return Kept(str(folder), str(facts["xxh3"]))


def _verified(folder: Path, *, whole: bool) -> Kept:
    kept = Kept(str(folder), str(read_facts(folder)["xxh3"]))
    TextFile(kept, whole=whole).watched.close()
    return kept


def write_batches(folder: Path, batches: Sequence[pa.RecordBatch]) -> Kept:
    """Texts of batches of PAIRING_SCHEMA in a new folder."""
    folder.mkdir()
    facts = _write(folder / FILE, iter(batches)) | {"folder": folder.name}
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return Kept(str(folder), str(facts["xxh3"]))


class _Hashed:
    """A file that is written, and the hash of what went into it."""

    def __init__(self, stream: FileIO) -> None:
        self.tell, self.flush, self._write = stream.tell, stream.flush, stream.write
        self.digest = new_digest()

    def write(self, data: memoryview) -> int:
        """As many bytes as the system takes."""
        written = self._write(data)
        self.digest.update(data[:written])
        return written


def _write(path: Path, made: Iterator[pa.RecordBatch]) -> dict[str, Any]:
    batches: list[list[int]] = []
    most = {"query": 0, "response": 0}
    total = {"query": 0, "response": 0}
    empty = {*QUERY_COLUMNS, *RESPONSE_COLUMNS}
    with path.open("wb", buffering=0) as stream:
        hashed = _Hashed(stream)
        with pa.ipc.new_file(InPieces(hashed), PAIRING_SCHEMA) as writer:
            for batch in made:
                writer.write_batch(batch)
                responses = batch.column("responses").flatten()
                batches.append([batch.num_rows, len(responses)])
                prompts = text_bytes(batch.column("query")) + bytes_beside(batch)
                text, extra = (text_bytes(pc.struct_field(responses, name)) for name in ("text", "extra"))
                for name, lengths in (("query", prompts), ("response", text + extra)):
                    most[name] = max(most[name], int(lengths.max(initial=0)))
                    total[name] += int(lengths.sum())
                empty -= {name for name, one in columns_of(batch).items() if one.null_count < len(one)}
    return identity(path, hashed.digest.hexdigest()) | {
        "version": VERSION,
        "batches": batches,
        "most": most,
        "total": total,
        "empty": sorted(empty),
    }


@dataclass(frozen=True)
class _Unit:
    """What one thread reads of a shard.

    Attributes:
        opened: gives what the shard is read from.
        size: rows of a batch, at most.
        groups: numbers of row groups; None for all.
        metadata: of the shard, where it was looked at already.
    """

    path: str
    opened: Opened
    size: int = BATCH_SIZE
    groups: tuple[int, ...] | None = None
    metadata: pq.FileMetaData | None = None


def _read(in_turn: InTurn) -> Iterator[pa.RecordBatch]:
    for _, batches in in_order(_begun, _units(in_turn), Threads(only_read=True)):
        yield from batches


def _units(in_turn: InTurn) -> Iterator[_Unit]:
    """Of usual texts so many row groups as ROWS are of; of others, and of what can be opened once only, a shard."""
    for path, opened in in_turn():
        source = opened()
        if "://" in path and not isinstance(source, Fetched):
            yield _Unit(path, partial(nullcontext, source))
            continue
        with source as stream, open_shard(stream, path) as shard:
            metadata = shard.metadata
        groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
        if any(group.total_byte_size * ROWS > _ROOM * group.num_rows for group in groups):
            yield _Unit(path, opened, metadata=metadata)
            continue
        together: list[int] = []
        rows = 0
        for at, group in enumerate(groups):
            if together and rows + group.num_rows > ROWS:
                yield _Unit(path, opened, ROWS, tuple(together), metadata)
                together, rows = [], 0
            together.append(at)
            rows += group.num_rows
        yield _Unit(path, opened, ROWS, tuple(together), metadata)


def _begun(unit: _Unit) -> Iterator[pa.RecordBatch]:
    """Its batches, of which some are unpacked already: all, where they are of usual size."""
    batches, begun, size = _batches(unit), [], 0
    for batch in batches:
        begun.append(batch)
        size += batch.nbytes
        if size > _ROOM:
            break
    return chain(begun, batches)


def _batches(unit: _Unit) -> Iterator[pa.RecordBatch]:
    with unit.opened() as stream, open_shard(stream, unit.path, again=unit.metadata) as shard:
        yield from read_batches(shard, unit.size, unit.groups, PAIRING_SCHEMA, threads=False)


def _together(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows; small batches that follow each other are one."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if waiting and rows + batch.num_rows > BATCH_SIZE:
            yield joined(waiting)
            waiting, rows = [], 0
        waiting.append(batch)
        rows += batch.num_rows
    if waiting:
        yield joined(waiting)
