"""Pairs in one file: those of a load, by domain, in Parquet or JSON Lines, in a file or on a stream."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import run
from oracle import oracle_pairs

from coig_p.errors import UnknownNameError, UsageError
from coig_p.export.one_file import write_pairs
from coig_p.pairs.config import PairConfig

Row = dict[str, Any]


def test_rows_are_the_oracles_in_both_types_and_on_a_stream(store: Path, rows: list[Row], tmp_path: Path) -> None:
    wanted = oracle_pairs(rows, threshold=2)
    for file_type in ("parquet", "jsonl"):
        out, stream = tmp_path / f"pairs.{file_type}", io.BytesIO()
        counts, config = write_pairs(store, out, PairConfig(), file_type=file_type)
        again, _ = write_pairs(store, stream, PairConfig(), file_type=file_type)
        assert counts == again == {name: sum(row["domain"] == name for row in wanted) for name in ("math", "chat")}
        assert config == PairConfig(threshold=2)
        assert out.read_bytes() == stream.getvalue()
        if file_type == "parquet":
            assert pq.read_table(out).to_pylist() == wanted
        else:
            assert [json.loads(line) for line in out.read_text("utf-8").splitlines()] == wanted


def test_columns_come_alone_and_in_their_order(store: Path, rows: list[Row], tmp_path: Path) -> None:
    columns = ["margin", "prompt"]
    wanted = [{name: row[name] for name in columns} for row in oracle_pairs(rows, threshold=2)]
    stream = io.BytesIO()
    write_pairs(store, tmp_path / "out", PairConfig(), columns=columns)
    write_pairs(store, stream, PairConfig(), file_type="jsonl", columns=columns)
    assert pq.read_table(tmp_path / "out").column_names == columns
    assert pq.read_table(tmp_path / "out").to_pylist() == wanted
    assert [json.loads(line) for line in stream.getvalue().decode().splitlines()] == wanted
    run("pairs", store, "--out", tmp_path / "by.parquet", "--columns", "margin,prompt")
    assert (tmp_path / "by.parquet").read_bytes() == (tmp_path / "out").read_bytes()


def test_domains_come_once_in_the_order_that_was_asked_for(store: Path, rows: list[Row], tmp_path: Path) -> None:
    counts, _ = write_pairs(store, tmp_path / "out", PairConfig(threshold=3), domains=["chat", "math", "chat"])
    assert list(counts) == ["chat", "math"]
    chat, math = (oracle_pairs([row for row in rows if row["domain"] == name], threshold=3) for name in counts)
    assert pq.read_table(tmp_path / "out").to_pylist() == chat + math


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"domains": ["maths"]}, r"unknown domain 'maths'. Did you mean 'math'\?"),
        ({"columns": ["promt"]}, "unknown column 'promt'. Did you mean 'prompt'"),
        ({"split": "dev"}, "unknown split 'dev'. Valid: train"),
        ({"file_type": "csv"}, "unknown file type 'csv'"),
        ({"config": PairConfig(judges=("judge-z",))}, "unknown judge 'judge-z'"),
    ],
)
def test_what_is_unknown_is_an_error_before_anything_is_written(
    store: Path, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UnknownNameError, match=words):
        write_pairs(store, tmp_path / "out", **{"config": PairConfig(), **options})
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_pairs_has_its_place_outside_of_a_store(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory: name a file"):
        write_pairs(store, tmp_path, PairConfig())
    with pytest.raises(UsageError, match="is inside the store"):
        write_pairs(store, store / "pairs.parquet", PairConfig())
