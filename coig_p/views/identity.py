"""Whether a file is still the one that was written: its size, its time stamp, a hash of samples and one of the whole.

Every opening compares size and samples; where the time stamp is another, of a copied cache for instance, all of it is
hashed, once. While a file is open, every access asks the system whether it was written to.

The hash is XXH3 of 128 bits, as fast as memory on any machine. It finds what was changed by mistake; whoever may
write to a cache can write its facts, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from coig_p.errors import StoreError

AGAIN = 'Load again with download_mode="force_redownload", which makes it anew'
KEYS = ("xxh3", "bytes", "mtime_ns", "samples")
_SAMPLES, _SAMPLE = 64, 4096  # how many places are looked at, and bytes of each
_PIECE = 1 << 20  # bytes that are hashed at a time


def new_digest() -> xxhash.xxh3_128:
    """What hashes the content of a file."""
    return xxhash.xxh3_128()


def identity(path: Path, digest: str | None = None) -> dict[str, Any]:
    """What a file must be from now on, with KEYS.

    Args:
        digest: of its content, where it is known already.
    """
    status = path.stat()
    return {
        "xxh3": digest or _digest(path),
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "samples": _samples(path, status.st_size),
    }


def difference(path: Path, told: Mapping[str, Any], *, whole: bool = False) -> str | None:
    """In what a file is another than `identity` told; None where it is the same.

    One that was copied, and has all the same bytes, gets its time stamp back where this user may set it: the next
    process, of which a loader has many, need not hash it again.

    Args:
        whole: hash all of it, whatever its time stamp.

    Raises:
        OSError: it cannot be read.
    """
    status = path.stat()
    if status.st_size != told["bytes"]:
        return f"has {status.st_size:,} bytes in place of {told['bytes']:,}"
    same = _samples(path, status.st_size) == told["samples"]
    if same and (whole or status.st_mtime_ns != told["mtime_ns"]):
        same = _digest(path) == told["xxh3"]
        again = path.stat()
        if same and (again.st_size, again.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
            with suppress(OSError):  # another user's, or a disk that is read alone
                os.utime(path, ns=(again.st_atime_ns, told["mtime_ns"]))
    return None if same else "was changed since it was written"


class Watched:
    """A file that is open, and was verified. Pickled as where it is and what it must be; verified again there.

    Attributes:
        path: absolute.
    """

    def __init__(self, path: Path, told: Mapping[str, Any], what: str, *, whole: bool = False) -> None:
        """Open and verify.

        Args:
            told: what `identity` told.
            what: it is, for people.
            whole: hash all of it, whatever its time stamp.

        Raises:
            StoreError: it cannot be read, or is another.
        """
        self.path, self.told, self.what = path, {name: told[name] for name in KEYS}, what
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise self.error(f"cannot be opened ({error.strerror})") from None
        try:
            self._seen = self._status()
            different = difference(path, told, whole=whole)
        except OSError as error:
            self.close()
            raise self.error(f"cannot be read: {error.strerror}") from None
        if different is not None:
            self.close()
            raise self.error(different)
        own = told["bytes"], told["mtime_ns"]
        if self._status() == own:  # it may have its time stamp back
            self._seen = own

    def __reduce__(self) -> tuple[Any, ...]:
        return Watched, (self.path, self.told, self.what)

    def error(self, different: str) -> StoreError:
        """The error where it is another."""
        return StoreError(self.path.parent, f"{self.path.name}, {self.what}, {different}. {AGAIN}")

    def is_changed(self) -> bool:
        """Whether its content is another since it was opened: a time stamp alone is none. A deleted one stays whole."""
        status = self._status()
        if status == self._seen:
            return False
        if status[0] != self._seen[0] or self._digest() != self.told["xxh3"]:
            return True
        self._seen = status
        return False

    def check(self) -> None:
        """Raise StoreError where it was written to, or cut, since it was opened."""
        if self.is_changed():
            raise self.error("was changed while it was open")

    def close(self) -> None:
        """Free what watching it needs. Once: the number may be another file's by then."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            close(self._descriptor)  # at the end of the interpreter nothing is left of `os`

    def _status(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns

    def _digest(self) -> str:
        digest, at = new_digest(), 0
        while piece := os.pread(self._descriptor, _PIECE, at):
            digest.update(piece)
            at += len(piece)
        return digest.hexdigest()


def _samples(path: Path, size: int) -> str:
    digest = new_digest()
    with path.open("rb") as stream:
        for place in np.linspace(0, max(0, size - _SAMPLE), _SAMPLES).astype(np.int64).tolist():
            stream.seek(place)
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb", buffering=0) as stream:
        digest, buffer = new_digest(), memoryview(bytearray(_PIECE))
        while read := stream.readinto(buffer):
            digest.update(buffer[:read])
        return digest.hexdigest()
