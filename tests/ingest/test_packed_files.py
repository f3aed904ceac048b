"""Files around the rows: compressed, in other encodings, cut short, or without an end."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from forming import FLAT, imported, jsonl

from coig_p.errors import DataError, UsageError
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.ingest.readers import read_rows


def test_compressed_files_and_patterns(tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "a.jsonl", FLAT).read_bytes()
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "c.jsonl.zst").write_bytes(pa.compress(plain, "zstd", asbytes=True))
    wanted = [row.value for row in read_rows(tmp_path / "a.jsonl")]
    for name in ("b.jsonl.gz", "c.jsonl.zst"):
        seen: list[int] = []
        assert [row.value for row in read_rows(tmp_path / name, advance=seen.append)] == wanted
        assert sum(seen) == (tmp_path / name).stat().st_size
    store, report = import_files(
        [str(tmp_path / "[bc].jsonl*")], tmp_path / "store", ImportConfig(domain="chat", on_error="skip")
    )
    assert report.counts["rows"]["read"] == 8
    assert len(store.manifest.sources) == 2
    with pytest.raises(UsageError, match="no file fits"):
        import_files([str(tmp_path / "*.csv")], tmp_path / "t", ImportConfig())


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_encodings(encoding: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    text = {
        ".jsonl": '{"query": "问𠀀", "text": "答"}\n',
        ".json": '[{"query": "问𠀀", "text": "答"}]',
        ".csv": "query,text\n问𠀀,答\n",
    }[suffix]
    path.write_bytes(text.encode(encoding))
    assert [row.value for row in read_rows(path, encoding)] == [{"query": "问𠀀", "text": "答"}]
    if encoding == "gb18030":
        with pytest.raises(DataError, match="--encoding gb18030"):
            imported(path)
        rows, _ = imported(path, encoding="gb18030")
        assert rows[0]["query"] == "问𠀀"


@pytest.mark.parametrize("name", ["no-such", "base64"])
def test_encodings_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="gb18030"):
        ImportConfig(encoding=name)


@pytest.mark.parametrize("cut", [1, 12, -1, -9])
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_archive_is_one_clear_error(cut: int, suffix: str, tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "a.jsonl", FLAT * 50).read_bytes()
    packed = gzip.compress(plain) if suffix == ".gz" else pa.compress(plain, "zstd", asbytes=True)
    path = tmp_path / f"x.jsonl{suffix}"
    path.write_bytes(packed[:cut])
    with pytest.raises(DataError, match=r"damaged or cut short"):
        imported(path, on_error="skip")
    path.write_bytes(b"not an archive at all" * 9)
    with pytest.raises(DataError, match=r"damaged or cut short"):
        imported(path, on_error="skip")
    assert not (tmp_path / "store").exists()


def test_a_line_without_end_is_refused_in_constant_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coig_p.ingest.readers._LONGEST_LINE", 1000)
    monkeypatch.setattr("coig_p.ingest.readers._BLOCK", 1000)
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"query": "' + b"x" * 5000 + b'"}\n' + json.dumps(FLAT[0]).encode() + b"\n")
    long, good = read_rows(path)
    assert (long.line, long.problem and long.problem[0]) == (1, "too-long")
    assert (good.line, good.value) == (2, FLAT[0])


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"query": "a", "query": "b"}\n')
    (tmp_path / "x.json").write_text('[{"r": [{"k": 1, "k": 2}]}]')
    for name in ("x.jsonl", "x.json"):
        (row,) = read_rows(tmp_path / name)
        assert row.problem is not None
        assert "stands twice" in row.problem[1]


def test_broken_csv_is_named_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('query,text\n问,答,多\n问\n\n问,答\n"问,答\n', encoding="utf-8")
    found = [(row.line, row.problem and row.problem[0]) for row in read_rows(path)]
    assert found == [(2, "broken-csv"), (3, "broken-csv"), (5, None), (6, "broken-csv")]
    path.write_text("a,a\n1,2\n")
    with pytest.raises(DataError, match="two columns have the name"):
        list(read_rows(path))
