"""Tables as people have them: names that hide each other, quotes too many, numbers of every kind."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.errors import DataError
from coig_p.ingest.readers import RawRow, read_rows

HEAD = ["query", "text", "model", "judge", "score"]


def rows_of(text: str, path: Path) -> list[RawRow]:
    path.write_text(text, encoding="utf-8", newline="")
    return list(read_rows(path))


def table(rows: list[list[str]], delimiter: str) -> str:
    return "".join(delimiter.join(row) + "\n" for row in rows)


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
@pytest.mark.parametrize("closed", [None, 4])
def test_lines_that_a_stray_quote_makes_one_are_all_refused(
    suffix: str, delimiter: str, closed: int | None, tmp_path: Path
) -> None:
    """No line goes without a word, and none is read as a part of another's text."""
    lines = [[f"问{at}", "甲", "a", "j", "5"] for at in range(6)]
    lines[2][1] = '"甲'
    if closed is not None:
        lines[closed][1] = '乙"'
    rows = rows_of(table([HEAD, *lines], delimiter), tmp_path / f"x.{suffix}")
    lost = range(2, 6 if closed is None else closed + 1)
    assert [row.line for row in rows] == list(range(2, 8))
    for at, row in enumerate(rows):
        if at in lost:
            assert row.problem is not None
            assert row.problem[0] == "broken-csv"
            assert f"make lines 4 to {lost[-1] + 2} one row" in row.problem[1]
            assert row.value == delimiter.join(lines[at])
        else:
            assert row.problem is None
            assert row.value == dict(zip(HEAD, lines[at], strict=True))


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("csv", 'prompt,chosen,rejected\n问,好,"one\ntwo, three, four"\n'),  # as many commas as a row has
        ("csv", 'query,text\n问,"甲\n乙,丙"\n'),
        ("csv", 'query,text,score\n问,"甲,\n乙, 丙",5\n'),
        ("tsv", 'query\ttext\tscore\n问\t"def f():\n\treturn 1"\t5\n'),
    ],
)
def test_texts_of_several_lines_stay(suffix: str, text: str, tmp_path: Path) -> None:
    rows = rows_of(text, tmp_path / f"x.{suffix}")
    assert [row.problem for row in rows] == [None]
    assert "\n" in "".join(rows[0].value.values())


@examples(80)
@given(cells=st.lists(st.lists(st.text("甲a,\t\"';\r\n 1", max_size=6), min_size=2, max_size=2), max_size=5))
def test_csv_rows_are_what_python_reads(cells: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    made = io.StringIO()
    csv.writer(made).writerows([["query", "text"], *cells])
    rows = rows_of(made.getvalue(), tmp_path_factory.mktemp("csv") / "x.csv")
    kept = [row for row in rows if row.problem is None]
    refused = {row.line for row in rows if row.problem is not None}
    if not refused:
        assert [list(row.value.values()) for row in kept] == cells


def test_excel_says_what_stands_between_cells(tmp_path: Path) -> None:
    (row,) = rows_of('sep=;\r\nquery;text\r\n问;"甲;乙"\r\n', tmp_path / "x.csv")
    assert row == RawRow(str(tmp_path / "x.csv"), 3, {"query": "问", "text": "甲;乙"}, textual=True)


@pytest.mark.parametrize(
    ("suffix", "text", "words"),
    [
        ("csv", "query;text\n问;甲\n", "semicolons and no commas between names: put a line sep=; before it"),
        ("csv", "query\ttext\n问\t甲\n", "tabs and no commas between names: name it .tsv"),
        ("tsv", "query,text\n问,甲\n", "commas and no tabs between names"),
        ("csv", "query,text,score,text\n", "two columns have the name 'text'"),
        ("csv", ",,query\n", "two columns have no name"),
    ],
)
def test_first_lines_that_name_no_columns(suffix: str, text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        rows_of(text, tmp_path / f"x.{suffix}")


def test_parquet_names_that_stand_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"query": ["问"], "score": [1]}).append_column("score", pa.array([9])), path)
    with pytest.raises(DataError, match="two columns have the name 'score'"):
        list(read_rows(path))
    twice = pa.StructArray.from_arrays([pa.array(["甲"]), pa.array(["乙"])], names=["text", "text"])
    pq.write_table(pa.table({"responses": pa.ListArray.from_arrays([0, 1], twice)}), path)
    with pytest.raises(DataError, match="two fields of responses have the name 'text'"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("kind", "given", "read"),
    [
        (pa.large_list(pa.float32()), [7.1], [7.1]),
        (pa.list_(pa.float32(), 2), [7.1, 0.3], [7.1, 0.3]),
        (pa.map_(pa.string(), pa.float32()), [("j", 7.1)], {"j": 7.1}),
        (pa.list_(pa.map_(pa.string(), pa.float32())), [[("j", 7.1)], []], [{"j": 7.1}, {}]),
        (pa.decimal128(10, 2), Decimal("7.10"), 7.1),
        (pa.decimal128(3, 0), Decimal(7), 7),
        (pa.decimal256(40, 4), Decimal("0.3333"), 0.3333),
        (pa.list_(pa.decimal128(5, 1)), [Decimal("-0.7")], [-0.7]),
    ],
)
def test_parquet_numbers_are_read_as_they_were_written(
    kind: pa.DataType, given: Any, read: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"n": pa.array([given, None], kind)}), path)
    assert [row.value["n"] for row in read_rows(path)] == [read, None]
