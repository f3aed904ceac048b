"""The bytes of an upstream file, also of a packed one."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from coig_p.core.progress import Advance


@contextmanager
def opened(path: Path, packing: str, advance: Advance) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked as `packing`, .gz, .zst or "", says; progress counts bytes as they are packed."""
    with path.open("rb") as raw:
        counted = _Counted(raw, advance)
        if packing == ".gz":
            with gzip.GzipFile(fileobj=counted) as unpacked:
                yield io.BufferedReader(unpacked)
        elif packing == ".zst":
            with pa.CompressedInputStream(pa.PythonFile(counted, mode="r"), "zstd") as stream:
                yield io.BufferedReader(_Arrow(stream))
        else:
            yield io.BufferedReader(counted, buffer_size=1 << 20)


class _Counted(io.RawIOBase):
    """A file that says how much of it was read."""

    def __init__(self, raw: IO[bytes], advance: Advance) -> None:
        self.raw, self.advance = raw, advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read: int = self.raw.readinto(buffer)  # type: ignore[attr-defined]
        self.advance(read)
        return read


class _Arrow(io.RawIOBase):
    """An Arrow stream as a Python one."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
