"""Headers of pages, beside what pyarrow's footers say of honest files, and a footer that lies."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.core.bombs import PACKED_AT_MOST, check_bomb
from coig_p.core.pages import unpacked
from coig_p.errors import StoreError
from coig_p.schema import RAW_SCHEMA
from coig_p.store import reading

TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=30)), max_size=60)


@given(
    TEXTS,
    st.sampled_from(["none", "snappy", "zstd", "gzip"]),
    st.booleans(),
    st.sampled_from(["1.0", "2.0"]),
    st.booleans(),
)
def test_the_headers_of_honest_files_add_up(texts: Any, kind: str, dictionary: bool, pages: Any, nested: bool) -> None:
    rows = pa.array([texts, None, []], pa.list_(pa.string())) if nested else pa.array(texts, pa.string())
    file = io.BytesIO()
    pq.write_table(
        pa.table({"x": rows}),
        file,
        compression=kind,
        use_dictionary=dictionary,
        data_page_version=pages,
        data_page_size=64,
        row_group_size=20,
        write_page_checksum=True,
    )
    metadata = pq.ParquetFile(file).metadata
    for at in range(metadata.num_row_groups):
        column = metadata.row_group(at).column(0)
        assert 0 <= unpacked(file, column) <= column.total_uncompressed_size


def varint(number: int, length: int) -> bytes:
    """A zigzag number of Thrift in so many bytes."""
    value = number << 1
    return bytes((value >> 7 * at) & 127 | (128 if at < length - 1 else 0) for at in range(length))


def lie(path: Path, name: str, less: int) -> None:
    """Have the footer say that a column of the first row group takes fewer bytes unpacked."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    said = next(
        column.total_uncompressed_size
        for column in map(group.column, range(group.num_columns))
        if column.path_in_schema == name
    )
    data = path.read_bytes()
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    true = varint(said, next(n for n in range(1, 10) if said << 1 < 1 << 7 * n))
    assert true in data[begin:]
    path.write_bytes(data[:begin] + data[begin:].replace(true, varint(less, len(true))))


def test_a_footer_that_says_less_than_the_pages_is_seen_through(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": ["0" * (20 << 20)]}), path, compression="zstd", use_dictionary=False)
    lie(path, "x", 5000)
    with pq.ParquetFile(path) as shard, path.open("rb") as file:
        assert shard.metadata.row_group(0).column(0).total_uncompressed_size == 5000
        for source in (path, file, pa.BufferReader(path.read_bytes())):
            with pytest.raises(ValueError, match="unpacked"):
                check_bomb(shard, source, most=16 << 20)


@pytest.mark.parametrize("size", [100, 3 << 20])
@pytest.mark.parametrize("dictionary", [False, True])
def test_a_shard_of_a_store_is_asked_for_the_headers_of_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, dictionary: bool
) -> None:
    """One that is read whole, being small, and one that is not."""
    monkeypatch.setattr(reading, "_MOST_BYTES", 50_000_000)
    path, long = tmp_path / "x.parquet", "0" * 60_000_000
    answer = {"model": "m", "sample": 0, "text": long, "extra": None, "scores": []}
    noise = "".join(random.Random(1).choices("0123456789abcdef", k=2 * size))
    row = {"query_id": noise, "domain": "math", "query": "q", "responses": [answer]}
    pq.write_table(
        pa.Table.from_pylist([row], RAW_SCHEMA),
        path,
        compression="zstd",
        use_dictionary=dictionary,
        write_statistics=False,
    )
    assert (path.stat().st_size > 1 << 20) == (size > 100)
    lie(path, "responses.list.element.text", 5000)
    with (
        path.open("rb") as file,
        pytest.raises(
            StoreError, match=r"responses\.list\.element\.text of row group 0 is .* bytes that would take 60,"
        ),
        reading.open_shard(file),
    ):
        pass


@pytest.mark.parametrize("kind", ["none", "snappy", "lz4", "gzip", "zstd"])
def test_no_format_packs_more_than_it_is_taken_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": ["0" * (64 << 20)]}), path, compression=kind, use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    assert column.total_uncompressed_size <= column.total_compressed_size * PACKED_AT_MOST[column.compression]


# Lists and maps that say they have billions of elements, of one byte, eight and none.
LONG_LISTS = [
    b"\x19\xf3" + b"\xff" * 5 + b"\x07",
    b"\x19\xf7" + b"\xff" * 5 + b"\x07",
    b"\x1b" + b"\xff" * 5 + b"\x07\x33",
]


@pytest.mark.parametrize("data", [b"", b"\xff" * 3000, b"\x15\x00\x15", b"\x1c" * 5000, *LONG_LISTS])
def test_what_is_no_header_is_an_error(data: bytes) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"x": ["a"]}), file)
    column = pq.ParquetFile(file).metadata.row_group(0).column(0)
    with pytest.raises(ValueError, match="header of a page"):
        unpacked(io.BytesIO(b"PAR1" + data), column)
