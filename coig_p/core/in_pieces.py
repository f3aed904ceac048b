"""Large buffers on their way into a file, in pieces.

For one write of megabytes Linux looks for large pages, which nobody has used for long. A virtual machine must first be
given them: such writes took up to ten times as long as those of pages in use.
"""

from __future__ import annotations

from typing import Any, Protocol

PIECE = 1 << 18
"""Bytes that are written at a time."""


class Written(Protocol):
    """A binary file that is written."""

    def write(self, data: Any, /) -> int | None:
        """Bytes that were taken."""

    def tell(self) -> int:
        """Bytes before here."""

    def flush(self) -> None:
        """What waits is given to the system."""


class InPieces:
    """A binary file for Arrow to write to; whoever opened it closes it.

    Its writes raise OSError as those of the file do.
    """

    closed = False

    def __init__(self, stream: Written) -> None:
        self._stream = stream
        self.tell, self.flush = stream.tell, stream.flush

    def write(self, data: Any) -> int:
        """All bytes of a buffer, of which an unbuffered file may take a part at a time; how many they are."""
        rest = memoryview(data).cast("B")
        while rest:
            rest = rest[self._stream.write(rest[:PIECE]) :]
        return len(data)
