"""Lists that are null in every row are read by one leaf, and give what reading all of them gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import completed, make_rows

from coig_p.schema import PAIRING_SCHEMA, RAW_SCHEMA, RAW_SCHEMAS
from coig_p.store import reading
from coig_p.store.reading import conformed, leaves, open_shard, read_batches

TURNS = [{"role": "system", "content": "简短回答。", "extra": None}, {"role": "user", "content": "你好", "extra": None}]
COMPARED = {"first": 0, "second": 1, "judge": "j", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
LATE: dict[str, list[Any]] = {
    "none": [None] * 9,
    "empty": [[]] * 9,
    "the last empty": [None] * 8 + [[]],
    "the last": [None] * 8 + [TURNS],
    "all": [TURNS] * 9,
    "nulls": [None] * 5 + [[None], [{"role": None, "content": "x", "extra": None}], [], TURNS],
}


def written(path: Path, messages: list[Any], comparisons: list[Any], schema: pa.Schema) -> Path:
    rows = completed(make_rows({"math": 9}))
    for row, turns, compared in zip(rows, messages, comparisons, strict=True):
        row["messages"], row["comparisons"] = turns, compared
    batch = conformed(pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA), schema)
    pq.write_table(pa.Table.from_batches([batch]), path, row_group_size=5, write_page_checksum=True)
    return path


@pytest.mark.parametrize("room", [64, 10**6], ids=["as it is", "whatever room they take"])
@pytest.mark.parametrize("messages", LATE)
@pytest.mark.parametrize("comparisons", [[None] * 9, [None] * 8 + [[]], [None] * 8 + [[COMPARED]], [[COMPARED]] * 9])
@pytest.mark.parametrize("version", RAW_SCHEMAS)
def test_lists_that_may_be_null_are_read_as_they_are(
    version: int, comparisons: list[Any], messages: str, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "shard.parquet", LATE[messages], comparisons, RAW_SCHEMAS[version])
    monkeypatch.setattr(reading, "_EMPTY", room)
    for size in (1, 2, 256):
        for groups in ([0], [1], [0, 1]):
            whole = pq.ParquetFile(path).iter_batches(size, groups, list(leaves(PAIRING_SCHEMA)))
            wanted = [conformed(batch, PAIRING_SCHEMA).to_pylist() for batch in whole]
            with path.open("rb") as stream, open_shard(stream) as shard:
                found = [batch.to_pylist() for batch in read_batches(shard, size, groups, PAIRING_SCHEMA)]
            assert found == wanted


def test_of_lists_that_are_null_nothing_else_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "shard.parquet", [None] * 9, [None] * 9, RAW_SCHEMA)
    read: list[list[str]] = []
    stock = pq.ParquetFile.iter_batches

    def iter_batches(self: Any, size: int, groups: list[int], columns: list[str], **rest: Any) -> Any:
        read.append(columns)
        return stock(self, size, groups, columns, **rest)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    with open_shard(path) as shard:
        assert sum(batch.num_rows for batch in read_batches(shard, 4, schema=PAIRING_SCHEMA)) == 9
    (columns,) = read
    assert [leaf for leaf in columns if leaf.startswith("messages")] == ["messages.list.element.role"]
    assert [leaf for leaf in columns if leaf.startswith("comparisons")] == ["comparisons.list.element.first"]
    assert len(columns) < len(leaves(PAIRING_SCHEMA))
