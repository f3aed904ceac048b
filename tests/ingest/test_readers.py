"""Files as people have them: the same rows from each, with the place of each."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.errors import DataError, UsageError
from coig_p.ingest import readers as sources
from coig_p.ingest.readers import find_inputs, read_rows

ROWS = [{"query": "一"}, {"query": "二", "n": [1, 2.5, None]}]


def values(path: Path) -> list[Any]:
    return [row.value for row in read_rows(path)]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"query": "A"}\n{"query": "B"}\n',
        b'{"query": "A"}\n{"query": "B"}',
        b'\xef\xbb\xbf{"query": "A"}\r\n\r\n  \r\n{"query": "B"}\r\n',
    ],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".JSONL"])
def test_json_lines_in_every_shape(raw: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(raw)
    assert values(path) == [{"query": "A"}, {"query": "B"}]
    assert [row.line for row in read_rows(path)] == [1, raw.count(b"\n", 0, raw.index(b"B")) + 1]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("indent", [None, 2])
def test_arrays_and_single_objects(bom: bytes, indent: int | None, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(bom + b"\n " + json.dumps(ROWS, indent=indent, ensure_ascii=False).encode() + b"\n")
    assert values(path) == ROWS
    path.write_bytes(bom + json.dumps(ROWS[1], indent=indent).encode())
    assert values(path) == ROWS[1:]
    path.write_bytes(b"[]")
    assert values(path) == []
    path.write_bytes(b"")
    assert values(path) == []


def test_lines_of_rows_in_an_array(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[\n{"query":\n"A"},\n\n{"query": "B"}\n]')
    assert [(row.line, row.value) for row in read_rows(path)] == [(2, {"query": "A"}), (5, {"query": "B"})]


@pytest.mark.parametrize(
    ("text", "good", "words"),
    [
        ('[{"a": 1}, {"b": ', 1, "nothing after it"),
        ('[{"a": 1}', 1, "cut short"),
        ('[{"a": 1} {"b": 2}]', 1, "between two rows"),
        ('[{"a": 1}, nonsense]', 1, "not JSON"),
        ('[{"a": 1},', 1, "cut short"),
        ("[", 0, "cut short"),
        ('[{"a": 1}]]', 1, "after the end of the array"),
        ('[{"a": 1}] nonsense', 1, "after the end of the array"),
        ('[{"a": 1}],\n{"a": 2}', 1, "after the end of the array"),
        ('[][{"a": 1}] 7 nonsense', 1, "after the end of the array"),
        ("nonsense", 0, "not JSON"),
        ("[" * 100_000, 0, "too deep"),
    ],
)
def test_a_broken_array_keeps_the_rows_before(text: str, good: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    *rows, last = read_rows(path)
    assert [row.problem for row in rows] == [None] * good
    assert last.problem is not None
    assert last.problem[0] == "broken-json"
    assert words in last.problem[1]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("between", ["", "\n", " \r\n\n"])
def test_arrays_and_rows_one_after_the_other(indent: int | None, between: str, tmp_path: Path) -> None:
    """As joined files are."""
    path = tmp_path / "x.json"
    parts: list[Any] = [ROWS, [], ROWS[0], ROWS[::-1], [], ROWS[1], ROWS[0]]
    path.write_text(between.join(json.dumps(part, indent=indent) for part in parts))
    assert values(path) == [row for part in parts for row in (part if isinstance(part, list) else [part])]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"query": ["问一", "问二"], "score": [9, 1]}, "holds columns, not rows"),
        ({"query": {"0": "问一"}, "score": {"0": 9}}, "an object of objects"),
        ({"q1": {"query": "问", "text": "甲"}, "q2": {"query": "又", "text": "乙"}}, "an object of objects"),
    ],
)
def test_an_object_that_is_a_table(value: Any, words: str, indent: int | None, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(value, indent=indent))
    (row,) = read_rows(path)
    assert row.problem is not None
    assert words in row.problem[1]
    for more in ({"prompt": [{"role": "user", "content": "问"}], "chosen": [{"role": "assistant", "content": "甲"}]},):
        path.write_text(json.dumps(more, indent=indent))
        assert values(path) == [more]


def test_json_under_the_name_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for text in (json.dumps(ROWS), json.dumps(ROWS, indent=1), json.dumps(ROWS[0], indent=1)):
        path.write_text(text)
        problem = next(iter(read_rows(path))).problem
        assert problem is not None
        assert "ame the file .json" in problem[1]


@examples(60)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=3), st.text(alphabet='"\\]}[{, 一\n', max_size=9)), max_size=8),
    size=st.integers(1, 9),
    indent=st.sampled_from([None, 1]),
)
def test_arrays_larger_than_the_buffer(
    rows: list[Any], size: int, indent: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_JSON_CHARS", size)
        assert values(path) == rows


def test_parquet_rows_are_numbered(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"a": at} for at in range(600)]), tmp_path / "x.parquet")
    assert [(row.line, row.value["a"]) for row in read_rows(tmp_path / "x.parquet")] == [
        (at + 1, at) for at in range(600)
    ]


def test_parquet_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not readable as Parquet"):
        values(tmp_path / "x.parquet")


def test_inputs_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "x.docx").touch()
    for name, words in (("absent.jsonl", "no such file"), (".", "is a directory"), ("x.docx", "Valid: .jsonl")):
        with pytest.raises(UsageError, match=words):
            list(read_rows(tmp_path / name))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices are POSIX")
def test_an_input_is_a_regular_file(tmp_path: Path) -> None:
    """It is read more than once: not a pipe, not what a shell puts for <(command), which is one, not a device."""
    os.mkfifo(tmp_path / "rows.jsonl")
    reading, writing = os.pipe()
    for path in (tmp_path / "rows.jsonl", Path(f"/dev/fd/{reading}"), Path(os.devnull)):
        with pytest.raises(UsageError, match=r"is not a regular file: write what it gives to a file first"):
            find_inputs([path])
    os.close(reading)
    os.close(writing)


def test_an_input_has_a_name_in_utf_8(tmp_path: Path) -> None:
    for read in (read_rows, lambda path: find_inputs([path])):
        with pytest.raises(UsageError, match=r"b\\udcff\.jsonl' is not UTF-8: rename it"):
            list(read(tmp_path / "b\udcff.jsonl"))


def test_progress_adds_up_to_the_size(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.json"):
        path = tmp_path / name
        path.write_text(json.dumps(ROWS) if name.endswith("json") else "\n".join(map(json.dumps, ROWS)), "utf-8")
        seen: list[int] = []
        list(read_rows(path, advance=seen.append))
        assert sum(seen) == path.stat().st_size


def test_narrow_floats_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    kind = pa.list_(pa.struct([("judge", pa.string()), ("score", pa.float32())]))
    given = [[{"judge": "j", "score": 7.1}, None, {"judge": None, "score": None}], None, []]
    half = pa.array([7.5, None, 1.25], pa.float32()).cast(pa.float16())
    pq.write_table(
        pa.table({"n": pa.array([7.1, None, 0.3333], pa.float32()), "s": pa.array(given, kind), "h": half}), path
    )
    assert values(path) == [
        {"n": n, "s": s, "h": h} for n, s, h in zip([7.1, None, 0.3333], given, [7.5, None, 1.25], strict=True)
    ]
