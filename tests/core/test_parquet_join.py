"""Parts of a Parquet file put together are the file that one writer makes of all row groups, byte for byte."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coig_p.core.parquet_join import can_join, join_files

ROWS = st.fixed_dictionaries(
    {
        "text": st.none() | st.text(max_size=40),
        "kind": st.sampled_from(["math", "chat"]),
        "margin": st.none() | st.floats(allow_nan=False),
        "said": st.none() | st.lists(st.fixed_dictionaries({"role": st.text(max_size=3), "at": st.integers(-9, 9)})),
    }
)
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("kind", pa.string()),
        ("margin", pa.float64()),
        ("said", pa.list_(pa.struct([("role", pa.string()), ("at", pa.int64())]))),
    ]
)
pytestmark = pytest.mark.skipif(not can_join(), reason="this pyarrow lays its files out otherwise: one task a file")


def write(path: Path, groups: list[pa.Table], index: bool) -> Path:
    options = {"compression": "zstd", "use_dictionary": ["kind"], "write_page_index": index, "data_page_size": 64}
    with pq.ParquetWriter(path, SCHEMA, **options) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=group.num_rows)
    return path


@given(st.lists(st.lists(ROWS, min_size=1, max_size=6), min_size=1, max_size=30), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_parts_make_what_one_writer_makes(tmp_path: Path, groups: list[list[object]], data: st.DataObject) -> None:
    tables = [pa.Table.from_pylist(rows, schema=SCHEMA) for rows in groups]
    inner = data.draw(st.sets(st.integers(1, len(tables))))
    cuts = sorted({0, len(tables), *inner})
    index = data.draw(st.booleans())
    parts = [write(tmp_path / f"{begin}", tables[begin:end], index) for begin, end in pairwise(cuts)]
    join_files(parts, tmp_path / "joined")
    assert (tmp_path / "joined").read_bytes() == write(tmp_path / "whole", tables, index).read_bytes()


def test_what_is_no_whole_file_is_said(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", [pa.Table.from_pylist([{"text": "a", "kind": "math"}], schema=SCHEMA)], True)
    (tmp_path / "cut").write_bytes(whole.read_bytes()[:-3])
    with pytest.raises(ValueError, match="cut is no whole Parquet file"):
        join_files([whole, tmp_path / "cut"], tmp_path / "joined")
