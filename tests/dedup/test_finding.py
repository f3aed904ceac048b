"""Near-duplicates by files are, to the byte, those that are found in memory: any store, number of ranges, threshold."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from by_files import found_by_files
from hypothesis import given
from hypothesis import strategies as st
from jobs import many
from strategies import examples

import coig_p
from coig_p.core.normalize import comparison_forms
from coig_p.dedup.clusters import Queries
from coig_p.dedup.finding import find_store_duplicates
from coig_p.dedup.queries import DedupConfig, find_duplicates, read_queries, summary
from coig_p.engine.local import Processes
from coig_p.store.store import Store

BUNDLED = Path(coig_p.__file__).parent / "bundled" / "store"
THRESHOLDS = [0.4, 0.7, 0.9]


def bytes_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


@st.composite
def asked(draw: st.DrawFn) -> Queries:
    """Queries with forms, tools and speakers of few kinds, some of another store, ids that may stand twice."""
    one = st.tuples(
        st.sampled_from(["q1", "q2", "q3", "一", "q10", "z"]),
        st.text(st.sampled_from("甲乙丙"), max_size=6),
        st.sampled_from(["", "", "s1", "s2"]),
        st.sampled_from(["", "system user", "user assistant user"]),
        st.integers(0, 2),
    )
    rows = draw(st.lists(one, max_size=16))
    ids, forms, settings, speakers, scored = (list(column) for column in zip(*rows, strict=True)) if rows else [[]] * 5
    elsewhere = draw(st.integers(0, len(rows)))
    own = len(rows) - elsewhere
    ids = [f"{name}-{at}" if at % 3 else name for at, name in enumerate(ids)]
    ids = ids[:own] + [f"other:{name}" for name in ids[own:]]
    domains = ["math" if at % 2 else "chat" for at in range(len(rows))]
    return Queries(ids, domains, forms, scored, elsewhere, settings, speakers)


@examples(200)
@given(asked(), st.sampled_from([*THRESHOLDS, 1]), st.booleans(), st.integers(1, 40), st.integers(1, 7))
def test_any_queries(queries: Queries, threshold: float, merge: bool, ranges: int, size: int) -> None:
    config = DedupConfig(threshold=threshold, n=2, merge=merge)
    found = found_by_files(queries, config, size=size, ranges=ranges)
    whole = find_duplicates(queries, config)
    assert bytes_of(found.duplicates) == bytes_of(whole)
    if len(set(queries.ids)) == len(queries.ids):
        assert found.summary == summary(whole, queries)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_real_questions(threshold: float, shared_data: Path) -> None:
    lines = (shared_data / "zh_queries.txt").read_text("utf-8").splitlines()[::24]
    number = len(lines)
    queries = Queries(
        [f"q-{at:06d}" for at in range(number)],
        ["chat"] * number,
        comparison_forms(lines),
        [at % 3 for at in range(number)],
    )
    config = DedupConfig(threshold=threshold)
    whole = find_duplicates(queries, config)
    assert whole.num_rows
    for ranges in (1, 7, 40):
        found = found_by_files(queries, config, size=5000, ranges=ranges)
        assert bytes_of(found.duplicates) == bytes_of(whole)
        assert found.summary == summary(whole, queries)


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("ranges", [1, 2, 40])
def test_the_bundled_store(threshold: float, ranges: int) -> None:
    store, config = Store.open(BUNDLED), DedupConfig(threshold=threshold)
    read: list[list[int]] = [[], []]
    found = find_store_duplicates(store, config, read[0].append, in_memory=0, ranges=ranges)
    whole = find_store_duplicates(store, config, read[1].append)
    assert bytes_of(found.duplicates) == bytes_of(whole.duplicates)
    assert found.summary == whole.summary
    assert sum(read[0]) == sum(read[1]) == whole.summary.total


@pytest.mark.parametrize("merge", [False, True])
def test_a_store_beside_others_and_in_two_processes(merge: bool, tmp_path: Path) -> None:
    store, other = Store.open(many(tmp_path / "store")), Store.open(many(tmp_path / "other", 7))
    for against in ([], [other, store]):
        config = DedupConfig(merge=merge)
        queries = read_queries(store, against=against)
        whole = find_duplicates(queries, config)
        assert whole.num_rows
        for num_proc in (1, 2):
            found = find_store_duplicates(store, config, against=against, num_proc=num_proc, in_memory=0, ranges=3)
            assert bytes_of(found.duplicates) == bytes_of(whole)
            assert found.summary == summary(whole, queries)


def test_nothing_is_left_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    seen: list[Path] = []
    store = Store.open(many(tmp_path / "store"))
    find_store_duplicates(store, DedupConfig(), lambda _: seen.extend(scratch.rglob("*.arrow")), in_memory=0)
    assert seen
    assert list(scratch.iterdir()) == []


def test_a_full_disk_is_one_error_that_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "written by Arrow")

    monkeypatch.setattr("pyarrow.ipc.RecordBatchFileWriter.write_batch", full, raising=True)
    with pytest.raises(OSError, match=r"No space left on device.*TMPDIR: '.*/scratch'"):
        find_store_duplicates(Store.open(many(tmp_path / "store")), DedupConfig(), in_memory=0)
    assert list(scratch.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from coig_p.dedup import finding, shuffled
from coig_p.errors import CoigPError
step = os.environ["STEP"]
def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__mp_main__":
    setattr(finding if step == "_run_of" else shuffled, step, killed)
if __name__ == "__main__":
    from coig_p.__main__ import main
    finding.find_store_duplicates.__kwdefaults__["in_memory"] = 0
    sys.exit(main())
"""
STEPS = ["_run_of", "_sign", "_pair", "_ship", "_compare", "_decide", "_members"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("step", STEPS)
def test_a_process_killed_in_any_step_is_one_error_and_nothing_is_written(step: str, tmp_path: Path) -> None:
    script, scratch = tmp_path / "script.py", tmp_path / "scratch"
    script.write_text(KILLED, encoding="utf-8")
    scratch.mkdir()
    store, out = many(tmp_path / "store"), tmp_path / "out"
    done = subprocess.run(
        [sys.executable, str(script), "dedup", str(store), "--out", str(out), "--num-proc", "2"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(scratch), "STEP": step},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "one of 2 processes that shared the work ended before it was done" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scratch", "script.py", "store"]


def test_workers_are_told_what_to_do_in_every_step() -> None:
    queries = Queries(["a", "b"], ["d"] * 2, ["甲乙丙", "甲乙丙"], [0, 1])
    found = found_by_files(queries, DedupConfig(), size=1, ranges=2, workers=Processes(2))
    assert bytes_of(found.duplicates) == bytes_of(find_duplicates(queries, DedupConfig()))
