"""Files that work leaves for other work: Arrow IPC in a folder that all of it sees, a batch for each reader.

One task writes a file, each of the next reads its own batch of all files: M files and P readers open M x P times. A
file is there whole or not at all, so that a task may be done twice.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from coig_p.core.atomic import FULL, passing_directory
from coig_p.core.in_pieces import InPieces

_SECONDS = 0.5
_released = threading.local()
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None  # glibc alone has it


@contextmanager
def scratch_folder(engine: Executor | None = None) -> Iterator[Path]:
    """An empty folder that goes with the block: in the engine's `scratch` where it has one, else where TMPDIR says.

    Raises:
        OSError: none can be made there; or the disk is full, which names the folder that it lies in.
    """
    shared: Path | None = getattr(engine, "scratch", None)
    if shared is not None:
        shared.mkdir(parents=True, exist_ok=True)
    with passing_directory("coigp-scratch-", shared) as folder:
        try:
            yield folder
        except OSError as error:
            if error.errno not in FULL or not str(error.filename).startswith(str(folder)):
                raise
            name = "TMPDIR" if shared is None else "--scratch"
            way = f"{os.strerror(error.errno)}, with files of the work: name a larger folder with {name}"
            raise OSError(error.errno, way, str(folder.parent)) from None


def write_pieces(path: Path, schema: pa.Schema, pieces: Iterable[pa.RecordBatch]) -> None:
    """Write batches, each to be read by itself.

    Raises:
        OSError: it cannot be written, as where the disk is full; names `path`.
    """
    with _written(path) as name, name.open("wb") as stream, pa.ipc.new_file(InPieces(stream), schema) as file:
        for piece in pieces:
            file.write_batch(piece)


def write_rows(path: Path, pieces: Iterable[npt.NDArray[Any]]) -> tuple[int, int]:
    """Write arrays of N x D numbers after one another, as they lie in memory; N of all, and D.

    Raises:
        OSError: as `write_pieces`.
    """
    rows, width = 0, 1
    with _written(path) as name, name.open("wb") as stream:
        for piece in pieces:
            stream.write(np.ascontiguousarray(piece).data)
            rows, width = rows + len(piece), piece.shape[1]
    return rows, width


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """Another name for a file, which has its own when the block ends without error."""
    written = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        yield written
        written.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(written)):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
    finally:
        written.unlink(missing_ok=True)


def read_piece(path: Path, at: int = 0) -> pa.RecordBatch:
    """One batch of a file, mapped into memory: what of it is not looked at is not read."""
    with pa.memory_map(str(path)) as stream:
        return pa.ipc.open_file(stream).get_batch(at)


def read_pieces(path: Path) -> Iterator[pa.RecordBatch]:
    """All batches of a file, one after the other."""
    with pa.memory_map(str(path)) as stream, pa.ipc.open_file(stream) as file:
        for at in range(file.num_record_batches):
            yield file.get_batch(at)


def release() -> None:
    """Give back what Arrow and, on Linux, the C library keep of memory that is no longer used.

    Arrow keeps it for its next tables, each thread its own.

    A thread that comes again at once gives back nothing: it would have to ask for the same memory again.
    """
    now = time.monotonic()
    if now - getattr(_released, "at", -_SECONDS) >= _SECONDS:
        pa.default_memory_pool().release_unused()
        if _trim is not None:
            _trim(0)
        _released.at = now


def mapped(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """The same rows in a file that has no name, mapped into memory; it goes with the table.

    Raises:
        OSError: it cannot be written where TMPDIR says, as where the disk is full.
    """
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile() as stream:
            with pa.ipc.new_file(InPieces(stream), schema) as file:
                for batch in batches:
                    file.write_batch(batch)
            stream.flush()
            whole = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        if error.errno not in FULL:
            raise
        way = f"{os.strerror(error.errno)}, with files of the work: name a larger folder with TMPDIR"
        raise OSError(error.errno, way, folder) from None
    return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(whole))).read_all()
