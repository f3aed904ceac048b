"""Where commands write: nothing that exists is replaced unasked, nothing but files and folders is replaced at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from annotating import pool, write_run
from commands import run

from coig_p.core.atomic import atomic_directory, atomic_file
from coig_p.errors import UsageError


def changed_at(place: Path) -> tuple[int, int]:
    found = place.stat()
    return found.st_mode, found.st_mtime_ns


def test_what_exists_is_replaced_only_with_overwrite(store: Path, tmp_path: Path) -> None:
    """Every command that writes, onto what it wrote itself; and onto what is no file at all."""
    copied = tmp_path / "store"
    shutil.copytree(store, copied)
    benchmark = tmp_path / "bench.jsonl"
    benchmark.write_text(json.dumps({"question": "二加二等于几"}) + "\n")
    files: dict[str, list[object]] = {
        "pairs.jsonl": ["pairs", store],
        "found.parquet": ["contamination", store, "--against", benchmark],
        "run.toml": ["annotate", "init"],
    }
    folders: dict[str, list[object]] = {
        "statistics": ["stats", store],
        "sweep": ["sweep", store, "--thresholds", "1"],
        "export": ["export", store, "--for", "trl-dpo"],
        "report": ["check", store],
    }
    for name, words in (files | folders).items():
        option, code = ("--report", 1) if words[0] == "check" else ("--out", 0)
        place = tmp_path / name
        run(*words, option, place, code=code)
        place.chmod(0o700)
        before = changed_at(place)
        assert f"{place} exists: pass --overwrite" in run(*words, option, place, code=2).stderr
        assert changed_at(place) == before
        run(*words, option, place, "--overwrite", code=code)
        assert changed_at(place) != before, "not replaced"
    run("card", copied, "--init")
    assert "pass --overwrite" in run("card", copied, "--init", code=2).stderr
    (copied / "card.toml").write_text("")
    run("card", copied, "--init", "--overwrite")
    assert (copied / "card.toml").read_text("utf-8") != ""

    if sys.platform == "win32":
        return
    for name, words in (files | folders).items():
        option = "--report" if words[0] == "check" else "--out"
        real = tmp_path / name
        link, fifo = tmp_path / f"link-{name}", tmp_path / f"fifo-{name}"
        link.symlink_to(real)
        os.mkfifo(fifo)
        for place in (link, fifo):
            said = run(*words, option, place, "--overwrite", code=2).stderr
            assert re.search(r"is a (symbolic link|device or a pipe|file)", said), said
        assert link.is_symlink()
        assert fifo.is_fifo()
    assert "is a symbolic link" in run("pairs", store, "--out", "/dev/stdout", code=2).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are POSIX")
def test_an_atomic_write_replaces_only_its_like(tmp_path: Path) -> None:
    """Whatever a command forgot to ask: no rename onto a link, a pipe, a file where a folder is meant."""
    (tmp_path / "file").write_text("a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder-link").symlink_to(tmp_path / "folder")
    os.mkfifo(tmp_path / "fifo")
    before = sorted(path.name for path in tmp_path.iterdir())
    for name in ("link", "dangling", "folder-link", "fifo", "folder"):
        with pytest.raises(UsageError), atomic_file(tmp_path / name):
            raise AssertionError("opened")
    for name in ("link", "dangling", "folder-link", "fifo", "file"):
        with pytest.raises(UsageError), atomic_directory(tmp_path / name):
            raise AssertionError("opened")
    with pytest.raises(UsageError), atomic_file(tmp_path / "late"):
        (tmp_path / "late").symlink_to(tmp_path / "file")
    (tmp_path / "late").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == "a"


def test_rows_on_standard_output_are_those_of_a_file(store: Path, tmp_path: Path) -> None:
    run("pairs", store, "--out", tmp_path / "pairs.jsonl")
    done = run("pairs", store, "--out", "-")
    assert done.stdout == (tmp_path / "pairs.jsonl").read_text("utf-8")
    assert done.stderr == ""
    found = tmp_path / "found.parquet"
    run("contamination", store, "--against", store, "--out", found, code=1)
    shown = run("contamination", store, "--against", store, "--out", "-", code=1).stdout
    assert [json.loads(line) for line in shown.splitlines()] == pq.read_table(found).to_pylist()
    assert run("annotate", "init").stdout == run("annotate", "init", "--out", "-").stdout


def test_batch_files_are_replaced_only_with_overwrite(tmp_path: Path) -> None:
    config = write_run(tmp_path, pool("http://127.0.0.1:9", 3, 3))  # nothing is asked
    words = ("annotate", "run", config.path, "--batch-out", tmp_path / "batch")
    run(*words)
    first = {path: path.read_bytes() for path in (tmp_path / "batch").iterdir()}
    run("annotate", "run", config.path, "--batch-forget")
    assert "pass --overwrite" in run(*words, code=2).stderr
    run(*words, "--overwrite")
    assert {path: path.read_bytes() for path in (tmp_path / "batch").iterdir()} == first


def test_what_is_read_is_never_replaced(store: Path, tmp_path: Path) -> None:
    """A benchmark, rules and other stores, also under another name; --overwrite is no leave for that."""
    other = tmp_path / "other"
    shutil.copytree(store, other)
    (tmp_path / "alias").symlink_to(other)
    benchmark, report = tmp_path / "bench.jsonl", tmp_path / "report"
    benchmark.write_text(json.dumps({"question": "二加二等于几"}) + "\n")
    (tmp_path / "hard.jsonl").hardlink_to(benchmark)
    run("check", store, "--report", report, code=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for words in (
        ["contamination", store, "--against", benchmark, "--out", benchmark],
        ["contamination", store, "--against", benchmark, "--out", tmp_path / "hard.jsonl"],
        ["contamination", store, "--against", benchmark, "--out", tmp_path / "alias" / ".." / "bench.jsonl"],
        ["dedup", store, "--against", other, "--out", other],
        ["dedup", store, "--against", tmp_path / "alias", "--out", other],
        ["clean", store, "--against", other, "--out", other],
        ["publish", store, "--version", "1.0.0", "--against", other, "--target", f"dir:{other}"],
        ["check", store, "--against", report / "findings.parquet", "--report", report],
    ):
        said = run(*words, "--overwrite", code=2).stderr
        assert "choose another place" in said, said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are POSIX")
def test_what_is_read_twice_is_no_pipe(store: Path, tmp_path: Path) -> None:
    """None of them waits for a writer, and each says what to do."""
    fifo, place = tmp_path / "in.jsonl", tmp_path / "out"
    os.mkfifo(fifo)
    for words in (
        ["import", fifo, "--out", place],
        ["import", "-", "--out", place],
        ["contamination", store, "--against", fifo],
        ["check", store, "--against", fifo],
        ["clean", store, "--out", place, "--against", fifo],
        ["annotate", "status", fifo],
    ):
        assert re.search("write .* to a file first|name the file", run(*words, code=2).stderr)
