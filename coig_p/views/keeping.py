"""Makes the texts of a store's split in the datasets cache: see `coig_p.views.texts`, which reads them."""

from __future__ import annotations

import hashlib
import json
import os
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
from coig_p.store.reading import Fetched, open_shard, read_batches, shard_error
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
    seal_of,
)

Opened = Callable[[], AbstractContextManager[Any]]
InTurn = Callable[[], Iterable[tuple[StoreFile, str, Opened]]]
"""Gives every shard, the path where it is read, and what opens it; see `coig_p.store.fetching.opened_in_turn`."""

_SMALL = 1 << 20  # bytes of a file that is read as it is opened
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
                kept = _written(made, folder, _together(_read(in_turn)))
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise StoreError(
                folder.parent,
                f"the texts of a lazy dataset could not be written there: {error.strerror}. They take about as much "
                "room as the store's texts do unpacked. Make room, or load with another cache_dir=",
            ) from None
        return kept


def _verified(folder: Path, *, whole: bool) -> Kept:
    kept = Kept(str(folder), str(read_facts(folder)["seal"]))
    TextFile(kept, whole=whole).watched.close()
    return kept


def write_batches(folder: Path, batches: Sequence[pa.RecordBatch]) -> Kept:
    """Texts of batches of PAIRING_SCHEMA in a new folder."""
    folder.mkdir()
    return _written(folder, folder, iter(batches))


def _written(here: Path, folder: Path, batches: Iterator[pa.RecordBatch]) -> Kept:
    """Write texts and their facts `here`, where they are before they have the name `folder`."""
    facts = _write(here / FILE, batches) | {"folder": folder.name}
    facts["seal"] = seal_of(facts)
    (here / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return Kept(str(folder), facts["seal"])


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
        groups: numbers of row groups; None for all.
        metadata: of the shard, where it was looked at already.
        seen: what the system told of the file when it was, by `_stamp`: it must tell the same to the end.
        sha256: that of the whole shard, where it is to be compared after these groups were read.
    """

    path: str
    opened: Opened
    groups: tuple[int, ...] | None = None
    metadata: pq.FileMetaData | None = None
    seen: tuple[int, ...] | None = None
    sha256: str | None = None


def _read(in_turn: InTurn) -> Iterator[pa.RecordBatch]:
    for unit, batches in in_order(_begun, _units(in_turn), Threads(only_read=True)):
        yield from batches
        if unit.seen is not None:
            with unit.opened() as stream:
                _check_seen(unit, stream)


def _units(in_turn: InTurn) -> Iterator[_Unit]:
    """Of usual texts so many row groups as ROWS are of; of others, and of small files, a shard.

    At the end each shard is the one that the manifest lists, by SHA-256: texts are for all who load it later. One of an
    object store that is too large to be fetched as a whole is looked at by its size alone.
    """
    for file, path, opened in in_turn():
        source = opened()
        if "://" in path and not isinstance(source, Fetched):
            yield _Unit(path, partial(nullcontext, source))
            continue
        with source as stream:
            if file.bytes <= _SMALL:
                whole = source if isinstance(source, Fetched) else Fetched(path, stream.read(file.bytes + 1))
                yield _Unit(path, partial(nullcontext, whole), sha256=file.sha256)
                continue
            seen = _stamp(stream)
            with open_shard(stream, path) as shard:
                metadata = shard.metadata
        if not _is_usual(metadata):
            yield _Unit(path, opened, metadata=metadata, seen=seen, sha256=file.sha256)
            continue
        together: list[int] = []
        rows = 0
        for at in range(metadata.num_row_groups):
            number = metadata.row_group(at).num_rows
            if together and rows + number > ROWS:
                yield _Unit(path, opened, tuple(together), metadata, seen)
                together, rows = [], 0
            together.append(at)
            rows += number
        yield _Unit(path, opened, tuple(together), metadata, seen)
        yield _Unit(path, opened, (), metadata, seen, file.sha256)


def _is_usual(metadata: pq.FileMetaData) -> bool:
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    return all(group.total_byte_size * ROWS <= _ROOM * group.num_rows for group in groups)


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
    with unit.opened() as stream:
        _check_seen(unit, stream)
        if unit.groups != ():
            with open_shard(stream, unit.path, again=unit.metadata) as shard:
                size = ROWS if _is_usual(shard.metadata) else BATCH_SIZE
                yield from read_batches(shard, size, unit.groups, PAIRING_SCHEMA, threads=False)
    if unit.sha256 is not None:
        with unit.opened() as stream:
            _check_seen(unit, stream)
            if _sha256(stream) != unit.sha256:
                raise shard_error(unit.path, ValueError("its SHA-256 is another than manifest.json lists"))


def _stamp(stream: Any) -> tuple[int, ...] | None:
    """Which file this is, and when it was written to; None for what is in memory."""
    if isinstance(stream, Fetched):
        return None
    status = os.fstat(stream.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _check_seen(unit: _Unit, stream: Any) -> None:
    if unit.seen is not None and _stamp(stream) != unit.seen:
        raise shard_error(unit.path, ValueError("it was changed while it was read"))


def _sha256(stream: Any) -> str:
    if isinstance(stream, Fetched):
        return hashlib.sha256(stream.content).hexdigest()
    return hashlib.file_digest(stream, "sha256").hexdigest()


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
