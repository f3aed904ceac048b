"""How the ledger keeps a body: compressed, with its length and a checksum; and as text where version 1 wrote it.

A short body goes through zlib, a long one through zstd. Arrow sets zstd up anew for every text, which takes longer
than a short text does, and zlib has the smaller result there. A frame of zstd begins with a magic number, so that a
reader sees which it was.
"""

from __future__ import annotations

import struct
import zlib

import pyarrow as pa

_ZSTD = pa.Codec("zstd", compression_level=3)
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_WINDOW, _HASHES = 12, 6  # of zlib: as far back as a short body goes; its defaults clear 256 KiB for every text
_SHORT = 2**_WINDOW  # bytes up to which zlib at its fastest is the quicker one, also to read
_MOST_BYTES = 2**28  # far above what a client takes in
_HEAD = struct.Struct(">II")  # bytes of the text, and their CRC-32


class Damaged(Exception):
    """A stored body is not what was written."""


def packed(text: str) -> bytes:
    """A body as it is stored."""
    content = text.encode()
    smaller = _deflated(content) if len(content) <= _SHORT else bytes(_ZSTD.compress(content, asbytes=True))
    return _HEAD.pack(len(content), zlib.crc32(content)) + smaller


def _deflated(content: bytes) -> bytes:
    deflate = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, _WINDOW, _HASHES)
    return deflate.compress(content) + deflate.flush()


def unpacked(stored: str | bytes) -> str:
    """A body as it came.

    Raises:
        Damaged: its bytes are not those that were written.
    """
    if isinstance(stored, str):
        return stored
    try:
        length, checksum = _HEAD.unpack_from(stored)
        if length > _MOST_BYTES:
            raise Damaged("the length of a stored answer cannot be")
        smaller = stored[_HEAD.size :]
        if smaller.startswith(_ZSTD_MAGIC):
            content: bytes = _ZSTD.decompress(smaller, length, asbytes=True)
        else:  # not more than there should be, whatever the bytes say
            content = zlib.decompressobj().decompress(smaller, length + 1)
        if len(content) != length or zlib.crc32(content) != checksum:
            raise Damaged("a stored answer is not what was written")
        return content.decode()
    except (struct.error, zlib.error, pa.ArrowException, OSError, ValueError) as error:
        raise Damaged(f"a stored answer cannot be read: {error}") from None
