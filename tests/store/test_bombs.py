"""Files of kilobytes that would take gigabytes: one error, while little more memory is used than for an honest file."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import run
from make import make_rows, make_store

from coig_p.core.bombs import check_bomb
from coig_p.schema import RAW_SCHEMA
from coig_p.store import reading
from coig_p.store.manifest import MANIFEST

SCRIPT = """
import resource, sys
from coig_p.cli.main import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    main(sys.argv[1:])
finally:
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print("MIB", (after - before) // (1024 if sys.platform == "linux" else 1 << 20), file=sys.stderr)
"""
MOST_MIB = 1500  # 64 MiB of one value, decoded, parsed and shown, beside the code; far from what the bombs hold


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))


def refused(*arguments: object, said: str) -> None:
    words = [str(argument) for argument in arguments]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, encoding="utf-8", check=False, preexec_fn=limit
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr + done.stdout, done.stderr
    assert int(done.stderr.split("MIB ")[1].split()[0]) < MOST_MIB, done.stderr


def row(text: str, responses: int) -> dict[str, Any]:
    answer = {"model": "m", "sample": 0, "text": text, "extra": None, "scores": []}
    return {"query_id": "q", "domain": "math", "query": "q", "responses": [answer] * responses}


def bomb(path: Path, kind: str) -> None:
    """Some kilobytes: 6.7 GB once a dictionary is written out, zeros, or numbers."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 6700, pa.int32()), pa.array(["x" * 1_000_000]))
    dictionary = pa.table({"prompt": ["q"] * 6700, "response": texts})
    if kind == "dictionary":
        pq.write_table(dictionary, path, compression="zstd")
    elif kind == "zeros":
        table = pa.table({"prompt": ["q"], "response": ["0" * (600 << 20)]})
        pq.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    else:
        numbers = pa.ListArray.from_arrays([0, 40_000_000], pa.repeat(pa.scalar(7, pa.int8()), 40_000_000))
        pq.write_table(pa.table({"prompt": ["q"], "response": numbers}), path, compression="zstd")


@pytest.fixture(scope="module", params=["dictionary", "zeros", "numbers"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bomb") / f"{request.param}.parquet"
    bomb(path, request.param)
    assert path.stat().st_size < 1 << 20
    return path


def test_an_import(table: Path, tmp_path: Path) -> None:
    refused("import", table, "--out", tmp_path / "store", "--domain", "math", said="not readable as Parquet")


def test_a_benchmark(table: Path, tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", make_rows({"math": 2}))
    refused("contamination", store, "--against", table, said="not readable as Parquet")


def test_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_BYTES", 50_000_000)
    store = make_store(tmp_path / "store", make_rows({"math": 2}))
    shard = next((store / "data").rglob("*.parquet"))
    pq.write_table(pa.Table.from_pylist([row("x" * 1_000_000, 60)], RAW_SCHEMA), shard, compression="zstd")
    assert shard.stat().st_size < 1 << 20
    fields = json.loads((store / MANIFEST).read_text("utf-8"))
    for file in fields["files"]:
        if file["role"] == "data":
            file["bytes"] = shard.stat().st_size
    (store / MANIFEST).write_text(json.dumps(fields), encoding="utf-8")
    for words in ("stats", "check", "sweep"):
        assert "60,000,000 bytes written out" in run(words, store, code=1).stderr


@pytest.mark.parametrize("ending", [".jsonl.gz", ".json.gz", ".csv.gz"])
def test_one_line_of_a_gigabyte(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows{ending}"
    start = b'[{"query": "' if ending == ".json.gz" else b'{"query": "' if ending == ".jsonl.gz" else b"query\n"
    # Members of gzip one after another are one file.
    path.write_bytes(gzip.compress(start) + gzip.compress(b"x" * 1_000_000, 1) * 1000)
    refused("import", path, "--out", tmp_path / "store", "--domain", "math", said="longer than")


def test_honest_files_pass(tmp_path: Path) -> None:
    texts = [f"{'系统提示' * 400}{at % 7}" for at in range(20_000)]
    for name, options in {
        "a": {},
        "b": {"use_dictionary": False, "compression": "snappy"},
        "c": {"row_group_size": 9},
    }.items():
        pq.write_table(pa.table({"prompt": texts[:: 20 if name == "c" else 1]}), tmp_path / name, **options)  # type: ignore[arg-type]
        with pq.ParquetFile(tmp_path / name) as shard:
            check_bomb(shard, tmp_path / name, 256)


def test_what_is_written_out_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    nested: list[Any] = [{"a": [{"t": "é" * 10}] * 3, "m": [("k", "v" * 5)]}, None, {"a": [], "m": None}]
    kind = pa.struct({"a": pa.list_(pa.struct({"t": pa.string()})), "m": pa.map_(pa.string(), pa.string())})
    pq.write_table(pa.table({"x": pa.array(nested, kind)}), path)
    with pq.ParquetFile(path) as shard:
        check_bomb(shard, path, most=60)
        with pytest.raises(ValueError, match="would take 60 bytes written out, 59 at most"):
            check_bomb(shard, path, most=59)
