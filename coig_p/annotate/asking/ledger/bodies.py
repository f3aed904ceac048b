"""How the ledger keeps a body: compressed, with its length and a checksum; and as text where version 1 wrote it."""

from __future__ import annotations

import struct
from zlib import crc32

import pyarrow as pa

_CODEC = pa.Codec("zstd", compression_level=3)
_MOST_BYTES = 2**28  # far above what a client takes in
_HEAD = struct.Struct(">II")  # bytes of the text, and their CRC-32


class Damaged(Exception):
    """A stored body is not what was written."""


def packed(text: str) -> bytes:
    """A body as it is stored."""
    content = text.encode()
    return _HEAD.pack(len(content), crc32(content)) + bytes(_CODEC.compress(content, asbytes=True))


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
        content: bytes = _CODEC.decompress(stored[_HEAD.size :], length, asbytes=True)
        if crc32(content) != checksum:
            raise Damaged("a stored answer is not what was written")
        return content.decode()
    except (struct.error, pa.ArrowException, OSError, ValueError) as error:
        raise Damaged(f"a stored answer cannot be read: {error}") from None
