"""Rows sorted by files are those sorted in memory, and those that Python sorts; so is what is written of them."""

from __future__ import annotations

import errno
import io
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.engine.sorting import Sorting

SCHEMA = pa.schema([("name", pa.string()), ("place", pa.int64())])
ROWS = st.lists(st.tuples(st.none() | st.text(max_size=3), st.integers(-3, 3)), max_size=12)


def keys(table: pa.Table) -> pa.Table:
    return table.select(["name", "place"])


def table_of(rows: list[tuple[str | None, int]]) -> pa.Table:
    return pa.table(list(map(list, zip(*rows, strict=True))) or [[], []], schema=SCHEMA)


@examples(60)
@given(st.lists(ROWS, max_size=6), st.integers(1, 300), st.booleans())
def test_any_rows(pieces: list[list[tuple[str | None, int]]], in_memory: int, sent: bool) -> None:
    found = Sorting(SCHEMA, keys, in_memory)
    for piece in pieces:
        other = Sorting(SCHEMA, keys, in_memory)
        other.add(table_of(piece))
        other.compact()
        found.merge(pickle.loads(pickle.dumps(other)) if sent else other)
    rows = sorted((row for piece in pieces for row in piece), key=lambda row: (row[0] is None, row[0] or "", row[1]))
    assert found.result().to_pylist() == table_of(rows).to_pylist()


def test_a_file_of_them_has_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    names = pa.array([f"第{at}个" for at in rng.integers(0, 50_000, 150_000)])
    table = pa.table([names, pa.array(rng.integers(0, 1000, 150_000))], schema=SCHEMA)
    written = []
    for in_memory in (1 << 30, 1 << 20):
        found = Sorting(SCHEMA, keys, in_memory)
        found.add(table)
        assert bool(found.runs) == (in_memory < table.nbytes)
        stream = io.BytesIO()
        pq.write_table(found.result(), stream, compression="zstd")
        written.append(stream.getvalue())
    assert written[0] == written[1]


def test_nothing_is_left_and_a_full_disk_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = Sorting(SCHEMA, keys, 1)
    found.add(table_of([("a", 1), ("b", 2)]))
    assert found.result().num_rows == 2
    assert list(tmp_path.iterdir()) == []

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "written by Arrow")

    monkeypatch.setattr("pyarrow.ipc.RecordBatchFileWriter.write_batch", full, raising=True)
    with pytest.raises(OSError, match=r"No space left on device.*TMPDIR") as told:
        found.add(table_of([("a", 1)]))
    assert told.value.filename == str(tmp_path)
