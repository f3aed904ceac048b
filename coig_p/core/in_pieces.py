"""Large buffers on their way into a file, in pieces.

For one write of megabytes Linux looks for large pages, which nobody has used for long. A virtual machine must first be
given them: such writes took up to ten times as long as those of pages in use.
"""

from __future__ import annotations

from typing import IO, Any

PIECE = 1 << 18
"""Bytes that are written at a time."""


class InPieces:
    """A binary file for Arrow to write to; whoever opened it closes it.

    Its writes raise OSError as those of the file do.
    """

    closed = False

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream
        self.tell, self.flush = stream.tell, stream.flush

    def write(self, data: Any) -> int:
        """All bytes of a buffer, of which an unbuffered file may take a part at a time; how many they are."""
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self._stream.write(rest[:PIECE]) :]
        return len(data)
