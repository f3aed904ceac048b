"""One row a query, beside the rows themselves read one by one."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from make import Rows, make_rows, make_store
from oracle import oracle_disagreement, oracle_pairs
from strategies import examples, raw_rows

from coig_p.core.normalize import comparison_form
from coig_p.errors import UnknownNameError
from coig_p.schema import RAW_SCHEMA
from coig_p.stats.queries import QUERIES, query_rows, query_table
from coig_p.store.store import Store
from coig_p.store.writing import ROWS_PER_GROUP


def check(rows: Rows, found: Rows) -> None:
    for row, own in zip(rows, found, strict=True):
        answers = row["responses"] or []
        scores = [score for answer in answers for score in answer["scores"] or []]
        compared = row["comparisons"] or []
        assert (own["query_id"], own["domain"], own["source"]) == (row["query_id"], row["domain"], row["source"])
        said = row["query"] if row["messages"] is None else "\n\n".join(one["content"] for one in row["messages"])
        assert own["form"] == comparison_form(said)
        assert own["responses"] == len(answers)
        assert own["scores"] == sum(math.isfinite(score["score"]) for score in scores)
        assert own["comparisons"] == len(compared)
        assert own["models"] == sorted({answer["model"] for answer in answers})
        assert own["judges"] == sorted({one["judge"] for one in [*scores, *compared]})
        lengths = [len(answer["text"]) for answer in answers]
        assert own["length_difference"] == max((abs(a - b) for a, b in combinations(lengths, 2)), default=0)
        wanted = oracle_disagreement(row)
        assert own["disagreement"] == (None if wanted is None else float(wanted))
        assert (own["disagreeing"] is None) == (wanted is None)
        margins = [pair["margin"] for pair in oracle_pairs([row], threshold=0)]
        if margins:  # the oracle leaves out ties, and one text twice
            assert own["margin"] >= max(margins)


@examples(100)
@given(raw_rows())
def test_equals_a_reading_of_each_row(rows: Rows) -> None:
    batch = pa.RecordBatch.from_pylist(rows, schema=RAW_SCHEMA)
    check(rows, query_rows(batch, 3, 7, "train").to_pylist())


def test_of_a_store_says_where_each_query_stands(tmp_path: Path) -> None:
    rows = make_rows({"math": 25, "chat": 7})
    store = Store.open(make_store(tmp_path / "store", rows))
    seen: list[int] = []
    table = query_table(store, advance=seen.append)
    assert table.schema.equals(QUERIES)
    assert sum(seen) == len(rows)
    found = table.to_pylist()
    check(rows, found)
    files = store.data_files()
    for own in found:
        shard = pq.read_table(store.path / files[own["file"]].path)
        assert shard.column("query_id")[own["row"]].as_py() == own["query_id"]
        assert (own["domain"], own["split"]) == (files[own["file"]].domain, files[own["file"]].split)
    assert query_table(store, num_proc=2).equals(table)
    assert query_table(store, domains=["chat"]).equals(table.slice(25))
    with pytest.raises(UnknownNameError):
        query_table(store, domains=["poems"])


def test_a_shard_of_several_batches_says_where_each_query_stands(tmp_path: Path) -> None:
    rows = make_rows({"math": 2 * ROWS_PER_GROUP + 30})
    store = Store.open(make_store(tmp_path / "store", rows, rows_per_shard=1000, rows_per_group=ROWS_PER_GROUP))
    table = query_table(store)
    assert table.column("row").to_pylist() == list(range(len(rows)))
    assert table.column("query_id").to_pylist() == [row["query_id"] for row in rows]
