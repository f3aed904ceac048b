"""What Arrow writes through InPieces is what it writes itself, however little a file takes at a time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from coig_p.core import in_pieces
from coig_p.core.in_pieces import InPieces


class Slow(io.FileIO):
    """A file that takes seven bytes at a time, as a system may; and what was asked of it."""

    asked: list[int]

    def write(self, data: Any) -> int:
        self.asked = [*getattr(self, "asked", []), len(data)]
        return super().write(data[:7])


@pytest.mark.parametrize("of", [Slow, io.FileIO, open, pa.OSFile])
def test_a_file_is_the_same_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: Any) -> None:
    monkeypatch.setattr(in_pieces, "PIECE", 100)
    table = pa.table({"text": ["数" * n for n in (0, 1, 33, 900)], "number": np.arange(4), "nothing": pa.nulls(4)})
    with of(str(tmp_path / "pieces"), "wb") as stream, pa.ipc.new_file(InPieces(stream), table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_file(str(tmp_path / "whole"), table.schema) as writer:
        writer.write_table(table)
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    if isinstance(stream, Slow):
        assert max(stream.asked) == 100


def test_what_a_file_refuses_is_its_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
        InPieces(stream).write(b"x" * (in_pieces.PIECE + 1))
